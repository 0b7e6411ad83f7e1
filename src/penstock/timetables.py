"""When something comes again: the expressions `rate(…)`, `cron(…)` and `at(…)` of EventBridge and its Scheduler. Pure.

A cron() has six fields: minutes, hours, day of the month, month, day of the week (1 is Sunday), year. One of the two days is `?`. Its times
are those of a clock on the wall of a time zone: one that is skipped when clocks are put forward does not come, and one that comes twice
when they are put back comes the first time only. A rate() counts days of 24 hours. (AWS: "Schedule types in EventBridge Scheduler", "Cron
expressions reference" of EventBridge; the operators are Quartz's.)
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

_T = TypeVar("_T")
MINUTE_MS = 60_000
_UNITS = {"minute": MINUTE_MS, "hour": 60 * MINUTE_MS, "day": 1_440 * MINUTE_MS}
_RATE = re.compile(r"rate\(([0-9]{1,8}) (minute|hour|day)(s?)\)", re.ASCII)
_CRON = re.compile(r"cron\(([^()]{1,249})\)")
_AT = re.compile(r"at\(([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})\)", re.ASCII)
_ITEM = re.compile(r"(?:(\*)|([0-9]{1,4}|[A-Z]{3})(?:-([0-9]{1,4}|[A-Z]{3}))?)(?:/([0-9]{1,4}))?", re.ASCII)
_FROM_LAST = re.compile(r"L-([0-9]{1,2})", re.ASCII)
_NEAREST = re.compile(r"([0-9]{1,2}|L)W", re.ASCII)
_LAST_OF = re.compile(r"([1-7]|[A-Z]{3})L", re.ASCII)
_NTH = re.compile(r"([1-7]|[A-Z]{3})#([1-5])", re.ASCII)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_END = int(dt.datetime(_LAST_YEAR + 1, 1, 2, tzinfo=dt.UTC).timestamp()) * 1000  # nowhere is it the last year still
_SATURDAY, _SUNDAY = 5, 6  # of date.weekday()


class ExpressionError(ValueError):
    """The expression is not valid. Its text is the field of a cron() that is not, where it is one."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Again and again after a time."""

    every: int  # ms


