"""The frame of every page: one file without scripts, that loads nothing."""

import base64
import hashlib
from collections.abc import Iterator

from shared.pages.machine import badge
from shared.pages.markup import Html, raw, tag
from shared.pages.style import CSS


def document(title: str, *parts: Html) -> str:
    """The whole page; its policy lets a browser use our style and nothing else."""
    digest = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = (
        raw('<meta charset="utf-8">'),
        raw(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        raw('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        raw('<meta name="color-scheme" content="light dark">'),
        raw('<meta name="referrer" content="no-referrer">'),
        tag("title", title),
        tag("style", raw(CSS)),
    )
    body = tag("body", tag("main", *parts))
    return f"<!doctype html>\n{tag('html', tag('head', *head), body, lang='en')}\n"


def opening(named: str, state: str, lead: str) -> Iterator[Html]:
    """What a page begins with: what it is about, how that ended, and what matters most of it."""
    yield tag("p", "Replant", class_="brand")
    yield tag("h1", f"{named} ", badge(state))
    yield tag("p", lead, class_="lead")
