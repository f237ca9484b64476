"""Backup targets attached to a cluster and detached: what is decided, and whole runs on a fake
cluster whose Longhorn reads a place once its Secret is there.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from shared.attach import keys
from shared.attach.request import attach_request
from shared.aws.proving import Access, Proof
from shared.errors import InvalidRequest, NotFound, Refused
from shared.labels import LONGHORN_NAMESPACE
from shared.workflows.attaching import CONNECTIONS, LAST, LOCKS, PATIENCE, Clients, attach
from tests.fake_cluster import Place, status
from tests.lab import Lab, a_lab
from tests.scenarios import points

Json = dict[str, Any]

NAME = "replant-east-s3"
TARGET: Place = ("BackupTarget", LONGHORN_NAMESPACE, NAME)
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s3cr3t-value"}
DOCUMENT = {
    "url": "s3://copies/east/",
    "cluster": "east",
    "credential_secret": "replant/targets/east-s3",
}


class ResourceNotFoundException(Exception):
    """As boto3 has it."""


class Stored:
    """Secrets Manager: kubeconfigs for everybody, and the keys of one target."""

    class exceptions:  # noqa: N801  # boto3's own name
        ResourceNotFoundException = ResourceNotFoundException

    def __init__(self) -> None:
        self.text: str | None = json.dumps(KEYS)
        self.asked: list[str] = []

    def get_secret_value(self, *, SecretId: str) -> Json:  # noqa: N803
        self.asked.append(SecretId)
        if "/targets/" not in SecretId:
            return {"SecretString": "kubeconfig"}
        if self.text is None:
            raise ResourceNotFoundException
        return {"SecretString": self.text}


class Site:
    """WORD is what Longhorn says of a place that it cannot read; None: it can."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.stored = Stored()
        self.proof = Proof(read=True, write=True, region="eu-central-1")
        self.proved: list[tuple[Access, str, str, str]] = []
        self.word: str | None = None
        self.backups = 3
        self.document()
        lab.during = self._longhorn

    def document(self, **changes: Any) -> None:
        self.lab.know_target("east-s3", **(DOCUMENT | changes))

    def _prove(self, access: Access, bucket: str, prefix: str, name: str) -> Proof:
        self.proved.append((access, bucket, prefix, name))
        return self.proof

    def _longhorn(self, _: float) -> None:
        """Its controller: it reads what it has keys for, and makes an object of each backup."""
        cluster = self.lab.cluster
        for name, each in cluster.of("BackupTarget").items():
            secret = each["spec"].get("credentialSecret")
            if not secret:
                continue
            there = ("Secret", LONGHORN_NAMESPACE, secret) in cluster.objects
            word = self.word if there else f'secret "{secret}" not found'
            told = {"type": "Unavailable", "status": "True", "message": word}
            each["status"] = {"available": word is None, "conditions": [told] if word else []}
            for number in range(self.backups if word is None else 0):
                backup: Place = ("Backup", LONGHORN_NAMESPACE, f"backup-{name}-{number}")
                if backup not in cluster.objects:
                    cluster.add(*backup, metadata={"labels": {"backup-target": name}})

    def ask(self, execution: str = "run-1", **changes: Any) -> Json:
        body = {"target": "east-s3", "cluster": "west", **changes}
        clients = Clients(
            table=self.lab.table,
            secrets=self.stored,  # type: ignore[arg-type]  # as much of it as is used
            allow_loopback=True,
            secrets_prefix="replant/",
            clock=self.lab.clock,
            prove=self._prove,
        )
        return attach(clients, attach_request(body), execution, seconds=300)

    @property
    def writes(self) -> list[tuple[str, str, str]]:
        return self.lab.cluster.writes


@pytest.fixture
def site() -> Iterator[Site]:
    with a_lab() as lab:
        yield Site(lab)


def blocking(answer: Json) -> str:
    (message,) = [each["message"] for each in answer["checks"] if each["verdict"] == "block"]
    return str(message)


# --- Attach ---------------------------------------------------------------------------------------


