"""What the template tells a function through its environment: the only reader of os.environ."""

import os
from functools import cache
from typing import NamedTuple

WORDS = {"true": True, "false": False}


class Settings(NamedTuple):
    """A function uses the fields that its template entry sets; the others stay empty. Each is an
    environment variable of the same name in capitals. No model: it would be built at every start.
    """

    catalogue_table: str
    state_bucket: str = ""
    backup_buckets: str = ""
    catalogue_queue: str = ""
    notification_topic: str = ""
    decision_function: str = ""
    image_function: str = ""
    stack_name: str = ""
    restore_state_machine: str = ""
    failover_state_machine: str = ""
    rollback_state_machine: str = ""
    drill_state_machine: str = ""
    reconcile_state_machine: str = ""
    migrate_state_machine: str = ""
    migrate_function: str = ""
    prune_state_machine: str = ""
    pruned_buckets: str = ""
    mount: str = ""
    schedule_group: str = ""
    schedule_role: str = ""
    failover_dead_letters: str = ""
    secrets_prefix: str = "replant/"
    allow_loopback_clusters: bool = False


@cache
def settings() -> Settings:
    """Raises RuntimeError that names the environment variable."""
    found = {name: os.environ.get(name.upper()) for name in Settings._fields}
    given: dict[str, str] = {name: value for name, value in found.items() if value is not None}
    loopback = given.pop("allow_loopback_clusters", "false")
    if loopback not in WORDS:
        raise _fault("ALLOW_LOOPBACK_CLUSTERS")
    if "catalogue_table" not in given:
        raise _fault("CATALOGUE_TABLE")
    return Settings(**given, allow_loopback_clusters=WORDS[loopback])


def _fault(name: str) -> RuntimeError:
    return RuntimeError(f"environment variable {name} is missing or wrong; template.yaml sets it")
