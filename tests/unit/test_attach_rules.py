"""How a backup target is attached or detached: each rule by itself, with its words."""

import json
from typing import Any

import pytest

from shared.attach import deciding, keys
from shared.attach.deciding import Do
from shared.errors import Refused
from shared.models.attachments import Found, InUse
from shared.models.documents import BackupTarget
from shared.models.longhorn_facts import LonghornTarget

Json = dict[str, Any]

NAME = "replant-east-s3"
URL = "s3://copies@eu-central-1/east/"
HERE = LonghornTarget(uid="uid-1", url=URL)
DOWN = HERE._replace(problem="403")
ELSEWHERE = LonghornTarget(uid="uid-2", url="s3://other@us-east-1/")
BY_HAND = (
    "By hand: note what Harvester's setting backup-target is there, set it to bucket copies,"
    " restore, and set it back. Meanwhile Harvester lists the backups of the bucket as its own:"
    " whoever deletes one there, or its namespace, deletes it in the bucket."
)


def document(**changes: Any) -> BackupTarget:
    usual = {
        "id": "east-s3",
        "url": "s3://copies/east/",
        "cluster": "east",
        "credential_secret": "replant/targets/east-s3",
    }
    return BackupTarget(**(usual | changes))


def on(*ours: str, version: str | None = "v1.8.0", **targets: LonghornTarget) -> Found:
    named = {name.replace("_", "-"): each for name, each in targets.items()}
    return Found(served=True, version=version, targets=named, ours=frozenset(ours))


LONG = "e" * 56


@pytest.mark.parametrize(
    ("of", "found", "do", "name", "what", "said"),
    [
        (
            {"url": "file:///mnt/backups/east/"},
            on(),
            Do.REFUSE,
            NAME,
            "place",
            "file:///mnt/backups/east/ is a folder that only Replant's own function has mounted."
            " Bring it to a bucket (docs/deploy.md), and give that bucket a target document.",
        ),
        (
            {},
            Found(served=False),
            Do.REFUSE,
            NAME,
            "longhorn",
            "west has no Longhorn (no kind BackupTarget). Install it, or choose another cluster.",
        ),
        (
            {},
            on(default=HERE),
            Do.USE,
            "default",
            "backup-target",
            f"Backup target default of west reads {URL} already.",
        ),
        (
            {},
            on("a", a=HERE, b=HERE),
            Do.USE,
            "b",
            "backup-target",
            f"Backup target b of west reads {URL} already.",
        ),
        (
            {},
            on(NAME, replant_east_s3=DOWN),
            Do.RENEW,
            NAME,
            "backup-target",
            f"Backup target {NAME} of west is not available (403). It gets the keys that are"
            " stored now.",
        ),
        (
            {},
            on(theirs=DOWN),
            Do.REFUSE,
            "theirs",
            "backup-target",
            f"Backup target theirs of west reads {URL} and is not available: 403. Longhorn has one"
            " for each place, and this one is not ours: correct its keys or the network there.",
        ),
        (
            {},
            on(version=None),
            Do.REFUSE,
            NAME,
            "longhorn",
            "Longhorn on west does not tell its version, and before 1.8 it has one backup target."
            f" {BY_HAND}",
        ),
        (
            {},
            on(version="v1.7.3"),
            Do.REFUSE,
            NAME,
            "longhorn",
            "Longhorn v1.7.3 on west has one backup target (several since 1.8), and that is"
            f" Harvester's. {BY_HAND}",
        ),
        (
            {},
            on(NAME, replant_east_s3=ELSEWHERE),
            Do.REFUSE,
            NAME,
            "backup-target",
            f"Backup target {NAME} of west reads s3://other@us-east-1/, and s3://copies/east/ is"
            " another place. Detach it first, or give the document another id.",
        ),
        (
            {"id": LONG},
            on(),
            Do.REFUSE,
            f"replant-{LONG}",
            "backup-target",
            f"replant-{LONG} is too long for a backup target of Longhorn's (64 characters of at"
            " most 63). Give the document a shorter id.",
        ),
        (
            {"id": LONG[1:]},
            on(),
            Do.MAKE,
            f"replant-{LONG[1:]}",
            "backup-target",
            f"Backup target replant-{LONG[1:]} is made on west, beside what is there: none.",
        ),
        (
            {"credential_secret": None},
            on(),
            Do.REFUSE,
            NAME,
            "credentials",
            "Target east-s3 has no credentialSecret, and no backup target of west reads"
            " s3://copies/east/. Store its keys as a secret replant/targets/NAME, and name that in"
            " targets/east-s3.yaml.",
        ),
        (
            {},
            on(default=LonghornTarget(uid="u", url=""), other=ELSEWHERE),
            Do.MAKE,
            NAME,
            "backup-target",
            f"Backup target {NAME} is made on west, beside what is there: default (empty), other"
            " (s3://other@us-east-1/).",
        ),
    ],
)
def test_how_it_is_attached_and_why(  # the parts of an answer
    of: Json, found: Found, do: Do, name: str, what: str, said: str
) -> None:
    way = deciding.attach(document(**of), "west", found)
    verdict = "block" if do is Do.REFUSE else "pass"
    assert (way.do, way.name) == (do, name)
    assert (way.check.check, way.check.subject, way.check.verdict) == (what, "west", verdict)
    assert way.check.message == said


