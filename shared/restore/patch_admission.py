"""What a patch made of an object -> whether a restore brings that to a cluster."""

from collections.abc import Iterator
from typing import Any

from shared.jsonpath import dig
from shared.models.restore_plans import Path
from shared.restore import admission, names
from shared.restore.admission import Admitted, Brought
from shared.restore.rules import INSTANCE, At, Finding, warning
from shared.restore.wanted import Wanted
from shared.validation import listed, short

DEVICES = (*INSTANCE, "domain", "devices")
PERSONS = ((*DEVICES, "gpus"), (*DEVICES, "hostDevices"))
"""What the allow-list takes of no backup, since only a person can know the target's."""


class Unfit(Exception):
    """Why a patch cannot be made, as a sentence with the remedy."""


def admit(wanted: Wanted, kind: str, before: Any, after: Any, what: str) -> Iterator[Finding]:
    """What is to be said of what a patch made. Raises Unfit for what no restore takes."""
    try:
        was, now = (_admitted(wanted, kind, each) for each in (before, after))
        if was is None or now is None:
            return
        lost = set(_lost(after, now)) - set(_lost(before, was))
    except (AttributeError, LookupError, TypeError, ValueError):
        raise Unfit(f"{what} makes no {kind} of it. Correct its paths and values.") from None
    new = [each for each in now.findings if each not in was.findings]
    refused = sorted(str(At((), path)) for path in lost if path[: len(PERSONS[0])] not in PERSONS)
    if refused or any(each.verdict == "block" for each in new):
        why = " ".join(each.message for each in new)
        places = listed(refused) if refused else "what it makes"
        raise Unfit(
            f"{what}: {places} is nothing that a restore brings to a cluster (README, What a backup"
            f" may bring). {why}".rstrip()
        )
    if missing := sorted(_networks(after) - _networks(before) - wanted.facts.networks):
        raise Unfit(
            f"{what}: network {short(missing[0])} does not exist on {wanted.target}. Available:"
            f" {listed(wanted.facts.networks)}. Create it, or correct the patch."
        )
    if not lost:
        yield from (warning(each.message, each.check) for each in new)


def _admitted(wanted: Wanted, kind: str, manifest: Any) -> Admitted | None:
    """None for what no allow-list is about."""
    if kind == "VirtualMachine":
        secrets = (each.name for each in wanted.point.secrets)
        held = Brought(
            claims=frozenset(wanted.claims.values()),
            secrets=frozenset(names.secret(wanted.restore_id, each) for each in secrets),
        )
        return admission.machine({k: manifest[k] for k in ("metadata", "spec")}, held)
    if kind == "PersistentVolumeClaim":
        admitted = admission.claim(manifest["metadata"], 0)
        return admitted._replace(manifest={"metadata": admitted.manifest})
    return None


def _networks(machine: Any) -> set[str]:
    networks = dig(machine, *INSTANCE, "networks") or []
    found = (dig(each, "multus", "networkName") for each in networks)
    return {str(name) for name in found if name}


def _lost(value: Any, admitted: Admitted) -> Iterator[Path]:
    filled = frozenset(fill.to for fill in admitted.fills)
    looked_at = {key: value[key] for key in admitted.manifest}
    yield from _differing(looked_at, admitted.manifest, filled, ())


def _differing(value: Any, kept: Any, filled: frozenset[Path], at: Path) -> Iterator[Path]:
    if isinstance(value, dict) and isinstance(kept, dict):
        for key, each in value.items():
            path = (*at, key)
            if each is not None and path not in filled:
                yield from _differing(each, kept.get(key), filled, path)
    elif isinstance(value, list) and isinstance(kept, list) and len(value) == len(kept):
        for number, each in enumerate(value):
            yield from _differing(each, kept[number], filled, (*at, number))
    elif value != kept:
        yield at
