"""What the functions load before their first event."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["functions.plan", "functions.restore", "functions.rollback"])
def test_a_function_loads_neither_the_kubernetes_package_nor_yaml(module: str) -> None:
    program = f"import sys, {module}; print({{'kubernetes', 'yaml'}} & sys.modules.keys())"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert loaded.stdout.strip() == "set()"
