"""What a client of an API server sends -> requests that can be kept and sent again: taken down by a
server that makes nothing.
"""

import json
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from local import pki

DROPPED_HEADERS = {"authorization", "connection", "content-length", "host"}
"""The next client has its own."""


class Sent(NamedTuple):
    """One request that makes an object; PATH with its query, HEADERS without credentials."""

    machine: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: str

    @property
    def manifest(self) -> dict[str, Any]:
        """The object that the request makes."""
        made: dict[str, Any] = json.loads(self.body)
        return made


class Recorder(ThreadingHTTPServer):
    """Keeps requests in their order, under the name of the machine that is set meanwhile."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.sent: list[Sent] = []
        self.machine = ""
        pki.create(folder, "recorder")
        context = SSLContext(PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)
        file, address = folder / "kubeconfig", f"https://127.0.0.1:{self.server_port}"
        pki.write_kubeconfig(file, folder, "recorder", address)
        self.kubeconfig = file.read_text()


class Handler(BaseHTTPRequestHandler):
    """Answers as a server that has made the object; 405 to what makes none."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer is one packet: the second of two would wait for the first one's ACK
    server: Recorder

    def do_POST(self) -> None:
        body = self._body()
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in DROPPED_HEADERS
        }
        sent = Sent(self.server.machine, self.command, self.path, headers, body.decode())
        self.server.sent.append(sent)
        self._answer(201, _made(sent.manifest))

    do_PATCH = do_POST  # noqa: N815 - the name is http.server's

    def do_GET(self) -> None:
        self._body()
        message = f"{self.command} {self.path} makes no object, so that it is not kept"
        self._answer(405, {"kind": "Status", "reason": "MethodNotAllowed", "message": message})

    def log_message(self, *_: object) -> None:
        """Nothing: what was sent is told by who reads it."""

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, body: Mapping[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def recording() -> Iterator[Recorder]:
    """A server, on loopback, that its `kubeconfig` leads to."""
    with TemporaryDirectory() as folder, Recorder(Path(folder)) as recorder:
        serving = threading.Thread(target=recorder.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        try:
            yield recorder
        finally:
            recorder.shutdown()
            serving.join()


def write(file: Path, requests: Iterable[Sent]) -> None:
    """A JSON object a line, as the raw peer reads them."""
    with file.open("w") as lines:
        for each in requests:
            lines.write(json.dumps(each._asdict()) + "\n")


def _made(manifest: dict[str, Any]) -> dict[str, Any]:
    """The object with what the server adds; the same one gets the same UID."""
    metadata = manifest["metadata"]
    subject = f"{manifest['kind']}/{metadata.get('namespace')}/{metadata['name']}"
    uid = str(uuid.uuid5(uuid.NAMESPACE_URL, subject))
    return manifest | {"metadata": metadata | {"uid": uid, "resourceVersion": "1"}}
