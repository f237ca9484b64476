"""Objects per second that a rollback takes away: the whole state machine, against kubectl of the
same objects in the same order.
"""

import tempfile
from functools import partial
from pathlib import Path

from bench.figures import OURS, Pair, Table, comparison
from bench.line import catalogue
from bench.machines import OBJECTS, SOURCE, fleet
from bench.restore import KUBECTL, NETWORKS, Place, Row, place_of, size_of, timed
from bench.running import Running, runtime
from local.binaries import kubectl
from shared import labels
from shared.restore.rollback import ORDER

FULL, QUICK = Row(50, 5, 5), Row(2, 1, 1)
PLURALS = {
    "VirtualMachine": "virtualmachines.kubevirt.io",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "VolumeSnapshot": "volumesnapshots.snapshot.storage.k8s.io",
    "VolumeSnapshotContent": "volumesnapshotcontents.snapshot.storage.k8s.io",
}
CLUSTER_WIDE = {"VolumeSnapshotContent"}


def tables(*, quick: bool) -> list[Table]:
    row = QUICK if quick else FULL
    kubectl()  # built before anything is timed
    with tempfile.TemporaryDirectory() as name, runtime() as running:
        return [_table(_measure(running, Path(name), row), row)]


def _measure(running: Running, folder: Path, row: Row) -> Pair:
    """Each round restores the machines twice, halted, and takes them away in both ways."""
    pair = Pair()
    catalogue(running, fleet(row.size), row.size)
    place = place_of(folder / "west", "west", running.kubeconfigs["west"])
    for number in range(row.rounds):
        made = {side: _restore(running, f"gone-{side}-{number}", row) for side in (OURS, KUBECTL)}
        ours = timed(partial(_roll_back, running, made[OURS]))
        peers = timed(partial(_delete, place, f"gone-{KUBECTL}-{number}", made[KUBECTL]))
        pair.ours.append(row.size * OBJECTS / ours)
        pair.peer.append(row.size * OBJECTS / peers)
    return pair


def _restore(running: Running, namespace: str, row: Row) -> str:
    """The restore's id."""
    mapping = {"namespaces": {SOURCE: namespace}, "networks": {"*": NETWORKS["west"]}}
    select = {"namespace": SOURCE, "cluster": "east"}
    request = {"select": select, "target": "west", "mapping": mapping, "start": False}
    ended = running.stack.restore(request, seconds=600)
    if not ended.output or ended.output["counts"] != {"applied": row.size}:
        raise RuntimeError(f"the restore ended {ended.status}: {ended.output or ended.cause}")
    return str(ended.output["restoreId"])


def _roll_back(running: Running, restore_id: str) -> None:
    ended = running.stack.roll_back(restore_id, seconds=600)
    if not ended.output or ended.output["kept"]:
        raise RuntimeError(f"the rollback ended {ended.status}: {ended.output or ended.cause}")


def _delete(place: Place, namespace: str, restore_id: str) -> None:
    """Each kind until it is gone, then the namespace."""
    selector = f"{labels.RESTORE}={restore_id}"
    for kind in [each for each in ORDER if each in PLURALS]:  # no drill's NetworkPolicies
        where = () if kind in CLUSTER_WIDE else ("-n", namespace)
        place.kubectl("delete", PLURALS[kind], "-l", selector, *where, "--wait", "--timeout=600s")
    place.kubectl("delete", "namespace", namespace, "--wait", "--timeout=600s")


def _table(pair: Pair, row: Row) -> Table:
    note = (
        "Ours: the whole state machine: each object looked at and compared with the ledger, users"
        " of its disks looked for, the namespace counted, all of it noted and reported. Peer:"
        f" `{KUBECTL} delete --wait` by the restore's label, a kind after the other, which looks at"
        " nothing. Simulated controllers; ours is cold in the first round."
    )
    title = "Rollback: objects taken away per second"
    rows = [(f"{size_of(row)}, halted", pair)]
    return comparison(title, KUBECTL, "objects/s", rows, better="higher", note=note)
