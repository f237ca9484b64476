"""CPU seconds of a cluster's servers, of who asks them and of the embedded AWS: on a machine that
all share, they say how far apart two clients can be.
"""

import resource
import time
from collections.abc import Iterable
from typing import NamedTuple

import psutil

SERVERS = ("etcd", "apiserver")


class Spent(NamedTuple):
    """CPU seconds, of all threads, user and system."""

    servers: float = 0.0
    ours: float = 0.0
    children: float = 0.0

    def __sub__(self, before: "Spent") -> "Spent":
        return Spent(*(now - then for now, then in zip(self, before, strict=True)))


class Parties(NamedTuple):
    """CPU seconds of the servers, of our functions, and of the embedded AWS that they run in."""

    servers: float
    functions: float
    aws: float

    def __sub__(self, before: "Parties") -> "Parties":
        return Parties(*(now - then for now, then in zip(self, before, strict=True)))


def of_parties(servers: Iterable[int], aws: int) -> Parties:
    """AWS is the pid of the embedded one, whose children are the functions: those that have ended
    count as long as it has waited for them.
    """
    emulator = psutil.Process(aws)
    own = emulator.cpu_times()
    functions = own.children_user + own.children_system
    functions += sum(_spent(each) for each in emulator.children(recursive=True))
    return Parties(sum(_spent(psutil.Process(pid)) for pid in servers), functions, _spent(emulator))


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def now(pids: Iterable[int]) -> Spent:
    """Since they began: the servers of those pids, this process, and the children that it has
    waited for.
    """
    waited = resource.getrusage(resource.RUSAGE_CHILDREN)
    servers = sum(_spent(psutil.Process(pid)) for pid in pids)
    return Spent(servers, time.process_time(), waited.ru_utime + waited.ru_stime)
