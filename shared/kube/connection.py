"""One connection to one API server: a request in, its answer out, with nothing in it unbounded.

Python's own HTTP parser on a socket of ours. A hostile server can be slow in every place (its
handshake, each header, each byte of a body), so that time is measured where bytes are received.
"""

import select
import socket
import ssl
import zlib
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from ipaddress import ip_address
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from shared.errors import Refused
from shared.kube.address import address_refusal
from shared.kube.credentials import Credentials, tls_context
from shared.kube.reply import Reply

TIMEOUTS = (5.0, 30.0)
"""Seconds to connect, and between two packets of an answer."""

PIECE = 256 * 1024
GZIP = 16 + zlib.MAX_WBITS
MEBIBYTE = 2**20
LOOK = "check that the API server runs and that the function's network leads there"


class Silence(Exception):
    """No usable answer, and why, as the rest of a sentence about the server; `final`: another
    attempt would meet the same.
    """

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.final = final


class Distrust(Silence):
    """Somebody is there, whose certificate the kubeconfig does not expect."""

    def __init__(self, why: str) -> None:
        super().__init__(why, final=True)


class Limits(NamedTuple):
    """What one request may take: `end` in seconds of `clock`, `largest` in bytes of its answer."""

    end: float
    largest: int
    clock: Callable[[], float]

    @property
    def left(self) -> float:
        """Seconds. Raises TimeoutError where there are none."""
        seconds = self.end - self.clock()
        if seconds <= 0:
            raise TimeoutError
        return seconds


class Server(NamedTuple):
    """Where an API server is and how it is recognised."""

    host: str
    port: int
    name: str
    allow_loopback: bool
    context: ssl.SSLContext

    @classmethod
    def of(cls, credentials: Credentials) -> "Server":
        parts = urlsplit(credentials.server)
        host = (parts.hostname or "").removesuffix(".")
        name = credentials.tls_server_name or host
        context = tls_context(credentials)
        context.sslsocket_class = TimedSocket
        return cls(host, parts.port or 443, name, credentials.allow_loopback, context)


class TimedSocket(ssl.SSLSocket):
    """Waits for each packet no longer than its request has left."""

    limits: Limits

    def recv_into(self, buffer: object, nbytes: int | None = None, flags: int = 0) -> int:
        self.settimeout(min(TIMEOUTS[1], self.limits.left))
        return super().recv_into(buffer, nbytes, flags)  # type: ignore[arg-type]

    def send(self, data: object, flags: int = 0) -> int:
        self.settimeout(min(TIMEOUTS[1], self.limits.left))
        return super().send(data, flags)  # type: ignore[arg-type]


class Connection:
    """Not to be shared between threads."""

    def __init__(self, server: Server, limits: Limits) -> None:
        """Raises Silence, and Refused where the server's name leads to a refused address."""
        try:
            plain = _connected(server, limits)
        except OSError as error:
            raise _no_connection(error, limits) from None
        self._socket = _secured(server, plain, limits)

    def exchange(self, head: bytes, body: bytes, limits: Limits) -> tuple[Reply, bool]:
        """The answer, and whether the connection is good for another request. Raises Silence."""
        self._socket.limits = limits
        try:
            self._send(b"%s\r\n%s" % (head, body))
            with HTTPResponse(self._socket) as response:
                response.begin()
                data = _body(response, limits.largest)
                retry_after = response.headers.get("Retry-After", "")
                return Reply(response.status, retry_after, data), not response.will_close
        except (OSError, HTTPException) as error:
            raise _no_answer(error, limits) from None

    def _send(self, request: bytes) -> None:
        # One write: two would be two TLS records and two packets.
        # A server that stops reading, since the object is too large, has said so by then.
        with suppress(BrokenPipeError):
            self._socket.sendall(request)

    @property
    def dropped(self) -> bool:
        """Whether the server has closed it, or says something that nobody asked for."""
        if self._socket.pending():
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        self._socket.close()


