"""A built template and its artifacts -> the same template with its artifacts in a bucket."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from local.build.template import load

Upload = Callable[[str, bytes], str]

# What a resource type calls its artifact. Stored, not deflated: nothing travels further than this
# machine.
_ARTIFACTS = {
    "AWS::Serverless::Function": "CodeUri",
    "AWS::Serverless::LayerVersion": "ContentUri",
    "AWS::Serverless::StateMachine": "DefinitionUri",
}


def package(build: Path, upload: Upload) -> str:
    """Upload every artifact under the hash of its content; return the template that names them, as
    JSON.
    """
    template = load(build / "template.yaml")
    for properties, name in _artifacts(template):
        content = _content(build / properties[name])
        properties[name] = upload(hashlib.sha256(content).hexdigest(), content)
    return json.dumps(template)


def _artifacts(template: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for resource in template["Resources"].values():
        name = _ARTIFACTS.get(resource["Type"])
        if name and name in resource["Properties"]:
            yield resource["Properties"], name


def _content(path: Path) -> bytes:
    if path.is_dir():
        return _zipped(path)
    return path.read_bytes()


def _zipped(folder: Path) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        for path in sorted(folder.rglob("*")):
            if path.is_file():  # without dates, so that the same files give the same hash
                content.writestr(zipfile.ZipInfo(str(path.relative_to(folder))), path.read_bytes())
    return archive.getvalue()
