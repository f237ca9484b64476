"""The probe of all clusters: each by itself, in bounded time, and what is told of each."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from functions import probe as function
from functions import second_probe as second_function
from shared.catalogue import documents, observations
from shared.errors import NotFound
from shared.kube import probing as kube
from shared.models.base import to_instant
from shared.models.documents import ClusterDocument
from shared.models.observations import Answer, Observation
from shared.observe import metrics
from shared.settings import settings
from shared.workflows import probing
from shared.workflows.clock import Clock
from shared.workflows.probing import Clients, probe_all, probe_one
from tests.memory_table import MemoryTable
from tests.scenarios import Happened, World
from tests.unit.test_catalogue_function import Context

NOON = datetime(2026, 8, 15, 12, 0, 0, 123456, tzinfo=UTC)
Look = Callable[[str], Answer]


class Missing(ClientError):
    """As boto3 raises it."""


class Secrets:
    """A kubeconfig for each cluster, which says whose it is; REFUSES maps a secret to an error."""

    class exceptions:  # noqa: N801  # boto3's own name
        ResourceNotFoundException = Missing

    def __init__(self) -> None:
        self.refuses: dict[str, Exception] = {}
        self.asked: list[str] = []

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:  # noqa: N803
        self.asked.append(SecretId)
        if SecretId in self.refuses:
            raise self.refuses[SecretId]
        return {"SecretString": SecretId.rpartition("/")[2]}


class Fleet:
    """Clusters with documents; LOOKS are what each look at one answers, the last one for ever."""

    def __init__(self, *names: str) -> None:
        self.table = MemoryTable()
        self.secrets = Secrets()
        self.looks: dict[str, list[Answer | Exception | threading.Event]] = {}
        self.seconds = 0.0
        world = World(self.table)
        text = "id: {0}\nsecret: replant/clusters/{0}\n"
        world.settle(
            Happened(f"clusters/{name}.yaml", text.format(name).encode(), bucket="state")
            for name in names
        )

    @property
    def clients(self) -> Clients:
        secrets: Any = self.secrets
        return Clients(self.table, secrets, True, "test/", Clock(self.now, sleep=self.sleep))

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def probe(
        self, text: str, cluster: ClusterDocument, at: datetime, *, allow_loopback: bool
    ) -> Observation:
        assert (text, cluster.secret) == (cluster.id, f"test/clusters/{cluster.id}")
        assert allow_loopback
        looks = self.looks.get(cluster.id, [Answer.READY])
        answer = looks.pop(0) if len(looks) > 1 else looks[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, threading.Event):
            answer.wait(10)
            return kube.unreachable(cluster.id, at, "late")
        return Observation(cluster=cluster.id, at=at, answer=answer)

    def seen(self, cluster: str) -> Observation:
        found = observations.read(self.table, cluster)
        assert found
        return found


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    fleet = Fleet("east", "west")
    monkeypatch.setattr(kube, "probe", fleet.probe)
    return fleet


def answers(found: list[Observation]) -> dict[str, Answer]:
    return {each.cluster: each.answer for each in found}


def test_every_cluster_with_a_document_is_looked_at_and_written_down(fleet: Fleet) -> None:
    found = probe_all(fleet.clients)
    assert (answers(found.observations), found.failed) == (
        {"east": Answer.READY, "west": Answer.READY},
        {},
    )
    assert fleet.seen("east") == found.observations[0]
    assert fleet.seen("east").at == NOON.replace(microsecond=0), "as it is written down"


def test_without_documents_there_is_nothing_to_look_at() -> None:
    assert probe_all(Fleet().clients) == ([], {})


def test_documents_that_are_gone_or_cannot_be_read_name_no_cluster() -> None:
    fleet = Fleet("east", "west")
    World(fleet.table).settle(
        [
            Happened("clusters/east.yaml", None, 2, bucket="state"),
            Happened("clusters/north.yaml", b"id: [", bucket="state"),
        ]
    )
    assert [each.id for each in documents.cluster_documents(fleet.table)] == ["west"]


def test_a_second_look_confirms_an_outage(fleet: Fleet) -> None:
    fleet.looks["east"] = [Answer.UNREACHABLE, Answer.UNREACHABLE]
    probe_all(fleet.clients)
    told = fleet.seen("east")
    assert (told.answer, fleet.seconds) == (Answer.UNREACHABLE, probing.PAUSE)
    assert told.unreachable_since == NOON.replace(microsecond=0), "when the first look began"


def test_a_second_look_that_is_answered_counts(fleet: Fleet) -> None:
    fleet.looks["east"] = [Answer.UNREACHABLE, Answer.NOT_READY]
    probe_all(fleet.clients)
    told = fleet.seen("east")
    assert (told.answer, told.unreachable_since) == (Answer.NOT_READY, None)
    assert told.at > NOON


@pytest.mark.parametrize("answer", sorted({*Answer} - {Answer.UNREACHABLE}))
def test_whatever_else_is_seen_counts_at_once(fleet: Fleet, answer: Answer) -> None:
    fleet.looks["east"] = [answer, Answer.UNREACHABLE]
    assert answers(probe_all(fleet.clients).observations)["east"] is answer
    assert fleet.seconds == 0


def test_a_cluster_that_hangs_takes_no_other_along(fleet: Fleet) -> None:
    hangs = threading.Event()
    fleet.looks["east"] = [hangs]
    found = probe_all(fleet.clients, together=0.2)
    hangs.set()
    assert answers(found.observations) == {"east": Answer.UNREACHABLE, "west": Answer.READY}
    reason = found.observations[0].reason
    assert reason
    assert "name servers" in reason


def test_a_look_that_was_never_begun_says_nothing_of_its_cluster(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "AT_ONCE", 1)
    hangs = threading.Event()
    fleet.looks["east"] = [hangs]
    found = probe_all(fleet.clients, together=0.2)
    hangs.set()
    assert (answers(found.observations), list(found.failed)) == (
        {"east": Answer.UNREACHABLE},
        ["west"],
    )


def test_a_look_that_breaks_takes_no_other_along(fleet: Fleet) -> None:
    error = ValueError("a defect")
    fleet.looks["east"] = [error]
    found = probe_all(fleet.clients)
    assert (answers(found.observations), found.failed) == (
        {"west": Answer.READY},
        {"east": error},
    )


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (Missing({"Error": {"Code": "ResourceNotFoundException"}}, "Get"), "has no text"),
        (ClientError({"Error": {"Code": "AccessDeniedException"}}, "Get"), "AccessDenied"),
        (EndpointConnectionError(endpoint_url="https://s"), "EndpointConnectionError"),
    ],
)
def test_a_secret_that_cannot_be_read_is_no_outage(
    fleet: Fleet, error: Exception, why: str
) -> None:
    fleet.secrets.refuses["test/clusters/east"] = error
    probe_all(fleet.clients)
    told = fleet.seen("east")
    assert (told.answer, told.reachable) == (Answer.NO_CREDENTIALS, True)
    assert told.reason
    assert why in told.reason
    assert "test/clusters/east" in told.reason


# One cluster


def test_one_look_at_one_cluster_is_written_down(fleet: Fleet) -> None:
    fleet.looks["east"] = [Answer.UNREACHABLE, Answer.READY]
    told = probe_one(fleet.clients, "east")
    assert told.answer is Answer.UNREACHABLE
    assert fleet.seen("east") == told
    assert fleet.secrets.asked == ["test/clusters/east"]


def test_a_cluster_without_a_document_is_not_found(fleet: Fleet) -> None:
    with pytest.raises(NotFound, match="Unknown cluster 'north'"):
        probe_one(fleet.clients, "north")


# The function


@pytest.fixture
def called(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Any]]:
    """Calls it; returns its answer and the metrics by cluster."""
    monkeypatch.setattr(metrics, "namespace", "Replant")
    monkeypatch.setattr(metrics, "service", "replant")
    monkeypatch.setattr(function, "clients", lambda: fleet.clients)

    def call(event: Any) -> Any:
        context: Any = Context()
        answer = function.handler(event, context)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return answer, {each["cluster"]: each for each in lines if "_aws" in each}

    yield call
    metrics.clear_metrics()


@pytest.mark.parametrize(
    ("before", "answer", "reachable", "unusable"),
    [
        (Answer.READY, Answer.READY, 1, False),
        (Answer.READY, Answer.NOT_READY, 1, False),
        (Answer.READY, Answer.UNREACHABLE, 0, False),
        (Answer.READY, Answer.REJECTED, 1, True),
        (Answer.READY, Answer.NO_CREDENTIALS, 1, True),
        (Answer.UNREACHABLE, Answer.NO_CREDENTIALS, 0, True),
        (Answer.UNREACHABLE, Answer.READY, 1, False),
    ],
)
def test_what_is_told_of_a_cluster(
    fleet: Fleet,
    called: Callable[..., Any],
    before: Answer,
    answer: Answer,
    reachable: int,
    unusable: bool,
) -> None:
    fleet.looks["east"] = [before]
    probe_all(fleet.clients)
    fleet.seconds += 60
    fleet.looks["east"] = [answer]
    _, told = called({})
    assert told["east"]["ClusterReachable"] == [reachable]
    assert told["east"].get("ClusterCredentialsUnusable") == ([1] if unusable else None)
    assert set(told) == {"east", "west"}
    (directive,) = told["east"]["_aws"]["CloudWatchMetrics"]
    assert set(directive["Dimensions"][0]) == {"cluster", "service"}


def test_credentials_are_told_of_before_they_expire(
    fleet: Fleet, called: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def soon(_: str, cluster: ClusterDocument, at: datetime, **__: Any) -> Observation:
        seen = Observation(cluster=cluster.id, at=at, answer=Answer.READY)
        return seen.model_copy(update={"credentials_expire": at + timedelta(days=13)})

    monkeypatch.setattr(kube, "probe", soon)
    _, told = called({})
    assert (told["east"]["ClusterReachable"], told["east"]["ClusterCredentialsUnusable"]) == (
        [1],
        [1],
    )


def test_a_look_that_breaks_is_an_error_after_the_others_were_told(
    fleet: Fleet, called: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.looks["east"] = [ValueError("a defect")]
    with pytest.raises(probing.NotLookedAt, match="east"):
        called({})
    assert '"ClusterReachable":[1' in capsys.readouterr().out


def test_one_cluster_is_answered_as_json_and_no_metric(
    fleet: Fleet, called: Callable[..., Any]
) -> None:
    answer, told = called({"cluster": "east"})
    assert told == {}
    assert (answer["answer"], answer["at"]) == ("ready", to_instant(NOON))
    assert Observation.model_validate(answer) == fleet.seen("east")
    assert json.dumps(answer)


# The second place


@pytest.fixture
def second(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Calls the function of the second place."""
    unrecorded = fleet.clients._replace(recorded=False)
    monkeypatch.setattr(second_function, "clients", lambda: unrecorded)
    context: Any = Context()
    return lambda event: second_function.handler(event, context)


