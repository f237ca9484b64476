"""The benchmarks' own arithmetic: statistics, tables, counting, the page. Nothing here is timed."""

import asyncio
import base64
import contextlib
import json
import ssl
import sys
from collections import Counter
from datetime import UTC, date, datetime
from functools import partial
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from unittest.mock import Mock, call
from urllib.parse import urlsplit

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError

from bench import __main__ as command
from bench import (
    asked,
    batch,
    document,
    failover,
    init,
    machines,
    memory,
    probe,
    ready,
    restore,
    thousands,
    wire,
)
from bench.figures import Pair, Table, comparison, markdown, number, spread
from bench.proxy import relay
from bench.requests import Call, Requests, sent_again, told
from local.build.template import load
from local.cloud import ROOT
from local.samples import builders
from shared.layouts.machine_records import machine_record

TABLE = Table("Title", ("work", "ms"), (("short", "1.00"), ("much longer", "12.0")), "A note.")


def test_a_ratio_is_ours_divided_by_the_peers_in_the_middle_round() -> None:
    assert Pair(peer=[10, 100, 10], ours=[20, 150, 30]).ratio == 2.0


def test_a_ratio_of_unequal_rounds_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        _ = Pair(peer=[1.0], ours=[1.0, 2.0]).ratio


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_a_ratio_column_says_what_it_divides_and_which_way_is_good(better: str) -> None:
    table = comparison("T", "kubectl", "objects/s", [("10 VMs", Pair([100], [400]))], better=better)
    assert f"replant ÷ kubectl ({better} is better)" in table.columns
    assert "kubectl, objects/s" in table.columns
    assert "replant, objects/s" in table.columns