@dataclass(frozen=True, slots=True)
class Once:
    """At one time of a zone's clock."""

    at: dt.datetime  # without a zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """The days of a month that a cron() names, in one of its two fields."""

    dates: frozenset[int] = frozenset()
    from_last: frozenset[int] = frozenset()  # days before the last one of the month
    nearest: frozenset[int] = (
        frozenset()
    )  # the weekday (Monday to Friday) of the month that is nearest to a date; 0: to its end
    weekdays: frozenset[int] = frozenset()  # 0: Sunday
    last_weekdays: frozenset[int] = frozenset()  # the last of them in the month
    nth: tuple[int, int] | None = None  # weekday, and which of them in the month

    def of(self, year: int, month: int) -> list[int]:
        """The dates of a month, in order."""
        begins, length = calendar.monthrange(year, month)
        found = {date for date in self.dates if date <= length}
        found |= {length - back for back in self.from_last if back < length}
        found |= {_weekday_near(date or length, begins, length) for date in self.nearest if date <= length}
        if self.weekdays or self.last_weekdays or self.nth:
            for date in range(1, length + 1):
                weekday = (begins + date) % 7  # of Monday as 0 for the first; 0 is Sunday here
                if (
                    weekday in self.weekdays
                    or (weekday in self.last_weekdays and date + 7 > length)
                    or (weekday, (date + 6) // 7) == self.nth
                ):
                    found.add(date)
        return sorted(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """Minutes of days of years."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: Days
    months: tuple[int, ...]
    years: tuple[int, ...]


Timetable = Rate | Once | Cron


@lru_cache(1024)
def parsed(text: str, *, once: bool = False, plural: bool = False) -> Timetable:
    """An expression. Raises ExpressionError.

    `once` lets at() be one; `plural` lets a rate() of one say minutes too, and a rate() of several minute, as Scheduler does.
    """
    if rate := _RATE.fullmatch(text):
        number = int(rate[1])
        if not number or (not plural and (number == 1) is bool(rate[3])):
            raise ExpressionError
        return Rate(number * _UNITS[rate[2]])
    if once and (at := _AT.fullmatch(text)):
        try:
            return Once(dt.datetime.fromisoformat(at[1]))
        except ValueError:
            raise ExpressionError from None
    if text.isascii() and (cron := _CRON.fullmatch(text)):
        return _cron(cron[1].upper().split())
    raise ExpressionError


def following(timetable: Timetable, after: int, *, since: int = 0, zone: dt.tzinfo = dt.UTC) -> int | None:
    """The first time later than `after`, in ms UTC; None when there is none any more. A rate counts from `since`, which is not one of its times."""
    match timetable:
        case Rate(every=every):
            return since + max(1, (after - since) // every + 1) * every
        case Once(at=at):
            moment = _moment(at, zone)
            return moment if moment is not None and moment > after else None
        case Cron():
            return next((moment for moment in _moments(timetable, after, zone) if moment > after), None)


def _moments(cron: Cron, after: int, zone: dt.tzinfo) -> Iterator[int]:
    """The times of a cron() in order, from some that are earlier than `after` on."""
    if after >= _END:
        return
    start = dt.datetime.fromtimestamp(max(after, 0) // 1000, zone).replace(tzinfo=None, second=0, fold=0)
    for day in _days(cron, start.date()):
        first = (start.hour, start.minute) if day == start.date() else (0, 0)
        for hour in cron.hours:
            for minute in cron.minutes if hour >= first[0] else ():
                if (hour, minute) >= first:
                    moment = _moment(dt.datetime.combine(day, dt.time(hour, minute)), zone)
                    if moment is not None:
                        yield moment


def _days(cron: Cron, first: dt.date) -> Iterator[dt.date]:
    """The days of a cron() from one on."""
    for year in cron.years:
        for month in cron.months if year >= first.year else ():
            if (year, month) >= (first.year, first.month):
                for date in cron.days.of(year, month):
                    day = dt.date(year, month, date)
                    if day >= first:
                        yield day


def _moment(local: dt.datetime, zone: dt.tzinfo) -> int | None:
    """When a clock shows a time for the first time; None when it never does."""
    try:
        utc = local.replace(tzinfo=zone).astimezone(dt.UTC)
        if utc.astimezone(zone).replace(tzinfo=None, fold=0) != local:
            return None
    except OverflowError:  # on the first or last day that has a date
        return None
    return int(utc.timestamp()) * 1000


def _weekday_near(date: int, begins: int, length: int) -> int:
    weekday = (begins + date - 1) % 7
    if weekday == _SATURDAY:
        return date - 1 if date > 1 else date + 2
    if weekday == _SUNDAY:
        return date + 1 if date < length else date - 2
    return date


# --- cron() -----------------------------------------------------------------------------------------------------------


def _cron(fields: list[str]) -> Cron:
    if len(fields) != 6:
        raise ExpressionError
    minutes, hours, dates, months, weekdays, years = fields
    if (dates == "?") is (weekdays == "?"):
        raise ExpressionError
    days = _read(_dates, dates) if weekdays == "?" else _read(_weekdays, weekdays)
    return Cron(
        minutes=_read(lambda text: _sorted(text, 0, 59), minutes),
        hours=_read(lambda text: _sorted(text, 0, 23), hours),
        days=days,
        months=tuple(month for month in _read(_months_of, months) if _occurs(days, month)),
        years=_read(lambda text: _sorted(text, _FIRST_YEAR, _LAST_YEAR), years),
    )


def _read(read: Callable[[str], _T], text: str) -> _T:
    """What a field says. Raises ExpressionError with the field."""
    try:
        return read(text)
    except ExpressionError:
        raise ExpressionError(text) from None


def _sorted(text: str, least: int, most: int) -> tuple[int, ...]:
    return tuple(sorted(_values(text, least, most)))


def _occurs(days: Days, month: int) -> bool:
    """Whether a month ever has one of the days: what never comes, as the 30th of February, is not searched for."""
    longest = calendar.monthrange(2000, month)[1]
    return (
        bool(days.weekdays or days.last_weekdays or days.nth)
        or any(date <= longest for date in days.dates | days.nearest)
        or any(back < longest for back in days.from_last)
    )


def _months_of(text: str) -> list[int]:
    return sorted(_values(text, 1, 12, _MONTHS))


def _dates(text: str) -> Days:
    dates: set[int] = set()
    from_last: set[int] = set()
    nearest: set[int] = set()
    for part in text.split(","):
        if part == "L":
            from_last.add(0)
        elif back := _FROM_LAST.fullmatch(part):
            from_last.add(_within(int(back[1]), 1, 30))
        elif near := _NEAREST.fullmatch(part):
            nearest.add(0 if near[1] == "L" else _within(int(near[1]), 1, 31))
        else:
            dates |= _values(part, 1, 31)
    return Days(dates=frozenset(dates), from_last=frozenset(from_last), nearest=frozenset(nearest))


def _weekdays(text: str) -> Days:
    if nth := _NTH.fullmatch(text):  # which stands alone
        return Days(nth=(_weekday(nth[1]), int(nth[2])))
    weekdays: set[int] = set()
    last: set[int] = set()
    for part in text.split(","):
        if part == "L":
            weekdays.add(6)
        elif of := _LAST_OF.fullmatch(part):
            last.add(_weekday(of[1]))
        else:
            weekdays |= {value - 1 for value in _values(part, 1, 7, _WEEKDAYS)}
    return Days(weekdays=frozenset(weekdays), last_weekdays=frozenset(last))


def _weekday(text: str) -> int:
    return _number(text, 1, 7, _WEEKDAYS) - 1


def _values(text: str, least: int, most: int, names: tuple[str, ...] = ()) -> set[int]:
    """What a field with `,`, `-`, `*` and `/` names. A range whose end is smaller than its beginning goes round, but for years."""
    found: set[int] = set()
    for part in text.split(","):
        item = _ITEM.fullmatch(part)
        if item is None:
            raise ExpressionError
        every, first, last, step = item.groups()
        begin = least if every else _number(first, least, most, names)
        end = _number(last, least, most, names) if last else most if every or step else begin
        by = _within(int(step), 1, most) if step else 1
        if end < begin:
            if most == _LAST_YEAR:
                raise ExpressionError
            end += most - least + 1
        found |= {(value - least) % (most - least + 1) + least for value in range(begin, end + 1, by)}
    return found


def _number(text: str, least: int, most: int, names: tuple[str, ...]) -> int:
    if text in names:
        return names.index(text) + least
    if not text.isdecimal():
        raise ExpressionError
    return _within(int(text), least, most)


def _within(value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise ExpressionError
    return value
