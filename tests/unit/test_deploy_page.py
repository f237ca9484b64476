"""docs/deploy.md: its parameters are the template's, and its costs add up."""

import re
from pathlib import Path
from typing import Any

import pytest

from local.build.template import load

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/deploy.md").read_text()
PARAMETERS: dict[str, dict[str, Any]] = load(ROOT / "template.yaml")["Parameters"]


def table(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


DOCUMENTED = {row[0].strip("`"): row[1:] for row in table("Parameters")}


def test_every_parameter_is_on_the_page() -> None:
    assert list(DOCUMENTED) == list(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameters_example_is_a_value_that_it_accepts(name: str) -> None:
    example, default, meaning = DOCUMENTED[name]
    accepted = PARAMETERS[name]
    assert meaning
    assert default.strip("`").replace("(empty)", "") == str(accepted["Default"])
    value = example.strip("`")
    if "AllowedValues" in accepted:
        assert value in map(str, accepted["AllowedValues"])
    elif accepted["Type"] == "Number":
        assert accepted["MinValue"] <= int(value) <= accepted["MaxValue"]
    else:
        assert re.search(accepted["AllowedPattern"], value)
