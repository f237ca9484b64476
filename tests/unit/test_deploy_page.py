"""docs/deploy.md: its parameters are the template's, and its costs add up."""

import ast
import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.build.template import load
from shared.watch.alarms import Owner, wanted

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


SIZES = ("small", "medium", "large")
COSTS = PAGE.split("\n## What it costs\n", 1)[1]


def rows(head: str) -> dict[str, tuple[str, list[float]]]:
    """Of the table whose first column is called HEAD: the formula and the three figures of each."""
    lines = COSTS.split(f"\n| {head} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    found = {}
    for line in lines:
        name, said, *figures = [cell.strip() for cell in line.strip("|").split("|")]
        formula = said.partition("`")[2].partition("`")[0]
        found[name.strip("`*")] = (formula, [float(each) for each in figures])
    return found


def computed(formula: str, quantities: dict[str, float]) -> float:
    """Arithmetic alone: names of quantities, numbers and the four operations."""

    def value(node: ast.AST) -> float:
        match node:
            case ast.Expression(body=body):
                return value(body)
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.Name(id=name):
                return quantities[name]
            case ast.BinOp(left=left, op=op, right=right):
                return OPERATIONS[type(op)](value(left), value(right))
        raise ValueError(f"not arithmetic: {ast.dump(node)}")

    return value(ast.parse(formula, mode="eval"))


OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
QUANTITIES = rows("quantity")
FIXED, VARIABLE, TOTAL = rows("fixed"), rows("variable"), rows("in all")


@pytest.mark.parametrize("size", range(len(SIZES)), ids=SIZES)
def test_every_figure_is_what_its_formula_says(size: int) -> None:
    known = {name: figures[size] for name, (_, figures) in QUANTITIES.items()}
    for name, (formula, figures) in QUANTITIES.items():
        if formula:
            assert figures[size] == pytest.approx(computed(formula, known)), name
    for name, (formula, figures) in (FIXED | VARIABLE | TOTAL).items():
        if formula:
            assert figures[size] == pytest.approx(computed(formula, known), abs=0.0051), name


@pytest.mark.parametrize("size", range(len(SIZES)), ids=SIZES)
def test_the_sums_are_of_the_exact_amounts(size: int) -> None:
    known = {name: figures[size] for name, (_, figures) in QUANTITIES.items()}
    sums = {}
    for name, lines in (("fixed in all", FIXED), ("variable in all", VARIABLE)):
        sums[name] = sum(computed(each, known) for each, _ in lines.values() if each)
        assert lines[name][1][size] == pytest.approx(sums[name], abs=0.0051)
    assert TOTAL["each month"][1][size] == pytest.approx(sum(sums.values()), abs=0.0051)


WHERE_LATE = ("MachinesBeyondRpo", "MachinesIncomplete")  # published where there are such


def test_the_quantities_are_those_of_the_template_and_the_functions() -> None:
    resources = load(ROOT / "template.yaml")["Resources"].values()
    alarms = [
        each
        for each in resources
        if each["Type"] == "AWS::CloudWatch::Alarm" and "Condition" not in each
    ]
    kept = wanted(Owner("replant", "topic"), ["east", "west"], ["east"], {})
    assert QUANTITIES["clusters"][1] == [2] * len(SIZES)
    assert QUANTITIES["alarms"][1] == [len(alarms) + len(kept)] * len(SIZES)
    published = {
        name: re.findall(r'add_metric\("(\w+)"', (ROOT / f"functions/{name}.py").read_text())
        for name in ("census", "catalogue", "probe")
    }
    # The other one is published only where something is wrong.
    assert published["probe"] == ["ClusterReachable", "ClusterCredentialsUnusable"]
    assert QUANTITIES["watched"][1] == [1] * len(SIZES)
    always = [name for name in published["census"] if name not in WHERE_LATE]
    assert len(published["census"]) - len(always) == len(WHERE_LATE)
    assert QUANTITIES["gauges"][1] == [len(always)] * len(SIZES)
    assert QUANTITIES["counters"][1] == [len(published["catalogue"])] * len(SIZES)


def test_a_hundred_machines_cost_less_than_ten_dollars_and_events_of_blocks_far_more() -> None:
    medium = SIZES.index("medium")
    month = TOTAL["each month"][1][medium]
    assert month < 10
    assert TOTAL["with EventBridge instead of S3's own notifications"][1][medium] > 2.5 * month
