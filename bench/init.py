"""Cold start of each built function against its own base: powertools, pydantic and boto3 with the
same clients.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.figures import OURS, Pair, Table, comparison, number
from local.cloud import BUILD, PYTHON

ROUNDS = 11
PROBE = Path(__file__).with_name("probe.py")
BASE = (
    "boto3",
    "pydantic.main",
    "aws_lambda_powertools",
)  # `import pydantic` alone defers nearly all of itself
OBSERVERS = ("aws_lambda_powertools:Logger", "aws_lambda_powertools:Metrics")
NAMES = (
    "CATALOGUE_TABLE",
    "STATE_BUCKET",
    "BACKUP_BUCKETS",
    "CATALOGUE_QUEUE",
    "NOTIFICATION_TOPIC",
)

Sample = dict[str, float]


class Function(NamedTuple):
    """A function as the template has it: its module, what makes its clients, which services those
    are.
    """

    folder: str
    module: str
    services: tuple[str, ...]
    layers: tuple[str, ...] = ("CoreLayer",)
    maker: str = "clients"


FUNCTIONS = (
    Function("CatalogueFunction", "catalogue", ("dynamodb", "s3", "sns", "sqs")),
    Function("SearchFunction", "search", ("dynamodb",), maker="table"),
    Function("CensusFunction", "census", ("dynamodb",), maker="table"),
    Function("ProbeFunction", "probe", ("dynamodb", "secretsmanager")),
    Function("StandbyFunction", "standby", ("dynamodb", "s3", "secretsmanager")),
    Function("SecondProbeFunction", "second_probe", ("dynamodb", "secretsmanager")),
    Function(
        "UpkeepFunction",
        "upkeep",
        ("cloudwatch", "dynamodb", "events", "s3", "sns", "stepfunctions"),
    ),
    Function("ReconcileFunction", "reconcile", ("dynamodb", "s3", "sns", "sqs")),
    Function(
        "PlanFunction",
        "plan",
        ("dynamodb", "s3", "secretsmanager"),
    ),
    Function("ApprovalFunction", "approval", ("dynamodb", "s3", "sns", "stepfunctions")),
    Function("DecisionFunction", "decision", ("dynamodb", "stepfunctions")),
    Function("ImageFunction", "image", ("dynamodb", "s3")),
    Function(
        "RestoreFunction",
        "restore",
        ("dynamodb", "s3", "secretsmanager"),
    ),
    Function("ReportFunction", "report", ("dynamodb", "s3", "sns")),
    Function(
        "FailoverFunction", "failover", ("cloudwatch", "dynamodb", "s3", "sns", "stepfunctions")
    ),
    Function("AlarmFunction", "alarm", ("dynamodb", "stepfunctions")),
    Function("DrillFunction", "drill", ("dynamodb", "s3", "sns", "stepfunctions")),
    Function("SweepFunction", "sweep", ("dynamodb", "sns", "stepfunctions")),
    Function("RollbackFunction", "rollback", ("dynamodb", "s3", "secretsmanager", "sns")),
    Function("AttachFunction", "attach", ("dynamodb", "secretsmanager")),
    Function("MigrateFunction", "migrate", ("dynamodb", "s3", "sns", "sqs", "stepfunctions")),
    Function("PruneFunction", "prune", ("dynamodb", "s3", "sns", "sqs", "stepfunctions")),
    Function("SourceFunction", "source", ("dynamodb", "s3", "secretsmanager")),
)


def tables(*, quick: bool) -> list[Table]:
    """Interleaved: all functions in turn, base and function side by side, so that all meet the same
    machine. Raises FileNotFoundError without a build that has bytecode.
    """
    for each in FUNCTIONS:
        _check_bytecode(each)
    rounds = ROUNDS
    if quick:
        rounds = 1
    runs: dict[str, list[tuple[Sample, Sample]]] = {each.folder: [] for each in FUNCTIONS}
    for number_of_round in range(rounds):
        for each in FUNCTIONS:
            runs[each.folder].append(_both(each, base_first=number_of_round % 2 == 0))
    return [times(runs), _sizes(runs)]


def _check_bytecode(function: Function) -> None:
    """Without it, the first import would compile, and write what the second one reads."""
    folders = [BUILD / function.folder / "functions"]
    folders += [BUILD / layer / "python" for layer in function.layers]
    for folder in folders:
        if not next(folder.glob("**/__pycache__/*.pyc"), None):
            raise FileNotFoundError(f"{folder} has no bytecode; run `make host-build` first")


def _both(function: Function, *, base_first: bool) -> tuple[Sample, Sample]:
    """Of the base, and of the function."""
    if base_first:
        return probed(base(function)), probed(ours(function))
    mine = probed(ours(function))
    return probed(base(function)), mine


def base(function: Function) -> dict[str, Any]:
    """What any function pays that logs, counts, validates and has the same clients."""
    path = [str(BUILD / "CoreLayer" / "python")]
    return {"path": path, "imports": BASE, "calls": OBSERVERS, "services": function.services}


def ours(function: Function) -> dict[str, Any]:
    """The function before its first event, and its clients; the path is Lambda's: the function,
    then its layers.
    """
    path = [
        str(BUILD / function.folder),
        *(str(BUILD / layer / "python") for layer in function.layers),
    ]
    module = f"functions.{function.module}"
    return {
        "path": path,
        "imports": [module],
        "calls": [f"{module}:{function.maker}"],
        "services": [],
    }


def probed(task: dict[str, Any], variables: Mapping[str, str] | None = None) -> Sample:
    """One fresh interpreter that sees the artifacts and the standard library, nothing of this
    environment. Raises RuntimeError with the end of what it said when it fails.
    """
    command = [str(PYTHON), "-I", "-S", str(PROBE), json.dumps(task)]
    told = environment() | dict(variables or {})
    answer = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
    if answer.returncode:
        said = (answer.stdout + answer.stderr).splitlines()[-10:]
        raise RuntimeError("\n".join([f"the probe ended with status {answer.returncode}:", *said]))
    sample: Sample = json.loads(answer.stdout.splitlines()[-1])
    return sample


def environment() -> dict[str, str]:
    service = {"POWERTOOLS_SERVICE_NAME": OURS, "POWERTOOLS_METRICS_NAMESPACE": OURS}
    credentials = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    return {"PATH": os.environ["PATH"]} | service | credentials | dict.fromkeys(NAMES, "none")


def times(runs: dict[str, list[tuple[Sample, Sample]]]) -> Table:
    pairs = {name: _pair(samples, "ms") for name, samples in runs.items()}
    note = (
        "Base: boto3, pydantic's `BaseModel`, powertools with a `Logger` and `Metrics`, and the"
        " function's own SDK clients. Ours: the function's module and its clients. Fresh"
        " interpreters on the built artifacts, bytecode included; the interpreter's own start is in"
        " neither. The last column is the same ratio of the processor's time, which is steadier"
        " where the machine has other work."
    )
    title = "Init: imports and clients of a fresh interpreter"
    table = comparison(title, "base", "ms", list(pairs.items()), better="lower", note=note)
    columns = (*table.columns, f"CPU of {OURS} ÷ CPU of base")
    rows = tuple(
        (*row, f"{_pair(samples, 'cpu').ratio:.2f}")
        for row, samples in zip(table.rows, runs.values(), strict=True)
    )
    return table._replace(columns=columns, rows=rows)


def _pair(samples: list[tuple[Sample, Sample]], what: str) -> Pair:
    return Pair([base[what] for base, _ in samples], [ours[what] for _, ours in samples])


def _sizes(runs: dict[str, list[tuple[Sample, Sample]]]) -> Table:
    columns = (
        "function",
        "modules of base",
        f"modules of {OURS}",
        "peak MB of base",
        f"peak MB of {OURS}",
    )
    rows = tuple(
        (name, *_middle(samples, "modules"), *_middle(samples, "mb"))
        for name, samples in runs.items()
    )
    return Table("Init: modules and memory", columns, rows, "Medians of the same rounds.")


def _middle(samples: list[tuple[Sample, Sample]], what: str) -> tuple[str, str]:
    return number(median(b[what] for b, _ in samples)), number(median(o[what] for _, o in samples))
