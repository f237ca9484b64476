"""Ways of bringing a machine's disks back, by name. A new one is a record in a module of its own,
named here.
"""

from shared.restore.strategies.csi import CSI
from shared.restore.strategies.strategy import Data, Live, Strategy

__all__ = ["STRATEGIES", "Data", "Live", "Strategy", "choose"]

STRATEGIES = {strategy.name: strategy for strategy in (CSI,)}


def choose(asked: str) -> tuple[Strategy, str]:
    """The strategy for what a request asks, and why it is that one."""
    if asked == "auto":
        return CSI, "auto: Longhorn data, and the only strategy of this version"
    return STRATEGIES[asked], "as the request says"
