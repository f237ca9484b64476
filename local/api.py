"""A kubeconfig in, JSON answers out: the few calls that the embedded runtime makes to its API
servers.
"""

import base64
import json
import ssl
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
import yaml

Object = dict[str, Any]

MANAGER = "replant-local"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


class ApiError(Exception):
    """The API server's refusal: its status code and its words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """One API server, seen through the credentials of a kubeconfig of ours; safe to share among
    threads.
    """

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.server: str = cluster["server"]
        authorization = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._headers = {"User-Agent": MANAGER} | authorization
        self._pool = urllib3.connection_from_url(
            self.server,
            maxsize=16,
            block=True,
            retries=False,
            ssl_context=_tls(cluster, user),
            timeout=30,
        )
        self._resources: dict[str, dict[str, Object]] = {}
        self._lock = threading.Lock()

    def call(
        self, method: str, path: str, body: Object | None = None, content: str = "application/json"
    ) -> Object:
        """Make one request and return the decoded answer; raise ApiError for any status that is not
        2xx.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers | ({"Content-Type": content} if data else {})
        answer = self._pool.request(method, path, body=data, headers=headers)
        if answer.status >= 300:
            raise ApiError(answer.status, _message(answer.data))
        decoded: Object = json.loads(answer.data) if answer.data.startswith(b"{") else {}
        return decoded

    def answers(self, path: str) -> bool:
        """Whether a GET succeeds; an unreachable server is a no."""
        try:
            self.call("GET", path)
        except (ApiError, urllib3.exceptions.HTTPError):
            return False
        return True

    def apply(self, manifest: Object) -> Object:
        """Server-side apply, taking over fields that others own."""
        query = urlencode({"fieldManager": MANAGER, "force": "true"})
        return self.call("PATCH", f"{self.path_of(manifest)}?{query}", manifest, APPLY)

    def path_of(self, manifest: Object) -> str:
        """Where an object lives, by the server's own list of resources."""
        metadata = manifest["metadata"]
        resource = self._resource(manifest["apiVersion"], manifest["kind"])
        namespace = metadata.get("namespace", "default") if resource["namespaced"] else None
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
    parts = ["api" if version == "v1" else "apis", version]
    parts += ["namespaces", namespace] if namespace else []
    parts += [plural, quote(name)] if name else [plural]
    return "/" + "/".join(parts).rstrip("/")


def _message(body: bytes) -> str:
    text = body.decode(errors="replace")
    return str(json.loads(text).get("message", text)) if text.startswith("{") else text


def _tls(cluster: Mapping[str, str], user: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]))
    if "client-key-data" in user:
        with tempfile.NamedTemporaryFile(
            "w"
        ) as pem:  # the ssl module takes client keys from files only
            pem.write(_decoded(user["client-certificate-data"]) + _decoded(user["client-key-data"]))
            pem.flush()
            context.load_cert_chain(pem.name)
    return context


def _decoded(data: str) -> str:
    return base64.b64decode(data).decode()
