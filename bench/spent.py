"""CPU seconds of a cluster's servers and of who asks them: on a machine that both share, they say
how far apart two clients can be.
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


def now(pids: Iterable[int]) -> Spent:
    """Since they began: the servers of those pids, this process, and the children that it has
    waited for.
    """
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    waited = resource.getrusage(resource.RUSAGE_CHILDREN)
    servers = sum(each.user + each.system for each in times)
    return Spent(servers, time.process_time(), waited.ru_utime + waited.ru_stime)