def _connected(server: Server, limits: Limits) -> socket.socket:
    """To the first address of the name that takes it. Each is judged before a packet goes there: a
    name can lead anywhere.
    """
    found = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    for *_, address in found:
        why = address_refusal(
            ip_address(address[0]), server.port, allow_loopback=server.allow_loopback
        )
        if why:
            raise Refused(f"leads to {address[0]}, {why}")
    failure = OSError()
    for family, kind, protocol, _, address in found:
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(min(TIMEOUTS[0], limits.left))
            plain.connect(address)
        except OSError as error:
            plain.close()
            failure = error
        else:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return plain
    raise failure


def _secured(server: Server, plain: socket.socket, limits: Limits) -> TimedSocket:
    try:
        plain.settimeout(min(TIMEOUTS[0], limits.left))
        secured = server.context.wrap_socket(plain, server_hostname=server.name)
    except (OSError, ValueError) as error:
        plain.close()
        raise _no_handshake(error, limits) from None
    return cast(TimedSocket, secured)  # by the context's sslsocket_class


def _body(response: HTTPResponse, largest: int) -> bytes:
    """Raises Silence where it has more than LARGEST bytes, packed or unpacked."""
    if (response.length or 0) > largest:
        raise _too_large(largest)
    pieces, size = [], 0
    while piece := response.read(PIECE):
        size += len(piece)
        if size > largest:
            raise _too_large(largest)
        pieces.append(piece)
    if response.length:
        raise IncompleteRead(b"")
    data = b"".join(pieces)
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding == "identity":
        return data
    if encoding != "gzip":
        raise Silence(f"answers in an encoding that was not asked for; {LOOK}", final=True)
    return _unpacked(data, largest)


def _unpacked(data: bytes, largest: int) -> bytes:
    # Nobody asked for gzip, but something in between may pack; a thousandfold, if it is a bomb.
    decoder = zlib.decompressobj(GZIP)
    try:
        text = decoder.decompress(data, largest + 1)
    except zlib.error:
        raise Silence(f"answers with broken gzip; {LOOK}") from None
    if len(text) > largest:
        raise _too_large(largest)
    if not decoder.eof:
        raise Silence(f"answers with gzip that is cut off; {LOOK}")
    return text


def _too_large(largest: int) -> Silence:
    return Silence(
        f"answers with more than {largest // MEBIBYTE} MiB, as no API server does; "
        "check that `server` in the kubeconfig is the API server",
        final=True,
    )


def _no_connection(error: OSError, limits: Limits) -> Silence:
    if isinstance(error, socket.gaierror):
        return Silence(f"has a name that does not resolve; {LOOK}")
    if isinstance(error, TimeoutError):
        return _too_slow("accept a connection", TIMEOUTS[0], limits)
    return Silence(f"accepts no connection; {LOOK}")


def _no_handshake(error: Exception, limits: Limits) -> Silence:
    if isinstance(error, TimeoutError):
        return _too_slow("finish the TLS handshake", TIMEOUTS[0], limits)
    if not isinstance(error, ssl.SSLCertVerificationError):
        return Silence("broke off the TLS handshake; check that an API server listens there")
    if "mismatch" in error.verify_message:
        return Distrust(
            "presents a certificate for another name; set tls-server-name or server "
            "in the kubeconfig"
        )
    if "expired" in error.verify_message:
        return Distrust("presents an expired certificate; renew it on the cluster")
    return Distrust(
        "presents a certificate that certificate-authority-data of the kubeconfig does not fit; "
        "renew the kubeconfig"
    )


def _no_answer(error: Exception, limits: Limits) -> Silence:
    if isinstance(error, TimeoutError):
        return _too_slow("answer", TIMEOUTS[1], limits)
    if isinstance(error, RemoteDisconnected):
        return Silence(f"closed the connection without an answer; {LOOK}")
    if isinstance(error, IncompleteRead):
        return Silence(f"closed the connection in the middle of its answer; {LOOK}")
    if "header" in str(error):  # too long a line of them, or too many
        return Silence(f"answers with headers as long as no API server's; {LOOK}", final=True)
    if isinstance(error, HTTPException):
        return Silence(f"answers with something that is not HTTP; {LOOK}", final=True)
    return Silence(f"closed the connection; {LOOK}")


def _too_slow(what: str, seconds: float, limits: Limits) -> Silence:
    if limits.clock() >= limits.end:
        return Silence(f"did not {what} in the time that was left; {LOOK}", final=True)
    return Silence(f"did not {what} within {seconds:.0f} s; {LOOK}")
