"""The real controllers above an API server of ours, each a process on loopback.

Real are KubeVirt's virt-api and virt-controller, Harvester's webhooks and its controllers of
machines, backups and restores, Longhorn's CSI controller, the CSI project's side-cars, the
scheduler and the binder of volumes. Not here are a node (local/conformance/node.py), Longhorn's
manager and engines (local/longhorn), and CDI (local/simulation/imports.py).
"""

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

from local import binaries, pki, processes
from local.cluster import BINDING, Cluster, Controllers
from local.conformance import kinds, objects

ROLES = (
    "virt-api",
    "virt-controller",
    "webhooks",
    "harvester",
    "csi",
    "csi-snapshotter",
    "csi-provisioner",
    "scheduler",
    "longhorn",
    "imports",
    "node",
)
PATIENCE = 120.0
IMAGE = "none/virt-launcher:v1.7.0"  # nobody pulls it

IDENTITIES = {
    # virt-api drops changes of a machine's status that come from anybody else.
    "virt-controller": "system:serviceaccount:kubevirt:kubevirt-controller",
    "virt-api": "system:serviceaccount:kubevirt:kubevirt-apiserver",
    "node": "system:serviceaccount:kubevirt:kubevirt-handler",
    # Harvester's webhooks let its own controllers do more than others.
    "harvester": "system:serviceaccount:harvester-system:harvester",
}
ADMINISTRATORS = "system:masters"
HANDLER = "kubevirt.io:system:client:virt-handler"


class _Place(NamedTuple):
    """A cluster, and the folders of its programs."""

    cluster: Cluster
    programs: Path
    sidecars: Path

    def kubeconfig(self, identity: str) -> Path:
        return self.cluster.folder / f"{identity}.kubeconfig"

    def file(self, name: str) -> Path:
        return self.cluster.pki / name

    def log(self, role: str) -> str:
        return processes.log_file(self.cluster.process(role)).read_text(errors="replace")


def launch(cluster: Cluster) -> None:
    """Return when all of them serve. Raises NotReadyError, BuildError."""
    programs, sidecars = binaries.built(binaries.HARVESTER), binaries.built(binaries.SIDECARS)
    place = _Place(cluster, programs, sidecars)
    _identify(place)
    api = cluster.api
    for each in (*kinds.priority_classes(), *objects.all_objects()):
        api.apply(each)
    virt_api = _start_kubevirt(place)
    _start_harvester(place)
    _start_storage(place)
    cluster.spawn("scheduler", binaries.control_plane(), "kube-scheduler", *_scheduler(cluster))
    cluster.spawn_python("longhorn", "local.longhorn")
    cluster.spawn_python("imports", "local.simulation.imports")
    cluster.spawn_python("node", "local.conformance.node", place.kubeconfig("node"))
    _register(place, virt_api)
    _wait(place)


REAL = Controllers(BINDING, kinds.definitions, ROLES, launch)


def _identify(place: _Place) -> None:
    """Certificates of servers and of users; some programs insist on files."""
    cluster = place.cluster
    names = (*pki.SERVER_NAMES, "virt-api.kubevirt.svc")
    pki.issue(cluster.pki, "hooks", *names, user="hooks")
    pki.issue(cluster.pki, "handler", user=HANDLER)
    for identity, user in IDENTITIES.items():
        pki.issue(cluster.pki, identity, user=user, group=ADMINISTRATORS)
        pki.write_identity(place.kubeconfig(identity), cluster.pki, identity, cluster.api.server)


