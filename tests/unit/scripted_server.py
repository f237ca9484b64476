"""An HTTPS server that answers from a script, and a client on it: for what is rarely seen."""

import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from shared.kube.client import TargetCluster
from shared.kube.credentials import Credentials
from tests.certificates import Authority

CA = Authority.make()
SERVER = CA.sign("server", "127.0.0.1", names=("kubernetes.default",))
CLIENT = CA.sign("client")
PLANTED = "PLANTED-s3cret"


@dataclass(frozen=True)
class Answer:
    """What the server does for one request; status 0 drops the connection.

    `raw` writes the whole answer itself, for one that is no proper HTTP, and with `keep` goes on
    after it.
    """

    status: int = 200
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0
    raw: Callable[[Any], object] | None = None
    keep: bool = False

    @property
    def data(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


class Script(ThreadingHTTPServer):
    """An HTTPS server on loopback that gives its answers in turn, the last one for ever; ROUTES, by
    method and path, come first.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.routes: dict[tuple[str, str], Answer] = {}
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.failures = 0
        self.connections = 0
        self._open: list[socket.socket] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        self._open.append(request)
        super().process_request(request, client_address)

    def say(self, data: bytes) -> None:
        """Send what nobody asked for."""
        for each in self._open:
            each.sendall(data)

    def write_plainly(self, data: bytes) -> None:
        """Write below the TLS of the last connection."""
        with socket.socket(fileno=os.dup(self._open[-1].fileno())) as plain:
            plain.sendall(data)

    def drop(self) -> None:
        """Close what clients keep open."""
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def handle_error(self, request: object, client_address: object) -> None:
        self.failures += 1

    def answer_to(self, method: str, path: str) -> Answer:
        """What the routes say of the path; without one, the next answer."""
        return self.routes.get((method, path.partition("?")[0])) or self.next()

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Handler(BaseHTTPRequestHandler):
    """Answers every method from the script."""

    server: Script
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(
            (self.command, self.path, dict(self.headers), json.loads(body or b"null"))
        )
        answer = self.server.answer_to(self.command, self.path)
        time.sleep(answer.pause)
        if not answer.status:
            self.close_connection = True
            return
        if answer.raw:
            self.close_connection = not answer.keep
            answer.raw(self.wfile)
            return
        self.send_response(answer.status)
        for name, value in ({"Content-Length": str(len(answer.data))} | answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.data)

    do_GET = do_PATCH = do_POST = answer  # noqa: N815 - names that the library gives

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def scripted(folder: Path) -> Iterator["Client"]:
    """FOLDER holds the server's key for a moment."""
    (folder / "server.pem").write_text(SERVER.certificate + SERVER.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    context.load_verify_locations(cadata=CA.certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    server = Script()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    client = Client(server)
    try:
        yield client
    finally:
        client.close()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Client:
    """A target on the scripted server; `pauses` are the seconds that it would have slept."""

    script: Script
    pauses: list[float] = field(default_factory=list)
    targets: list[TargetCluster] = field(default_factory=list)

    def target(
        self,
        *answers: Answer,
        deadline: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        **changes: object,
    ) -> TargetCluster:
        """CHANGES are of the credentials."""
        self.script.answers = list(answers) or [Answer()]
        known: dict[str, Any] = {
            "server": f"https://127.0.0.1:{self.script.server_port}",
            "ca": CA.certificate,
            "token": SecretStr(PLANTED),
            "allow_loopback": True,
        }
        target = TargetCluster(
            Credentials(**known | changes),
            cluster="west",
            deadline=deadline,
            sleep=self.pauses.append,
            clock=clock,
        )
        self.targets.append(target)
        return target

    def close(self) -> None:
        for target in self.targets:
            target.close()

    @property
    def count(self) -> int:
        """Requests, but for whether the server is ready, which is asked where it refuses rights."""
        return sum(path != "/readyz" for _, path, _, _ in self.script.requests)


VERSION = Answer(200, {"gitVersion": "v1.34.1"})
BUSY = Answer(429, "Too many requests, please try again later.", {"Retry-After": "7"})


def status(code: int, reason: str | None = None, message: str = "", **details: object) -> Answer:
    body = {"kind": "Status", "code": code, "message": message, "details": details}
    return Answer(code, body | ({"reason": reason} if reason else {}))


def vm(**metadata: object) -> dict[str, Any]:
    meta = {"name": "web01", "namespace": "prod"} | metadata
    return {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": meta, "spec": {}}


def secret() -> dict[str, Any]:
    meta = {"name": "s", "namespace": "prod"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"a": PLANTED}}


def stored(**metadata: object) -> dict[str, Any]:
    return {
        "kind": "PartialObjectMetadata",
        "metadata": {"uid": "u-1", "resourceVersion": "7"} | metadata,
    }
