"""Two buckets -> whether what is listed in both is the same, as far as ETags tell."""

from typing import TYPE_CHECKING

from shared.aws.listing import Entry
from shared.copies import judging
from shared.copies.judging import Stored

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OWN_KEYS = "AES256"
"""How S3 says that it encrypts with keys of its own: ETags are digests of the content then."""


class Judge:
    """Of what lies in bucket SOURCE, and copies in bucket THERE. Whether their ETags can be
    compared at all is asked once, where two differ.
    """

    def __init__(self, s3: "S3Client", source: str, there: str) -> None:
        self._s3 = s3
        self._source = source
        self._there = there
        self._comparable: bool | None = None

    def same(self, source: Entry, there: Entry) -> bool | None:
        """None where only the content can tell: the sizes are equal, and ETags say nothing."""
        one, other = Stored(source.etag, source.size), Stored(there.etag, there.size)
        if one == other or one.size != other.size:
            return one == other
        if self._comparable is None:
            self._comparable = not (
                self._encrypted(self._there, there.key) or self._encrypted(self._source, source.key)
            )
        return None if judging.same(one, other, comparable=self._comparable) else False

    def _encrypted(self, bucket: str, key: str) -> bool:
        """Whether with other keys, as SSE-KMS does: ETags differ each time."""
        head = self._s3.head_object(Bucket=bucket, Key=key)
        return head.get("ServerSideEncryption", OWN_KEYS) != OWN_KEYS