def test_longhorn_reads_a_place_beside_what_it_read_before(site: Site) -> None:
    before = json.dumps(site.lab.cluster.objects["BackupTarget", LONGHORN_NAMESPACE, "default"])
    answer = site.ask()
    assert {key: answer[key] for key in answer if key != "checks"} == {
        "state": "attached",
        "backupTarget": NAME,
        "permissions": {"read": True, "write": True},
        "available": True,
        "backups": 3,
    }
    assert {each["verdict"] for each in answer["checks"]} == {"pass"}
    made = site.lab.cluster.objects[TARGET]
    assert made["spec"]["backupTargetURL"] == "s3://copies@eu-central-1/east/"
    assert made["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "replant",
        "replant.dev/target": "east-s3",
    }
    assert "syncRequestedAt" in made["spec"]
    after = site.lab.cluster.objects["BackupTarget", LONGHORN_NAMESPACE, "default"]
    assert json.dumps(after) == before


def test_its_secret_has_the_keys_and_goes_with_it(site: Site) -> None:
    site.document(endpoint="https://store.example")
    site.ask()
    made = site.lab.cluster.objects[TARGET]
    place = "Secret", LONGHORN_NAMESPACE, made["spec"]["credentialSecret"]
    secret = site.lab.cluster.objects[place]
    assert secret["stringData"] == KEYS | {"AWS_ENDPOINTS": "https://store.example"}
    (owner,) = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("BackupTarget", made["metadata"]["uid"])


def test_the_keys_are_proved_in_their_place_before_anything_is_made(site: Site) -> None:
    site.stored.text = json.dumps(KEYS | {"AWS_ENDPOINTS": "https://a", "AWS_CERT": "PEM"})
    site.proof = Proof(False, True, "us-east-1", ("reading copies/east/ failed with AccessDenied",))
    answer = site.ask()
    (access, *place) = site.proved[0]
    assert access == Access("AKIDEXAMPLE", "s3cr3t-value", "https://a", "PEM")
    assert place[:2] == ["copies", "east/"]
    assert answer["state"] == "refused"
    assert answer["permissions"] == {"read": False, "write": True}
    assert blocking(answer) == (
        "The keys of target east-s3: reading copies/east/ failed with AccessDenied. Longhorn needs"
        " to list, read and write below that place: give the keys these rights."
    )
    assert site.writes == []


def test_a_dry_run_proves_the_keys_and_makes_nothing(site: Site) -> None:
    answer = site.ask(dryRun=True)
    assert (answer["state"], answer["available"]) == ("planned", False)
    assert answer["permissions"] == {"read": True, "write": True}
    assert site.writes == []


def test_no_key_is_in_an_answer_or_a_record(site: Site) -> None:
    said = json.dumps(site.ask()) + repr(keys.parse(json.dumps(KEYS), "replant/targets/east-s3"))
    assert "s3cr3t" not in said
    assert "AKIDEXAMPLE" not in said


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_backup_target_of_the_place_is_used_as_it_is_and_needs_no_keys(
    site: Site, dry_run: bool
) -> None:
    site.document(credential_secret=None)
    site.lab.cluster.add(
        "BackupTarget",
        LONGHORN_NAMESPACE,
        "theirs",
        spec={"backupTargetURL": "s3://copies@us-east-1/east"},
        status={"available": True},
    )
    site.lab.cluster.add(
        "Backup", LONGHORN_NAMESPACE, "b", metadata={"labels": {"backup-target": "theirs"}}
    )
    answer = site.ask(dryRun=dry_run)
    assert answer["state"] == ("planned" if dry_run else "attached")
    assert (answer["backupTarget"], answer["available"], answer["backups"]) == ("theirs", True, 1)
    assert answer["permissions"] is None
    assert site.writes == []
    assert all("/targets/" not in each for each in site.stored.asked)


def test_one_of_the_place_that_others_made_and_cannot_be_read_is_left_alone(site: Site) -> None:
    site.lab.cluster.add(
        "BackupTarget",
        LONGHORN_NAMESPACE,
        "theirs",
        spec={"backupTargetURL": "s3://copies@us-east-1/east/"},
    )
    answer = site.ask()
    assert answer["state"] == "refused"
    assert "this one is not ours" in blocking(answer)
    assert site.writes == []


def test_again_is_harmless(site: Site) -> None:
    site.ask()
    before = list(site.writes)
    answer = site.ask("run-2")
    assert (answer["state"], answer["backups"]) == ("attached", 3)
    assert site.writes == before


