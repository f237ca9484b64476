"""Whether a place can take copies of a restore point: pure."""

from shared.models.base import url_of
from shared.models.migrations import Selected


def onto_itself(point: Selected, bucket: str, prefix: str) -> str | None:
    """Why a copy would be the point itself; None where it would not."""
    if (point.bucket, point.base) != (bucket, prefix) or point.blocked:
        return None
    return (
        f"to: {url_of(bucket, prefix)} is where {point.name} ({point.id}) lies already. Copy it to"
        " another bucket or prefix."
    )
