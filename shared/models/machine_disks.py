"""Which claims a VirtualMachine has as disks, as KubeVirt has it."""

from collections.abc import Mapping
from typing import Any

from shared.jsonpath import dig

CLAIM_OF_VOLUME = (
    ("persistentVolumeClaim", "claimName"),
    ("dataVolume", "name"),
    ("ephemeral", "persistentVolumeClaim", "claimName"),
)
"""Where a volume of a machine says which claim it is."""


def claims_of(vm: Mapping[str, Any]) -> set[str]:
    """By name, in the machine's namespace."""
    volumes = dig(vm, "spec", "template", "spec", "volumes")
    return {
        str(dig(each, *path))
        for each in (volumes if isinstance(volumes, list) else [])
        for path in CLAIM_OF_VOLUME
        if dig(each, *path)
    }
