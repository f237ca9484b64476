"""Keys of the catalogue's table: what is read together lies together. No other module spells them.

Every function returns a partition key, a sort key, or both as (pk, sk). A partition key has at most
2,048 bytes, a sort key 1,024, which is also the longest key of S3.
"""

import hashlib
from datetime import timedelta

Key = tuple[str, str]

DOCUMENTS = "documents"
QUARANTINE = "quarantine"
TOLD = "told"
OBSERVATIONS = "observations"
CLUSTERS = "clusters"
"""Every cluster that ever had a restore point."""

GENERATION = (DOCUMENTS, "generation")
"""Its revision moves when a target's document has changed: what was known of targets is old."""

PREFIXES = "prefixes"
"""Of each target: every place that it ever named."""

RECONCILED = "reconciled"
"""Of each target: the place that was reconciled last, and on which day."""

IN_BUCKET = "in_bucket"
"""The bucket of an object's row: only rows that have it are in the index of objects."""

POINT = "point"
FEED = "source#"
REFERENCE = "ref#"
VOLUME_FILE = "volume.cfg"
IMAGE_FILE = "backing-image.cfg"

RECORD = "restore"
HISTORY = "restore#history"
"""The place of each restore in time, below what the roles that write ledgers may write."""

TEMPORARIES = "restore#temporary"
"""What is to be rolled back when it expires, below what those roles may write."""

STANDBYS = "standbys"
"""A row a recovery plan for which volumes stand by on a target, or stood."""

FAILOVERS = "failover#history"
"""The place of each failover in time, below what the role that writes them may write."""

DRILLS = "failover#drills"
"""A row a recovery plan that was ever drilled."""

EXPIRES = "expires"
"""The table's TTL attribute, in seconds since 1970: DynamoDB deletes the row some time after it."""

HISTORY_KEPT = timedelta(days=90)
"""How long it is remembered what a restore point was: longer than an intruder stays unseen."""

KEPT = timedelta(days=400)
"""How long what was deleted, or has ended, is remembered: a year's audit, and some."""


def bucket_partition(bucket: str) -> str:
    return f"bucket#{bucket}"


def volume_partition(bucket: str, root: str, volume: str) -> str:
    return f"volume#{bucket}/{root}#{volume}"


def image_partition(bucket: str, root: str, name: str) -> str:
    return f"image#{bucket}/{root}#{name}"


def folder_partition(bucket: str, folder: str) -> str:
    """Which points have a part in a folder; hashed, since a path may be as long as a key."""
    return f"folder#{hashlib.sha256(f'{bucket}/{folder}'.encode()).hexdigest()}"


def engine_volume(bucket: str, root: str, volume: str) -> Key:
    return volume_partition(bucket, root, volume), VOLUME_FILE


def engine_backup(bucket: str, root: str, volume: str, backup: str) -> Key:
    return volume_partition(bucket, root, volume), f"backup#{backup}"


def backing_image(bucket: str, root: str, name: str) -> Key:
    return image_partition(bucket, root, name), IMAGE_FILE


def document(kind: str, id_: str) -> Key:
    return DOCUMENTS, f"{kind}/{id_}"


def observation(cluster: str) -> Key:
    """The last look at a cluster."""
    return OBSERVATIONS, cluster


def told_object(hash_: str) -> Key:
    """That an object in quarantine was told of."""
    return TOLD, f"object#{hash_}"


def told_singly(hour: str) -> Key:
    return TOLD, f"singly#{hour}"


def told_others(window: str) -> Key:
    return TOLD, f"others#{window}"


def told_incident(target: str, day: str, vanished: int, known: int) -> Key:
    """That so many objects of a target, of so many, are missing."""
    return TOLD, f"incident#{target}#{day}#{vanished}#{known}"


def told_retention(target: str) -> Key:
    """What of a bucket's own rules would harm a target's backups."""
    return TOLD, f"retention#{target}"


def references(backup: str) -> str:
    """What the sort keys of the points that use a volume's backup begin with."""
    return f"{REFERENCE}{backup}#"


def reference(backup: str, point: str) -> str:
    return f"{references(backup)}{point}"


def point_partition(point: str) -> str:
    """Read as a whole when a point is computed: the point, and where its metadata lies."""
    return f"point#{point}"


def feed(bucket: str, key: str) -> str:
    """Hashed, since an S3 key alone may fill a sort key."""
    return FEED + hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()


ORIGIN = "origin"
"""In the partition of a copy's point: of which point it is a copy."""

COPY = "copy#"


def copy_row(original: str, copy: str) -> Key:
    """That a point has a copy that is whole, and where."""
    return point_partition(original), f"{COPY}{copy}"


def newest_partition(cluster: str) -> str:
    """A row a machine (`namespace/name`): the positions of its newest points."""
    return f"newest#{cluster}"


def timeline(cluster: str, machine: str) -> str:
    """A row a point that is not deleted, sorted by state and position."""
    return f"machine#{cluster}/{machine}"


def ledger_partition(ledger: str) -> str:
    """A restore's record, machines and objects; LEDGER begins with r-, which no other row does."""
    return f"restore#{ledger}"


def budget_partition(target: str) -> str:
    """What restores to a target have at work at the same time, below what the roles may write."""
    return f"restore#budget#{target}"


def failover_partition(failover: str) -> str:
    """A failover's record, its recovery plan and the token of the execution that waits."""
    return f"failover#{failover}"


def failover_execution(execution: str) -> str:
    """Which failover an execution is of."""
    return f"failover#execution#{hashlib.sha256(execution.encode()).hexdigest()[:32]}"


def plan_lock(plan: str) -> str:
    """Which failover has hold of a recovery plan."""
    return f"failover#plan#{plan}"


def drill_lock(plan: str) -> Key:
    """Which drill has hold of a recovery plan, and which was the last."""
    return DRILLS, plan


def overwritten_partition(bucket: str, key: str) -> str:
    """What stood under a key before; hashed, since a path may be as long as a key."""
    return f"overwritten#{hashlib.sha256(f'{bucket}/{key}'.encode()).hexdigest()}"


def history_partition(point: str) -> str:
    """What a restore point was, by the time at which it became so."""
    return f"history#{point}"


def fingerprint_partition(fingerprint: str) -> str:
    """Which restore points have it."""
    return f"fingerprint#{fingerprint}"


def reconcile_partition(id_: str) -> str:
    """What one reconcile found in each part of its target."""
    return f"reconcile#{id_}"


def migration_partition(id_: str) -> str:
    """What one migration copies, and how far it is."""
    return f"migration#{id_}"


REPLICATIONS = "migration#replications"
"""What recovery plans have of copies in which place, below what the role that copies may write."""


def seals_partition(bucket: str, prefix: str) -> str:
    """What was whole at a place to which backups are copied, below what the role that copies may
    write.
    """
    return f"migration#place#{hashlib.sha256(f'{bucket}/{prefix}'.encode()).hexdigest()}"


def holds_partition(target: str) -> str:
    """Which migrations are at work in the place of a target, below what the role that copies may
    write.
    """
    return f"migration#holds#{target}"


PRUNINGS = "pruning"
"""Of each target: who deletes copies in its place, and which pruning has not ended."""


def pruning_partition(id_: str) -> str:
    """Which copies one pruning deletes, and how far it is."""
    return f"pruning#{id_}"


def moment(state: str, position: str) -> str:
    return f"{state}#{position}"
