# ruff: noqa: N803  # the SDK's own names
"""A chain of images -> one raw image, in parts of an upload: against an S3 that forgets nothing,
with runs that die at any call.

Aspects: what there is of the upload when a run begins, where a run ends, what has become of the
images since, and how large the disk is.
"""

import hashlib
import io
import itertools
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.samples.folders import qcow2
from shared.aws import uploads
from shared.errors import Refused, Unreadable
from shared.models.images import DiskImages, ImageFile
from shared.workflows import flattening
from shared.workflows.flattening import Clients, Flattened, flatten
from tests.qemu import qemu_img, with_qemu, write

KIB = 2**10
PART = 64 * KIB
STATE, BACKUPS = "state", "backups"
BEGIN = datetime(2026, 8, 15, tzinfo=UTC)
Json = dict[str, Any]


class Died(Exception):
    """The run ends here, as a function that is killed."""


class PartsS3:
    """Objects, and uploads in parts. FAILS is asked before each call, by its name and number."""

    class exceptions:  # noqa: N801
        """As boto3's client has them."""

        ClientError = ClientError

    def __init__(self, *, over: bool = True) -> None:
        self.over = over
        self.objects: dict[tuple[str, str], bytes] = {}
        self.uploads: dict[str, Json] = {}
        self.calls: Counter[str] = Counter()
        self.now: Callable[[], datetime] = lambda: BEGIN
        self.modified: dict[tuple[str, str], datetime] = {}
        self.fails: Callable[[str, int], None] = lambda _name, _number: None
        self._lock = Lock()
        self._numbers = itertools.count()

    def _called(self, name: str) -> None:
        with self._lock:
            self.calls[name] += 1
            self.fails(name, next(self._numbers))

    def put(self, key: str, body: bytes) -> ImageFile:
        self.objects[BACKUPS, key] = body
        kind = "qcow2" if key.endswith(".qcow2") else "raw"
        return ImageFile(bucket=BACKUPS, key=key, etag=etag_of(body), format=kind)

    def get_object(self, **asked: Any) -> Json:
        self._called("get_object")
        found = self._part(**asked)
        body = io.BytesIO(found["body"])
        return {**found, "Body": body, "ContentLength": len(found["body"])}

    def _part(
        self, *, Bucket: str, Key: str, Range: str, IfMatch: str, VersionId: str | None = None
    ) -> Json:
        body = self.objects.get((Bucket, f"{Key}?{VersionId}" if VersionId else Key))
        if body is None:
            raise error("NoSuchKey")
        if IfMatch != f'"{etag_of(body)}"':
            raise error("PreconditionFailed")
        first, last = map(int, Range.removeprefix("bytes=").split("-"))
        if first >= len(body):
            raise error("InvalidRange")
        part = body[first : last + 1]
        told = f"bytes {first}-{first + len(part) - 1}/{len(body)}"
        return {"body": part, "whole": len(body), "ContentRange": told}

    def head_object(self, *, Bucket: str, Key: str) -> Json:
        self._called("head_object")
        if (Bucket, Key) not in self.objects:
            raise error("404")
        modified = self.modified.get((Bucket, Key), BEGIN)
        return {"ContentLength": len(self.objects[Bucket, Key]), "LastModified": modified}

    def create_multipart_upload(self, *, Bucket: str, Key: str) -> Json:
        self._called("create_multipart_upload")
        id_ = f"u{len(self.uploads)}"
        begun = BEGIN + timedelta(seconds=len(self.uploads))
        self.uploads[id_] = {"place": (Bucket, Key), "begun": begun, "parts": {}, "open": True}
        return {"UploadId": id_}

    def upload_part(
        self, *, Bucket: str, Key: str, UploadId: str, PartNumber: int, Body: bytes
    ) -> Json:
        self._called("upload_part")
        found = self._open(Bucket, Key, UploadId)
        found["parts"][PartNumber] = bytes(Body)
        return {"ETag": etag_of(Body)}

    def upload_part_copy(
        self,
        *,
        Bucket: str,
        Key: str,
        UploadId: str,
        PartNumber: int,
        CopySource: Json,
        CopySourceIfMatch: str,
        CopySourceRange: str,
    ) -> Json:
        self._called("upload_part_copy")
        part = {"Range": CopySourceRange, "IfMatch": CopySourceIfMatch}
        found = self._part(**CopySource, **part)
        assert found["whole"] > 5 * KIB, "S3 takes no range of an object of 5 MB"
        self._open(Bucket, Key, UploadId)["parts"][PartNumber] = found["body"]
        return {"CopyPartResult": {"ETag": etag_of(found["body"])}}

    def complete_multipart_upload(
        self, *, Bucket: str, Key: str, UploadId: str, MultipartUpload: Json
    ) -> Json:
        self._called("complete_multipart_upload")
        found = self._open(Bucket, Key, UploadId)
        told = {each["PartNumber"]: each for each in MultipartUpload["Parts"]}
        assert list(told) == sorted(found["parts"])
        for number, body in found["parts"].items():
            assert told[number] == as_completed(number, body)
        self.objects[Bucket, Key] = b"".join(body for _, body in sorted(found["parts"].items()))
        self.modified[Bucket, Key] = self.now()
        found["open"] = False
        return {}

    def get_paginator(self, name: str) -> Any:
        return type("Pages", (), {"paginate": partial(self._pages, name)})

    def _pages(self, name: str, **asked: Any) -> Any:
        self._called(name)
        if name == "list_parts":
            parts = self._open(asked["Bucket"], asked["Key"], asked["UploadId"])["parts"]
            told = [told_of(number, body) for number, body in sorted(parts.items())]
            return [{"Parts": told[:3]}, {"Parts": told[3:]}, {}]
        assert (name, asked["Bucket"]) == ("list_multipart_uploads", STATE)
        found = [
            {"Key": each["place"][1], "UploadId": id_, "Initiated": each["begun"]}
            for id_, each in self.uploads.items()
            if each["open"] and each["place"][1].startswith(asked["Prefix"])
        ]
        return [{"Uploads": found[::-1]}, {}]

    def _open(self, bucket: str, key: str, id_: str) -> Json:
        found: Json = self.uploads[id_]
        if not found["open"] or found["place"] != (bucket, key):
            raise error("NoSuchUpload")
        return found


