"""A folder as if it were a bucket: its listing, its files, and what must never be read."""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.samples.encoding import noise
from shared.aws import listing, mounted
from shared.aws.listing import LAST, Entry
from shared.aws.stores import Stores
from shared.errors import Refused, Unreadable
from shared.layouts import registry
from shared.models.base import FILES, split_url, url_of
from tests.memory_services import MemoryS3


def written(root: Path, *paths: str) -> Path:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.encode())
    return root


def keys(root: Path, prefix: str = "", after: str = "", before: str = LAST) -> list[str]:
    found = mounted.listed(root, prefix, after or prefix, before, beyond=registry.behind_blocks)
    return [each.key for each in found]


def content(root: Path, key: str, head: int = 0) -> bytes | None:
    with mounted.opened(root, key, head=head) as found:
        return found and b"".join(found.chunks())


PATHS = ("a.cfg", "a/x", "a-b/y", "a/b/c", "ä/z", "z", "\U0001f600/k", "\ue000/k")


def test_files_are_listed_in_the_order_of_a_buckets_keys(tmp_path: Path) -> None:
    assert keys(written(tmp_path, *PATHS)) == sorted(PATHS, key=str.encode)


@given(data=st.data())
def test_any_part_of_a_listing_is_that_part_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = written(tmp_path_factory.getbasetemp() / "parts", *PATHS)
    after, before = data.draw(st.tuples(*2 * [st.sampled_from(["", *PATHS, "a/", "a/b", LAST])]))
    assert keys(root, after=after, before=before) == [
        each for each in sorted(PATHS) if after < each < before
    ]


def test_a_folder_lists_what_the_same_bucket_would(tmp_path: Path) -> None:
    s3 = MemoryS3()
    for number, path in enumerate(PATHS):
        s3.write("b", path, f"v{number:04}", path.encode())
    root = written(tmp_path, *PATHS)
    for prefix in ("", "a/", "a/b/", "none/"):
        bounds = (prefix, prefix + LAST)
        there = listing.listed(cast(Any, s3), "b", prefix, *bounds, beyond=lambda _: None)
        assert keys(root, prefix, *bounds) == [each.key for each in there], prefix


def test_blocks_are_not_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = "backupstore/volumes/aa/bb/pvc-1/"
    written(tmp_path, f"{volume}volume.cfg", f"{volume}blocks/aa/bb/x.blk", f"{volume}z.cfg")
    looked: list[str] = []
    names = mounted._names

    def watched(folder: int, path: str) -> list[tuple[str, bool]]:
        looked.append(path)
        return names(folder, path)

    monkeypatch.setattr(mounted, "_names", watched)
    assert keys(tmp_path) == [f"{volume}volume.cfg", f"{volume}z.cfg"]
    assert not [path for path in looked if "blocks" in path]


def test_few_files_are_one_range_and_many_are_cut_at_folders(tmp_path: Path) -> None:
    written(tmp_path, "p/ns/a/x", "p/other/y")
    whole = ("p/", f"p/{LAST}")
    one = mounted.ranges(tmp_path, "p/", open_up=frozenset(), most=4)
    assert one == [whole]
    written(tmp_path, *(f"p/volumes/{n % 7}/{n}" for n in range(mounted.FEW)))
    cut = mounted.ranges(tmp_path, "p/", open_up=frozenset({"volumes"}), most=4)
    assert cut[0][0] == "p/"
    assert cut[-1][1] == f"p/{LAST}"
    assert all(one[1] == other[0] for one, other in pairwise(cut))
    assert 1 < len(cut) <= 4
    parts = [key for bounds in cut for key in keys(tmp_path, "p/", *bounds)]
    assert parts == keys(tmp_path, "p/")


def test_a_file_has_another_etag_when_anything_about_it_changes(tmp_path: Path) -> None:
    file = written(tmp_path, "a") / "a"

    def etag() -> str:
        (entry,) = mounted.listed(tmp_path, "", "", LAST, beyond=lambda _: None)
        with mounted.opened(tmp_path, "a") as found:
            assert found
            assert found.etag == entry.etag
        return entry.etag

    seen = [etag()]
    assert etag() == seen[0]
    file.write_bytes(b"b")  # of the same size
    os.utime(file, (1, 1))
    seen.append(etag())
    file.chmod(0o600)
    seen.append(etag())
    (tmp_path / "b").write_bytes(b"c")
    os.utime(tmp_path / "b", (1, 1))
    (tmp_path / "b").rename(file)
    seen.append(etag())
    assert len(set(seen)) == len(seen)


def test_what_a_file_says_of_itself(tmp_path: Path) -> None:
    body = noise("disk", 3 * 2**20)
    (tmp_path / "disk.raw").write_bytes(body)
    os.utime(tmp_path / "disk.raw", (1, 1_700_000_000))
    with mounted.opened(tmp_path, "disk.raw") as found:
        assert found
        assert (found.size, found.version_id) == (len(body), None)
        assert found.modified.isoformat() == "2023-11-14T22:13:20+00:00"
        assert found.body.read() == body
    assert content(tmp_path, "disk.raw") == body
    assert content(tmp_path, "disk.raw", head=1000) == body[:1000]
    with mounted.opened(tmp_path, "disk.raw", head=1000) as found:
        assert found
        assert found.size == len(body)
        assert found.body.read() == body[:1000]


