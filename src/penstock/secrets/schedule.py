"""When secrets are rotated by themselves: windows in UTC. Pure. (AWS: Secrets Manager User Guide, "Schedule expressions".)"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from penstock.secrets.errors import InvalidParameterException
from penstock.timetables import Cron, ExpressionError, following, parsed

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
MIN_HOURS = 4  # between rotations
_DAY_HOURS = 24
_MAX_DAYS = 999  # of rate()
_RATE = re.compile(r"rate\(\s*([0-9]{1,5})\s+(hours?|days?)\s*\)")
_STEP = re.compile(r"(?<![^,])/")
_CRON = re.compile(r"cron\(\s*([^()]+?)\s*\)")


@dataclass(frozen=True, slots=True)
class Window:
    """When a rotation may begin, in ms."""

    opens: int
    closes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One of `days` and `hours` between rotations, or `cron`."""

    days: int = 0
    hours: int = 0
    cron: Cron | None = None
    duration: int = 0  # hours that a window is open; 0: until the day ends, or for an hour

    def window(self, since: int, now: int) -> Window:
        """The next window that opens after `now`; `since` is when the secret was rotated, or began to be. All in ms.

        A window that was missed is made up for on the next day, or in the next hour.
        """
        if self.cron is not None:
            opens = following(self.cron, now)
            if opens is None:
                raise InvalidParameterException("The ScheduleExpression names no day that there is.")
            return Window(opens, opens + self._open_for(opens))
        if self.hours:
            opens = _floor(since + self.hours * HOUR_MS, HOUR_MS)
            opens = opens if opens > now else _floor(now, HOUR_MS) + HOUR_MS
        else:
            opens = _floor(since + self.days * DAY_MS, DAY_MS)
            opens = opens if opens > now else _floor(now, DAY_MS) + DAY_MS
        return Window(opens, opens + self._open_for(opens))

    def _open_for(self, opens: int) -> int:
        if self.duration:
            return self.duration * HOUR_MS
        if self.hours or (self.cron is not None and len(self.cron.hours) > 1):
            return HOUR_MS
        return DAY_MS - opens % DAY_MS


def _floor(at: int, unit: int) -> int:
    return at - at % unit


@lru_cache(256)
def _parsed(expression: str, days: int, duration: str) -> Schedule:
    hours = _hours_of(duration)
    if days:
        found = Schedule(days=days, duration=hours)
    elif rate := _RATE.fullmatch(expression):
        found = _rate(int(rate[1]), rate[2], hours)
    elif cron := _CRON.fullmatch(expression):
        found = Schedule(cron=_cron(cron[1]), duration=hours)
        found.window(0, 0)  # there is one
    else:
        raise InvalidParameterException(
            "The ScheduleExpression must be rate(N hours), rate(N days) or cron(0 HOURS DAY-OF-MONTH MONTH DAY-OF-WEEK *)."
        )
    _check_duration(found)
    return found


def schedule_of(rules: Mapping[str, Any]) -> Schedule | None:
    """The schedule of RotationRules; None for rules that have none. Raises InvalidParameterException."""
    days, expression = rules.get("AutomaticallyAfterDays"), rules.get("ScheduleExpression")
    if days is not None and expression is not None:
        raise InvalidParameterException(
            "You can't specify both AutomaticallyAfterDays and ScheduleExpression in RotationRules."
        )
    if days is None and expression is None:
        if "Duration" in rules:
            raise InvalidParameterException(
                "A Duration belongs to a schedule: add AutomaticallyAfterDays or ScheduleExpression to RotationRules."
            )
        return None
    return _parsed(expression or "", days or 0, rules.get("Duration", ""))


def _hours_of(duration: str) -> int:
    if not duration:
        return 0
    hours = int(duration.removesuffix("h"))
    if not 1 <= hours <= _DAY_HOURS:
        raise InvalidParameterException("The Duration must be between 1h and 24h.")
    return hours


def _rate(number: int, unit: str, duration: int) -> Schedule:
    if (number == 1) is unit.endswith("s"):
        raise InvalidParameterException("A rate() of one says hour or day, and every other one hours or days.")
    if unit.startswith("hour"):
        if not MIN_HOURS <= number <= _MAX_DAYS * _DAY_HOURS:
            raise InvalidParameterException(f"A secret can be rotated every {MIN_HOURS} hours at most.")
        return Schedule(hours=number, duration=duration)
    if not 1 <= number <= _MAX_DAYS:
        raise InvalidParameterException(f"The days of a rate() must be between 1 and {_MAX_DAYS}.")
    return Schedule(days=number, duration=duration)


def _cron(text: str) -> Cron:
    """A cron() of timetables: its minutes are 0, its year is any, and its hours are not closer than rotations may be."""
    fields = text.split()
    if len(fields) != 6:
        raise InvalidParameterException(
            "A cron() expression has six fields: minutes, hours, day of the month, month, day of the week, year."
        )
    minutes, _, days, _, weekdays, year = fields
    if minutes != "0" or year != "*":
        raise InvalidParameterException("In a cron() expression the minutes must be 0, and the year must be *.")
    if (days == "?") is (weekdays == "?"):
        raise InvalidParameterException(
            "In a cron() expression one of the day of the month and the day of the week must be ?, and the other must not be."
        )
    try:
        # Secrets Manager lets a step begin a field, as in /8, which the other schedules do not.
        found = parsed(f"cron({' '.join(_STEP.sub('*/', field) for field in fields)})")
    except ExpressionError as refused:
        raise InvalidParameterException(f"The field {refused} of the cron() expression is not valid.") from None
    assert isinstance(found, Cron)
    at = found.hours
    gaps = [(after - before) % _DAY_HOURS or _DAY_HOURS for before, after in zip(at, [*at[1:], at[0]], strict=True)]
    if min(gaps) < MIN_HOURS:
        raise InvalidParameterException(f"A secret can be rotated every {MIN_HOURS} hours at most.")
    return found


def _check_duration(schedule: Schedule) -> None:
    """A window must not reach into the next one, or the next day."""
    if schedule.hours:
        room = min(schedule.hours, _DAY_HOURS)
    elif schedule.cron is not None:
        hours = schedule.cron.hours
        ends = (*hours[1:], _DAY_HOURS)
        room = min(end - begin for begin, end in zip(hours, ends, strict=True))
    else:
        room = _DAY_HOURS
    if schedule.duration > room:
        raise InvalidParameterException(
            f"The Duration is too long: a window of this schedule must not be open for more than {room}h, so that it does not extend into "
            "the next rotation window or the next UTC day."
        )
