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
from dataclasses import asdict, dataclass
from pathlib import Path

RUNTIME = Path(
    os.environ.get("REPLANT_RUNTIME") or Path(__file__).parent.parent / ".replant"
).absolute()

PROC = Path("/proc")

_handed_out: set[int] = set()
_children: dict[int, subprocess.Popen[bytes]] = {}


class NotReadyError(TimeoutError):
    """Something that was waited for did not happen; the text names it and shows the end of the log."""


@dataclass(frozen=True)
class Process:
    """A process of ours: its pid means nothing without its start time, since the kernel reuses
    pids.
    """

    name: str
    pid: int
    started: str

    @property
    def running(self) -> bool:
        return start_time(self.pid) == self.started


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
        records.append(Process(name, child.pid, start_time(child.pid) or "gone"))
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
        ended = name is not None and not alive(name)
        if ended or time.monotonic() > deadline:
            why = f"{name} has ended" if ended else f"not within {seconds:g} s"
            raise NotReadyError(f"{what}: {why}{log_tail(name) if name else ''}")
        time.sleep(every)


def log_file(name: str) -> Path:
    """Where the output of a program goes."""
    return RUNTIME / "logs" / f"{name}.log"


def log_tail(name: str, lines: int = 15) -> str:
    """The end of a program's log, as a part of an error message."""
    path = log_file(name)
    text = path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []
    return "\n".join(["", f"The end of {path}:", *text])


def start_time(pid: int) -> str | None:
    """The kernel's start time of a process; None when it is gone or only waits to be reaped."""
    if pid in _children:
        _children[pid].poll()
    if not PROC.exists():
        return _start_time_by_ps(pid)
    stat = _stat(pid)
    return stat[19] if stat and stat[0] not in "ZX" else None


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name (it may hold blanks): state, parent, group,
    session, ...
    """
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _start_time_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    return (
        subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or None
    )


def _members(record: Process) -> list[int]:
    """The living processes of a record's group, which may outlive the process that was recorded.

    The kernel gives a pid to nobody else while its group exists, so only a *leader* can be foreign.
    """
    leader = start_time(record.pid)
    if leader not in {None, record.started}:
        return []
    if not PROC.exists():
        return [record.pid] if leader else []
    stats = {int(entry.name): _stat(int(entry.name)) for entry in PROC.glob("[0-9]*")}
    return [
        pid
        for pid, stat in stats.items()
        if stat and stat[0] not in "ZX" and stat[2] == str(record.pid)
    ]


def _terminate(record: Process, timeout: float) -> None:
    for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + patience
        if not _members(record):
            break
        with suppress(ProcessLookupError):
            os.killpg(record.pid, number)
        while _members(record) and time.monotonic() < deadline:
            time.sleep(0.02)
    child = _children.pop(record.pid, None)
    if child:
        with suppress(subprocess.TimeoutExpired):
            child.wait(
                5
            )  # a program of many threads is a zombie for a moment before it can be reaped


def _forget(record: Process) -> None:
    with _records() as records:
        records[:] = [other for other in records if other != record]


def _read() -> list[Process]:
    with _records() as records:
        return list(records)


@contextmanager
def _records() -> Iterator[list[Process]]:
    """The records, to look at or to change, while no other process does; written through a rename."""
    path = RUNTIME / "processes.json"
    RUNTIME.mkdir(parents=True, exist_ok=True)
    with (RUNTIME / "processes.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = (
            [Process(**record) for record in json.loads(path.read_text())] if path.exists() else []
        )
        records = list(before)
        yield records
        if records != before:
            draft = path.with_suffix(".draft")
            draft.write_text(json.dumps([asdict(record) for record in records], indent=1))
            draft.replace(path)