def test_ours_that_cannot_be_read_gets_the_keys_that_are_stored_now(site: Site) -> None:
    site.ask()
    made = site.lab.cluster.objects[TARGET]
    old, uid = made["spec"]["credentialSecret"], made["metadata"]["uid"]
    made["status"] = {"available": False, "conditions": []}
    site.stored.text = json.dumps(KEYS | {"AWS_SECRET_ACCESS_KEY": "newer"})
    assert site.ask("run-2")["state"] == "attached"
    made = site.lab.cluster.objects[TARGET]
    assert made["metadata"]["uid"] == uid
    assert made["spec"]["credentialSecret"] != old
    place = "Secret", LONGHORN_NAMESPACE, made["spec"]["credentialSecret"]
    assert site.lab.cluster.objects[place]["stringData"]["AWS_SECRET_ACCESS_KEY"] == "newer"


def test_ours_of_another_document_of_the_same_place_gets_them_too(site: Site) -> None:
    site.ask()
    site.lab.cluster.objects[TARGET]["status"] = {"available": False, "conditions": []}
    site.lab.know_target("same", **DOCUMENT)
    answer = site.ask("run-2", target="same")
    assert (answer["state"], answer["backupTarget"]) == ("attached", NAME)
    assert len(site.lab.cluster.of("BackupTarget")) == 2


@pytest.mark.parametrize("after", range(1, 4))
def test_a_call_that_breaks_off_is_gone_on_with(site: Site, after: int) -> None:
    """Behind each thing that it makes."""
    count = 0

    def die(method: str, place: Place) -> None:
        nonlocal count
        if method in ("POST", "PATCH"):
            count += 1
            if count == after + 1:
                raise ConnectionError("the function ended here")

    site.lab.cluster.before = die
    try:
        answer = site.ask()
    except ConnectionError:
        site.lab.cluster.before = None
        answer = site.ask()
    assert (answer["state"], answer["available"], answer["backups"]) == ("attached", True, 3)
    assert len(site.lab.cluster.of("BackupTarget")) == 2


def test_what_longhorn_cannot_read_is_taken_away_again_with_its_own_words(site: Site) -> None:
    site.word = "dial tcp: lookup copies.s3.example: no such host"
    began = site.lab.seconds
    answer = site.ask()
    assert (answer["state"], answer["available"]) == ("refused", False)
    assert site.word in blocking(answer)
    assert "was taken away again" in blocking(answer)
    assert site.lab.seconds - began >= PATIENCE
    assert TARGET not in site.lab.cluster.objects


def test_one_that_longhorn_reads_late_is_waited_for(site: Site) -> None:
    site.word = "connection refused"
    longhorn = site.lab.during
    assert longhorn

    def late(seconds: float) -> None:
        if site.lab.seconds > 60:
            site.word = None
        longhorn(seconds)

    site.lab.during = late
    assert site.ask()["state"] == "attached"


def test_what_the_webhook_denies_is_told_in_its_words(site: Site) -> None:
    said = 'admission webhook "validator.longhorn.io" denied the request: url is the same'
    site.lab.cluster.fail("POST", "BackupTarget", status(422, "Invalid", said))
    answer = site.ask()
    assert answer["state"] == "refused"
    assert "url is the same" in blocking(answer)


@pytest.mark.parametrize(("method", "kind"), [("POST", "Secret"), ("PATCH", "BackupTarget")])
def test_what_is_refused_half_way_leaves_nothing(site: Site, method: str, kind: str) -> None:
    site.lab.cluster.fail(method, kind, status(403, "Forbidden", "secrets is forbidden"))
    answer = site.ask()
    assert answer["state"] == "refused"
    assert "forbidden" in blocking(answer)
    assert "was taken away again" in blocking(answer)
    assert TARGET not in site.lab.cluster.objects


