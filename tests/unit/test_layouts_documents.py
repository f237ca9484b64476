"""Documents of the state bucket: what a user may write, and that every mistake is answered with its
remedy.
"""

from datetime import timedelta

import pytest

from shared.errors import Unreadable
from shared.layouts import documents, registry
from shared.layouts.documents import SIZE_LIMIT
from shared.layouts.keys import Place
from shared.models.documents import BackupTarget, ClusterDocument
from shared.models.facts import Kind

BUCKETS = frozenset({"backups", "more-backups"})
TARGET = "id: east-s3\nurl: s3://backups/\ncluster: east\n"
CLUSTER = "id: west\nsecret: replant/clusters/west\n"


def target(text: str) -> BackupTarget:
    found = documents.parse(
        registry.recognise_document("targets/east-s3.yaml"), text.encode(), buckets=BUCKETS
    )
    assert isinstance(found, BackupTarget)
    return found


def cluster(text: str) -> ClusterDocument:
    found = documents.parse(
        registry.recognise_document("clusters/west.yaml"), text.encode(), buckets=BUCKETS
    )
    assert isinstance(found, ClusterDocument)
    return found


def test_the_key_says_kind_and_id() -> None:
    assert registry.recognise_document("clusters/west.yaml") == Place(Kind.CLUSTER, "", name="west")
    assert registry.recognise_document("targets/east-s3.yaml") == Place(
        Kind.TARGET, "", name="east-s3"
    )


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (
            "drills/a.yaml",
            "documents of the kind 'drills' are not supported in this version."
            " Known: clusters, targets, plans.",
        ),
        ("readme", "documents of the kind 'readme'"),
        ("", "documents of the kind ''"),
        ("targets/a.yml", r"is named targets/<id>\.yaml. Rename it"),
        ("targets/a/b.yaml", r"is named targets/<id>\.yaml. Rename it"),
        ("targets", r"is named targets/<id>\.yaml"),
        ("other/a.yaml", "documents of the kind 'other'"),
        ("unknown/a.yaml", "documents of the kind 'unknown'"),
    ],
)
def test_another_key_is_refused_with_the_remedy(key: str, sentence: str) -> None:
    with pytest.raises(Unreadable, match=sentence):
        registry.recognise_document(key)


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://backups", "backups", ""),
        ("s3://backups/", "backups", ""),
        ("s3://backups/east", "backups", "east/"),
        ("s3://more-backups/a/b/", "more-backups", "a/b/"),
    ],
)
def test_a_target_lies_below_a_prefix(url: str, bucket: str, prefix: str) -> None:
    found = target(TARGET.replace("s3://backups/", url))
    assert (found.bucket, found.prefix) == (bucket, prefix)


def test_everything_that_the_contract_has_is_read() -> None:
    more = (
        "endpoint: https://s3.example\ncredentialSecret: replant/targets/east\n"
        "nfs: {server: nas.example.com, path: /export}\nreplicas: [s3://copy/a]\n"
    )
    assert target(TARGET + more).model_dump(exclude={"id", "url", "cluster", "keep_copies"}) == {
        "endpoint": "https://s3.example",
        "credentialSecret": "replant/targets/east",
        "nfs": {"server": "nas.example.com", "path": "/export"},
        "replicas": ("s3://copy/a",),
    }


def test_a_policy_for_copies_is_a_day_at_least() -> None:
    """Our own addition to what the contract has."""
    assert target(TARGET).keep_copies is None
    assert target(TARGET + "keepCopies: P90D\n").keep_copies == timedelta(days=90)


def test_versions_stay_as_they_were_written() -> None:
    found = cluster(CLUSTER + "harvester: 1.8.2\nlonghorn: 1.10\nkubernetes: 1.30\n")
    assert (found.harvester, found.longhorn, found.kubernetes) == ("1.8.2", "1.10", "1.30")


def test_words_that_yaml_has_other_ideas_of_stay_texts() -> None:
    found = documents.parse(
        Place(Kind.CLUSTER, "", name="no"),
        CLUSTER.replace("west\nsecret", "no\nsecret").encode(),
        buckets=BUCKETS,
    )
    assert found.id == "no"


