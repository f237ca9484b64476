"""What the spec of a machine says about when it runs."""

from collections.abc import Mapping
from typing import Any

from shared.labels import RUN_STRATEGY

HALTED = "Halted"
MANUAL = "Manual"
KNOWN = ("Always", "RerunOnFailure", MANUAL, "Once")


def run_strategy(spec: Mapping[str, Any]) -> str:
    """`running` is the older way to say it; KubeVirt reads true as Always."""
    return str(spec.get("runStrategy") or ("Always" if spec.get("running") else HALTED))


def own_strategy(spec: Mapping[str, Any], annotations: Mapping[str, Any]) -> str:
    """That of a machine which a planned failover has halted is the one that it had before."""
    strategy, before = run_strategy(spec), annotations.get(RUN_STRATEGY)
    return str(before) if strategy == HALTED and before in KNOWN else strategy
