"""A report -> its files in the state bucket: JSON for programs, a page and a table for people."""

import json
from typing import Any

from shared.pages import failover_rollback, migration, rollback
from shared.pages.page import page
from shared.pages.text_table import text_table
from shared.runs.files import StateBucket


def publish(state: StateBucket, name: str, report: dict[str, Any]) -> str:
    """Returns the address of the JSON."""
    address = state.report_address(name)
    state.save_report(name, json.dumps(report | {"report": address}, indent=2))
    state.save_report(name, page(report, address), "html")
    state.save_report(name, text_table(report), "txt")
    return address


def publish_rollback(state: StateBucket, name: str, report: dict[str, Any]) -> str:
    """As `publish`, of a rollback."""
    address = state.report_address(name)
    state.save_report(name, json.dumps(report | {"report": address}, indent=2))
    state.save_report(name, rollback.page(report, address), "html")
    state.save_report(name, rollback.text(report), "txt")
    return address


def publish_migration(state: StateBucket, name: str, report: dict[str, Any]) -> str:
    """As `publish`, of a migration."""
    address = state.report_address(name)
    state.save_report(name, json.dumps(report | {"report": address}, indent=2))
    state.save_report(name, migration.page(report, address), "html")
    state.save_report(name, migration.text(report), "txt")
    return address


def publish_failover_rollback(state: StateBucket, name: str, report: dict[str, Any]) -> str:
    """As `publish`, of the rollback of a failover."""
    address = state.report_address(name)
    state.save_report(name, json.dumps(report | {"report": address}, indent=2))
    state.save_report(name, failover_rollback.page(report, address), "html")
    state.save_report(name, failover_rollback.text(report), "txt")
    return address