MISTAKES = {
    "unknown key with a neighbour": (
        TARGET + "endpint: https://x\n",
        "Unknown key 'endpint'. Did you mean 'endpoint'?",
    ),
    "copies that are hardly kept": (
        TARGET + "keepCopies: PT1H\n",
        "keepCopies: must be at least P1D",
    ),
    "other spelling": (
        TARGET + "credentialsecret: x\n",
        "Unknown key 'credentialsecret'. Did you mean 'credentialSecret'?",
    ),
    "our own code's spelling": (
        TARGET + "credential_secret: replant/targets/east\n",
        "Unknown key 'credential_secret'. Did you mean 'credentialSecret'?",
    ),
    "unknown key": (
        TARGET + "zzz: 1\n",
        "Unknown key 'zzz'. Known here: cluster, credentialSecret, endpoint, id",
    ),
    "doubled key": (TARGET + "cluster: west\n", "line 4 has the key 'cluster' twice; keep one"),
    "doubled below": (TARGET + "replicas: [{a: 1, a: 2}]\n", "has the key 'a' twice; keep one"),
    "alias": (
        TARGET.replace("east-s3", "&a east-s3") + "endpoint: *a\n",
        "uses a YAML anchor or alias (&name, *name); write the value out",
    ),
    "wrong id": (
        TARGET.replace("east-s3", "west-s3"),
        "id: 'west-s3' is not what the key says ('east-s3'). Make them the same.",
    ),
    "foreign bucket": (
        TARGET.replace("//backups", "//elsewhere"),
        "url: bucket 'elsewhere' is not catalogued. Add it to the stack's parameter BackupBuckets,"
        " which has "
        "backups, more-backups.",
    ),
    "lacking key": ("id: east-s3\nurl: s3://backups/\n", "cluster: is missing"),
    "no url": (TARGET.replace("s3:", "http:"), "url: must be s3://BUCKET/[PREFIX/]"),
    "list": ("- a\n- b\n", "the document must be a mapping of keys to values"),
    "text": ("hello", "must be a mapping"),
    "empty": ("", "must be a mapping"),
    "two documents": (f"{TARGET}---\n{TARGET}", "line 4 begins a second document; keep one"),
    "bad indentation": ("id: a\n url: b\n", "line 2 is not valid YAML"),
    "tab": ("id:\t- a\n\tb", "is not valid YAML"),
    "half a character": (
        TARGET + 'endpoint: "https://x/\\ud800"\n',
        "line 4 has an escape that is half a character",
    ),
    "value of a wrong kind": (
        TARGET.replace("east\n", "[east]\n"),
        "cluster: must be a string",
    ),
    "endless nesting": ("[" * 20_000, "nested deeper than 24 levels"),
    "too large": (
        "#" * (SIZE_LIMIT + 1),
        f"has {SIZE_LIMIT + 1} bytes; it may have {SIZE_LIMIT}",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_with_its_remedy(text: str, sentence: str) -> None:
    with pytest.raises(Unreadable) as refusal:
        target(text)
    assert sentence in refusal.value.message


def test_a_target_is_read_with_the_buckets_that_are_catalogued() -> None:
    place = registry.recognise_document("targets/east-s3.yaml")
    content = registry.Content([TARGET.encode()], buckets=BUCKETS)
    assert registry.read(place, content) == target(TARGET)
    with pytest.raises(Unreadable, match="url: bucket 'backups' is not catalogued"):
        registry.read(place, content._replace(buckets=frozenset({"more-backups"})))


@pytest.mark.parametrize("body", [b"\xff\xfe", b"id: \xc3\x28", TARGET.encode("utf-16")])
def test_other_encodings_than_utf_8_are_refused(body: bytes) -> None:
    with pytest.raises(Unreadable, match="is not UTF-8"):
        documents.parse(Place(Kind.TARGET, "", name="east-s3"), body, buckets=BUCKETS)


@pytest.mark.parametrize(
    "secret", ["replant/restores/x", "kubeconfig", "replant/clusters/", "replant/clusters/a b"]
)
def test_a_cluster_may_only_name_secrets_of_clusters(secret: str) -> None:
    with pytest.raises(Unreadable, match="secret: must be replant/clusters/"):
        cluster(CLUSTER.replace("replant/clusters/west", secret))


def test_a_tag_is_refused() -> None:
    tagged = CLUSTER + "harvester: !!python/object/apply:os.system x\n"
    with pytest.raises(Unreadable, match="line 3 uses a YAML tag"):
        cluster(tagged)


def test_a_secret_below_a_wrong_key_is_not_quoted() -> None:
    with pytest.raises(Unreadable) as refusal:
        cluster(
            CLUSTER.replace("replant/clusters/west", "hunter2-hunter2")
            + "longhorn: [hunter2-hunter2]\n"
        )
    assert "hunter2" not in str(refusal.value)
