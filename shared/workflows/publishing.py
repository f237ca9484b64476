"""A report -> its files in the state bucket: JSON for programs, a page and a table for people."""

import json
from collections.abc import Callable
from typing import Any

from shared.pages import failover_rollback, migration, pruning, rollback
from shared.pages.page import page
from shared.pages.text_table import text_table
from shared.runs.files import StateBucket

_Page = Callable[[dict[str, Any], str], str]
_Text = Callable[[dict[str, Any]], str]


def publish(state: StateBucket, name: str, report: dict[str, Any]) -> str:
    """Returns the address of the JSON."""
    return _save(state, name, report, page, text_table)


def publish_rollback(state: StateBucket, name: str, report: dict[str, Any]) -> str:
    """As `publish`, of a rollback."""
    return _save(state, name, report, rollback.page, rollback.text)


def publish_migration(state: StateBucket, name: str, report: dict[str, Any]) -> str:
    """As `publish`, of a migration."""
    return _save(state, name, report, migration.page, migration.text)


def publish_pruning(state: StateBucket, name: str, report: dict[str, Any]) -> str:
    """As `publish`, of a pruning."""
    return _save(state, name, report, pruning.page, pruning.text)


def publish_failover_rollback(state: StateBucket, name: str, report: dict[str, Any]) -> str:
    """As `publish`, of the rollback of a failover."""
    return _save(state, name, report, failover_rollback.page, failover_rollback.text)


def _save(
    state: StateBucket, name: str, report: dict[str, Any], in_html: _Page, in_text: _Text
) -> str:
    address = state.report_address(name)
    state.save_report(name, json.dumps(report | {"report": address}, indent=2))
    state.save_report(name, in_html(report, address), "html")
    state.save_report(name, in_text(report), "txt")
    return address
