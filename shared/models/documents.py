"""The documents that users put into the state bucket (contract, section 3)."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, Field

from shared.models.base import FILES, ClusterId, Duration, Value, matching, split_url
from shared.models.target_facts import Versions

SECRETS_PREFIX = "replant/"
_SECRET = "[A-Za-z0-9/_+=.@-]+"  # noqa: S105  # what Secrets Manager takes in a name
_FOLDER = rf"{FILES}(/(?!\.\.?(/|$))[^/]+)*/?"
_SERVER = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+"
_EXPORT = r"(/(?!\.\.?(/|$))[^/\x00-\x1f\x7f]+)*/?"
_BUCKET = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?"


def _a_day_at_least(value: timedelta) -> timedelta:
    if value < timedelta(days=1):
        raise ValueError("must be at least P1D")
    return value


class ClusterDocument(Value):
    """clusters/<id>.yaml: a Kubernetes cluster and the secret that holds its kubeconfig."""

    id: ClusterId
    secret: Annotated[
        str,
        Field(max_length=512),
        matching(f"replant/clusters/{_SECRET}", "replant/clusters/NAME"),
    ]
    harvester: str | None = None
    longhorn: str | None = None
    kubernetes: str | None = None

    @property
    def stated(self) -> Versions:
        """What it says of the cluster's versions."""
        return Versions(
            kubernetes=self.kubernetes, harvester=self.harvester, longhorn=self.longhorn
        )

    def with_secret_below(self, prefix: str) -> Self:
        """A document says `replant/` in every stack; each stack has a prefix of its own for it."""
        return self.model_copy(update={"secret": prefix + self.secret.removeprefix(SECRETS_PREFIX)})


class PlanDocument(Value):
    """plans/<name>.yaml as the catalogue keeps it: TEXT is a RecoveryPlan as JSON, which few need
    to read; EARLIER is the last version before it whose clusters were known.
    """

    name: ClusterId
    source: ClusterId
    target: ClusterId
    text: str
    earlier: str | None = None

    @property
    def id(self) -> str:
        return self.name


class Share(Value):
    """An export of NFS: its server's name or address, and the PATH below which a target's files
    lie.
    """

    server: Annotated[str, Field(max_length=253), matching(_SERVER, "a host's name or address")]
    path: Annotated[str, Field(max_length=1024), matching(_EXPORT, "a path such as /export/east")]


class BackupTarget(Value):
    """targets/<id>.yaml: a place where one cluster writes its backups. NFS is where the nodes of a
    target cluster can mount the same files. KEEP_COPIES is for how long copies stay there at least,
    once their originals are gone; without it, all do.
    """

    id: ClusterId
    url: Annotated[
        str,
        Field(max_length=1024),
        matching(f"{_BUCKET}|{_FOLDER}", f"s3://BUCKET/[PREFIX/] or {FILES}/[FOLDER/]"),
    ]
    cluster: ClusterId
    endpoint: Annotated[str, matching(r"https?://\S+", "an http(s)://… address")] | None = None
    credential_secret: (
        Annotated[str, matching(f"replant/targets/{_SECRET}", "replant/targets/NAME")] | None
    ) = None
    nfs: Share | None = None
    replicas: tuple[Annotated[str, matching(_BUCKET, "s3://BUCKET/[PREFIX/]")], ...] = ()
    keep_copies: Annotated[Duration, AfterValidator(_a_day_at_least)] | None = None

    @property
    def scanned(self) -> bool:
        """Whether it is a folder, of which nobody tells what happens in it."""
        return self.bucket == FILES

    @property
    def bucket(self) -> str:
        return split_url(self.url)[0]

    @property
    def prefix(self) -> str:
        """The keys below which this target's objects lie; ends with a slash unless empty."""
        path = split_url(self.url)[1]
        return path if path.endswith("/") or not path else path + "/"
