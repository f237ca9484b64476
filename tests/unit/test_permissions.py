"""What a restore will do, against what its account may do."""

from typing import Any

import pytest

from local.samples.builders import RIGHTS, a_metadata, facts, planned
from shared.errors import Refused
from shared.labels import LONGHORN_NAMESPACE
from shared.models.restore_plans import Check, Earlier
from shared.models.target_facts import Right, Rights

Json = dict[str, Any]
ALL = (
    ("", "namespaces", "create"),
    ("", "secrets", "create"),
    ("", "events", "list"),
    ("", "persistentvolumeclaims", "get list create"),
    ("snapshot.storage.k8s.io", "volumesnapshots", "get list create"),
    ("snapshot.storage.k8s.io", "volumesnapshotcontents", "get create"),
    ("kubevirt.io", "virtualmachines", "get list create patch"),
    ("kubevirt.io", "virtualmachineinstances", "list"),
    ("longhorn.io", "volumes", "list"),
    ("longhorn.io", "engines", "list"),
)
"""What a restore needs, and no more."""


def checked(rights: dict[str, Rights], **asked: Any) -> Check:
    plan = planned(
        a_metadata(secrets={"keys": {"userdata": "x"}}),
        on=facts(rights=rights),
        dryRun=True,
        **asked,
    )
    (check,) = (each for each in plan.checks if each.check == "permissions")
    return check


def everywhere(*lacking: tuple[str, str], whole: bool = True) -> dict[str, Rights]:
    """The rights of a restore, without LACKING ones: resource and verb."""
    rules = tuple(
        Right(groups=(group,), resources=(resource,), verbs=(verb,))
        for group, resource, verbs in ALL
        for verb in verbs.split()
        if (resource, verb) not in lacking
    )
    return dict.fromkeys(("default", "prod", LONGHORN_NAMESPACE), Rights(rules=rules, whole=whole))


def test_an_account_that_may_do_all_passes() -> None:
    check = checked(everywhere())
    assert (check.subject, check.verdict) == ("west", "pass")
    assert check.message == "Its account on west may do all that this restore does."


@pytest.mark.parametrize(
    ("resource", "verb", "where"),
    [
        ("persistentvolumeclaims", "create", " in default"),
        ("secrets", "create", " in default"),
        ("events", "list", " in default"),
        ("virtualmachines", "patch", " of kubevirt.io in default"),
        ("virtualmachines", "get", " of kubevirt.io in default"),
        ("virtualmachineinstances", "list", " of kubevirt.io in default"),
        ("volumesnapshots", "create", " of snapshot.storage.k8s.io in default"),
        ("volumesnapshotcontents", "create", " of snapshot.storage.k8s.io"),
        ("volumes", "list", " of longhorn.io in longhorn-system"),
    ],
)
def test_each_right_that_a_restore_needs_is_told_where_it_is_missing(
    resource: str, verb: str, where: str
) -> None:
    check = checked(everywhere((resource, verb)))
    assert check.verdict == "block"
    assert check.message.startswith(
        f'Its account on cluster west cannot {verb} resource "{resource}"{where}. To give it'
    )
    assert "python -m shared.commands.access --kubeconfig ADMIN_KUBECONFIG --apply" in check.message
    assert "ClusterRole replant" in check.message


def test_what_is_missing_refuses_the_restore_before_anything_is_made() -> None:
    on = facts(rights=everywhere(("virtualmachines", "patch")))
    with pytest.raises(Refused, match="cannot patch resource"):
        planned(on=on)


@pytest.mark.parametrize(
    ("resource", "verb", "asked"),
    [
        ("namespaces", "create", {}),
        ("virtualmachines", "patch", {"start": False}),
    ],
)
def test_no_right_is_demanded_that_this_restore_does_not_need(
    resource: str, verb: str, asked: Json
) -> None:
    assert checked(everywhere((resource, verb)), **asked).verdict == "pass"


def test_a_namespace_that_is_to_be_made_needs_the_right_to_make_it() -> None:
    asked = {"mapping": {"namespaces": {"default": "prod"}}}
    assert checked(everywhere(), **asked).verdict == "pass"
    check = checked(everywhere(("namespaces", "create")), **asked)
    assert 'cannot create resource "namespaces".' in check.message


