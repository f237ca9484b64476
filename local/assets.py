"""envtest's folder in, programs of the right version out.

envtest is how Go projects test against API servers: it takes etcd, kube-apiserver and kubectl from
the folder that KUBEBUILDER_ASSETS names.
"""

import os
import re
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

VARIABLE = "KUBEBUILDER_ASSETS"
PATIENCE = 30.0


def find(name: str, question: Sequence[str], wanted: str) -> Path | None:
    """The folder's program of that name; QUESTION is what it is asked for its version, which is
    WANTED or begins with that.

    None where there is no such program. One of another version is told once, and ignored.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        return None
    program = Path(folder).absolute() / name
    if program.exists() and _is(program, tuple(question), wanted):
        return program
    return None


@cache
def _is(program: Path, question: tuple[str, ...], wanted: str) -> bool:
    said = _said(program, question)
    if re.search(rf"{re.escape(wanted)}(\.\d+)*$", said, re.MULTILINE):
        return True
    first = said.partition("\n")[0]
    print(
        f"{program} is not used: it says {first!r}, and {wanted} is needed. Put that version into"
        f" the folder of {VARIABLE}, or unset {VARIABLE}.",
        flush=True,
    )
    return False


def _said(program: Path, question: tuple[str, ...]) -> str:
    """An error is an answer too: it names no version."""
    try:
        answer = subprocess.run(
            [program, *question], capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (answer.stdout or answer.stderr).strip()
