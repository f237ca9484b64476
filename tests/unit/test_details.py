"""What is shown of a machine before and after, whatever rule made it so."""

from local.samples.builders import a_class, a_machine, a_metadata, a_point, disks, facts, knows
from local.samples.builders import selected as select
from shared.models.restore_details import DiskDetails, NetworkDetails
from shared.models.restore_points import Requirement, State

GIB = 2**30
OTHER = {"storage_classes": {"fast": a_class(), "harvester-longhorn": a_class()}}


def test_a_disk_is_shown_with_its_size_its_backup_and_its_class_before_and_after() -> None:
    mapping = {"storageClasses": {"*": "fast"}}
    details = a_machine(on=facts(**OTHER), mapping=mapping).details
    assert details
    assert details.disks == (
        DiskDetails(
            disk="disk-0",
            claim="web01-disk-0",
            size_bytes=40 * GIB,
            class_before="harvester-longhorn",
            class_after="fast",
            backup="pvc-web01-0/backup-web01-0",
        ),
    )


def test_a_claim_without_a_class_is_shown_with_the_target_s_default_one() -> None:
    metadata = a_metadata(disks_=disks(storage_class=None))
    default = facts(storage_classes={"standard": a_class(is_default=True)})
    details = a_machine(metadata, on=default).details
    assert details
    assert [(each.class_before, each.class_after) for each in details.disks] == [(None, "standard")]


def test_the_size_is_what_longhorn_on_the_target_makes() -> None:
    metadata = a_metadata()
    known = knows(a_point(metadata))
    (name, backup), *_ = known.backups.items()
    grown = {name: backup._replace(size_bytes=50 * GIB)}
    details = a_machine(metadata, on=facts(longhorn=known._replace(backups=grown))).details
    assert details
    assert details.size_bytes == details.disks[0].size_bytes == 50 * GIB


def test_sizes_of_all_disks_are_added() -> None:
    details = a_machine(a_metadata(disks_=disks(count=3))).details
    assert details
    assert details.size_bytes == 120 * GIB
    assert [each.disk for each in details.disks] == ["disk-0", "disk-1", "disk-2"]


def test_a_network_is_shown_before_and_after_with_the_address_that_it_gets() -> None:
    mapping = {"networks": {"default/vlan100": "default/vlan200"}, "mac": "derive"}
    there = facts(networks=frozenset({"default/vlan200"}))
    details = a_machine(on=there, mapping=mapping).details
    assert details
    (network,) = details.networks
    assert (network.before, network.after) == ("default/vlan100", "default/vlan200")
    assert network.mac
    assert network.mac.startswith("02:")


def test_a_cleared_address_is_none() -> None:
    details = a_machine().details
    assert details
    assert details.networks == (
        NetworkDetails(interface="nic-1", before="default/vlan100", after="default/vlan100"),
    )


def test_of_a_machine_that_is_not_made_there_is_nothing_after() -> None:
    needed = (Requirement(kind="image", name="vmi-1", checksum="ab"),)
    lost = select(state=State.INCOMPLETE, reasons=("no backup",), requires=needed)
    machine = a_machine(lost)
    details = machine.details
    assert machine.problem
    assert details
    assert [each.class_after for each in details.disks] == [None]
    assert [each.after for each in details.networks] == [None]
    assert (details.target, details.requires) == ("east-s3", needed)
    assert (details.cpu, details.memory_bytes) == (2, 4 * GIB)
