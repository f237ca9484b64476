"""Schedules of EventBridge -> when they were due last."""

from datetime import UTC, datetime

import pytest

from shared.schedules import check, last_due

NOW = datetime(2026, 11, 30, 12, 34, tzinfo=UTC)  # a Monday

DUE = {
    "cron(0 3 1 1,4,7,10 ? *)": "2026-10-01 03:00",
    "cron(0 3 ? * 2-6 *)": "2026-11-30 03:00",  # 2 is Monday
    "cron(0 3 ? * 1 *)": "2026-11-29 03:00",
    "cron(15 10 ? * 6L *)": "2026-11-27 10:15",  # the last Friday
    "cron(0 0 L * ? *)": "2026-11-30 00:00",
    "cron(0 3 ? * MON#1 *)": "2026-11-02 03:00",
    "cron(0 3 ? * 2#1 *)": "2026-11-02 03:00",
    "cron(34 12 * * ? *)": "2026-11-30 12:34",  # now
    "cron(0/5 8-17 ? * MON-FRI *)": "2026-11-30 12:30",
    "cron(0 3 1 3 ? 2024-2025)": "2025-03-01 03:00",
    "rate(7 days)": "2026-11-23 12:34",
    "rate(1 hour)": "2026-11-30 11:34",
}


@pytest.mark.parametrize("schedule", DUE)
def test_when_it_was_due_last(schedule: str) -> None:
    due = last_due(schedule, NOW)
    assert due
    assert f"{due:%Y-%m-%d %H:%M}" == DUE[schedule]


def test_one_that_begins_in_the_future_was_never_due() -> None:
    assert last_due("cron(0 3 1 1 ? 2030)", NOW) is None


BAD = {
    "weekly": "must be a schedule such as",
    "cron(0 3 1 * ?)": "must be a schedule such as",
    "cron(0 3 32 * ? *)": "Bad day-of-month",
    "cron(0 25 * * ? *)": "Bad hour",
    "cron(0 3 1 1 ? soon)": "must have years such as 2026",
    "rate(0 days)": "must have a rate of at least one minute",
    "rate(1 fortnight)": "must be a schedule such as",
}


@pytest.mark.parametrize("schedule", BAD)
def test_what_is_no_schedule_is_told_with_one_that_is(schedule: str) -> None:
    with pytest.raises(ValueError, match=BAD[schedule]):
        check(schedule)
