"""The documents in force -> the alarms of our own that CloudWatch should have: pure."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Settings = dict[str, Any]
"""What CloudWatch is told of an alarm, and tells of it, beside its name."""

UNREACHABLE, CREDENTIALS = "unreachable", "credentials"
TAGS = {"application": "replant"}
CLUSTER_TAG = "replant:cluster"

_EVERY = {
    "Namespace": "Replant",
    "Statistic": "Maximum",
    "Period": 60,
    "InsufficientDataActions": [],
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
}


class Alarm(NamedTuple):
    """One that there should be. NEEDS_DATA: it would fire if it were made before its metric."""

    cluster: str
    settings: Settings
    needs_data: bool

    @property
    def tags(self) -> dict[str, str]:
        return {**TAGS, CLUSTER_TAG: self.cluster}


class Owner(NamedTuple):
    """The stack that an alarm is of, and the topic that it tells."""

    stack: str
    topic: str

    @property
    def prefix(self) -> str:
        """What the names of all alarms of a stack begin with; those of others may, too."""
        return f"{self.stack}-"


def name(stack: str, cluster: str, kind: str = UNREACHABLE) -> str:
    """At most 204 characters of the 255 that CloudWatch takes."""
    return f"{stack}-{cluster}-{kind}"


def wanted(owner: Owner, clusters: Iterable[str], sources: Iterable[str]) -> dict[str, Alarm]:
    """Each cluster's, by name: SOURCES are those whose loss would matter, as backups or plans say;
    credentials matter of all.
    """
    known = set(clusters)
    found = {name(owner.stack, each, CREDENTIALS): each for each in known}
    found |= {name(owner.stack, each): each for each in known & set(sources)}
    return {title: _alarm(owner, title, cluster) for title, cluster in sorted(found.items())}


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
        (f"-{UNREACHABLE}", f"-{CREDENTIALS}")
    )
    return named and _service(owner) in (described.get("Dimensions") or [])


def is_ours(owner: Owner, title: str, tags: Mapping[str, str]) -> bool:
    """Whether we made the alarm, as its tags say: nobody else's is ever deleted."""
    cluster = tags.get(CLUSTER_TAG, "")
    made = {name(owner.stack, cluster, kind) for kind in _SETTINGS}
    return TAGS.items() <= tags.items() and title in made


def _alarm(owner: Owner, title: str, cluster: str) -> Alarm:
    kind = title.rpartition("-")[2]
    said = {
        "AlarmDescription": _MEANING[kind].format(cluster),
        "AlarmActions": [owner.topic],
        "OKActions": [owner.topic],
        "Dimensions": [{"Name": "cluster", "Value": cluster}, _service(owner)],
    }
    return Alarm(cluster, _EVERY | _SETTINGS[kind] | said, needs_data=kind == UNREACHABLE)


def _service(owner: Owner) -> dict[str, str]:
    return {"Name": "service", "Value": owner.stack}
