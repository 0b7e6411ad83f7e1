"""When secrets are rotated by themselves: windows in UTC. Pure. (AWS: Secrets Manager User Guide, "Schedule expressions".)"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from penstock.secrets.errors import InvalidParameterException

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
MIN_HOURS = 4  # between rotations
_DAY_HOURS = 24
_MAX_DAYS = 999  # of rate()
_FORESEEN_DAYS = 9 * 366  # 29 February comes within eight years and a day
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_RATE = re.compile(r"rate\(\s*([0-9]{1,5})\s+(hours?|days?)\s*\)")
_CRON = re.compile(r"cron\(\s*([^()]+?)\s*\)")
_ITEM = re.compile(r"(?:(\*)|([0-9A-Z]{1,3})(?:-([0-9A-Z]{1,3}))?)?(?:/([0-9]{1,2}))?")


@dataclass(frozen=True, slots=True)
class Window:
    """When a rotation may begin, in ms."""

    opens: int
    closes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """Days and hours of a cron() expression."""

    hours: tuple[int, ...]
    months: frozenset[int]
    days: frozenset[int]  # of the month; empty: any
    last_day: bool = False  # of the month
    weekdays: frozenset[int] = frozenset()  # 0: Sunday; empty: any
    which: int = 0  # of the weekdays in a month; -1: the last one; 0: all

    def has(self, day: dt.date) -> bool:
        """Whether windows open on a day."""
        if day.month not in self.months:
            return False
        in_a_week = dt.timedelta(days=7)
        if self.weekdays and day.isoweekday() % 7 not in self.weekdays:
            return False
        if self.which == -1:
            return (day + in_a_week).month != day.month
        if self.which:
            return (day.day - 1) // 7 + 1 == self.which
        if self.last_day and (day + dt.timedelta(days=1)).month != day.month:
            return True
        return not (self.days or self.last_day) or day.day in self.days


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
            return self._cron(self.cron, now)
        if self.hours:
            opens = _floor(since + self.hours * HOUR_MS, HOUR_MS)
            opens = opens if opens > now else _floor(now, HOUR_MS) + HOUR_MS
        else:
            opens = _floor(since + self.days * DAY_MS, DAY_MS)
            opens = opens if opens > now else _floor(now, DAY_MS) + DAY_MS
        return Window(opens, opens + self._open_for(opens))

    def _cron(self, cron: Cron, now: int) -> Window:
        today = dt.datetime.fromtimestamp(now / 1000, tz=dt.UTC).date()
        for number in range(_FORESEEN_DAYS):
            day = today + dt.timedelta(days=number)
            if not cron.has(day):
                continue
            midnight = int(dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC).timestamp()) * 1000
            for hour in cron.hours:
                opens = midnight + hour * HOUR_MS
                if opens > now:
                    return Window(opens, opens + self._open_for(opens))
        raise InvalidParameterException("The ScheduleExpression names no day that there is.")

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
        found = Schedule(cron=_cron_of(cron[1]), duration=hours)
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


# --- cron() -----------------------------------------------------------------------------------------------------------


def _cron_of(text: str) -> Cron:
    fields = text.upper().split()
    if len(fields) != 6:
        raise InvalidParameterException(
            "A cron() expression has six fields: minutes, hours, day of the month, month, day of the week, year."
        )
    minutes, hours, days, months, weekdays, year = fields
    if minutes != "0" or year != "*":
        raise InvalidParameterException("In a cron() expression the minutes must be 0, and the year must be *.")
    if (days == "?") is (weekdays == "?"):
        raise InvalidParameterException(
            "In a cron() expression one of the day of the month and the day of the week must be ?, and the other must not be."
        )
    at = sorted(_values(hours, 0, 23))
    gaps = [(after - before) % _DAY_HOURS or _DAY_HOURS for before, after in zip(at, [*at[1:], at[0]], strict=True)]
    if min(gaps) < MIN_HOURS:
        raise InvalidParameterException(f"A secret can be rotated every {MIN_HOURS} hours at most.")
    found: dict[str, Any] = {"hours": tuple(at), "months": _values(months, 1, 12, _MONTHS), "days": frozenset()}
    return Cron(**found | (_days(days) if weekdays == "?" else _weekdays(weekdays)))


def _days(text: str) -> dict[str, Any]:
    parts = text.split(",")
    rest = ",".join(part for part in parts if part != "L")
    return {"days": _values(rest, 1, 31) if rest else frozenset(), "last_day": "L" in parts}


def _weekdays(text: str) -> dict[str, Any]:
    day, hash_sign, number = text.partition("#")
    which = 0
    if hash_sign:
        if number not in {"1", "2", "3", "4", "5"}:
            raise _not_a_field(text)
        which = int(number)
    elif len(text) > 1 and text.endswith("L"):
        day, which = text[:-1], -1
    elif text == "L":
        day = "SAT"
    found = _values(day, 1, 7, _WEEKDAYS)
    if which and len(found) != 1:
        raise _not_a_field(text)
    return {"weekdays": frozenset(value - 1 for value in found), "which": which}


def _values(text: str, least: int, most: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        item = _ITEM.fullmatch(part)
        if item is None or not part:
            raise _not_a_field(text)
        every, first, last, step = item.groups()
        begin = _number(first, least, most, names, text) if first else least
        end = _number(last, least, most, names, text) if last else most if every or step else begin
        if end < begin or step == "0":
            raise _not_a_field(text)
        found |= set(range(begin, end + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, least: int, most: int, names: tuple[str, ...], field: str) -> int:
    if text in names:
        return names.index(text) + least
    if not text.isdecimal() or not least <= int(text) <= most:
        raise _not_a_field(field)
    return int(text)


def _not_a_field(text: str) -> InvalidParameterException:
    return InvalidParameterException(f"The field {text} of the cron() expression is not valid.")
