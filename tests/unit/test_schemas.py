"""The JSON Schemas that are shipped for editors."""

import pytest

from local.build import schemas


@pytest.mark.parametrize("name", schemas.DOCUMENTS)
def test_the_schema_that_is_shipped_is_the_models(name: str) -> None:
    shipped = (schemas.FOLDER / f"{name}.json").read_text()
    assert shipped == schemas.text(name), "make schemas writes it anew"


def test_an_editor_learns_keys_forms_and_choices() -> None:
    plan = schemas.schema("plan")
    wave = plan["$defs"]["Wave"]["properties"]
    assert plan["required"] == ["name", "source", "target", "waves"]
    assert plan["additionalProperties"] is False
    assert plan["properties"]["name"]["pattern"] == "^([a-z0-9-]{1,63})$"
    assert plan["properties"]["name"]["description"].startswith("Must be an id of a-z")
    assert wave["onFailure"]["enum"] == ["stop", "continue"]
