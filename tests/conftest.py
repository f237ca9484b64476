"""One embedded runtime for all tests that need one: the real template, the real API servers, IAM
enforced.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from local.stack import Stack

ROOT = Path(__file__).parent.parent

# How long an example takes says more of what else the machine does: nothing here is timed.
settings.register_profile("untimed", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=10_000)  # make fuzz
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "untimed"))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Started on first use, beside one that a developer may have up. AUTH: least privilege is
    tested, not believed.
    """
    folder = tmp_path_factory.mktemp("runtime")
    environment = {**os.environ, "REPLANT_RUNTIME": str(folder), "AUTH": "true"}
    command = [sys.executable, "-m", "local"]
    subprocess.run([*command, "up"], cwd=ROOT, env=environment, check=True, timeout=240)
    try:
        yield Stack(json.loads((folder / "runtime.json").read_text()))
    finally:
        subprocess.run([*command, "down"], cwd=ROOT, env=environment, check=True, timeout=60)
