"""The documents in force -> the alarms of our own that CloudWatch should have: pure."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

Settings = dict[str, Any]
"""What CloudWatch is told of an alarm, and tells of it, beside its name."""

UNREACHABLE, CREDENTIALS = "unreachable", "credentials"
REPLICATION, REPLICAS = "replication", "replicas"
OF = {REPLICATION: "plan", REPLICAS: "target"}
"""What an alarm is of where it is of no cluster: its metric's dimension, and its tag."""

TAGS = {"application": "replant"}

_EVERY = {
    "Namespace": "Replant",
    "Statistic": "Maximum",
    "Period": 60,
    "InsufficientDataActions": [],
}
# Published every five minutes. Who looks after copies no more tells of no lag.
_LAGS: Settings = {
    "MetricName": "ReplicationLag",
    "Period": 300,
    "EvaluationPeriods": 3,
    "DatapointsToAlarm": 3,
    "ComparisonOperator": "GreaterThanThreshold",
    "TreatMissingData": "breaching",
}
_SETTINGS: dict[str, Settings] = {
    # One period: the probe has looked twice before it says 0. CloudWatch fills in what is missing
    # only where three minutes in a row are.
    UNREACHABLE: {
        "MetricName": "ClusterReachable",
        "EvaluationPeriods": 1,
        "DatapointsToAlarm": 1,
        "Threshold": 1.0,
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "breaching",
    },
    # Two: a secret that could not be read once is no reason to call somebody.
    CREDENTIALS: {
        "MetricName": "ClusterCredentialsUnusable",
        "EvaluationPeriods": 2,
        "DatapointsToAlarm": 2,
        "Threshold": 0.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
    },
    REPLICATION: _LAGS,
    REPLICAS: _LAGS,
}
_MEANING = {
    UNREACHABLE: (
        "The API server of cluster {0} does not answer. If the cluster is gone, restore its "
        "machines elsewhere; if it is well, repair the way to it. docs/operations.md, section 'A "
        "cluster is unreachable', says how to tell."
    ),
    CREDENTIALS: (
        "Replant's credentials for cluster {0} are refused, missing, or expire within 14 days. "
        "Renew the kubeconfig in its secret, as docs/operations.md says in section 'Credentials of "
        "a cluster'; until then nothing can be restored to it, and an outage may go unseen."
    ),
    REPLICATION: (
        "The newest backups of plan {0} were not copied to a place of its `replicate` within its "
        "RPO, or nobody looks after that any more. docs/operations.md, section 'Copies that a plan "
        "must have', says what to do."
    ),
    REPLICAS: (
        "The newest backups of target {0} have not arrived for a day at a place of its `replicas`, "
        "where others copy them, or nobody looks after that any more. docs/operations.md, section "
        "'Copies that a plan must have', says what to do."
    ),
}


class Alarm(NamedTuple):
    """One that there should be, of a cluster, a recovery plan or a target. NEEDS_DATA: it would
    fire if it were made before its metric.
    """

    kind: str
    of: str
    settings: Settings

    @property
    def subject(self) -> tuple[str, str]:
        return self.kind, self.of

    @property
    def needs_data(self) -> bool:
        return self.kind != CREDENTIALS

    @property
    def tags(self) -> dict[str, str]:
        return {**TAGS, _tag(self.kind): self.of}


class Owner(NamedTuple):
    """The stack that an alarm is of, and the topic that it tells."""

    stack: str
    topic: str

    @property
    def prefix(self) -> str:
        """What the names of all alarms of a stack begin with; those of others may, too."""
        return f"{self.stack}-"


def name(stack: str, of: str, kind: str = UNREACHABLE) -> str:
    """At most 204 characters of the 255 that CloudWatch takes."""
    return f"{stack}-{of}-{kind}"


def wanted(
    owner: Owner,
    clusters: Iterable[str],
    sources: Iterable[str],
    copied: Mapping[tuple[str, str], timedelta],
) -> dict[str, Alarm]:
    """By name. SOURCES are the clusters whose loss would matter, as backups or plans say;
    credentials matter of all. COPIED are recovery plans (with REPLICATION) and targets (with
    REPLICAS) whose backups are copied, and how late that may be.
    """
    known = set(clusters)
    every = [_alarm(owner, CREDENTIALS, each) for each in known]
    every += [_alarm(owner, UNREACHABLE, each) for each in known & set(sources)]
    every += [_alarm(owner, kind, of, longest) for (kind, of), longest in copied.items()]
    named = {name(owner.stack, each.of, each.kind): each for each in every}
    return dict(sorted(named.items()))


def settings(described: Mapping[str, Any]) -> Settings:
    """Of an alarm as CloudWatch describes it: what we keep in line. Whether its actions are enabled
    is not: who mutes an alarm for a while has a reason.
    """
    kept = {key: described.get(key) for key in (*_EVERY, *_SETTINGS[UNREACHABLE])}
    kept["InsufficientDataActions"] = described.get("InsufficientDataActions") or []
    kept["DatapointsToAlarm"] = described.get("DatapointsToAlarm") or kept["EvaluationPeriods"]
    dimensions = described.get("Dimensions") or []
    return kept | {
        "AlarmDescription": described.get("AlarmDescription"),
        "AlarmActions": described.get("AlarmActions"),
        "OKActions": described.get("OKActions"),
        "Dimensions": sorted(dimensions, key=lambda each: str(each["Name"])),
    }


def may_be_ours(owner: Owner, described: Mapping[str, Any]) -> bool:
    """Whether an alarm has a name as ours have and watches a metric of this stack: another stack's
    name may begin with this one's.
    """
    title = str(described["AlarmName"])
    named = title.startswith(owner.prefix) and title.endswith(
        tuple(f"-{each}" for each in _SETTINGS)
    )
    return named and _service(owner) in (described.get("Dimensions") or [])


def is_ours(owner: Owner, title: str, tags: Mapping[str, str]) -> bool:
    """Whether we made the alarm, as its tags say: nobody else's is ever deleted."""
    made = {name(owner.stack, tags.get(_tag(kind), ""), kind) for kind in _SETTINGS}
    return TAGS.items() <= tags.items() and title in made


def _alarm(owner: Owner, kind: str, of: str, longest: timedelta | None = None) -> Alarm:
    said: Settings = {
        "AlarmDescription": _MEANING[kind].format(of),
        "AlarmActions": [owner.topic],
        "OKActions": [owner.topic],
        "Dimensions": [{"Name": OF.get(kind, "cluster"), "Value": of}, _service(owner)],
    }
    if longest is not None:
        said["Threshold"] = longest.total_seconds()
    return Alarm(kind, of, _EVERY | _SETTINGS[kind] | said)


def _tag(kind: str) -> str:
    return f"replant:{OF.get(kind, 'cluster')}"


def _service(owner: Owner) -> dict[str, str]:
    return {"Name": "service", "Value": owner.stack}
