"""What the template tells a function: read once, and a fault in it named."""

from collections.abc import Iterator

import pytest

from shared.settings import settings


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CATALOGUE_TABLE", "catalogue")
    monkeypatch.delenv("ALLOW_LOOPBACK_CLUSTERS", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_what_is_not_said_is_empty_or_has_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK_NAME", "replant")
    monkeypatch.delenv("STATE_BUCKET", raising=False)
    found = settings()
    assert (found.catalogue_table, found.stack_name, found.state_bucket) == (
        "catalogue",
        "replant",
        "",
    )
    assert (found.secrets_prefix, found.allow_loopback_clusters) == ("replant/", False)
    assert settings() is found


@pytest.mark.parametrize(("said", "meant"), [("true", True), ("false", False)])
def test_a_switch_is_true_or_false(monkeypatch: pytest.MonkeyPatch, said: str, meant: bool) -> None:
    monkeypatch.setenv("ALLOW_LOOPBACK_CLUSTERS", said)
    assert settings().allow_loopback_clusters is meant


def test_a_fault_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOW_LOOPBACK_CLUSTERS", "yes")
    with pytest.raises(RuntimeError, match="ALLOW_LOOPBACK_CLUSTERS is missing or wrong"):
        settings()
    monkeypatch.delenv("CATALOGUE_TABLE")
    monkeypatch.setenv("ALLOW_LOOPBACK_CLUSTERS", "true")
    with pytest.raises(RuntimeError, match="CATALOGUE_TABLE is missing or wrong"):
        settings()
