"""SNS: what a message's subject may be."""

from typing import Any

from ministack.services import sns

from local.emulator.seams import require, seam

LONGEST = 99


def subjects_are_short_and_plain() -> None:
    """AWS takes a subject of fewer than 100 characters, ASCII, on one line; MiniStack takes any."""
    patch = "subjects_are_short_and_plain"
    publish = seam(patch, sns, "_publish", "params")
    require(patch, callable(sns._p) and callable(sns._error))

    def published(params: Any) -> Any:
        subject = sns._p(params, "Subject") or ""
        if len(subject) > LONGEST or not (subject.isascii() and subject.isprintable()):
            return sns._error("InvalidParameter", "Invalid parameter: Subject", 400)
        return publish(params)

    sns._publish = published


PATCHES = (subjects_are_short_and_plain,)