@pytest.mark.parametrize(
    ("found", "used", "do", "what", "said"),
    [
        (
            on(),
            InUse(),
            Do.NOTHING,
            "backup-target",
            f"west has no backup target {NAME}: there is nothing to detach.",
        ),
        (
            on(replant_east_s3=HERE),
            InUse(),
            Do.REFUSE,
            "backup-target",
            f"Backup target {NAME} of west was not made by Replant, and stays.",
        ),
        (
            on(NAME, replant_east_s3=HERE),
            InUse(copying=("a", "b"), standby=("c",)),
            Do.REFUSE,
            "volumes",
            f"Volumes of west still get their data from {NAME}: a, b. Wait for them, or delete"
            " them.",
        ),
        (
            on(NAME, replant_east_s3=HERE),
            InUse(standby=("c",)),
            Do.REFUSE,
            "volumes",
            "Longhorn changes no backup target while there are standby volumes, as on west: c."
            " Activate or delete them first.",
        ),
        (
            on(NAME, replant_east_s3=HERE),
            InUse(),
            Do.DELETE,
            "backup-target",
            f"Backup target {NAME} of west goes, with its Secret; nothing of the bucket does.",
        ),
    ],
)
def test_how_it_is_detached_and_why(
    found: Found, used: InUse, do: Do, what: str, said: str
) -> None:
    way = deciding.detach("east-s3", "west", found, used)
    verdict = "block" if do is Do.REFUSE else "pass"
    assert (way.do, way.name) == (do, NAME)
    assert (way.check.check, way.check.subject, way.check.verdict) == (what, "west", verdict)
    assert way.check.message == said


def test_the_objects_are_as_longhorn_and_kubernetes_have_them() -> None:
    assert deciding.backup_target(document(), NAME, "eu-central-1", f"{NAME}-1") == {
        "apiVersion": "longhorn.io/v1beta2",
        "kind": "BackupTarget",
        "metadata": {
            "name": NAME,
            "namespace": "longhorn-system",
            "labels": {"app.kubernetes.io/managed-by": "replant", "replant.dev/target": "east-s3"},
        },
        "spec": {
            "backupTargetURL": URL,
            "credentialSecret": f"{NAME}-1",
            "pollInterval": "5m0s",
        },
    }
    assert deciding.secret_of(f"{NAME}-1", "uid-1", NAME, {"A": "b"}) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"{NAME}-1",
            "namespace": "longhorn-system",
            "labels": {"app.kubernetes.io/managed-by": "replant"},
            "ownerReferences": [
                {
                    "apiVersion": "longhorn.io/v1beta2",
                    "kind": "BackupTarget",
                    "name": NAME,
                    "uid": "uid-1",
                }
            ],
        },
        "type": "Opaque",
        "stringData": {"A": "b"},
    }


FORM = (
    " It is a JSON object with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and where the bucket is"
    " not at AWS AWS_ENDPOINTS (its URL) and AWS_CERT (the authority that signs for it)."
)
BOTH = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("1", "is not a JSON object"),
        ("{}", "lacks AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (json.dumps(BOTH | {"Y": "", "X": ""}), "has keys that are not known: 'X', 'Y'"),
        (json.dumps(BOTH | {"AWS_CERT": 7}), "has AWS_CERT, which is not a text"),
        (
            json.dumps(BOTH | {"AWS_ENDPOINTS": " b"}),
            "has AWS_ENDPOINTS, which begins or ends with a space or a line break",
        ),
    ],
)
def test_what_is_wrong_with_keys_is_said_with_their_form(text: str, said: str) -> None:
    with pytest.raises(Refused) as refused:
        keys.parse(text, "replant/targets/east-s3")
    assert refused.value.message == f"Secret replant/targets/east-s3 {said}.{FORM}"
    assert refused.value.field == "target"


def test_keys_are_read_and_shown_without_their_values() -> None:
    text = json.dumps(BOTH | {"AWS_ENDPOINTS": "https://a", "AWS_CERT": ""})
    found = keys.parse(text, "x")
    assert found.values == BOTH | {"AWS_ENDPOINTS": "https://a"}
    assert (found.endpoint, found.certificate) == ("https://a", None)
    assert repr(found) == "Keys(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINTS)"
