"""The documents that users put into the state bucket (contract, section 3)."""

from typing import Annotated

from pydantic import Field

from shared.models.base import ClusterId, Value


class ClusterDocument(Value):
    """clusters/<id>.yaml: a Kubernetes cluster and the secret that holds its kubeconfig."""

    id: ClusterId
    secret: Annotated[str, Field(pattern=r"^replant/clusters/[A-Za-z0-9/_+=.@-]+$", max_length=512)]
    harvester: str | None = None
    longhorn: str | None = None
    kubernetes: str | None = None


class TargetDocument(Value):
    """targets/<id>.yaml: a place where one cluster writes its backups."""

    id: ClusterId
    url: Annotated[str, Field(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?$")]
    cluster: ClusterId
    endpoint: Annotated[str, Field(pattern=r"^https?://")] | None = None
    credential_secret: Annotated[str, Field(pattern=r"^replant/targets/[A-Za-z0-9/_+=.@-]+$")] | None = None
    replicas: tuple[Annotated[str, Field(pattern=r"^s3://")], ...] = ()

    @property
    def bucket(self) -> str:
        return self.url.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """The keys below which this target's objects lie; ends with a slash unless empty."""
        path = self.url.removeprefix("s3://").partition("/")[2]
        return path if path.endswith("/") or not path else path + "/"
