"""Systems to measure, in folders of their own: the emulator alone, all that `make up` starts, a
distant server.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import yaml

from local import cloud, documents, processes
from local.stack import Stack, wait
from shared.aws.table import Table
from shared.catalogue.documents import document as find_document

ROOT = Path(__file__).parent.parent
PATIENCE = 300.0


@contextmanager
def emulator() -> Iterator[str]:
    """The embedded AWS without a stack or clusters; its endpoint."""
    with tempfile.TemporaryDirectory() as folder:
        port = processes.free_port()
        command = [str(cloud.PYTHON), "-m", "local.emulator", str(port)]
        environment = {**os.environ, "REPLANT_RUNTIME": folder}
        with (Path(folder) / "emulator.log").open("wb") as log:
            child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            yield _answering(f"http://127.0.0.1:{port}", child)
        finally:
            child.terminate()
            child.wait(30)


class Running(NamedTuple):
    """The embedded runtime, its administrators' kubeconfigs by cluster, and the folder that it
    lives in.
    """

    stack: Stack
    kubeconfigs: dict[str, Path]
    folder: Path

    def pids(self, cluster: str, roles: Iterable[str]) -> list[int]:
        """Of the cluster's processes with those roles."""
        return self._pids({f"{cluster}-{role}" for role in roles})

    @property
    def aws(self) -> int:
        """The pid of the embedded AWS, whose children are the functions."""
        (pid,) = self._pids({cloud.NAME})
        return pid

    def _pids(self, names: set[str]) -> list[int]:
        records = json.loads((self.folder / "processes.json").read_text())
        return [each["pid"] for each in records if each["name"] in names]

    def stop(self, cluster: str) -> None:
        """Stop a whole cluster, the last started first."""
        records = json.loads((self.folder / "processes.json").read_text())
        names = [each["name"] for each in reversed(records)]
        self.without(*(name for name in names if name.startswith(f"{cluster}-")))

    def add_real(self, cluster: str) -> None:
        """Start one more cluster, with the real controllers."""
        _python("-m", "bench.target", cluster, folder=self.folder)
        self.kubeconfigs[cluster] = self.folder / "clusters" / cluster / "admin.kubeconfig"

    def without(self, *parts: str) -> None:
        """Stop single parts of it, such as `east-simulation`."""
        for part in parts:
            code = f"from local import processes; processes.stop({part!r})"
            _python("-c", code, folder=self.folder)


@contextmanager
def runtime() -> Iterator[Running]:
    """Beside one that may be up already; AUTH off, since rights are not measured."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            _python("-m", "local", "up", folder=folder)
            known = json.loads((folder / "runtime.json").read_text())
            yield Running(
                Stack(known), {each: Path(path) for each, path in known["clusters"].items()}, folder
            )
        finally:
            _python("-m", "local", "down", folder=folder)


@contextmanager
def distant(server: str, milliseconds: float) -> Iterator[str]:
    """The address under which an API server on loopback answers after a round trip of so long."""
    port = processes.free_port()
    words = ["-m", "bench.proxy", str(port), str(urlsplit(server).port), str(milliseconds)]
    child = subprocess.Popen([sys.executable, *words], cwd=ROOT)
    try:
        while not processes.listens(port):
            if child.poll() is not None:
                raise RuntimeError("the proxy ended; its words are above")
            time.sleep(0.05)
        yield f"https://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(30)


def _python(*words: str, folder: Path) -> None:
    environment = {**os.environ, "REPLANT_RUNTIME": str(folder), "AUTH": "false"}
    subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, check=True, timeout=PATIENCE
    )


def _answering(endpoint: str, child: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 60
    while not cloud.answers(endpoint):
        if child.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the embedded AWS did not start; `make up` shows why")
        time.sleep(0.1)
    return endpoint


def add_lost(stack: Stack, name: str, *, like: str) -> None:
    """A cluster whose kubeconfig is that of another, but leads to a port that nobody listens on."""
    add_cluster(stack, name, like=like, server=f"https://127.0.0.1:{processes.free_port()}")


def add_cluster(stack: Stack, name: str, *, like: str, server: str) -> None:
    """One that is another by that address; returns when the catalogue knows it."""
    secrets = stack.client("secretsmanager")
    stored = secrets.get_secret_value(SecretId=documents.secret(like))["SecretString"]
    config = yaml.safe_load(stored)
    config["clusters"][0]["cluster"]["server"] = server
    secrets.create_secret(Name=documents.secret(name), SecretString=yaml.safe_dump(config))
    stack.document(f"clusters/{name}.yaml", yaml.safe_dump(documents.cluster(name)))
    table = catalogue(stack)
    wait(lambda: find_document(table, "clusters", name), seconds=60, what=f"cluster {name}")


def catalogue(stack: Stack) -> Table:
    return Table(stack.client("dynamodb"), stack.outputs["CatalogueTable"])
