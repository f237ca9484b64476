"""The page of a report, as a browser takes it: structure, safety, both colour schemes, its size.

How it looks is not tested; what makes it look so is one constant (shared/pages/style.py).
"""

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from local.samples.builders import a_metadata, facts, planned
from shared.models.restore_plans import MachineState
from shared.pages.machine import ROWS
from shared.pages.markup import LONGEST
from shared.pages.page import IN_FULL, LARGEST, LISTED, page
from shared.pages.style import DARK, LIGHT
from shared.restore.report import RUNNING
from tests.reports import ADDRESS, a_plan_report, a_report, many

Json = Any

READY, FAILED, BLOCKED = MachineState.READY, MachineState.FAILED, MachineState.BLOCKED
VOID = {"meta"}
HOSTILE = """</style></pre><script>alert('"&amp;')</script><img src=x onerror=y>"""
OURS = {
    *("state", "verdict", "action", "startedAt", "finishedAt", "attemptAt", "takenAt", "execution"),
}
"""Keys of a report whose values nobody but we write."""
ATTRIBUTES = {
    *("class", "id", "href", "lang", "scope", "tabindex", "data-of"),
    *("charset", "name", "content", "http-equiv"),
}


class Page(HTMLParser):
    """What is in a page: elements in order, with their attributes and the text right inside."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert not self.open, "every element is closed"

    def handle_starttag(self, tag: str, attrs: Json) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "elements are closed in order"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag: str | None = None) -> str:
        return " ".join(text for name, text in self.texts if tag in (None, name))


def read(report: Json) -> Page:
    return Page(page(report, ADDRESS))


def poisoned(value: Json, key: str = "") -> Json:
    """With hostile text in place of whatever others may have written."""
    if isinstance(value, dict):
        return {name: poisoned(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [poisoned(each, key) for each in value]
    return HOSTILE if isinstance(value, str) and key not in OURS else value


REPORTS = [
    a_plan_report(),
    a_plan_report(planned(on=facts(networks=frozenset())), BLOCKED),
    a_report(state=RUNNING),
    a_report(many(3), READY, FAILED, state="partial", attempt=2, by="Ada"),
    a_report(state="cancelled"),
    a_report(many(0)),
]


@pytest.mark.parametrize("report", REPORTS)
def test_a_page_is_well_formed_and_needs_nothing_else(report: Json) -> None:
    html = page(report, ADDRESS)
    found = Page(html)
    assert html.startswith("<!doctype html>\n")
    assert {"script", "link", "img", "iframe", "object", "base", "form"}.isdisjoint(
        name for name, _ in found.elements
    )
    used = {name for _, attributes in found.elements for name in attributes}
    assert used <= ATTRIBUTES
    style = found.text("style")
    assert not re.search(r"url\(|@import|expression|https?:", style)
    for link in found.all("a"):
        assert str(link["href"]).startswith("#")
        assert {"id": str(link["href"])[1:]} in found.all("article")


def test_its_policy_lets_nothing_but_its_own_style_in() -> None:
    found = read(a_report())
    digest = base64.b64encode(hashlib.sha256(found.text("style").encode()).digest()).decode()
    (policy,) = (each for each in found.all("meta") if "http-equiv" in each)
    assert policy == {
        "http-equiv": "Content-Security-Policy",
        "content": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none';"
        " form-action 'none'",
    }


@pytest.mark.parametrize("report", REPORTS)
def test_whoever_does_not_see_it_can_read_it(report: Json) -> None:
    found = read(report)
    assert found.all("html") == [{"lang": "en"}]
    assert len(found.all("h1")) == len(found.all("main")) == 1
    assert len(found.all("caption")) == len(found.all("table")) > 0
    assert {each["scope"] for each in found.all("th")} <= {"col", "row"}
    names = [name for name, _ in found.elements]
    assert names.count("tbody") == names.count("thead") == names.count("table")


def test_a_page_is_made_for_both_colour_schemes_for_paper_and_for_telephones() -> None:
    found = read(a_report())
    style = found.text("style")
    assert "@media screen and (prefers-color-scheme:dark)" in style
    assert "color-scheme:light dark" in style
    assert "@media print" in style
    assert "@media screen and (max-width:" in style
    metas = {each.get("name"): each["content"] for each in found.all("meta") if "name" in each}
    assert metas["viewport"] == "width=device-width, initial-scale=1"
    assert metas["color-scheme"] == "light dark"
    used = set(re.findall(r"var\(--([a-z-]+)\)", style))
    assert used == LIGHT.keys() == DARK.keys()


@pytest.mark.parametrize("colours", [LIGHT, DARK])
@pytest.mark.parametrize(
    ("text", "behind"),
    [
        *((text, box) for text in ("text", "muted", "link") for box in ("page", "box")),
        *((name, f"{name}-box") for name in ("good", "warn", "bad")),
    ],
)
def test_every_text_has_the_contrast_that_wcag_asks_for(
    colours: dict[str, str], text: str, behind: str
) -> None:
    lighter, darker = sorted((_light(colours[text]), _light(colours[behind])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def _light(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("report", REPORTS)
def test_what_a_backup_says_is_text_wherever_it_stands(report: Json) -> None:
    mapped = [{"what": HOSTILE, "before": HOSTILE, "after": HOSTILE}]
    needed = [{"kind": HOSTILE, "name": HOSTILE, "checksum": HOSTILE}]
    bad = poisoned(report)
    for machine in bad["machines"]:
        machine.update(mapped=mapped, requires=needed, note=HOSTILE, waits=HOSTILE)
    found = Page(page(bad, HOSTILE))
    names = {name for name, _ in found.elements}
    assert names == {name for name, _ in read(report).elements} | (names & {"article", "ul", "a"})
    assert {name for _, attributes in found.elements for name in attributes} <= ATTRIBUTES
    assert found.text().count(HOSTILE) >= 5
    assert "alert" not in found.text("style")


@pytest.mark.parametrize("said", ["\u202egnp.exe", "a\x1b[31mb", "\ud800", "\x00"])
def test_what_would_move_or_break_the_text_is_shown_as_its_escape(said: str) -> None:
    html = page(a_report(by=said), ADDRESS)
    assert html.encode()
    assert said not in html
    assert repr(said)[1:-1] in Page(html).text("dd")


def test_a_plan_says_what_is_made_where_from_which_backup_of_when() -> None:
    mapping = {"namespaces": {"default": "prod"}, "networks": {"*": "prod/vlan200"}}
    plan = planned(on=facts(networks=frozenset({"prod/vlan200"})), mapping=mapping)
    text = read(a_plan_report(plan, by="Ada")).text()
    for said in (
        "Plan of a restore to west",
        "Nothing was written. 1 of 1 machine can be restored.",
        "east default/web01",
        "west prod/web01",
        "2026-08-15 01:00:00 UTC, 0 s before the restore began",
        "40 GiB",
        "default/vlan100 → prod/vlan200",
        "pvc-web01-0/backup-web01-0",
        "del(.dryRun)",
        "Ada",
        plan.hash,
        ADDRESS,
        "memory and running state",
        "Its names are free.",
    ):
        assert said in text, said


def test_every_check_is_shown_with_its_verdict_the_blocking_ones_first() -> None:
    plan = planned(on=facts(networks=frozenset()))
    found = read(a_plan_report(plan, BLOCKED))
    text = found.text()
    assert len(plan.checks) > 3
    for check in plan.checks:
        assert check.message in text
    assert text.index("does not exist on west") < text.index("Its names are free.")
    classes = {each["class"] for each in found.all("span")}
    assert {"badge bad", "badge good"} <= classes


def test_what_was_mapped_is_shown_where_the_report_has_it() -> None:
    report = a_report()
    report["machines"][0]["mapped"] = []
    assert "What was mapped" not in read(report).text()
    report["machines"][0]["mapped"] = [{"what": "address", "before": "10.1.0.5", "after": None}]
    text = read(report).text()
    assert "What was mapped" in text
    assert "10.1.0.5" in text


def test_a_running_restore_has_no_end_and_says_what_each_machine_waits_for() -> None:
    text = read(a_report(planned(), MachineState.WAITING, state=RUNNING)).text()
    assert "Waits: its disks" in text
    assert "Data there 0 %" in text
    assert "The report was written" not in text
    assert "stop-execution" in text


@pytest.mark.parametrize(("note", "shown"), [("ready", 0), ("an older point; ready", 1)])
def test_a_note_is_shown_where_it_says_more_than_the_state(note: str, shown: int) -> None:
    report = a_report()
    report["machines"][0]["note"] = note
    text = read(report).text()
    assert text.count(f"Note: {note}") == shown
    assert text.count("an older point; ready") == 2 * shown


def test_an_attempt_that_went_on_is_in_the_timeline() -> None:
    assert "Started again, attempt 2" in read(a_report(attempt=2)).text()
    assert "Started again" not in read(a_report()).text()


def test_machines_that_did_not_come_back_come_first() -> None:
    text = read(a_report(many(3), READY, FAILED, READY, state="partial")).text("a")
    assert text.split() == ["default/web0001", "default/web0000", "default/web0002"]


@pytest.mark.parametrize("count", [IN_FULL, IN_FULL + 1, LISTED])
def test_of_many_machines_the_first_are_shown_in_full_and_all_in_a_list(count: int) -> None:
    html = page(a_report(many(count), READY), ADDRESS)
    found = Page(html)
    assert len(found.all("article")) == IN_FULL
    assert f"default/web{count - 1:04}" in found.text()
    assert ("follow in full below the list; the others" in found.text()) == (count > IN_FULL)
    assert len(html) < LARGEST


def test_a_page_does_not_grow_with_what_is_said() -> None:
    plan = many(LISTED + 1)
    report = a_report(plan, FAILED, state="failed")
    one = report["machines"][0]
    wrong = {"code": "Refused", "message": "<" * 5000}
    objects = [one["objects"][0] | {"reason": "<" * 5000}] * 1000
    for machine in report["machines"]:
        machine.update(error=wrong, objects=objects)
    html = page(report, ADDRESS)
    found = Page(html)
    assert len(html) < 20_000_000
    assert 1 < len(found.all("article")) < IN_FULL
    assert f"The first {LISTED:,} are listed." in found.text()
    assert f"and {1000 - ROWS:,} more, in the JSON" in found.text()
    assert "<" * LONGEST not in found.text()


def test_an_old_plan_without_details_has_a_page_as_well() -> None:
    plan = planned(a_metadata())
    bare = tuple(each.model_copy(update={"details": None}) for each in plan.machines)
    text = read(a_report(plan.model_copy(update={"machines": bare}))).text()
    assert "1 of 1 machine came back." in text


def test_it_says_what_no_backup_holds_and_what_a_guest_keeps() -> None:
    texts = [text for _, text in Page(page(a_report(), ADDRESS)).texts]
    headings = [text for tag, text in Page(page(a_report(), ADDRESS)).texts if tag == "h2"]
    first = headings.index("What no backup holds")
    assert headings[first + 1] == "What a guest keeps"
    assert any("cloud-init does not run again" in text for text in texts)
