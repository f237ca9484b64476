"""An outage of a cluster is asked for by name, and an unknown one is told which there are."""

from pathlib import Path

import pytest

from local import __main__ as command
from local import cluster, processes, runtime


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str]]:
    """What was done to which cluster, with a runtime that is up."""
    done: list[tuple[str, str]] = []
    file = tmp_path / "runtime.json"
    file.write_text("{}")
    monkeypatch.setattr(runtime, "FILE", file)
    for method in ("take_away", "bring_back"):
        monkeypatch.setattr(
            cluster.Cluster, method, lambda self, name=method: done.append((name, self.name))
        )
    return done


def test_an_outage_and_its_end_concern_the_named_cluster(called: list[tuple[str, str]]) -> None:
    assert command.main(["outage", "east"]) == 0
    assert command.main(["recover", "east"]) == 0
    assert called == [("take_away", "east"), ("bring_back", "east")]


@pytest.mark.parametrize("word", ["outage", "recover"])
def test_an_unknown_cluster_is_told_which_there_are(
    called: list[tuple[str, str]], capsys: pytest.CaptureFixture[str], word: str
) -> None:
    assert command.main([word, "wset"]) == 1
    assert capsys.readouterr().out == "Unknown cluster 'wset'. Known: east, west.\n"
    assert not called


@pytest.mark.parametrize("word", ["outage", "recover"])
def test_where_nothing_is_up_the_remedy_is_named(
    called: list[tuple[str, str]], capsys: pytest.CaptureFixture[str], word: str
) -> None:
    runtime.FILE.unlink()
    assert command.main([word, "east"]) == 1
    assert "make up" in capsys.readouterr().out
    assert not called


@pytest.mark.parametrize("words", [[], ["outage"], ["recover", "east", "west"], ["up", "east"]])
def test_a_command_that_there_is_not_shows_those_that_there_are(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(words) == 2
    assert "outage|recover CLUSTER" in capsys.readouterr().err


def test_an_outage_ends_with_every_process_that_had_ended_started_as_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "RUNTIME", tmp_path)
    lab = cluster.Cluster("lab")
    lab.folder.mkdir(parents=True)
    monkeypatch.setattr(cluster.Cluster, "api", property(lambda _: AlwaysThere()))
    try:
        for role in lab.roles:
            lab.spawn(role, "sleep", "600")
        lab.take_away()
        processes.stop(lab.process("simulation"))
        lab.bring_back()
        assert processes.running()[-2:] == ["lab-apiserver", "lab-simulation"]
        assert len(processes.running()) == len(lab.roles)
    finally:
        processes.stop_all()


class AlwaysThere:
    """An API server that answers."""

    def answers(self, _: str) -> bool:
        return True
