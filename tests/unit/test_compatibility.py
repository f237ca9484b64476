"""The rules about versions: what each says, what is unknown, what a backup tells of its writer."""

from typing import Any

import pytest

from local.samples.builders import (
    RIGHTS,
    WEST,
    a_metadata,
    facts,
    planned,
    request,
    selected,
    surroundings,
)
from shared.errors import Refused
from shared.labels import LONGHORN_NAMESPACE
from shared.models.restore_plans import Check, Plan
from shared.models.target_facts import Versions
from shared.restore import plan as planning
from shared.restore.preflight import compatibility
from shared.restore.preflight.compatibility import RULES, SYSTEMS, written_by
from shared.restore.strategies import STRATEGIES
from shared.versions import Span, Version, before, since

Json = dict[str, Any]
GOOD = surroundings().versions
KEY = "harvester/vmbackups/default/nightly.cfg"


def checked(
    found: Versions, stated: Versions | None = None, *backups: Span, **unseen: str
) -> list[Check]:
    sources = [compatibility.of_source("east", stated or Versions(), backups)]
    return list(compatibility.check("west", found, unseen, sources, {"csi"}))


def told(checks: list[Check], verdict: str) -> list[str]:
    return [each.message for each in checks if each.verdict == verdict]


def target(**versions: str | None) -> Versions:
    return GOOD._replace(**versions)


def test_every_rule_has_a_reason_a_remedy_and_a_source() -> None:
    for rule in RULES:
        assert rule.what in SYSTEMS
        assert rule.message.endswith(".")
        assert len(rule.message.split(". ")) > 1, "a reason, then a remedy"
        assert rule.source


def test_versions_that_no_rule_speaks_against_pass_and_are_told() -> None:
    (check,) = checked(GOOD, Versions(harvester="1.7.1", longhorn="1.10.0"))
    assert (check.check, check.subject, check.verdict) == ("versions", "west", "pass")
    assert check.message == (
        "west has Kubernetes v1.34.1+rke2r1, Harvester v1.8.2, Longhorn v1.11.3, KubeVirt v1.7.0;"
        " backups of east are of Harvester 1.7.1, Longhorn 1.10.0. No rule of"
        f" {len(RULES)} speaks against it."
    )


def test_a_source_of_which_nothing_is_known_is_said_and_is_no_obstacle() -> None:
    (check,) = checked(GOOD)
    assert check.verdict == "pass"
    assert "backups of east are of Harvester unknown, Longhorn unknown" in check.message


@pytest.mark.parametrize(
    ("found", "stated", "verdict", "said"),
    [
        (
            {"longhorn": "1.2.6", "harvester": "1.0.3"},
            {},
            "block",
            "west has Longhorn 1.2.6. Longhorn before 1.3 does not know the handles",
        ),
        (
            {"longhorn": "1.6.2", "harvester": "1.3.2"},
            {},
            "warn",
            "west has Harvester 1.3.2. Disks are restored through CSI snapshots",
        ),
        (
            {},
            {"harvester": "1.9.0"},
            "warn",
            "west has Harvester v1.8.2, and backups of east were written by Harvester 1.9.0.",
        ),
        (
            {"longhorn": "1.9.2", "harvester": "1.6.1"},
            {"longhorn": "1.10.0"},
            "warn",
            "west has Longhorn 1.9.2, and backups of east were written by Longhorn 1.10.0. Longhorn"
            " from 1.10 on can write backups in blocks of 16 MiB",
        ),
        (
            {"longhorn": "1.4.3", "harvester": "1.2.2"},
            {"longhorn": "1.5.5"},
            "warn",
            "Longhorn from 1.5 on compresses backups with lz4",
        ),
        (
            {"longhorn": "1.10.0"},
            {},
            "warn",
            "that Harvester comes with Longhorn from 1.11 on, before 1.12.",
        ),
    ],
)
def test_a_rule_that_applies_is_told_with_both_versions(
    found: Json, stated: Json, verdict: str, said: str
) -> None:
    checks = checked(target(**found), Versions(**stated))
    assert any(said in each for each in told(checks, verdict)), checks
    assert "No other rule" in told(checks, "pass")[0]


def test_rules_about_csi_and_about_backups_are_of_those_strategies_alone() -> None:
    """Disks that stand are read by nobody; Longhorn's own volumes need no CSI snapshots."""
    old = target(longhorn="1.2.6", harvester="1.0.3")
    source = compatibility.of_source("east", Versions(longhorn="1.10.0", harvester="1.0.3"), [])

    def said(strategy: str) -> str:
        return " ".join(
            each.message for each in compatibility.check("west", old, {}, [source], {strategy})
        )

    assert "bak://" in said("csi")
    assert "CSI snapshots" in said("csi")
    assert "bak://" not in said("longhorn")
    assert "CSI snapshots" not in said("longhorn")
    assert "blocks of 16 MiB" in said("longhorn")
    assert "blocks of 16 MiB" not in said("register")
    assert {name for rule in RULES for name in rule.strategies} < STRATEGIES.keys()