def error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "Call")


def etag_of(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()  # noqa: S324  # as S3 makes it


def told_of(number: int, body: bytes) -> Json:
    return {**as_completed(number, body), "Size": len(body), "LastModified": BEGIN}


def as_completed(number: int, body: bytes) -> Json:
    """With the checksum that S3 asks for again."""
    return {"PartNumber": number, "ETag": etag_of(body), "ChecksumCRC32": str(zlib.crc32(body))}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LEAST_PART", PART)
    monkeypatch.setattr(uploads, "MIB", PART)


@pytest.fixture(params=["copied", "put together"])
def s3(request: pytest.FixtureRequest) -> PartsS3:
    """A raw image is copied by itself, and read where another one lies over it."""
    return PartsS3(over=request.param == "put together")


def run(s3: PartsS3, disk: DiskImages, pieces: float = 1000) -> Flattened:
    """No more are begun than PIECES: each look at the time is a second."""
    clock = itertools.count()
    clients = Clients(s3, STATE, lambda: float(next(clock)), lambda: BEGIN)  # type: ignore[arg-type]
    return flatten(clients, disk, until=pieces)


def raw_disk(s3: PartsS3, parts: int = 6) -> tuple[DiskImages, bytes]:
    """Of a few different parts, the third of which are zeros, and a last one that is shorter."""
    body = b"".join(bytes([number if number != 3 else 0]) * PART for number in range(1, parts + 1))
    body += b"end".ljust(512, b".")
    files = [s3.put("disk.img", body)]
    if s3.over:
        nothing = qcow2(len(body), "disk.img").ljust(2 * PART, b"\0")  # its table
        files.insert(0, s3.put("over.qcow2", nothing))
    return DiskImages(size_bytes=len(body), files=tuple(files)), body


def written(s3: PartsS3) -> int:
    """Parts, in whatever way: always the same."""
    ways = s3.calls["upload_part"], s3.calls["upload_part_copy"]
    assert min(ways) == 0
    return max(ways)


def made(s3: PartsS3, disk: DiskImages) -> bytes | None:
    return s3.objects.get((STATE, disk.place))


def test_an_image_that_is_soon_forgotten_is_made_anew(s3: PartsS3) -> None:
    """A monthly drill finds the last one's on the day on which it goes."""
    disk, body = raw_disk(s3)
    s3.now = lambda: BEGIN - timedelta(days=19)
    run(s3, disk)
    run(s3, disk)
    assert s3.calls["complete_multipart_upload"] == 1
    s3.modified[STATE, disk.place] = BEGIN - timedelta(days=20)
    assert run(s3, disk).done
    assert s3.calls["complete_multipart_upload"] == 2
    assert made(s3, disk) == body


@with_qemu
def test_a_chain_becomes_what_qemu_makes_of_it(s3: PartsS3, tmp_path: Path) -> None:
    size = 700 * KIB
    for name, below in (("a.qcow2", ""), ("b.qcow2", "a.qcow2"), ("c.qcow2", "b.qcow2")):
        parent = ("-b", below, "-F", "qcow2") if below else ()
        qemu_img("create", "-q", "-f", "qcow2", *parent, name, str(size), at=tmp_path)
        write(name, f"write -P {ord(name[0])} {ord(name[0])}k 200k", at=tmp_path)
    names = ("c.qcow2", "b.qcow2", "a.qcow2")
    files = tuple(s3.put(name, (tmp_path / name).read_bytes()) for name in names)
    disk = DiskImages(size_bytes=size, files=files)
    assert run(s3, disk) == Flattened(done=True, written=size, size=size)
    qemu_img("convert", "-O", "raw", "c.qcow2", "judge", at=tmp_path)
    found = made(s3, disk) or b""
    assert (
        hashlib.sha256(found).digest() == hashlib.sha256((tmp_path / "judge").read_bytes()).digest()
    )


def test_a_run_goes_on_where_the_last_one_ended(s3: PartsS3) -> None:
    disk, body = raw_disk(s3)
    first = run(s3, disk, pieces=3)
    assert first == Flattened(done=False, written=3 * PART, size=len(body))
    assert made(s3, disk) is None
    assert run(s3, disk, pieces=0) == first
    assert run(s3, disk).done
    assert made(s3, disk) == body
    assert written(s3) == 7
    assert s3.calls["create_multipart_upload"] == 1


def test_one_that_is_there_costs_a_request(s3: PartsS3) -> None:
    disk, body = raw_disk(s3)
    run(s3, disk)
    s3.calls.clear()
    assert run(s3, disk) == Flattened(done=True, written=len(body), size=len(body))
    assert s3.calls == {"head_object": 1}


def test_one_of_another_size_is_made_again(s3: PartsS3) -> None:
    disk, body = raw_disk(s3)
    s3.objects[STATE, disk.place] = body[:-1]
    assert run(s3, disk).done
    assert made(s3, disk) == body


def test_whichever_call_it_dies_at_the_next_run_makes_the_same(s3: PartsS3) -> None:
    """How many calls a run needs varies with its threads: a table that two of them want at once is
    read twice. So the last number is the one that no call had.
    """
    for number in itertools.count():
        other = PartsS3(over=s3.over)
        disk, body = raw_disk(other)
        died = runs_until_call(other, disk, number)
        assert run(other, disk).done
        assert made(other, disk) == body
        assert other.calls["create_multipart_upload"] <= 2
        if not died:
            break
    assert number > written(other)


def runs_until_call(s3: PartsS3, disk: DiskImages, number: int) -> bool:
    """Whether the run died at it, or was done without it."""

    def die(_: str, at: int) -> None:
        if at >= number:
            raise Died

    s3.fails = die
    try:
        done = run(s3, disk).done
    except Died:
        return True
    finally:
        s3.fails = lambda _name, _number: None
    assert done
    return False


def test_two_runs_at_once_make_one_image(s3: PartsS3) -> None:
    """The second one runs as a whole while the first is about to complete."""
    disk, body = raw_disk(s3)
    done: list[Flattened] = []

    def meanwhile(name: str, _: int) -> None:
        if name == "list_parts" and not done and len(s3.uploads["u0"]["parts"]) == 7:
            s3.fails = lambda _name, _number: None
            s3._lock = Lock()
            done.append(run(s3, disk))

    s3.fails = meanwhile
    assert run(s3, disk).done
    assert done
    assert done[0].done
    assert made(s3, disk) == body
    assert written(s3) == 7


def test_two_that_began_at_once_go_on_with_the_first(s3: PartsS3) -> None:
    disk, _ = raw_disk(s3)
    for _ in range(2):
        s3.create_multipart_upload(Bucket=STATE, Key=disk.place)
    s3.create_multipart_upload(Bucket=STATE, Key=f"{disk.place}.other")
    assert run(s3, disk).done
    assert [len(each["parts"]) for each in s3.uploads.values()] == [7, 0, 0]


def test_parts_of_another_size_are_written_again(s3: PartsS3) -> None:
    disk, body = raw_disk(s3)
    s3.create_multipart_upload(Bucket=STATE, Key=disk.place)
    s3.uploads["u0"]["parts"] = {1: b"short", 2: body[PART : 2 * PART]}
    assert run(s3, disk).done
    assert made(s3, disk) == body
    assert written(s3) == 6


@pytest.mark.parametrize("when", ["before", "meanwhile"])
@pytest.mark.parametrize("what", ["changed", "deleted"])
def test_an_image_that_is_not_what_the_catalogue_knew_is_refused(
    s3: PartsS3, when: str, what: str
) -> None:
    disk, _ = raw_disk(s3)
    body = s3.objects.pop((BACKUPS, "disk.img"))

    def spoil() -> None:
        if what == "changed":
            s3.objects[BACKUPS, "disk.img"] = body[::-1]
        else:
            s3.objects.pop((BACKUPS, "disk.img"), None)

    def after_one(name: str, _: int) -> None:
        if name in ("upload_part", "upload_part_copy"):
            spoil()

    if when == "meanwhile":
        s3.objects[BACKUPS, "disk.img"] = body
        s3.fails = after_one
    else:
        spoil()
    with pytest.raises(
        Refused, match=rf"s3://backups/disk\.img was {what} since it was catalogued"
    ):
        run(s3, disk)
    assert made(s3, disk) is None
    assert not s3.calls["complete_multipart_upload"]


def test_a_server_that_gives_other_bytes_than_were_asked_for_is_refused(s3: PartsS3) -> None:
    """As one did that reads no ranges of versions."""
    s3.over = True
    disk, _ = raw_disk(s3)

    def whole(**asked: Any) -> Json:
        found = s3.objects[asked["Bucket"], asked["Key"]]
        return {"Body": io.BytesIO(found), "ContentLength": len(found)}

    s3.get_object = whole  # type: ignore[method-assign]
    with pytest.raises(Refused, match="does not give the range that is asked for"):
        run(s3, disk)
    assert made(s3, disk) is None


def test_the_version_that_the_catalogue_knows_is_read(s3: PartsS3) -> None:
    disk, body = raw_disk(s3)
    s3.objects[BACKUPS, "disk.img?v1"] = s3.objects.pop((BACKUPS, "disk.img"))
    *over, image = disk.files
    image = image.model_copy(update={"version_id": "v1"})
    disk = disk.model_copy(update={"files": (*over, image)})
    assert run(s3, disk).done
    assert made(s3, disk) == body


@pytest.mark.parametrize(("memory", "at_once"), [(1, 1), (3 * PART * 2, 2), (2**40, 8)])
def test_as_many_pieces_are_there_at_once_as_the_memory_holds(
    s3: PartsS3, monkeypatch: pytest.MonkeyPatch, memory: int, at_once: int
) -> None:
    monkeypatch.setattr(flattening, "MEMORY", memory)
    disk, _ = raw_disk(s3)
    asked: list[int] = []

    class Counted(ThreadPoolExecutor):
        """Notes how many threads it may have."""

        def __init__(self, threads: int) -> None:
            asked.append(threads)
            super().__init__(threads)

    monkeypatch.setattr(flattening, "ThreadPoolExecutor", Counted)
    assert run(s3, disk).done
    assert asked[-1] == at_once


def test_a_damaged_image_is_told_by_its_name_and_nothing_is_completed(s3: PartsS3) -> None:
    image = s3.put("disk.qcow2", b"QFI\xfb".ljust(PART, b"\0"))
    with pytest.raises(
        Unreadable, match=r"s3://backups/disk\.qcow2: version: must be 2 or 3, not 0"
    ):
        run(s3, DiskImages(size_bytes=PART, files=(image,)))
    assert not s3.calls["complete_multipart_upload"]


def test_the_place_follows_from_the_images_and_from_nothing_else(s3: PartsS3) -> None:
    disk, _ = raw_disk(s3)
    image = disk.files[0]
    assert disk.place == disk.model_copy().place
    others = [
        disk.model_copy(update={"size_bytes": 1}),
        disk.model_copy(update={"files": (image, image)}),
        disk.model_copy(update={"files": (image.model_copy(update={"etag": "other"}),)}),
        disk.model_copy(update={"files": (image.model_copy(update={"version_id": "v1"}),)}),
    ]
    places = {disk.place, *(each.place for each in others)}
    assert len(places) == 5
    assert all(each.startswith("work/images/") and each.endswith(".raw") for each in places)


@pytest.mark.parametrize("size", [1, PART, 10_000 * PART, 10_000 * PART + 1, 2**50])
def test_no_disk_has_more_parts_than_s3_takes(size: int) -> None:
    part = uploads.part_size(size)
    assert part >= PART
    assert part % PART == 0
    assert isinstance(part, int)
    assert -(-size // part) <= 10_000