def test_an_account_that_may_not_make_one_is_told(site: Site) -> None:
    said = 'backuptargets.longhorn.io is forbidden: User "replant" cannot create'
    site.lab.cluster.fail("POST", "BackupTarget", status(403, "Forbidden", said))
    message = blocking(site.ask())
    assert "forbidden" in message
    assert "administrator" in message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"credential_secret": None}, "Target east-s3 has no credentialSecret"),
        ({"url": "file:///mnt/backups/east/"}, "is a folder that only Replant's own function"),
    ],
)
def test_a_document_of_which_nothing_can_be_made_is_refused(
    site: Site, changes: Json, said: str
) -> None:
    site.document(**changes)
    answer = site.ask()
    assert answer["state"] == "refused"
    assert said in blocking(answer)
    assert site.writes == []


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("v1.7.3", "Longhorn v1.7.3 on west has one backup target (several since 1.8)"),
        ("", "does not tell its version"),
    ],
)
def test_an_older_longhorn_is_refused_with_the_steps_for_a_person(
    site: Site, version: str, said: str
) -> None:
    setting = "Setting", LONGHORN_NAMESPACE, "current-longhorn-version"
    site.lab.cluster.objects[setting]["value"] = version
    answer = site.ask()
    assert answer["state"] == "refused"
    assert said in blocking(answer)
    assert "whoever deletes one there, or its namespace, deletes it in the bucket" in blocking(
        answer
    )
    assert site.writes == []


def test_a_cluster_without_longhorn_is_refused(site: Site) -> None:
    site.lab.cluster.unserved = frozenset({"BackupTarget"})
    assert "west has no Longhorn" in blocking(site.ask())


def test_the_name_of_another_place_is_not_taken(site: Site) -> None:
    site.lab.cluster.add(
        "BackupTarget",
        LONGHORN_NAMESPACE,
        NAME,
        spec={"backupTargetURL": "s3://elsewhere@us-east-1/"},
    )
    answer = site.ask()
    assert "reads s3://elsewhere@us-east-1/, and s3://copies/east/ is another place" in blocking(
        answer
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "has no text"),
        ("AKID:secret", "is not JSON"),
        ("[]", "is not a JSON object"),
        (json.dumps({"AWS_ACCESS_KEY_ID": "a"}), "lacks AWS_SECRET_ACCESS_KEY"),
        (json.dumps(KEYS | {"REGION": "x"}), "has keys that are not known: 'REGION'"),
        (json.dumps(KEYS | {"AWS_CERT": 1}), "has AWS_CERT, which is not a text"),
        (json.dumps(KEYS | {"AWS_CERT": "a\n"}), "begins or ends with a space or a line break"),
    ],
)
def test_keys_that_cannot_be_read_are_told_without_a_value(
    site: Site, text: str | None, said: str
) -> None:
    site.stored.text = text
    answer = site.ask()
    assert answer["state"] == "refused"
    assert said in blocking(answer)
    assert "s3cr3t" not in json.dumps(answer)
    assert site.writes == []


def test_what_is_not_known_is_named(site: Site) -> None:
    with pytest.raises(NotFound) as missing:
        site.ask(target="east-s4")
    assert missing.value.field == "target"
    with pytest.raises(NotFound) as missing:
        site.ask(cluster="wset")
    assert missing.value.field == "cluster"
    with pytest.raises(InvalidRequest) as wrong:
        site.ask(dryrun=True)
    assert "dryRun" in wrong.value.message


def test_an_account_that_may_not_look_is_refused(site: Site) -> None:
    said = "backuptargets.longhorn.io is forbidden"
    site.lab.cluster.fail("GET", "BackupTarget", status(403, "Forbidden", said))
    with pytest.raises(Refused) as refused:
        site.ask()
    assert said in refused.value.message
    assert refused.value.field == "cluster"


def test_it_connects_with_the_stored_kubeconfig_and_a_deadline_before_the_functions_end(
    site: Site,
) -> None:
    site.ask()
    asked = site.lab.connected[-1]
    assert (asked.kubeconfig, asked.cluster.id) == ("kubeconfig", "west")
    assert site.stored.asked == ["replant/clusters/west", "replant/targets/east-s3"]
    assert asked.deadline == asked.at + 300 - LAST
    assert asked.options == {"allow_loopback": True, "connections": CONNECTIONS}


def test_what_it_writes_for_a_proof_lies_among_longhorns_locks(site: Site) -> None:
    site.ask("run-1")
    site.lab.cluster.objects[TARGET]["status"] = {"available": False, "conditions": []}
    site.ask("run-2")
    names = [name for _, _, _, name in site.proved]
    assert all(re.fullmatch(f"{LOCKS}/lock-[0-9a-f]{{8}}[.]lck", name) for name in names)
    assert len(set(names)) == 2