def test_a_comparison_has_medians_ratio_rounds_and_spreads_in_the_order_of_its_columns() -> None:
    table = comparison("T", "base", "ms", [("x", Pair([30, 10, 20], [60, 40, 20]))], better="lower")
    assert table.rows == (("x", "20.0", "40.0", "2.00", "3", "10.0 to 30.0", "20.0 to 60.0"),)
    assert len(table.rows[0]) == len(table.columns)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.123, "0.12"), (9.876, "9.88"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")],
)
def test_numbers_show_three_digits_that_count(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_spread_goes_from_the_least_to_the_greatest() -> None:
    assert spread([3, 1, 2]) == "1.00 to 3.00"


def test_a_table_is_markdown_and_readable_as_text() -> None:
    assert markdown(TABLE).splitlines() == [
        "### Title",
        "",
        "A note.",
        "",
        "| work        | ms   |",
        "| ----------- | ---- |",
        "| short       | 1.00 |",
        "| much longer | 12.0 |",
    ]


def test_a_table_without_rows_or_note_is_still_a_table() -> None:
    assert markdown(Table("T", ("a",), ())).splitlines() == ["### T", "", "| a |", "| - |"]


def test_only_what_stands_between_the_markers_is_replaced_and_again() -> None:
    page = "before\n<!-- x: begin -->\nold\n<!-- x: end -->\nafter\n"
    once = document.written(page, "x", [TABLE], "conditions")
    assert once.startswith("before\n<!-- x: begin -->\nconditions\n\n### Title\n")
    assert once.endswith("| much longer | 12.0 |\n<!-- x: end -->\nafter\n")
    assert "old" not in once
    assert document.written(once, "x", [TABLE], "conditions") == once


@pytest.mark.parametrize(
    "page", ["", "<!-- x: begin -->", "<!-- x: begin --><!-- x: begin --><!-- x: end -->"]
)
def test_a_page_without_the_markers_is_not_touched(page: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        document.written(page, "x", [TABLE], "")


def test_the_page_has_the_markers_of_every_benchmark() -> None:
    page = document.FILE.read_text()
    for name in command.BENCHMARKS:
        assert document.written(page, name, [TABLE], "")


def test_conditions_name_the_command_the_date_and_the_machine() -> None:
    said = document.conditions("cfg", date(2026, 11, 23))
    assert said.startswith("`python -m bench cfg`, 2026-11-23, ")
    assert "cores" in said
    assert "Python 3." in said


def test_an_unknown_benchmark_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["events"])
    assert (
        "there are event, fill, migrate, search, init, restore, batch, rollback, failover, line,"
        " ready, memory, cfg, images, strategies, rto" in capsys.readouterr().err
    )


def test_requests_are_counted_by_operation_as_they_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    requests = Requests()
    sent = boto3.client("sqs", region_name="us-east-1").meta.events.emit
    sent("before-send.sqs.ListQueues")
    with requests.of() as made:
        sent("provide-client-params.sqs.ListQueues", params={"MaxResults": 3})
        sent("before-send.sqs.ListQueues")
        sent("before-send.sqs.ListQueues")
    sent("before-send.sqs.ListQueues")
    assert made.counts == {"ListQueues": 2}
    assert made.calls == [Call("sqs", "ListQueues", {"MaxResults": 3})]


def test_the_most_frequent_request_is_told_first() -> None:
    assert (
        told(Counter(Query=1, GetItem=1, PutItem=3, GetObject=0)) == "3 PutItem, 1 GetItem, 1 Query"
    )
    assert told({}) == "none"


def test_the_same_requests_are_sent_again_and_refused_conditions_ignored() -> None:
    client = Mock()
    client.put_item.side_effect = ClientError(
        {"Error": {"Code": "ConditionalCheckFailedException"}}, "PutItem"
    )
    client.query.return_value = {}
    sent_again(
        {"dynamodb": client},
        [Call("dynamodb", "PutItem", {"a": 1}), Call("dynamodb", "Query", {"b": 2})],
    )
    assert client.mock_calls == [call.put_item(a=1), call.query(b=2)]


def test_every_function_of_the_template_is_measured_with_its_layers() -> None:
    template = load(ROOT / "template.yaml")
    functions = {
        k: v for k, v in template["Resources"].items() if v["Type"] == "AWS::Serverless::Function"
    }
    shared = [each for each in template["Globals"]["Function"]["Layers"] if "Ref" in each]
    expected = {
        name: (
            each["Properties"]["Handler"].split(".")[1],
            tuple(layer["Ref"] for layer in [*shared, *each["Properties"].get("Layers", [])]),
        )
        for name, each in functions.items()
    }
    assert {each.folder: (each.module, each.layers) for each in init.FUNCTIONS} == expected


def test_a_function_is_compared_with_a_base_that_has_the_same_clients() -> None:
    for each in init.FUNCTIONS:
        source = Path(ROOT, "functions", f"{each.module}.py").read_text()
        assert {name for name in SERVICES if f'boto3.client("{name}"' in source} == set(
            each.services
        )
        assert init.base(each)["services"] == each.services


SERVICES = (
    "cloudwatch",
    "dynamodb",
    "events",
    "lambda",
    "s3",
    "secretsmanager",
    "sns",
    "sqs",
    "stepfunctions",
)


def test_a_cold_start_is_told_by_the_clock_and_by_the_processor() -> None:
    base, ours = {"ms": 100.0, "cpu": 80.0}, {"ms": 120.0, "cpu": 88.0}
    table = init.times({"PlanFunction": [(base, ours)]})
    (row,) = table.rows
    told = dict(zip(table.columns, row, strict=True))
    assert told["replant ÷ base (lower is better)"] == "1.20"
    assert told["CPU of replant ÷ CPU of base"] == "1.10"


def test_the_proxy_keeps_bytes_whole_in_order_and_late() -> None:
    async def through() -> tuple[bytes, float]:
        source, got = asyncio.StreamReader(), asyncio.get_running_loop().create_future()

        async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.set_result(await reader.read())
            writer.close()

        server = await asyncio.start_server(sink, "127.0.0.1", 0)
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            loop, started = asyncio.get_running_loop(), asyncio.get_running_loop().time()
            for piece in (b"one ", b"two ", b"three"):
                source.feed_data(piece)
            source.feed_eof()
            await relay(source, writer, 0.05)
            received = await got
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            return received, loop.time() - started

    received, took = asyncio.run(through())
    assert received == b"one two three"
    assert took > 0.04


def test_every_benchmark_is_described_in_the_page() -> None:
    page = document.FILE.read_text()
    assert [name for name in command.BENCHMARKS if f"| `{name}` |" not in page] == []


def test_quick_figures_are_never_written(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["cfg", "--quick", "--write"])
    assert "not allowed with" in capsys.readouterr().err


def test_a_restore_is_measured_with_another_side_first_in_each_round() -> None:
    orders = [restore.turns(number, peer) for peer in ("raw", "kubectl") for number in range(2)]
    assert orders == [
        ["replant", "raw"],
        ["raw", "replant"],
        ["replant", "kubectl"],
        ["kubectl", "replant"],
    ]


def test_memory_is_told_with_its_growth_from_row_to_row() -> None:
    rows = memory.rows([memory.Measured(10, 1.0, 100.0), memory.Measured(1000, 21.0, 160.0)], 320.0)
    assert rows == (
        ("10 VMs, 80 objects", "1.00", "100", "31%", "", ""),
        ("1,000 VMs, 8,000 objects", "21.0", "160", "50%", "60.0", "3.00"),
    )


def test_what_is_asked_of_aws_is_told_for_each_machine_and_for_a_thousand() -> None:
    of_execution = asked.Asked(Counter({"s3 GET": 300, "dynamodb Query": 200}), 30)
    assert batch.asked_of(batch.Row(250, 1), of_execution) == (
        "250 VMs, 1,976 objects",
        "500",
        "2.00",
        "300 s3 GET, 200 dynamodb Query",
        "30",
        "120",
    )


def test_what_is_asked_of_aws_has_its_price() -> None:
    requests = Counter({"s3 GET": 2_500_000, "dynamodb PutItem": 1_600_000})
    found = asked.Asked(requests, transitions=40_000, calls=5_000_000, seconds=60_000)
    assert found.dollars == pytest.approx(1 + 1 + 1 + 1 + 1, rel=0.001)


def test_a_request_without_a_price_is_an_error() -> None:
    with pytest.raises(KeyError, match="sqs"):
        _ = asked.Asked(Counter({"sqs SendMessage": 1}), 0).dollars


def test_the_stages_of_a_failover_are_seconds_after_its_alarm() -> None:
    ready = {"one": (22, 30), "two": (34, 40), "three": (44, 48)}
    let_go = {"one": 20, "two": 32, "three": 43}
    report = {
        "startedAt": "2026-11-30T10:00:02Z",
        "finishedAt": "2026-11-30T10:00:55Z",
        "guard": {"probes": [{"at": "2026-11-30T10:00:03Z"}, {"at": "2026-11-30T10:00:09Z"}]},
        "waves": [
            {"name": wave, "startedAt": f"2026-11-30T10:00:{second}Z"}
            for wave, second in let_go.items()
        ],
        "machines": [
            {"wave": wave, "readyAt": f"2026-11-30T10:00:{second}Z"}
            for wave, seconds in ready.items()
            for second in reversed(seconds)
        ],
    }
    fired = datetime(2026, 11, 30, 10, tzinfo=UTC)
    assert failover.stages(report, fired) == failover.Stages(
        begun=2, guarded=9, let_go=20, first=22, last=48, reported=55, gates=5
    )


def test_what_a_failover_asks_of_aws_is_told_with_its_cents() -> None:
    found = asked.Asked(Counter({"s3 GET": 100}), transitions=400)
    assert failover.asked_of(failover.Row(50, 1), found) == (
        "50 VMs, 400 objects",
        "100",
        "2.00",
        "100 s3 GET",
        "400",
        "8,000",
        "0.0201",
    )


def test_machines_that_cannot_be_restored_are_told_with_their_words() -> None:
    points = [builders.selected(metadata) for _, metadata in thousands.bad()]
    facts = builders.facts(namespaces={machines.SOURCE: "Active"})
    plan = builders.planned(*points, on=facts, mapping={"patches": thousands.PATCHES})
    said = {each.name: each.problem.message for each in plan.machines if each.problem}
    assert said.keys() == thousands.WORDS.keys()
    assert [vm for vm, word in thousands.WORDS.items() if word not in said[vm]] == []


def test_a_restore_reads_the_metadata_of_thousands_under_their_keys() -> None:
    for name, metadata in thousands.bad():
        key, body = thousands.key_of("fleet-50", name), json.dumps(metadata).encode()
        assert machine_record(key, body, f"{machines.SOURCE}/{name}") == metadata


def test_ready_machines_are_told_with_what_each_further_one_takes() -> None:
    simulated = {1: [3.0, 2.0, 9.0], 11: [13.0, 14.0, 12.0]}
    real = {1: [10.0, 11.0, 12.0], 11: [31.0, 31.0, 31.0]}
    table = ready.table({"simulated": simulated, "real": real})
    assert table.columns[2:5] == (
        "simulated, s",
        "spread of simulated",
        "simulated, s for each further machine",
    )
    assert table.rows == (
        ("1", "3", "3.00", "2.00 to 9.00", "", "11.0", "10.0 to 12.0", ""),
        ("11", "3", "13.0", "12.0 to 14.0", "1.00", "31.0", "31.0 to 31.0", "2.00"),
    )


def test_the_probe_hands_events_to_a_handler_and_tells_the_peak_afterwards(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def handler(event: object, context: probe.Context) -> None:
        seen.append((event, context.get_remaining_time_in_millis() > 50_000))

    monkeypatch.setattr(probe, "handler", handler, raising=False)
    task: dict[str, Any] = {"path": [], "imports": [], "calls": [], "services": []}
    probe.main(task | {"events": [["bench.probe:handler", {"a": 1}, 60]]})
    assert seen == [({"a": 1}, True)]
    sample = json.loads(capsys.readouterr().out)
    assert sample["peak"] >= sample["mb"] > 1


def test_a_failed_probe_tells_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "PYTHON", sys.executable)
    task = {"path": [], "imports": ["no_such_module"], "calls": [], "services": []}
    with pytest.raises(RuntimeError, match="No module named 'no_such_module'"):
        init.probed(task)


def test_a_build_without_bytecode_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init, "BUILD", tmp_path)
    with pytest.raises(FileNotFoundError, match="make host-build"):
        init.tables(quick=True)


