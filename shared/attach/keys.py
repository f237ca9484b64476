"""The keys of a backup target as they are stored -> what S3's client and Longhorn take. No message
has a value.
"""

from typing import Any, NamedTuple

from shared import strict_json
from shared.errors import Refused

ID, KEY, ENDPOINTS, CERTIFICATE = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ENDPOINTS",
    "AWS_CERT",
)
NEEDED = (ID, KEY)
KNOWN = (*NEEDED, ENDPOINTS, CERTIFICATE)


class Keys(NamedTuple):
    """By their names, as Longhorn reads them of a Secret (longhorn-manager types)."""

    values: dict[str, str]

    @property
    def endpoint(self) -> str | None:
        return self.values.get(ENDPOINTS)

    @property
    def certificate(self) -> str | None:
        """In PEM, of an authority that signs for the endpoint."""
        return self.values.get(CERTIFICATE)

    def __repr__(self) -> str:
        """A log shows which there are, and no value."""
        return f"Keys({', '.join(self.values)})"


def parse(text: str, secret: str) -> Keys:
    """SECRET is its name. Raises Refused."""
    try:
        found = strict_json.parse(text.encode())
    except strict_json.Fault:
        raise _refused(secret, "is not JSON") from None
    if not isinstance(found, dict):
        raise _refused(secret, "is not a JSON object")
    if unknown := sorted(found.keys() - set(KNOWN)):
        raise _refused(secret, f"has keys that are not known: {', '.join(map(repr, unknown))}")
    if missing := [name for name in NEEDED if not found.get(name)]:
        raise _refused(secret, f"lacks {' and '.join(missing)}")
    for name, value in found.items():
        if problem := _problem(value):
            raise _refused(secret, f"has {name}, which {problem}")
    return Keys({name: value for name, value in found.items() if value})


def _problem(value: Any) -> str | None:
    """As Longhorn's webhook says it (webhook/resources/backuptarget/validator.go)."""
    if not isinstance(value, str):
        return "is not a text"
    if value.strip() != value:
        return "begins or ends with a space or a line break"
    return None


def _refused(secret: str, what: str) -> Refused:
    return Refused(
        f"Secret {secret} {what}. It is a JSON object with {ID} and {KEY}, and where the bucket is"
        f" not at AWS {ENDPOINTS} (its URL) and {CERTIFICATE} (the authority that signs for it).",
        "target",
    )
