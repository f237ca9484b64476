"""QEMU's own programs, where they are installed (Debian, Ubuntu: qemu-utils): the judges of what is
read of images.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

QEMU_IMG = shutil.which("qemu-img") or ""
QEMU_IO = shutil.which("qemu-io") or ""
with_qemu = pytest.mark.skipif(
    not (QEMU_IMG and QEMU_IO), reason="qemu-img is not installed (qemu-utils)"
)

# What it says, at a key for LUKS, where a machine's accounting of a thread's time is coarse or goes
# back: it is seen for half of the calls on a virtual machine that is busy, and for none on others.
CLOCK_FAILED = "Unable to get accurate CPU usage"
CLOCK_TRIES = 100


def qemu_img(*words: str, at: Path) -> str:
    for _ in range(CLOCK_TRIES):
        done = subprocess.run(
            [QEMU_IMG, *words], cwd=at, check=False, capture_output=True, text=True, timeout=60
        )
        if CLOCK_FAILED not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(image: str, *commands: str, at: Path, file_format: str = "qcow2") -> None:
    """COMMANDS of qemu-io, such as `write -P 0x11 0 64k`."""
    words = [word for each in commands for word in ("-c", each)]
    done = subprocess.run(
        [QEMU_IO, "-f", file_format, *words, image],
        cwd=at,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr + done.stdout