@pytest.fixture(scope="module")
def sent() -> list[wire.Sent]:
    """What is sent for two machines."""
    fleet = machines.fleet(2)
    return machines.requests(machines.planned(fleet, 2, "target", network="default/v"), fleet)


def test_what_we_send_is_taken_down_by_machine_with_everything_but_credentials(
    sent: list[wire.Sent],
) -> None:
    each = Counter(request.machine for request in sent)
    assert each == {"target/vm-0000": machines.OBJECTS, "target/vm-0001": machines.OBJECTS}
    assert all("fieldManager=replant" in request.path for request in sent)
    headers = {name.lower(): value for name, value in sent[0].headers.items()}
    assert headers["accept"].startswith("application/json;as=PartialObjectMetadata")
    assert not headers.keys() & {"authorization", "host", "content-length"}


def test_a_question_is_not_taken_down() -> None:
    with wire.recording() as recorder:
        call = partial(_https, recorder.kubeconfig)
        assert call("GET", "/api/v1/namespaces/target")["reason"] == "MethodNotAllowed"
    assert recorder.sent == []


def test_both_peers_get_the_same_eight_objects_a_machine(sent: list[wire.Sent]) -> None:
    fleet = machines.fleet(2)
    plan = machines.planned(fleet, 2, "target", network="default/v")
    halted = machines.manifests(sent, plan, running=False)
    kinds = Counter(each["kind"] for each in halted)
    assert kinds == Counter(each.kind for vm in plan.machines for each in vm.objects)
    secrets = [each for each in halted if each["kind"] == "Secret"]
    assert all(each["data"]["userdata"] for each in secrets)
    assert _strategies(halted) == ["Halted"] * 2
    assert _strategies(machines.manifests(sent, plan, running=True)) == ["RerunOnFailure"] * 2