def test_a_right_in_one_namespace_is_none_in_another_and_none_in_the_cluster() -> None:
    rights = dict.fromkeys(("default", LONGHORN_NAMESPACE), Rights()) | {"default": RIGHTS}
    check = checked(rights)
    assert check.verdict == "block"
    assert 'cannot create resource "volumesnapshotcontents"' in check.message
    assert 'cannot list resource "volumes"' in check.message
    assert "persistentvolumeclaims" not in check.message


def test_rights_that_are_told_in_part_block_nothing() -> None:
    check = checked(everywhere(("events", "list"), whole=False))
    assert check.verdict == "warn"
    assert check.message.startswith(
        "west tells its account's rights in part only; by these it cannot list"
    )
    assert checked(everywhere(whole=False)).verdict == "pass"


def test_rights_that_cannot_be_asked_for_are_said_with_the_reason() -> None:
    plan = planned(on=facts(unseen={"permissions": "403"}))
    (check,) = (each for each in plan.checks if each.check == "permissions")
    assert check.verdict == "warn"
    assert (
        "could not be checked: 403. To give it what it needs, apply docs/target-access.yaml"
        in check.message
    )


def test_many_missing_rights_are_told_in_part() -> None:
    machines = [a_metadata(namespace=f"team-{number}") for number in range(30)]
    plan = planned(*machines, on=facts(rights={"x": Rights()}), dryRun=True)
    (check,) = (each for each in plan.checks if each.check == "permissions")
    assert check.message.count("cannot ") == 20
    assert "more of the kind. To give it" in check.message


def existing(on_existing: str, *lacking: tuple[str, str], more: Any = ()) -> Check:
    """Of a machine that exists, as made by an earlier restore of ours."""
    metadata = a_metadata(secrets={"keys": {"userdata": "x"}})
    free = planned(metadata).machines[0].objects
    names = {
        f"{each.kind}/{each.namespace}/{each.name}": "r-0000000000000001"
        for each in free
        if each.kind in ("VirtualMachine", "PersistentVolumeClaim")
    }
    earlier = Earlier(restore_id="r-0000000000000001", machine="default/web01")
    rights = everywhere(*lacking)
    for place, each in rights.items():
        rights[place] = each._replace(rules=(*each.rules, *more))
    where = facts(rights=rights, existing=names, earlier=dict.fromkeys(names, earlier))
    plan = planned(metadata, on=where, dryRun=True, onExisting=on_existing, start=False)
    (check,) = (each for each in plan.checks if each.check == "permissions")
    return check


def test_an_update_patches_its_machine_and_makes_none() -> None:
    assert existing("update", ("virtualmachines", "create")).verdict == "pass"
    check = existing("update", ("virtualmachines", "patch"))
    assert check.verdict == "block"
    assert 'cannot patch resource "virtualmachines" of kubevirt.io in default' in check.message


REPLACING = (
    Right(groups=("",), resources=("namespaces",), verbs=("get",)),
    Right(groups=("",), resources=("persistentvolumeclaims",), verbs=("delete",)),
    Right(groups=("kubevirt.io",), resources=("virtualmachines",), verbs=("delete",)),
    Right(
        groups=("snapshot.storage.k8s.io",),
        resources=("volumesnapshots", "volumesnapshotcontents"),
        verbs=("list", "delete"),
    ),
)


@pytest.mark.parametrize("without", range(len(REPLACING)))
def test_who_may_not_delete_replaces_nothing(without: int) -> None:
    assert existing("recreate", more=REPLACING).verdict == "pass"
    lacking = REPLACING[without]
    check = existing("recreate", more=[each for each in REPLACING if each != lacking])
    assert check.verdict == "block"
    assert f'cannot {lacking.verbs[-1]} resource "{lacking.resources[0]}"' in check.message
    kind = lacking.resources[0]
    of_cluster = kind in ("namespaces", "volumesnapshotcontents")
    assert (" in default" in check.message) is not of_cluster, check.message
