"""Commands in, recorded processes out: starts programs on this machine and stops exactly those."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

RUNTIME = Path(
    os.environ.get("REPLANT_RUNTIME") or Path(__file__).parent.parent / ".replant"
).absolute()

SAME_SECONDS = 1.5
"""How far two readings of one process's start may differ: the time of boot has whole seconds."""

_handed_out: set[int] = set()
_children: dict[int, subprocess.Popen[bytes]] = {}


class NotReadyError(TimeoutError):
    """Something that was waited for did not happen; the text names it and shows the log's end."""


class Process(NamedTuple):
    """A process of ours: its pid means nothing without its start, since the kernel reuses pids.

    `started` is in seconds after boot, which nobody changes by setting the clock.
    """

    name: str
    pid: int
    started: float

    @property
    def running(self) -> bool:
        """Whether the program itself still runs (not merely a child of it)."""
        found = _living(self.pid)
        return found is not None and self.is_recorded_in(found)

    def is_recorded_in(self, found: psutil.Process) -> bool:
        """Whether a process with our pid is ours."""
        return abs(_started(found) - self.started) < SAME_SECONDS


def spawn(
    name: str,
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> int:
    """Start a program in a session of its own, its output in the log of that name; `env` replaces
    ours.
    """
    log = log_file(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with _records() as records, log.open("ab") as output:
        if any(record.name == name and record.running for record in records):
            raise FileExistsError(f"{name} is running already: stop it first (make down)")
        child = subprocess.Popen(
            [str(word) for word in command],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _children[child.pid] = child
        records[:] = [record for record in records if record.name != name]
        # Not yet waited for, so it is there, if only as a zombie.
        records.append(Process(name, child.pid, _started(psutil.Process(child.pid))))
    return child.pid


def alive(name: str) -> bool:
    """Whether the program itself still runs (not merely a child of it)."""
    return any(record.running for record in _read() if record.name == name)


def stop(name: str, timeout: float = 10) -> None:
    """Stop one program and its children; silent when it is gone already."""
    for record in _read():
        if record.name == name:
            _terminate(record, timeout)
            _forget(record)


def stop_all(timeout: float = 10) -> list[str]:
    """Stop everything that was started, the last first, and say what was still running."""
    stopped = []
    for record in reversed(_read()):
        if record.running:
            stopped.append(record.name)
        _terminate(record, timeout)
        _forget(record)
    return stopped


def running() -> list[str]:
    """The names of all programs of ours that run, in the order of their start."""
    return [record.name for record in _read() if record.running]


def free_port() -> int:
    """A free port on loopback, never the same twice in this process."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _handed_out:
            _handed_out.add(port)
            return port


def listens(port: int) -> bool:
    """Whether anything on loopback takes connections at the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(
    question: Callable[[], bool],
    *,
    seconds: float,
    what: str,
    every: float = 0.05,
    name: str | None = None,
) -> None:
    """Ask until the answer is yes; give up early when the process of that name has ended."""
    deadline = time.monotonic() + seconds
    while not question():
        if name is not None and not alive(name):
            raise NotReadyError(f"{what}: {name} has ended{log_tail(name)}")
        if time.monotonic() > deadline:
            log = log_tail(name) if name else ""
            raise NotReadyError(f"{what}: not within {seconds:g} s{log}")
        time.sleep(every)


def log_file(name: str) -> Path:
    """Where the output of a program goes."""
    return RUNTIME / "logs" / f"{name}.log"


def log_tail(name: str, lines: int = 15) -> str:
    """The end of a program's log, as a part of an error message."""
    path = log_file(name)
    if not path.exists():
        return f"\n{path} does not exist."
    text = path.read_text(errors="replace").splitlines()
    return "\n".join(["", f"The end of {path}:", *text[-lines:]])


def _living(pid: int) -> psutil.Process | None:
    """None when it is gone, or only waits for its parent to take note of its end."""
    try:
        found = psutil.Process(pid)
        ended = found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return None if ended else found


def _started(found: psutil.Process) -> float:
    return found.create_time() - psutil.boot_time()


def _members(record: Process) -> list[psutil.Process]:
    """The living processes of a record's group, which may outlive the process that was recorded.

    The kernel gives a pid to nobody else while its group exists, so only a *leader* can be foreign.
    """
    leader = _living(record.pid)
    if leader and not record.is_recorded_in(leader):
        return []
    group = [pid for pid in psutil.pids() if _group(pid) == record.pid]
    return [found for found in map(_living, group) if found]


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:  # ended since it was listed
        return None


def _terminate(record: Process, timeout: float) -> None:
    for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, 5.0)):
        if not _members(record):
            break
        with suppress(ProcessLookupError):
            os.killpg(record.pid, number)
        # Not psutil.wait_procs: it waits for orphans to be reaped, which not every container does.
        deadline = time.monotonic() + patience
        while _members(record) and time.monotonic() < deadline:
            time.sleep(0.02)
    child = _children.pop(record.pid, None)
    if child:
        with suppress(subprocess.TimeoutExpired):
            # A program of many threads is a zombie for a moment before it can be reaped.
            child.wait(5)


def _forget(record: Process) -> None:
    with _records() as records:
        records[:] = [other for other in records if other != record]


def _read() -> list[Process]:
    with _records() as records:
        return list(records)


@contextmanager
def _records() -> Iterator[list[Process]]:
    """The records, to look at or to change, while no other process does; written by a rename."""
    path = RUNTIME / "processes.json"
    RUNTIME.mkdir(parents=True, exist_ok=True)
    with (RUNTIME / "processes.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = _stored(path)
        records = list(before)
        yield records
        if records != before:
            draft = path.with_suffix(".draft")
            draft.write_text(json.dumps([record._asdict() for record in records], indent=1))
            draft.replace(path)


def _stored(path: Path) -> list[Process]:
    if not path.exists():
        return []
    return [Process(**record) for record in json.loads(path.read_text())]
