"""Programs are started and stopped exactly: no stranger is killed, no child is left, also after a
crash.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from local import processes
from local.processes import NotReadyError

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
FAMILY = (
    "import subprocess, time; subprocess.Popen(['sleep', '60']);"
    "print('here', flush=True); time.sleep(60)"
)
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('here', flush=True); time.sleep(60)"
)


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(processes, "RUNTIME", tmp_path)
    yield tmp_path
    processes.stop_all(timeout=0.1)


def spoke(name: str) -> bool:
    return "here" in processes.log_file(name).read_text()


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def group(leader: int) -> list[int]:
    """The running processes of a group, which is named by its leader's pid."""
    found = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError):
            if os.getpgid(pid) == leader and running(pid):
                found.append(pid)
    return found


def started(name: str, program: str) -> int:
    pid = processes.spawn(name, [sys.executable, "-c", program])
    processes.wait_until(lambda: spoke(name), seconds=10, what=f"{name} speaks", name=name)
    return pid


def test_a_program_runs_until_it_is_stopped_and_its_record_goes_with_it(runtime: Path) -> None:
    pid = processes.spawn("one", SLEEP)
    assert processes.alive("one")
    assert json.loads((runtime / "processes.json").read_text())[0]["pid"] == pid
    processes.stop("one")
    assert not processes.alive("one")
    assert not running(pid)
    assert json.loads((runtime / "processes.json").read_text()) == []


def test_only_the_named_program_is_stopped() -> None:
    processes.spawn("one", SLEEP)
    processes.spawn("two", SLEEP)
    processes.stop("one")
    assert processes.running() == ["two"]


def test_all_are_stopped_in_the_reverse_order_of_their_start() -> None:
    for name in ("one", "two", "three"):
        processes.spawn(name, SLEEP)
    assert processes.stop_all() == ["three", "two", "one"]
    assert processes.stop_all() == []


def test_children_end_with_their_parent() -> None:
    pid = started("family", FAMILY)
    processes.stop("family")
    assert group(pid) == []


def test_children_of_a_killed_parent_are_stopped_too() -> None:
    pid = started("family", FAMILY)
    os.kill(pid, signal.SIGKILL)
    processes.wait_until(lambda: not processes.alive("family"), seconds=5, what="the parent's end")
    assert group(pid)
    processes.stop_all()
    assert group(pid) == []


def test_a_program_that_ignores_the_request_is_killed() -> None:
    pid = started("stubborn", STUBBORN)
    processes.stop("stubborn", timeout=0.2)
    assert not running(pid)


def test_what_a_crashed_starter_left_is_found_and_stopped(runtime: Path) -> None:
    start = f"from local.processes import spawn; print(spawn('left', {SLEEP!r}), flush=True)"
    code = f"{start}; import os; os._exit(9)"
    environment = os.environ | {
        "REPLANT_RUNTIME": str(runtime),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [sys.executable, "-c", code]
    pid = int(
        subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout
    )
    assert processes.alive("left")
    assert processes.stop_all() == ["left"]
    assert not running(pid)


def test_a_recycled_pid_is_never_killed(runtime: Path) -> None:
    with subprocess.Popen(SLEEP, start_new_session=True) as stranger:
        forged = [{"name": "ours", "pid": stranger.pid, "started": 12345.0}]
        (runtime / "processes.json").write_text(json.dumps(forged))
        assert not processes.alive("ours")
        assert processes.stop_all() == []
        assert stranger.poll() is None
        stranger.kill()


def test_the_same_name_is_not_started_twice() -> None:
    processes.spawn("one", SLEEP)
    with pytest.raises(FileExistsError, match="one is running already"):
        processes.spawn("one", SLEEP)


def test_free_ports_are_never_the_same_twice() -> None:
    ports = [processes.free_port() for _ in range(200)]
    assert len(set(ports)) == 200


def test_waiting_in_vain_names_what_and_shows_the_log() -> None:
    started("one", SLEEP[2])
    with pytest.raises(NotReadyError, match=r"(?s)the moon: not within 0.1 s.*here"):
        processes.wait_until(lambda: False, seconds=0.1, what="the moon", name="one")


def test_waiting_ends_early_when_the_program_has_ended() -> None:
    processes.spawn("brief", [sys.executable, "-c", "print('no such flag')"])
    with pytest.raises(NotReadyError, match=r"(?s)a server: brief has ended.*no such flag"):
        processes.wait_until(lambda: False, seconds=30, what="a server", name="brief")
