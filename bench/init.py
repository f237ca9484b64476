"""Cold start of each built function against its own base: powertools, pydantic and boto3 with the
same clients.
"""

import json
import os
import subprocess
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
    Function(
        "PlanFunction",
        "plan",
        ("dynamodb", "s3", "secretsmanager", "stepfunctions"),
        ("CoreLayer", "KubeLayer"),
    ),
    Function(
        "RestoreFunction",
        "restore",
        ("dynamodb", "s3", "secretsmanager"),
        ("CoreLayer", "KubeLayer"),
    ),
    Function("ReportFunction", "report", ("dynamodb", "s3", "sns")),
)


def tables() -> list[Table]:
    """Interleaved: base and function in turn, so that both meet the same machine."""
    if not (BUILD / "template.yaml").exists():
        raise FileNotFoundError(f"{BUILD} has no build; run `make host-build` first")
    runs = {
        each.folder: [(probed(base(each)), probed(ours(each))) for _ in range(ROUNDS)]
        for each in FUNCTIONS
    }
    return [_times(runs), _sizes(runs)]


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


def probed(task: dict[str, Any]) -> Sample:
    """One fresh interpreter that sees the artifacts and the standard library, nothing of this
    environment.
    """
    command = [str(PYTHON), "-I", "-S", str(PROBE), json.dumps(task)]
    answer = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    sample: Sample = json.loads(answer.stdout)
    return sample


def environment() -> dict[str, str]:
    service = {"POWERTOOLS_SERVICE_NAME": OURS, "POWERTOOLS_METRICS_NAMESPACE": OURS}
    credentials = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    return {"PATH": os.environ["PATH"]} | service | credentials | dict.fromkeys(NAMES, "none")


def _times(runs: dict[str, list[tuple[Sample, Sample]]]) -> Table:
    pairs = {
        name: Pair([b["ms"] for b, _ in samples], [o["ms"] for _, o in samples])
        for name, samples in runs.items()
    }
    note = (
        "Base: boto3, pydantic's `BaseModel`, powertools with a `Logger` and `Metrics`, and the"
        " function's own SDK clients. Ours: the function's module and its clients. Fresh"
        " interpreters on the built artifacts, bytecode included; the interpreter's own start is in"
        " neither."
    )
    title = "Init: imports and clients of a fresh interpreter"
    return comparison(title, "base", "ms", list(pairs.items()), better="lower", note=note)


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
    return Table("Init: modules and memory", columns, rows, f"Medians of the same {ROUNDS} rounds.")


def _middle(samples: list[tuple[Sample, Sample]], what: str) -> tuple[str, str]:
    return number(median(b[what] for b, _ in samples)), number(median(o[what] for _, o in samples))
