"""Which restore points are meant: the `select` of the contract's requests (section 5)."""

from typing import Annotated

from pydantic import Field, model_validator

from shared.models.base import (
    DNS_LABEL,
    DNS_NAME,
    At,
    ClusterId,
    Label,
    LabelKey,
    LabelValue,
    Value,
    matching,
)

MACHINE_LENGTH = 63 + 1 + 253
"""Characters of the longest namespace/name."""

MachineName = Annotated[
    str,
    Field(max_length=MACHINE_LENGTH),
    matching(rf"{DNS_LABEL}/{DNS_NAME}", "namespace/name such as default/web01"),
]
CopyPlace = Annotated[
    str,
    Field(max_length=1024),
    matching(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?", "s3://BUCKET/[PREFIX/]"),
]
"""Where copies are to lie."""

_PointId = Annotated[str, Field(min_length=1, max_length=253)]


WAYS = ("id", "ids", "vm", "namespace", "labels", "plan", "failover")
"""Of a selection, each says which machines are meant."""


class Select(Value):
    """One of id, ids, vm, namespace, labels or plan, or a cluster alone, which is all its machines;
    cluster and at narrow the vm, the namespace and the labels, at None being the latest. A plan
    says its cluster itself. A failover and a WAVE of it are what FailoverStateMachine selects: the
    plan is then the one that the failover began with.
    """

    id: _PointId | None = None
    ids: Annotated[tuple[_PointId, ...], Field(min_length=1, max_length=5000)] | None = None
    vm: MachineName | None = None
    namespace: Label | None = None
    labels: dict[LabelKey, LabelValue] | None = None
    plan: ClusterId | None = None
    failover: (
        Annotated[
            str, matching("f-[0-9a-f]{16}", "the id of a failover such as f-236f43f4916a4a15")
        ]
        | None
    ) = None
    wave: Label | None = None
    cluster: ClusterId | None = None
    at: At = None

    @property
    def names_points(self) -> bool:
        """Whether it says which restore points are meant, and not which machines."""
        return bool(self.id or self.ids)

    @model_validator(mode="after")
    def _one_subject(self) -> "Select":
        ways = [name for name in WAYS if getattr(self, name)]
        if len(ways) > 1:
            raise ValueError(f"must have one of {', '.join(ways)}, not several")
        if not ways and not self.cluster:
            raise ValueError(
                "must have one of id, ids, vm, namespace, labels, plan, or cluster for all of it"
            )
        if self.id or self.ids:
            self._check_points(ways[0])
        if (self.plan or self.failover) and self.cluster:
            raise ValueError("must leave out cluster: the plan says it")
        if bool(self.failover) != bool(self.wave):
            raise ValueError("must have failover and wave together, or neither")
        return self

    def _check_points(self, way: str) -> None:
        if self.cluster or self.at:
            raise ValueError(f"must leave out cluster and at: {way} says it all")
        if self.ids and len(set(self.ids)) != len(self.ids):
            raise ValueError("must not have the same restore point twice in ids")