@pytest.mark.parametrize("key", ["none", "none/x", "file/x", "", "a/../file", "./file", ".."])
def test_what_is_not_there_is_none(tmp_path: Path, key: str) -> None:
    written(tmp_path, "file", "a/x")
    assert content(tmp_path, key) is None


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A mount beside which lies what nobody may read."""
    written(tmp_path / "elsewhere", "secret.cfg")
    return written(tmp_path / "mount", "file.cfg")


def test_no_link_leads_out_of_the_mount(outside: Path) -> None:
    (outside / "link.cfg").symlink_to(outside.parent / "elsewhere" / "secret.cfg")
    (outside / "folder").symlink_to(outside.parent / "elsewhere", target_is_directory=True)
    assert keys(outside) == ["file.cfg", "folder", "link.cfg"]
    with pytest.raises(Unreadable, match="symbolic link"):
        content(outside, "link.cfg")
    assert content(outside, "folder/secret.cfg") is None
    assert keys(outside, "folder/") == []


def test_a_link_within_the_mount_is_not_followed_either(outside: Path) -> None:
    (outside / "loop").symlink_to(outside, target_is_directory=True)
    (outside / "twice.cfg").symlink_to("file.cfg")
    assert keys(outside) == ["file.cfg", "loop", "twice.cfg"]
    with pytest.raises(Unreadable, match="symbolic link"):
        content(outside, "twice.cfg")


def test_what_is_no_file_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.cfg")
    (tmp_path / "folder.cfg").mkdir()
    for name in ("pipe.cfg", "folder.cfg"):
        with pytest.raises(Unreadable, match="no file"):
            content(tmp_path, name)


def test_names_that_are_no_key_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path, "good.cfg")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.cfg"))).write_bytes(b"")
    deep = "/".join(["d" * 200] * 6)
    written(tmp_path, f"{deep}/x.cfg")
    assert keys(tmp_path) == ["good.cfg"]


def test_what_may_not_be_read_is_not_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, whom nothing stops, everybody has these rights."""
    written(tmp_path, "a/x.cfg", "b.cfg")
    real = os.open

    def closed(path: str, flags: int, **more: int) -> int:
        if path in ("a", "b.cfg"):
            raise PermissionError(13, "Permission denied")
        return real(path, flags, **more)

    monkeypatch.setattr(os, "open", closed)
    with pytest.raises(Unreadable, match="may not be read"):
        content(tmp_path, "b.cfg")
    with pytest.raises(Unreadable, match="may not be read"):
        content(tmp_path, "a/x.cfg")
    with pytest.raises(Refused, match=f"{FILES}/a/ cannot be looked into"):
        keys(tmp_path)


def test_a_failing_disk_is_no_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, "a.cfg")

    def broken(*_: object, **__: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "open", broken)
    with pytest.raises(OSError, match="Input/output"):
        content(tmp_path, "a.cfg")
    with pytest.raises(OSError, match="Input/output"):
        keys(tmp_path)


@pytest.mark.parametrize("mount", [None, Path("/nowhere/at/all")])
def test_without_a_mount_nothing_is_gone(mount: Path | None) -> None:
    stores = Stores(cast(Any, MemoryS3()), mount)
    with pytest.raises(Refused, match="FileSystemAccessPointArn"), stores.opened(FILES, "a"):
        pass
    with pytest.raises(Refused, match="FileSystemAccessPointArn"):
        stores.listed(FILES, "", "", LAST, beyond=lambda _: None)
    with pytest.raises(Refused, match="FileSystemAccessPointArn"):
        stores.ranges(FILES, "", open_up=frozenset(), most=2)


def test_stores_go_by_the_buckets_name(tmp_path: Path) -> None:
    s3 = MemoryS3()
    s3.write("b", "in-s3", "v0001", b"1")
    stores = Stores(cast(Any, s3), written(tmp_path, "in-files"))
    for bucket, key in (("b", "in-s3"), (FILES, "in-files")):
        entries = stores.listed(bucket, "", "", LAST, beyond=lambda _: None)
        assert [each.key for each in entries] == [key]
        assert stores.ranges(bucket, "", open_up=frozenset(), most=2) == [("", LAST)]
        with stores.opened(bucket, key) as found:
            assert found


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://b/k/x", ("b", "k/x")),
        ("s3://b", ("b", "")),
        (f"{FILES}/k/x", (FILES, "k/x")),
        (FILES, (FILES, "")),
    ],
)
def test_an_address_is_a_bucket_and_a_key(url: str, parts: tuple[str, str]) -> None:
    assert split_url(url) == parts
    assert url_of(*parts).rstrip("/") == url


def test_an_entry_is_what_a_bucket_lists(tmp_path: Path) -> None:
    (entry,) = mounted.listed(written(tmp_path, "a"), "", "", LAST, beyond=lambda _: None)
    assert isinstance(entry, Entry)