def test_only_what_lies_in_longhorns_namespace_counts(site: Site) -> None:
    site.lab.cluster.add("Namespace", "", "other")
    spec = {"backupTargetURL": "s3://copies@us-east-1/east/"}
    site.lab.cluster.add("BackupTarget", "other", "theirs", spec=spec, status={"available": True})
    assert site.ask()["backupTarget"] == NAME


def test_one_that_only_has_one_of_our_labels_is_not_ours(site: Site) -> None:
    for labels in ({"replant.dev/target": "x"}, {"app.kubernetes.io/managed-by": "replant"}):
        site.lab.cluster.objects.pop(TARGET, None)
        site.lab.cluster.add(*TARGET, metadata={"labels": labels}, spec={"backupTargetURL": ""})
        assert "was not made by Replant" in blocking(site.ask(detach=True))


def test_ours_may_have_labels_of_others_too(site: Site) -> None:
    site.ask()
    site.lab.cluster.objects[TARGET]["metadata"]["labels"]["team"] = "a"
    assert site.ask("run-2", detach=True)["state"] == "detached"


# --- Detach ---------------------------------------------------------------------------------------


def test_what_attach_made_goes_and_nothing_else(site: Site) -> None:
    before = set(site.lab.cluster.objects)
    site.ask()
    answer = site.ask("run-2", detach=True)
    assert (answer["state"], answer["backupTarget"]) == ("detached", NAME)
    assert TARGET not in site.lab.cluster.objects
    site.lab.cluster.settle()
    kinds = {place[0] for place in set(site.lab.cluster.objects) - before}
    assert kinds <= {"Backup"}, "which Longhorn takes away itself"
    again = site.ask("run-3", detach=True)
    assert again["state"] == "detached"
    assert "there is nothing to detach" in again["checks"][0]["message"]


def test_a_dry_run_of_detaching_deletes_nothing(site: Site) -> None:
    site.ask()
    before = list(site.writes)
    assert site.ask("run-2", detach=True, dryRun=True)["state"] == "planned"
    assert site.writes == before


def test_one_of_our_name_that_others_made_stays(site: Site) -> None:
    site.lab.cluster.add("BackupTarget", LONGHORN_NAMESPACE, NAME, spec={"backupTargetURL": ""})
    answer = site.ask(detach=True)
    assert answer["state"] == "refused"
    assert "was not made by Replant, and stays" in blocking(answer)


@pytest.mark.parametrize(
    ("spec", "state", "said"),
    [
        ({"backupTargetName": NAME}, {"restoreRequired": True}, "still get their data from"),
        ({"Standby": True}, {"restoreRequired": True}, "standby volumes, as on west: vol-1"),
    ],
)
def test_what_volumes_still_need_is_not_detached(
    site: Site, spec: Json, state: Json, said: str
) -> None:
    site.ask()
    site.lab.cluster.add("Volume", LONGHORN_NAMESPACE, "vol-1", spec=spec, status=state)
    before = list(site.writes)
    answer = site.ask("run-2", detach=True)
    assert answer["state"] == "refused"
    assert said in blocking(answer)
    assert site.writes == before


def test_only_volumes_that_need_this_target_hold_it(site: Site) -> None:
    site.ask()
    copying = {"restoreRequired": True}
    for name, spec in {"a": {"backupTargetName": "default"}, "b": {}}.items():
        site.lab.cluster.add("Volume", LONGHORN_NAMESPACE, name, spec=spec, status=copying)
    site.lab.cluster.add("Namespace", "", "other")
    mine = {"backupTargetName": NAME}
    site.lab.cluster.add("Volume", "other", "c", spec=mine, status=copying)
    assert site.ask("run-2", detach=True)["state"] == "detached"