def _strategies(objects: list[machines.Manifest]) -> list[str]:
    vms = (each for each in objects if each["kind"] == "VirtualMachine")
    return [each["spec"]["runStrategy"] for each in vms]


def test_kubectl_is_given_no_owner_whose_uid_only_the_server_knows(sent: list[wire.Sent]) -> None:
    fleet = machines.fleet(2)
    plan = machines.planned(fleet, 2, "target", network="default/v")
    owned = {"metadata": {"name": "s", "ownerReferences": [{"uid": "1"}]}, "kind": "Secret"}
    (made,) = machines.manifests([sent[0]._replace(body=json.dumps(owned))], plan, running=False)
    assert made["metadata"] == {"name": "s"}


def test_the_raw_peer_sends_what_we_send_each_machine_in_its_order(
    sent: list[wire.Sent], tmp_path: Path
) -> None:
    with wire.recording() as recorder:
        took = restore.sent_raw(*_raw_files(tmp_path, recorder, sent))
    assert took > 0
    assert len(recorder.sent) == len(sent)
    for machine in {each.machine for each in sent}:
        of_it = [_told(each) for each in sent if each.machine == machine]
        received = [_told(each) for each in recorder.sent]
        assert [each for each in received if each in of_it] == of_it


def _told(request: wire.Sent) -> tuple[object, ...]:
    """A request without its machine, of which the server of the raw peer knows nothing."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return request.method, request.path, headers, request.body


def test_the_raw_peer_says_which_request_was_refused_and_how_many(
    sent: list[wire.Sent], tmp_path: Path
) -> None:
    refused = sent[3]._replace(method="GET", path="/refused")
    with (
        wire.recording() as recorder,
        pytest.raises(RuntimeError, match=r"1 of 16 requests were refused.*GET /refused.* 405"),
    ):
        restore.sent_raw(*_raw_files(tmp_path, recorder, [*sent[:3], refused, *sent[4:]]))


def test_the_raw_peer_says_when_nobody_answers(sent: list[wire.Sent], tmp_path: Path) -> None:
    with wire.recording() as recorder:
        files = _raw_files(tmp_path, recorder, sent)
    with pytest.raises(RuntimeError, match=r"a request got no answer.*connection refused"):
        restore.sent_raw(*files)


def _raw_files(folder: Path, recorder: wire.Recorder, sent: list[wire.Sent]) -> tuple[Path, Path]:
    """The kubeconfig as JSON, and the requests."""
    kubeconfig, requests = folder / "kubeconfig.json", folder / "requests.jsonl"
    kubeconfig.write_text(json.dumps(yaml.safe_load(recorder.kubeconfig)))
    wire.write(requests, sent)
    return kubeconfig, requests


def _https(kubeconfig: str, method: str, path: str) -> dict[str, Any]:
    cluster = yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]
    trusted = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=trusted)
    server = urlsplit(cluster["server"])
    connection = HTTPSConnection(server.hostname or "", server.port, context=context)
    with contextlib.closing(connection):
        connection.request(method, path)
        body: dict[str, Any] = json.loads(connection.getresponse().read())
    return body
