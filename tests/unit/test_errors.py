"""The text of our errors: what an execution shows as its cause."""

import json

import pytest

from shared.errors import LONGEST, NotFound, Refused


def test_the_text_of_an_error_is_the_json_that_an_execution_shows_as_its_cause() -> None:
    error = Refused("Kühlhaus: no network", "target")
    assert str(error) == (
        '{"code": "Refused", "message": "Kühlhaus: no network", "field": "target"}'
    )
    assert json.loads(str(NotFound("gone")))["field"] is None


@pytest.mark.parametrize("letter", ["x", '"', "\\", "☃"])
def test_a_cause_fits_into_step_functions_however_long_the_request_s_keys_are(letter: str) -> None:
    """As JSON in JSON, beside a stack trace: at most 32,768 characters together."""
    error = Refused(letter * 100_000, letter * 100_000)
    said = json.loads(str(error))
    assert [len(said[key]) for key in ("message", "field")] == [LONGEST, LONGEST]
    assert said["message"].endswith("…")
    assert error.message == letter * 100_000, "what is told elsewhere is whole"
    assert len(json.dumps({"errorMessage": str(error)}, ensure_ascii=False)) < 32_768
    kept = Refused("x" * LONGEST)
    assert json.loads(str(kept))["message"] == "x" * LONGEST