def test_a_look_from_the_second_place_is_answered_and_not_written_down(
    fleet: Fleet, second: Callable[[Any], Any]
) -> None:
    fleet.looks["east"] = [Answer.UNREACHABLE]
    assert second({"cluster": "east"})["answer"] == "unreachable"
    assert observations.read(fleet.table, "east") is None


def test_what_the_first_place_alone_sees_is_an_error_before_a_failover_depends_on_it(
    fleet: Fleet, second: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    probe_all(fleet.clients)
    assert second({}) is None
    fleet.looks["west"] = [Answer.UNREACHABLE]
    with pytest.raises(probing.NotLookedAt, match="west"):
        second({})
    assert fleet.seen("west").alive
    (told,) = [vars(each) for each in caplog.records]
    assert (told["cluster"], told["why"]) == ("west", "unreachable")


def test_an_outage_that_both_places_see_is_no_error_of_the_second(
    fleet: Fleet, second: Callable[[Any], Any]
) -> None:
    fleet.looks["west"] = [Answer.UNREACHABLE]
    probe_all(fleet.clients)
    assert second({}) is None


def test_a_look_from_the_second_place_that_breaks_is_an_error(
    fleet: Fleet, second: Callable[[Any], Any]
) -> None:
    fleet.looks["east"] = [ValueError("a defect")]
    with pytest.raises(probing.NotLookedAt, match="east"):
        second({})


@pytest.mark.parametrize("function", [function, second_function])
def test_its_clients_give_up_in_time(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr(
        boto3, "client", lambda name, config: made.setdefault(name, SimpleNamespace(config=config))
    )
    monkeypatch.setenv("CATALOGUE_TABLE", "catalogue")
    settings.cache_clear()
    function.clients.cache_clear()
    assert function.clients() is function.clients()
    assert set(made) == {"dynamodb", "secretsmanager"}
    for each in made.values():
        tries = each.config.retries["total_max_attempts"]
        assert tries * (each.config.connect_timeout + each.config.read_timeout) < 20
    settings.cache_clear()
    function.clients.cache_clear()
