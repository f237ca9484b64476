"""What the template tells a function through its environment: the only reader of os.environ."""

import os
from functools import cache

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Settings(BaseModel):
    """A function uses the fields that its template entry sets; the others stay empty."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    catalogue_table: str = Field(alias="CATALOGUE_TABLE")
    state_bucket: str = Field("", alias="STATE_BUCKET")
    backup_buckets: str = Field("", alias="BACKUP_BUCKETS")
    catalogue_queue: str = Field("", alias="CATALOGUE_QUEUE")
    notification_topic: str = Field("", alias="NOTIFICATION_TOPIC")
    decision_function: str = Field("", alias="DECISION_FUNCTION")
    stack_name: str = Field("", alias="STACK_NAME")
    restore_state_machine: str = Field("", alias="RESTORE_STATE_MACHINE")
    failover_state_machine: str = Field("", alias="FAILOVER_STATE_MACHINE")
    rollback_state_machine: str = Field("", alias="ROLLBACK_STATE_MACHINE")
    drill_state_machine: str = Field("", alias="DRILL_STATE_MACHINE")
    schedule_group: str = Field("", alias="SCHEDULE_GROUP")
    schedule_role: str = Field("", alias="SCHEDULE_ROLE")
    failover_dead_letters: str = Field("", alias="FAILOVER_DEAD_LETTERS")
    secrets_prefix: str = Field("replant/", alias="SECRETS_PREFIX")
    allow_loopback_clusters: bool = Field(False, alias="ALLOW_LOOPBACK_CLUSTERS")


@cache
def settings() -> Settings:
    """Raises RuntimeError that names the environment variable."""
    try:
        return Settings.model_validate(dict(os.environ))
    except ValidationError as error:
        names = ", ".join(str(problem["loc"][0]) for problem in error.errors())
        raise RuntimeError(
            f"environment variable {names} is missing or wrong; template.yaml sets it"
        ) from None