def test_a_patch_of_the_same_line_is_no_older_harvester() -> None:
    assert not told(checked(GOOD, Versions(harvester="1.8.9")), "warn")


def test_a_pre_release_counts_as_its_release() -> None:
    assert told(checked(GOOD, Versions(harvester="v1.9.0-rc6")), "warn")


def test_backups_that_may_be_concerned_are_a_warning_with_what_would_settle_it() -> None:
    old = target(harvester="1.6.1", longhorn="1.9.2")
    assert not told(checked(old, None, Span(Version(1, 3), Version(1, 7))), "warn")
    newer = told(checked(old, None, Span(Version(1, 3), Version(1, 9))), "warn")
    assert len(newer) == 2
    assert all("Say its version in clusters/east.yaml" in each for each in newer)


def test_the_document_of_a_cluster_wins_over_what_its_backups_tell() -> None:
    old = target(harvester="1.6.1", longhorn="1.9.2")
    stated = Versions(harvester="1.6.0", longhorn="1.9.1")
    assert not told(checked(old, stated, Span(Version(1, 3), Version(1, 9))), "warn")


def test_backups_of_several_ages_are_of_all_their_versions_together() -> None:
    source = compatibility.of_source("east", Versions(), [before(1, 3), since(1, 9)])
    assert source.known["harvester"] == Span()
    source = compatibility.of_source("east", Versions(), [since(1, 3), since(1, 9)])
    assert source.known == {
        "kubernetes": Span(),
        "harvester": since(1, 3),
        "longhorn": since(1, 6),
        "kubevirt": Span(),
    }


def test_a_harvester_that_nobody_has_read_yet_tells_nothing_of_its_longhorn() -> None:
    source = compatibility.of_source("east", Versions(harvester="2.4.0"), [])
    assert source.known["longhorn"] == Span()
    assert not told(checked(target(harvester="2.4.0"), Versions(harvester="2.4.0")), "warn")


def test_an_unknown_target_is_said_with_the_reason_and_blocks_nothing() -> None:
    found = Versions(kubernetes="v1.34.1", longhorn="dev")
    checks = checked(found, None, harvester="no right to get settings")
    assert not told(checks, "block")
    assert told(checks, "warn") == [
        "Which Harvester west has is not known: no right to get settings. What depends on it could"
        " not be checked. Say it in clusters/west.yaml (harvester: …).",
        "Which Longhorn west has is not known: dev is no version. What depends on it could not be"
        " checked. Say it in clusters/west.yaml (longhorn: …).",
    ]


def test_a_target_that_says_nothing_is_unknown() -> None:
    warned = told(checked(Versions()), "warn")
    assert "is not known: it does not say." in warned[0]


# --- What a backup tells -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "key", "span"),
    [
        ("1.0", "harvester/vmbackups/default-nightly.cfg", before(1, 3)),
        ("1.2", "harvester/vmbackups/default-nightly.cfg", Span(Version(1, 1), Version(1, 3))),
        ("1.3", KEY, Span(Version(1, 3), Version(1, 9))),
        ("1.8", KEY, Span(Version(1, 3), Version(1, 9))),
        ("1.9", KEY, since(1, 3)),
    ],
)
def test_a_backup_tells_which_harvesters_can_have_written_it(
    version: str, key: str, span: Span
) -> None:
    assert written_by(a_metadata(version=version), key) == span


def test_a_deadline_for_freezing_is_of_harvester_1_9_and_later() -> None:
    metadata = a_metadata(version="1.9")
    metadata["backupSpec"]["fsFreezeDeadline"] = "5m0s"
    assert written_by(metadata, KEY) == since(1, 9)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"volumeBackups": "x", "backupSpec": [], "vmSourceSpec": {"metadata": "creationTimestamp"}},
        {"volumeBackups": [None, 5, "volumeSize"]},
        {
            "backupSpec": {"fsFreezeDeadline": "1s"},
            "vmSourceSpec": {"metadata": {"creationTimestamp": None}},
        },
    ],
)
def test_a_backup_that_contradicts_itself_or_has_no_shape_tells_nothing(metadata: Json) -> None:
    assert written_by(metadata, KEY) == Span()


# --- In a plan -----------------------------------------------------------------------------------


def plan_of(versions: Versions, **sources: Versions) -> Plan:
    on = facts(versions=versions, rights=dict.fromkeys(("default", LONGHORN_NAMESPACE), RIGHTS))
    return planning.plan([selected()], request(dryRun=True), WEST, on, sources)


def test_versions_are_no_meaning_of_a_plan_until_a_rule_speaks() -> None:
    plain = plan_of(GOOD)
    assert plan_of(target(kubernetes="v1.35.0")).hash == plain.hash
    assert plan_of(GOOD, east=Versions(harvester="1.8.1")).hash == plain.hash
    assert plan_of(GOOD, east=Versions(harvester="1.9.0")).hash != plain.hash


def test_a_longhorn_that_is_too_old_refuses_the_restore() -> None:
    on = facts(versions=target(longhorn="1.2.6", harvester="1.0.3"))
    with pytest.raises(Refused, match=r"^.*Longhorn before 1\.3 does not know"):
        planned(on=on, strategy="csi")
