"""Schedules as EventBridge writes them -> when they were due last.

`rate(7 days)` and `cron(minutes hours day-of-month month day-of-week year)`, in UTC
(https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html).
"""

import re
from datetime import datetime, timedelta

from cronsim import CronSim, CronSimError

_RATE = re.compile(r"rate\((\d{1,5}) (minute|hour|day)s?\)")
_CRON = re.compile(r"cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)")
_YEARS = re.compile(r"\d{4}([-,]\d{4})*")
_DAY = re.compile(r"(?<![#/])\b[1-7](?=\b|L|#)")
_UNITS = {"minute": 60, "hour": 3600, "day": 86400}
MOST_YEARS = 30
"""How far back is looked for a year that fits."""


def check(schedule: str) -> None:
    """Raises ValueError that says what is wrong with it."""
    last_due(schedule, datetime(2026, 1, 1))  # any moment does


def last_due(schedule: str, now: datetime) -> datetime | None:
    """The newest instant at or before NOW at which it was due; None: never so far.

    A rate has no fixed instants: what is due once in that time is due since that long. Raises
    ValueError for what is no schedule.
    """
    if rate := _RATE.fullmatch(schedule):
        seconds = int(rate[1]) * _UNITS[rate[2]]
        if not seconds:
            raise ValueError("must have a rate of at least one minute, such as rate(30 days)")
        return now - timedelta(seconds=seconds)
    cron = _CRON.fullmatch(schedule)
    if not cron:
        raise ValueError("must be a schedule such as cron(0 3 1 1,4,7,10 ? *) or rate(30 days)")
    *fields, year = cron.groups()
    return _last_due(fields, year, now)


def _last_due(fields: list[str], year: str, now: datetime) -> datetime | None:
    if year not in ("*", "?") and not _YEARS.fullmatch(year):
        raise ValueError(f"must have years such as 2026 or 2026-2028 or *, not {year}")
    minute, hour, day, month, weekday = fields
    # Days of the week count from 1, Sunday, there, and from 0 elsewhere.
    weekday = _DAY.sub(lambda found: str(int(found[0]) - 1), weekday)
    said = " ".join((minute, hour, day.replace("?", "*"), month, weekday.replace("?", "*")))
    try:
        # One minute on: an instant that is now counts.
        found = CronSim(said, now + timedelta(minutes=1), reverse=True)
    except CronSimError as error:
        said = f"must have minutes, hours, days, months and weekdays: {error}"
        raise ValueError(said) from None
    for due in found:
        if _fits(due.year, year):
            return due
        if now.year - due.year > MOST_YEARS:
            break
    return None


def _fits(number: int, years: str) -> bool:
    if years in ("*", "?"):
        return True
    for part in years.split(","):
        first, _, last = part.partition("-")
        if int(first) <= number <= int(last or first):
            return True
    return False
