"""A kubeconfig in, JSON answers out: the few calls that the embedded runtime, the demo and the
tests make to API servers of ours, through the kubernetes package.

Not through shared.kube: it may do less, and tests that look at what it did need another view.
"""

import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from kubernetes.client import ApiClient, ApiException, Configuration
from kubernetes.client.rest import RESTResponse
from kubernetes.config import load_kube_config
from urllib3.exceptions import HTTPError

Object = dict[str, Any]

MANAGER = "replant-local"
CONNECTIONS = 16
TIMEOUTS = (5.0, 30.0)
"""Seconds to connect, and between two packets of an answer."""

JSON = "application/json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


class Api:
    """One API server, seen with the rights of a kubeconfig of ours; safe to share among threads."""

    def __init__(self, kubeconfig: Path) -> None:
        client = _client(kubeconfig)
        self.server: str = client.configuration.host
        self._rest = client.rest_client
        self._resources: dict[str, dict[str, Object]] = {}
        self._lock = threading.Lock()

    def call(
        self, method: str, path: str, body: Object | None = None, content: str = JSON
    ) -> Object:
        """Make one request and return the decoded answer, empty where that is no JSON object.

        Raises ApiException for any status that is not 2xx, HTTPError where no answer came.
        """
        # The server takes the field manager of a change from the User-Agent.
        headers = {"Accept": JSON, "Content-Type": content, "User-Agent": MANAGER}
        answer = self._rest.request(  # type: ignore[no-untyped-call]
            method, self.server + path, headers=headers, body=body, _request_timeout=TIMEOUTS
        )
        return _decoded(answer)

    def answers(self, path: str) -> bool:
        """Whether a GET succeeds; an unreachable server is a no."""
        try:
            self.call("GET", path)
        except (ApiException, HTTPError):
            return False
        return True

    def apply(self, manifest: Object, *, part: str = "") -> Object:
        """Server-side apply, taking over fields that others own; PART is a subresource."""
        query = urlencode({"fieldManager": MANAGER, "force": "true"})
        place = f"{self.path_of(manifest)}/{part}".rstrip("/")
        return self.call("PATCH", f"{place}?{query}", manifest, APPLY)

    def path_of(self, manifest: Object) -> str:
        """Where an object lives, by the server's own list of resources."""
        metadata = manifest["metadata"]
        resource = self._resource(manifest["apiVersion"], manifest["kind"])
        namespace = None
        if resource["namespaced"]:
            namespace = metadata.get("namespace", "default")
        return path(manifest["apiVersion"], resource["name"], namespace, metadata["name"])

    def _resource(self, version: str, kind: str) -> Object:
        with self._lock:
            if kind not in self._resources.get(version, {}):
                listed = self.call("GET", path(version, ""))["resources"]
                self._resources[version] = {
                    item["kind"]: item for item in listed if "/" not in item["name"]
                }
        return self._resources[version][kind]


def path(version: str, plural: str, namespace: str | None = None, name: str | None = None) -> str:
    """The URL path of a collection or of one object in it."""
    root = "apis" if "/" in version else "api"
    parts = [root, version]
    if namespace:
        parts += ["namespaces", namespace]
    parts.append(plural)
    if name:
        parts.append(quote(name))
    return "/" + "/".join(parts).rstrip("/")


def said(error: ApiException) -> str:
    """What an API server said with a refusal: its status and its message, without the headers."""
    try:
        message = json.loads(error.body or "")["message"]
    except (ValueError, KeyError, TypeError):
        message = error.body or error.reason
    return f"{error.status}: {message}"


def _client(kubeconfig: Path) -> ApiClient:
    # An empty proxy: one from the environment does not know this machine's loopback addresses.
    settings = Configuration(proxy="", connection_pool_maxsize=CONNECTIONS)
    settings.retries = False  # who waits for a server asks again by itself
    # OpenSSL reads client keys from files only; they lie beside the kubeconfig that has them too.
    folder = str(kubeconfig.parent)
    load_kube_config(  # type: ignore[no-untyped-call]
        str(kubeconfig), client_configuration=settings, temp_file_path=folder
    )
    return ApiClient(settings)


def _decoded(answer: RESTResponse) -> Object:
    data: bytes = answer.read()  # type: ignore[no-untyped-call]
    if not 200 <= answer.status < 300:
        raise ApiException.from_response(
            http_resp=answer, body=data.decode(errors="replace"), data=None
        )
    if not data.startswith(b"{"):
        return {}
    decoded: Object = json.loads(data)
    return decoded