def _start_kubevirt(place: _Place) -> int:
    """Returns the port of virt-api."""
    port = processes.free_port()
    certificate, key = place.file("hooks.crt"), place.file("hooks.key")
    place.cluster.spawn(
        "virt-api",
        place.programs / "virt-api",
        f"--kubeconfig={place.kubeconfig('virt-api')}",
        "--listen=127.0.0.1",
        f"--port={port}",
        f"--tls-cert-file={certificate}",
        f"--tls-key-file={key}",
        f"--handler-cert-file={place.file('handler.crt')}",
        f"--handler-key-file={place.file('handler.key')}",
    )
    place.cluster.spawn(
        "virt-controller",
        place.programs / "virt-controller",
        f"--kubeconfig={place.kubeconfig('virt-controller')}",
        "--listen=127.0.0.1",
        f"--port={processes.free_port()}",
        f"--prom-cert-file={certificate}",
        f"--prom-key-file={key}",
        f"--launcher-image={IMAGE}",
        f"--exporter-image={IMAGE}",
    )
    return port


def _start_harvester(place: _Place) -> None:
    program, kubeconfig = place.programs / "harvester", place.kubeconfig("harvester")
    files = [place.file(name) for name in ("hooks.crt", "hooks.key", "ca.crt")]
    address = f"127.0.0.1:{processes.free_port()}"
    place.cluster.spawn("webhooks", program, "webhooks", kubeconfig, address, *files)
    place.cluster.spawn("harvester", program, "controllers", kubeconfig)


def _start_storage(place: _Place) -> None:
    """The side-cars end when the socket is not there yet, so it is waited for."""
    cluster, socket = place.cluster, place.cluster.folder / "csi.sock"
    cluster.spawn(
        "csi", place.programs / "harvester", "longhorn-csi", socket, place.kubeconfig("harvester")
    )
    processes.wait_until(
        socket.exists, seconds=PATIENCE, what="the CSI driver's socket", name=cluster.process("csi")
    )
    flags = [
        *cluster.client_flags(),
        f"--csi-address={socket}",
        "--timeout=2m30s",
        "--leader-election=false",
    ]
    cluster.spawn("csi-snapshotter", place.sidecars / "csi-snapshotter", *flags)
    provisioner = ["--default-fstype=ext4", "--enable-capacity=false"]
    cluster.spawn("csi-provisioner", place.sidecars / "csi-provisioner", *flags, *provisioner)


def _scheduler(cluster: Cluster) -> list[str]:
    return [
        f"--kubeconfig={cluster.kubeconfig}",
        f"--authentication-kubeconfig={cluster.kubeconfig}",
        f"--authorization-kubeconfig={cluster.kubeconfig}",
        "--bind-address=127.0.0.1",
        f"--secure-port={processes.free_port()}",
        f"--cert-dir={cluster.folder / 'scheduler'}",
        "--leader-elect=false",
    ]


def _register(place: _Place, virt_api: int) -> None:
    """virt-api's webhooks, once it listens: they are asked about every machine from then on."""
    processes.wait_until(
        lambda: processes.listens(virt_api),
        seconds=PATIENCE,
        what="virt-api listens",
        name=place.cluster.process("virt-api"),
    )
    words: list[str | Path] = [
        "kubevirt-webhooks",
        place.file("ca.crt"),
        f"https://127.0.0.1:{virt_api}",
    ]
    answer = subprocess.run(
        [place.programs / "harvester", *words], capture_output=True, text=True, check=True
    )
    for each in json.loads(answer.stdout)["items"]:
        place.cluster.api.apply(each)


def _wait(place: _Place) -> None:
    api = place.cluster.api
    lease = "/apis/coordination.k8s.io/v1/namespaces/kubevirt/leases/virt-controller"
    conditions = {
        "webhooks": lambda: "webhooks registered" in place.log("webhooks"),
        "harvester": lambda: "controllers started" in place.log("harvester"),
        "virt-controller": lambda: api.answers(lease),
        "virt-api": lambda: api.answers("/apis/subresources.kubevirt.io/v1"),
    }
    for role, condition in conditions.items():
        processes.wait_until(
            condition,
            seconds=PATIENCE,
            what=f"{role} of cluster {place.cluster.name} serves",
            name=place.cluster.process(role),
        )
