"""One request to one API server: guarded, timed, repeated where a repetition can help."""

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from socket import socket
from urllib.parse import urlencode

from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import RESTClientObject
from urllib3 import HTTPSConnectionPool, exceptions
from urllib3.connection import HTTPSConnection

from shared.errors import Refused, Unreachable
from shared.kube.address import address_refusal
from shared.kube.credentials import Credentials, tls_context
from shared.kube.reply import Reply

TIMEOUTS = (5.0, 30.0)
"""Seconds to connect, and between two packets of an answer."""

LONGEST_PAUSE = 30.0
LONGEST_REQUEST = 120.0
"""Seconds for a request with all its attempts, where no deadline is nearer."""


@dataclass(frozen=True)
class Silence:
    """No answer, and why."""

    why: str
    final: bool = False


@dataclass
class Transport:
    """Kubernetes' own transport on a TLS context of ours. `attempts` counts the first one too."""

    credentials: Credentials
    cluster: str
    connections: int = 16
    attempts: int = 4
    deadline: float | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    headers: dict[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        token = self.credentials.token
        self.headers = {"User-Agent": "replant"}
        self.headers |= {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        self._rest = _rest(self.credentials, self.connections)

    def send(
        self, method: str, path: str, headers: Mapping[str, str], body: object = None, **query: str
    ) -> Reply:
        """The answer, whatever its status; one that stays temporary is returned after the last attempt.

        Raises Unreachable where no answer came, Refused where the server's name leads to a refused address.
        """
        url = self.credentials.server + path + (f"?{urlencode(query)}" if query else "")
        end = self.clock() + LONGEST_REQUEST
        if self.deadline is not None:
            end = min(end, self.deadline)
        outcome: Reply | Silence = Silence("was not asked: no time is left for another request")
        repeated = False
        for attempt in range(self.attempts):
            pause = _pause(outcome, attempt) if attempt else 0.0
            if self.clock() + pause >= end:
                break
            if attempt:
                self.sleep(pause)
            outcome = self._once(method, url, self.headers | dict(headers), body, end)
            if outcome.final if isinstance(outcome, Silence) else not outcome.temporary:
                break
            repeated = repeated or isinstance(outcome, Silence) or outcome.status >= 500
        if isinstance(outcome, Reply):
            return replace(outcome, repeated=repeated)
        raise Unreachable(f"cluster {self.cluster}: {self.credentials.server} {outcome.why}")

    def close(self) -> None:
        self._rest.close()

    def _once(
        self, method: str, url: str, headers: dict[str, str], body: object, end: float
    ) -> Reply | Silence:
        left = max(end - self.clock(), 0.01)
        timeouts = (min(TIMEOUTS[0], left), min(TIMEOUTS[1], left))
        try:
            answer = self._rest.request(  # type: ignore[no-untyped-call]
                method, url, headers=headers, body=body, _request_timeout=timeouts
            )
            return Reply(answer.status, answer.headers, answer.read())
        except ApiException as error:  # made by the transport from a TLS failure; status 0
            return _tls_failure(str(error.reason))
        except exceptions.HTTPError as error:
            return Silence(_cause(error))
        except AddressRefusal as refusal:
            raise Refused(
                f"cluster {self.cluster}: {self.credentials.server} leads to {refusal}; "
                "give the address of the API server in the kubeconfig"
            ) from None


class AddressRefusal(Exception):
    """A connection that stands, but to an address that is refused."""


def _rest(credentials: Credentials, connections: int) -> RESTClientObject:
    # An empty proxy: one from the environment would carry the token past the check of the peer.
    configuration = Configuration(
        host=credentials.server, proxy="", connection_pool_maxsize=connections
    )
    configuration.tls_server_name = credentials.tls_server_name
    configuration.retries = False
    rest = RESTClientObject(configuration)
    rest.pool_manager.connection_pool_kw["ssl_context"] = tls_context(credentials)
    rest.pool_manager.pool_classes_by_scheme = {"https": _guarded_pool(credentials.allow_loopback)}
    return rest


def _guarded_pool(allow_loopback: bool) -> type[HTTPSConnectionPool]:
    """A pool whose connections look at their peer before the first byte: a name can lead anywhere."""

    class Connection(HTTPSConnection):
        def _new_conn(self) -> socket:
            connected = super()._new_conn()
            peer = connected.getpeername()
            if why := address_refusal(ip_address(peer[0]), peer[1], allow_loopback=allow_loopback):
                connected.close()
                raise AddressRefusal(f"{peer[0]}, {why}")
            return connected

    class Pool(HTTPSConnectionPool):
        ConnectionCls = Connection

    return Pool


def _pause(outcome: Reply | Silence, attempt: int) -> float:
    """Seconds: 0.5, 1, 2, … less up to half by chance, so that many machines do not return at once."""
    backoff = 0.5 * 2.0 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311 - not a secret
    asked = outcome.headers.get("Retry-After", "") if isinstance(outcome, Reply) else ""
    return min(
        LONGEST_PAUSE, max(backoff, float(asked) if re.fullmatch("[0-9]{1,6}", asked) else 0)
    )


def _tls_failure(reason: str) -> Silence:
    if "mismatch" in reason:
        return Silence(
            "presents a certificate for another name; set tls-server-name or server", final=True
        )
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return Silence(
            "presents a certificate that certificate-authority-data of the kubeconfig does not fit; "
            "renew the kubeconfig",
            final=True,
        )
    return Silence("broke off the TLS handshake; check that an API server listens there")


def _cause(error: exceptions.HTTPError) -> str:
    # The texts of urllib3 hold addresses of objects and whole URLs.
    what = next(
        (text for kind, text in _CAUSES if isinstance(error, kind)), "broke the connection off"
    )
    return f"{what}; check that the API server runs and that the function's network leads there"


_CAUSES = (  # subclasses first: a refused connection is a ConnectTimeoutError to urllib3
    (exceptions.NameResolutionError, "has a name that does not resolve"),
    (exceptions.NewConnectionError, "accepts no connection"),
    (exceptions.ConnectTimeoutError, f"did not accept a connection within {TIMEOUTS[0]:.0f} s"),
    (exceptions.ReadTimeoutError, f"did not answer within {TIMEOUTS[1]:.0f} s"),
)
