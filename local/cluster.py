"""A name in, a Kubernetes control plane on loopback out: a real API server, below it a simulated
Harvester.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from local import binaries, crds, pki, processes
from local.api import Api, Object

ROOT = Path(__file__).parent.parent
PATIENCE = 90.0

CONTROLLERS = (
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "persistentvolumeclaim-protection-controller",
)
NETWORKS = {"east": "vlan100", "west": "vlan200"}


class Cluster:
    """One control plane; everything that it writes lies in its folder."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = processes.RUNTIME / "clusters" / name
        self.kubeconfig = self.folder / "admin.kubeconfig"

    @property
    def api(self) -> Api:
        return Api(self.kubeconfig)

    def start(self) -> None:
        """Launch the store and the API server on an empty folder."""
        if self._alive():
            raise FileExistsError(
                f"cluster {self.name} is running already: stop it first (make down)"
            )
        shutil.rmtree(self.folder, ignore_errors=True)
        pki.create(self._pki, self.name)
        store, port = f"http://127.0.0.1:{processes.free_port()}", processes.free_port()
        pki.write_kubeconfig(self.kubeconfig, self._pki, self.name, f"https://127.0.0.1:{port}")
        peer = f"http://127.0.0.1:{processes.free_port()}"
        self._spawn("etcd", binaries.control_plane(), "etcd", self.folder / "etcd", store, peer)
        self._spawn(
            "apiserver", binaries.control_plane(), "kube-apiserver", *self._api_server(store, port)
        )

    def ready(self) -> None:
        """Wait for the API server, then add kinds, controllers and seeds; return when all is
        served.
        """
        api, server = self.api, self._process("apiserver")
        what = f"the API server of cluster {self.name} answers"
        processes.wait_until(
            lambda: api.answers("/readyz"), seconds=PATIENCE, what=what, name=server
        )
        crds.load(api, crds.folder(), server=server)
        # After the kinds: the garbage collector looks for new ones only every 30 seconds.
        self._spawn(
            "controllers", binaries.control_plane(), "kube-controller-manager", *self._controllers()
        )
        self._spawn("snapshots", binaries.snapshot_controller(), *self._snapshot_controller())
        simulation: list[str | Path] = [
            sys.executable,
            "-m",
            "local.simulation.controllers",
            "--kubeconfig",
            self.kubeconfig,
        ]
        processes.spawn(self._process("simulation"), simulation, cwd=ROOT)
        for manifest in seeds(NETWORKS.get(self.name)):
            api.apply(manifest)

    def stop(self) -> None:
        """Stop what runs, the last started first; the folder stays for a look at it."""
        for role in reversed(ROLES):
            processes.stop(self._process(role))

    def restricted_kubeconfig(self, manifest: Path) -> str:
        """Grant the shipped rights to the shipped account and return its kubeconfig."""
        api = self.api
        for document in yaml.safe_load_all(manifest.read_text()):
            api.apply(document)
        command = [
            sys.executable,
            "-m",
            "shared.commands.access",
            "--kubeconfig",
            str(self.kubeconfig),
        ]
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if answer.returncode:
            reason = answer.stderr.strip()
            raise RuntimeError(f"no kubeconfig for cluster {self.name}: {reason}")
        return answer.stdout

    @property
    def _pki(self) -> Path:
        return self.folder / "pki"

    def _alive(self) -> bool:
        return any(processes.alive(self._process(role)) for role in ROLES)

    def _process(self, role: str) -> str:
        return f"{self.name}-{role}"

    def _spawn(self, role: str, *command: str | Path) -> None:
        processes.spawn(self._process(role), command)

    def _api_server(self, store: str, port: int) -> list[str]:
        return [
            f"--etcd-servers={store}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--tls-cert-file={self._pki / 'server.crt'}",
            f"--tls-private-key-file={self._pki / 'server.key'}",
            f"--client-ca-file={self._pki / 'ca.crt'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._pki / 'service-account.pub'}",
            f"--service-account-signing-key-file={self._pki / 'service-account.key'}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--profiling=false",
        ]

    def _controllers(self) -> list[str]:
        return [
            f"--kubeconfig={self.kubeconfig}",
            f"--controllers={','.join(CONTROLLERS)}",
            f"--service-account-private-key-file={self._pki / 'service-account.key'}",
            f"--root-ca-file={self._pki / 'ca.crt'}",
            "--bind-address=127.0.0.1",
            f"--secure-port={processes.free_port()}",
            f"--cert-dir={self.folder / 'controllers'}",
            "--leader-elect=false",
        ]

    def _snapshot_controller(self) -> list[str]:
        # Its own limits of 5 and 10 would make a restore of a hundred disks take minutes.
        return [f"--kubeconfig={self.kubeconfig}", "--kube-api-qps=200", "--kube-api-burst=400"]


ROLES = ("etcd", "apiserver", "controllers", "snapshots", "simulation")


def start(names: Iterable[str]) -> dict[str, Cluster]:
    """Start several clusters at once and return when all are ready."""
    clusters = {name: Cluster(name) for name in names}
    binaries.control_plane()
    for cluster in clusters.values():
        cluster.start()
    with ThreadPoolExecutor() as pool:
        list(pool.map(Cluster.ready, clusters.values()))
    return clusters


def restricted_kubeconfig(name: str, manifest_path: Path) -> str:
    """The kubeconfig of the system's own account on a running cluster."""
    return Cluster(name).restricted_kubeconfig(manifest_path)


def seeds(network: str | None) -> list[Object]:
    """What a Harvester cluster has from the start, as far as a restore looks at it."""
    found = [
        _storage_class(),
        _snapshot_class("longhorn"),
        _snapshot_class("longhorn-snapshot") | {"parameters": {"type": "snap"}},
    ]
    if network:
        found.append(_network(network))
    return found


def _storage_class() -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "harvester-longhorn",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "driver.longhorn.io",
        "parameters": {"numberOfReplicas": "3", "staleReplicaTimeout": "30", "migratable": "true"},
        "allowVolumeExpansion": True,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def _snapshot_class(name: str) -> Object:
    return {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshotClass",
        "metadata": {"name": name},
        "driver": "driver.longhorn.io",
        "deletionPolicy": "Delete",
    }


def _network(name: str) -> Object:
    config = {
        "cniVersion": "0.3.1",
        "name": name,
        "type": "bridge",
        "bridge": "mgmt-br",
        "vlan": int(name.removeprefix("vlan")),
        "ipam": {},
    }
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"config": json.dumps(config)},
    }
