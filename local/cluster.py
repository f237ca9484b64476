"""A name in, a Kubernetes control plane on loopback out: a real API server, and above it the
controllers that one chooses; a simulated Harvester, where nothing else is said.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

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
    "resourcequota-controller",
)
LONGHORN = "longhorn-system"
HARVESTER = "harvester-system"
NODES = ("node-1", "node-2", "node-3")
DISK = "default-disk"
READY = {"type": "Ready", "status": "True"}
"""Longhorn's word about each of them."""
NETWORKS = {"east": "vlan100", "west": "vlan200"}


class Controllers(NamedTuple):
    """What runs above an API server.

    BUILT_IN are controllers of kube-controller-manager, KINDS gives the definitions of custom
    resources, and LAUNCH starts the processes of ROLES, in that order.
    """

    built_in: tuple[str, ...]
    kinds: Callable[[], Iterable[Object]]
    roles: tuple[str, ...]
    launch: Callable[["Cluster"], None]


class Cluster:
    """One control plane; everything that it writes lies in its folder."""

    def __init__(self, name: str, controllers: Controllers | None = None) -> None:
        self.name = name
        self._above = controllers or SIMULATED
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
        pki.create(self.pki, self.name)
        store, port = f"http://127.0.0.1:{processes.free_port()}", processes.free_port()
        pki.write_kubeconfig(self.kubeconfig, self.pki, self.name, f"https://127.0.0.1:{port}")
        peer = f"http://127.0.0.1:{processes.free_port()}"
        self.spawn("etcd", *binaries.etcd(self.folder / "etcd", store, peer))
        self.spawn("apiserver", *binaries.api_server(), *self._api_server(store, port))

    def ready(self) -> None:
        """Wait for the API server, then add kinds, controllers and seeds; return when all is
        served.
        """
        api, server = self.api, self.process("apiserver")
        what = f"the API server of cluster {self.name} answers"
        processes.wait_until(
            lambda: api.answers("/readyz"), seconds=PATIENCE, what=what, name=server
        )
        crds.load(api, self._above.kinds(), server=server)
        # After the kinds: the garbage collector looks for new ones only every 30 seconds.
        self.spawn(
            "controllers", binaries.control_plane(), "kube-controller-manager", *self._controllers()
        )
        self.spawn("snapshots", binaries.snapshot_controller(), *self.client_flags())
        self._above.launch(self)
        for manifest in seeds(NETWORKS.get(self.name)):
            api.apply(manifest)
        for name in NODES:
            api.apply(_node_status(name), part="status")

    def take_away(self) -> None:
        """An outage: the API server takes no connection any more; its store keeps the data."""
        processes.stop(self.process("apiserver"))

    def bring_back(self) -> None:
        """The end of an outage, when the API server is ready again. Raises NotReadyError."""
        self.revive()
        processes.wait_until(
            lambda: self.api.answers("/readyz"),
            seconds=PATIENCE,
            what=f"the API server of cluster {self.name} answers",
            name=self.process("apiserver"),
        )

    def revive(self) -> None:
        """Everything of it that does not run is started as it was before."""
        for role in self.roles:
            if not processes.alive(self.process(role)):
                processes.spawn(self.process(role), self._commands()[role], cwd=ROOT)

    def stop(self) -> None:
        """Stop what runs, the last started first; the folder stays for a look at it."""
        for role in reversed(self.roles):
            processes.stop(self.process(role))

    def restricted_kubeconfig(self, *manifests: Path) -> str:
        """Grant the shipped rights to the shipped account and return its kubeconfig."""
        api = self.api
        for manifest in manifests:
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
    def roles(self) -> tuple[str, ...]:
        """The processes of this cluster, in the order of their start."""
        return (*BELOW, *self._above.roles)

    @property
    def pki(self) -> Path:
        """Where its certificates lie."""
        return self.folder / "pki"

    def process(self, role: str) -> str:
        """The name of its process of that role."""
        return f"{self.name}-{role}"

    def spawn(self, role: str, *command: str | Path) -> None:
        """Start a process of the cluster, and note how, for the end of an outage."""
        words = [str(word) for word in command]
        processes.spawn(self.process(role), words, cwd=ROOT)
        commands = {**self._commands(), role: words}
        (self.folder / "commands.json").write_text(json.dumps(commands, indent=1))

    def spawn_python(self, role: str, module: str, kubeconfig: Path | None = None) -> None:
        """Start a module of ours, which takes a kubeconfig: the administrator's if no other."""
        kubeconfig = kubeconfig or self.kubeconfig
        self.spawn(role, sys.executable, "-m", module, "--kubeconfig", kubeconfig)

    def client_flags(self) -> list[str]:
        """How a controller is told of the cluster, and how fast it may ask: their own limits, from
        5 requests a second on, would make a restore of a hundred disks take minutes.
        """
        return [f"--kubeconfig={self.kubeconfig}", "--kube-api-qps=200", "--kube-api-burst=400"]

    def _commands(self) -> dict[str, list[str]]:
        file = self.folder / "commands.json"
        if not file.exists():
            return {}
        commands: dict[str, list[str]] = json.loads(file.read_text())
        return commands

    def _alive(self) -> bool:
        return any(processes.alive(self.process(role)) for role in self.roles)

    def _api_server(self, store: str, port: int) -> list[str]:
        return [
            f"--etcd-servers={store}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--tls-cert-file={self.pki / 'server.crt'}",
            f"--tls-private-key-file={self.pki / 'server.key'}",
            f"--client-ca-file={self.pki / 'ca.crt'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.pki / 'service-account.pub'}",
            f"--service-account-signing-key-file={self.pki / 'service-account.key'}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--profiling=false",
            "--allow-privileged=true",
            f"--requestheader-client-ca-file={self.pki / 'front-proxy-ca.crt'}",
            f"--requestheader-allowed-names={pki.FRONT_PROXY}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={self.pki / 'front-proxy.crt'}",
            f"--proxy-client-key-file={self.pki / 'front-proxy.key'}",
        ]

    def _controllers(self) -> list[str]:
        return [
            *self.client_flags(),
            f"--controllers={','.join((*CONTROLLERS, *self._above.built_in))}",
            f"--service-account-private-key-file={self.pki / 'service-account.key'}",
            f"--root-ca-file={self.pki / 'ca.crt'}",
            "--bind-address=127.0.0.1",
            f"--secure-port={processes.free_port()}",
            f"--cert-dir={self.folder / 'controllers'}",
            "--leader-elect=false",
        ]


