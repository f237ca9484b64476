"""A folder of CustomResourceDefinitions in, an API server that serves every kind of them out."""

import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import yaml

from local.api import Api, Object, path
from local.processes import wait_until

# Where a folder holds several versions side by side: the pair that belongs together.
VERSIONS = {"harvester": "v1.8.2", "longhorn": "v1.11.3"}
THREADS = 8
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def folder() -> Path:
    """The folder named by REPLANT_CRDS, else our own minimal set."""
    chosen = Path(os.environ.get("REPLANT_CRDS") or Path(__file__).parent / "crds").absolute()
    if not chosen.is_dir():
        raise FileNotFoundError(
            f"REPLANT_CRDS={chosen} is no folder: correct it, or unset it for our own set"
        )
    return chosen


@cache
def definitions(chosen: Path) -> tuple[Object, ...]:
    """All definitions below a folder, of the supported versions only."""
    documents = (
        document for file in _files(chosen) for document in yaml.load_all(file.read_text(), LOADER)
    )
    found = tuple(document for document in documents if document)
    if not found:
        raise FileNotFoundError(
            f"no CustomResourceDefinition below {chosen}: is REPLANT_CRDS right?"
        )
    return found


def load(api: Api, wanted: Iterable[Object], *, server: str | None = None) -> None:
    """Apply definitions in parallel and return when every kind is served, or that process ended."""
    wanted = list(wanted)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(api.apply, wanted))
    missing = set().union(*map(served, wanted))

    def all_served() -> bool:
        missing.difference_update({one for one in missing if api.answers(f"{path(*one)}?limit=1")})
        return not missing

    wait_until(all_served, seconds=60, what="the custom resources are served", name=server)


def served(definition: Object) -> set[tuple[str, str]]:
    """The (group/version, plural) that a definition makes the server serve."""
    spec = definition["spec"]
    versions = (version["name"] for version in spec["versions"] if version["served"])
    return {(f"{spec['group']}/{version}", spec["names"]["plural"]) for version in versions}


def _files(chosen: Path) -> Iterator[Path]:
    for file in sorted(chosen.rglob("*.yaml")):
        system, version = [*file.relative_to(chosen).parts, "", ""][:2]
        if not re.match(r"v\d", version) or VERSIONS.get(system) == version:
            yield file
