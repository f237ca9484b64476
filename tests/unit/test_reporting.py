"""The end of an execution, where another one has taken up its restore meanwhile."""

from collections.abc import Iterator

import pytest

from shared.errors import Overtaken
from tests.lab import Lab, a_lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    with a_lab() as lab:
        yield lab


def test_a_late_report_of_an_execution_leaves_that_of_the_next_one_alone(lab: Lab) -> None:
    """StopExecution leaves a report function running as well."""
    lab.backup()
    first = lab.plan()
    lab.apply(first)
    lab.stop()
    second = lab.plan(execution="run-2")
    output = lab.finish(second)
    objects, told = dict(lab.s3.objects), list(lab.topic.told)
    with pytest.raises(Overtaken) as caught:
        lab.report(first)
    assert caught.value.message == (
        f"Restore {first.ledger} was taken up by another execution, which reports it."
    )
    assert (lab.s3.objects, lab.topic.told) == (objects, told)
    assert lab.record(second).outcome == output["state"] == "succeeded"