def _simulate(cluster: Cluster) -> None:
    for name in (LONGHORN, HARVESTER):
        cluster.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    cluster.api.apply(_harvester_version())
    cluster.api.apply(_kubevirt())
    cluster.api.apply(_kubevirt(), part="status")
    cluster.spawn_python("longhorn", "local.longhorn")
    cluster.spawn_python("simulation", "local.simulation.controllers")


BELOW = ("etcd", "apiserver", "controllers", "snapshots")
BINDING = ("persistentvolume-binder-controller", "persistentvolume-protection-controller")
SIMULATED = Controllers(
    BINDING,
    lambda: crds.definitions(crds.folder()),
    ("longhorn", "simulation"),
    _simulate,
)


def start(names: Iterable[str], controllers: Controllers | None = None) -> dict[str, Cluster]:
    """Start several clusters at once and return when all are ready."""
    clusters = {name: Cluster(name, controllers) for name in names}
    binaries.control_plane()
    for cluster in clusters.values():
        cluster.start()
    with ThreadPoolExecutor() as pool:
        list(pool.map(Cluster.ready, clusters.values()))
    return clusters


def restricted_kubeconfig(name: str, manifests: Iterable[Path]) -> str:
    """The kubeconfig of the system's own account on a running cluster."""
    return Cluster(name).restricted_kubeconfig(*manifests)


def seeds(network: str | None) -> list[Object]:
    """What a Harvester cluster has from the start, as far as a restore looks at it."""
    found = [
        _storage_class(),
        _snapshot_class("longhorn"),
        _snapshot_class("longhorn-snapshot") | {"parameters": {"type": "snap"}},
        # Of which version its faked parts are: see local/longhorn.
        _longhorn_setting("current-longhorn-version", "v1.10.0"),
        _longhorn_setting("storage-over-provisioning-percentage", "200"),
        *map(_node, NODES),
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


def _longhorn_setting(name: str, value: str) -> Object:
    return {
        "apiVersion": "longhorn.io/v1beta2",
        "kind": "Setting",
        "metadata": {"name": name, "namespace": LONGHORN},
        "value": value,
    }


def _node(name: str) -> Object:
    """As Longhorn sees a node: with one disk, which nothing here ever fills."""
    disk = {"allowScheduling": True, "path": "/var/lib/harvester/defaultdisk"}
    return {
        "apiVersion": "longhorn.io/v1beta2",
        "kind": "Node",
        "metadata": {"name": name, "namespace": LONGHORN},
        "spec": {"name": name, "allowScheduling": True, "disks": {DISK: disk}},
    }


def _node_status(name: str) -> Object:
    schedulable = [{"type": "Schedulable", "status": "True"}]
    disk = {
        "conditions": schedulable,
        "storageMaximum": 4 * 2**40,
        "storageAvailable": 3 * 2**40,
        "storageScheduled": 2**40,
    }
    return {
        "apiVersion": "longhorn.io/v1beta2",
        "kind": "Node",
        "metadata": {"name": name, "namespace": LONGHORN},
        "status": {"conditions": [READY], "diskStatus": {DISK: disk}},
    }


def _harvester_version() -> Object:
    return {
        "apiVersion": "harvesterhci.io/v1beta1",
        "kind": "Setting",
        "metadata": {"name": "server-version"},
        "value": "v1.8.2",
    }


def _kubevirt() -> Object:
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "KubeVirt",
        "metadata": {"name": "kubevirt", "namespace": HARVESTER},
        "spec": {},
        "status": {"observedKubeVirtVersion": "v1.7.0"},
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