def test_one_that_longhorn_does_not_let_go_of_is_told(site: Site) -> None:
    site.ask()
    made = site.lab.cluster.objects[TARGET]
    began = site.lab.seconds

    def hold(method: str, place: Place) -> None:
        if TARGET not in site.lab.cluster.objects:
            site.lab.cluster.objects[TARGET] = made

    site.lab.cluster.before = hold
    answer = site.ask("run-2", detach=True)
    assert answer["state"] == "refused"
    assert blocking(answer) == (
        f"{NAME} is still there 120 seconds after it was deleted: Longhorn on west has not let go"
        " of it. Start again later."
    )
    assert [each["check"] for each in answer["checks"]] == ["backup-target", "backup-target"]
    assert site.lab.seconds - began >= PATIENCE


def test_one_of_its_name_that_another_client_made_since_is_another_one(site: Site) -> None:
    site.ask()

    def make_again(method: str, place: Place) -> None:
        if TARGET not in site.lab.cluster.objects:
            site.lab.cluster.add(*TARGET, spec={"backupTargetURL": ""})

    site.lab.cluster.before = make_again
    assert site.ask("run-2", detach=True)["state"] == "detached"


def test_a_volume_that_has_its_data_holds_nothing_up(site: Site) -> None:
    site.ask()
    spec = {"backupTargetName": NAME}
    site.lab.cluster.add("Volume", LONGHORN_NAMESPACE, "vol-1", spec=spec, status={})
    assert site.ask("run-2", detach=True)["state"] == "detached"


# --- As the first step of a restore ---------------------------------------------------------------


def _of_target(lab: Lab, name: str) -> None:
    """All backups were read in that backup target."""
    for each in lab.cluster.of("Backup").values():
        each.setdefault("status", {})["backupTargetName"] = name
    for each in lab.cluster.of("BackupVolume").values():
        each["spec"]["backupTargetName"] = name


@pytest.fixture
def elsewhere(site: Site) -> Site:
    """A restore point in a place that west does not read, and with it comes its backup."""
    lab = site.lab
    point = lab.backup()
    site.document(url=f"s3://{point.source.bucket}/")
    default = lab.cluster.objects["BackupTarget", LONGHORN_NAMESPACE, "default"]
    default["spec"]["backupTargetURL"] = "s3://other@us-east-1/"
    for kind in ("Backup", "BackupVolume"):
        for name in lab.cluster.of(kind):
            del lab.cluster.objects[kind, LONGHORN_NAMESPACE, name]
    longhorn = lab.during
    assert longhorn

    def sync(seconds: float) -> None:
        longhorn(seconds)
        status_of = lab.cluster.objects.get(TARGET, {}).get("status", {})
        name = point.volumes[0].engine_backup or ""
        if status_of.get("available") and name not in lab.cluster.of("Backup"):
            lab.sync(point)
            _of_target(lab, NAME)

    lab.during = sync

    def step(wanted: Any) -> str:
        answer = site.ask(**wanted._asdict())
        return " ".join(each["message"] for each in answer["checks"] if each["verdict"] == "block")

    lab.attach = step
    return site


def test_a_restore_attaches_first_what_its_cluster_does_not_read(elsewhere: Site) -> None:
    output = elsewhere.lab.restore()
    assert output["counts"] == {"ready": 1}
    assert TARGET in elsewhere.lab.cluster.objects
    assert [each[1] for each in elsewhere.writes][:2] == ["BackupTarget", "Secret"]


def test_a_dry_run_says_that_it_would_and_does_not(elsewhere: Site) -> None:
    output = elsewhere.lab.restore(elsewhere.lab.request(dryRun=True))
    assert (output["state"], output["verdict"]) == ("planned", "warn")
    report = elsewhere.lab.s3.json(f"reports/{output['restoreId']}.json")
    (check,) = [each for each in report["checks"] if each["check"] == "backup"]
    assert check["message"].endswith("yet: a restore first attaches target east-s3 to west.")
    assert elsewhere.writes == []


@pytest.mark.parametrize(
    ("request_", "document"), [({"attach": "never"}, {}), ({}, {"credential_secret": None})]
)
def test_where_it_may_not_or_cannot_attach_the_check_says_what_to_do(
    elsewhere: Site, request_: Json, document: Json
) -> None:
    elsewhere.document(url="s3://backups/", **document)
    (machine,) = elsewhere.lab.restore(elsewhere.lab.request(**request_))["machines"]
    assert machine["state"] == "blocked"
    assert "Add one with AttachStateMachine" in machine["error"]["message"]
    assert elsewhere.writes == []


def test_why_it_could_not_be_attached_is_told_once_and_ends_the_restore(elsewhere: Site) -> None:
    why = "writing backups/x failed with AccessDenied"
    elsewhere.proof = Proof(True, False, "us-east-1", (why,))
    (machine,) = elsewhere.lab.restore()["machines"]
    assert machine["state"] == "blocked"
    assert "target east-s3 could not be attached to west" in machine["error"]["message"]
    assert why in machine["error"]["message"]
    assert len(elsewhere.proved) == 1


OLD = "replant-old"


@pytest.fixture
def beside_the_original(elsewhere: Site) -> Site:
    """West knows the backup from a place that is gone; the point lies in another one, a copy."""
    lab = elsewhere.lab
    lab.know_target("old", **DOCUMENT | {"url": "s3://old/"})
    lab.cluster.add(
        "BackupTarget",
        LONGHORN_NAMESPACE,
        OLD,
        metadata={
            "labels": {"app.kubernetes.io/managed-by": "replant", "replant.dev/target": "old"}
        },
        spec={"backupTargetURL": "s3://old@us-east-1/"},
        status={"available": False, "conditions": []},
    )
    (point,) = points(lab.table)
    lab.sync(point)
    _of_target(lab, OLD)
    step = lab.attach

    def forgetful(wanted: Any) -> str:
        """With a backup target what was read of it goes, too."""
        said: str = step(wanted)
        if ("BackupTarget", LONGHORN_NAMESPACE, OLD) not in lab.cluster.objects:
            for name, each in list(lab.cluster.of("Backup").items()):
                if each["status"].get("backupTargetName") == OLD:
                    del lab.cluster.objects["Backup", LONGHORN_NAMESPACE, name]
        return said

    lab.attach = forgetful
    return elsewhere


def test_what_holds_to_a_lost_original_is_detached_before_its_copy_is_attached(
    beside_the_original: Site,
) -> None:
    lab = beside_the_original.lab
    assert lab.restore()["counts"] == {"ready": 1}
    assert TARGET in lab.cluster.objects
    assert ("BackupTarget", LONGHORN_NAMESPACE, OLD) not in lab.cluster.objects
    done = [(each[0], each[1]) for each in beside_the_original.writes]
    assert done[:3] == [
        ("delete", "BackupTarget"),
        ("create", "BackupTarget"),
        ("create", "Secret"),
    ]


def test_a_dry_run_says_that_it_would_detach_and_does_not(beside_the_original: Site) -> None:
    lab = beside_the_original.lab
    output = lab.restore(lab.request(dryRun=True))
    assert (output["state"], output["verdict"]) == ("planned", "warn")
    report = lab.s3.json(f"reports/{output['restoreId']}.json")
    (check,) = [each for each in report["checks"] if each["check"] == "backup"]
    said = "A restore first detaches target old from west, and reads the copy then."
    assert check["message"].endswith(said)
    assert beside_the_original.writes == []


def test_what_cannot_be_detached_blocks_with_the_reason(beside_the_original: Site) -> None:
    lab = beside_the_original.lab
    spec = {"Standby": True}
    lab.cluster.add("Volume", LONGHORN_NAMESPACE, "vol-1", spec=spec, status={})
    (machine,) = lab.restore()["machines"]
    assert machine["state"] == "blocked"
    assert (
        "It could not be detached: Longhorn changes no backup target" in machine["error"]["message"]
    )


def test_nothing_is_detached_where_that_is_not_allowed(beside_the_original: Site) -> None:
    lab = beside_the_original.lab
    (machine,) = lab.restore(lab.request(attach="never"))["machines"]
    assert machine["state"] == "blocked"
    assert "Detach target old from west (AttachStateMachine), which" in machine["error"]["message"]
    assert beside_the_original.writes == []


def test_nothing_is_attached_for_what_is_restored_without_it(site: Site) -> None:
    """Longhorn reads its place already, or nothing of the backup is needed."""
    site.lab.backup()
    assert site.lab.restore()["counts"] == {"ready": 1}
    site.document(url="s3://backups/")
    site.lab.restore(site.lab.request(mode="register", requestId="other"))
    assert TARGET not in site.lab.cluster.objects
