"""When something comes again: expressions, and the next time against a clock that is looked at every minute."""

import calendar
import datetime as dt
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples

from penstock.timetables import Cron, ExpressionError, Once, Rate, following, parsed
from penstock.zones import zone_of

MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
WEEKDAYS = "SUN MON TUE WED THU FRI SAT".split()
HOUR = 3_600_000
# Clocks are put forward and back in them, by an hour or half of one, at midnight too; one has skipped a day.
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Asia/Kathmandu",
    "Pacific/Apia",
)


def ms(text, zone="UTC"):
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=zone_of(zone)).timestamp()) * 1000


def refused(text, **how):
    with pytest.raises(ExpressionError):
        parsed(text, **how)


def test_what_is_an_expression():
    """The first ones of each list are recorded from AWS."""
    for text in (
        "cron(0 2 ? * SAT *)", "cron(5,35 14 * * ? *)", "cron(15 10 ? * 6L 2002-2005)", "cron(0 2 ? * SAT#3 *)",
        "cron(* * ? * SAT#3 *)", "cron(0/5 5 ? JAN 1-5 2022)", "cron(0/30 0-2 ? * MON-FRI *)",
        "cron(0-15/1 8-8 ? * 2,3,4,5,6,7 *)", "cron(30-30 13-13 ? * 2,4,6 *)", "cron(1-31/30 1-1 ? * 1,7 *)",
        "cron(0 20-2 LW * ? *)", "cron(0 0 L-3,15W,1 nov-feb ? */2)", "cron(0 0 ? * L,friL 2199)",
    ):  # fmt: skip
        assert isinstance(parsed(text), Cron), text
    assert parsed("rate(1 minute)") == Rate(60_000)
    assert parsed("rate(10 days)") == Rate(240 * HOUR)
    assert parsed("rate(1 hours)", plural=True) == parsed("rate(1 hour)", plural=True) == Rate(HOUR)
    assert parsed("at(2026-12-31T02:00:00)", once=True) == Once(dt.datetime(2026, 12, 31, 2))
    for text in (
        "rate(10 seconds)", "rate(10 years)", "rate(1 minutes)", "rate(1 hours)", "rate(1 days)", "rate(10 minute)",
        "rate(10 hour)", "rate(10 day)", "rate()", "rate(10)", "rate(10 minutess)", "rate(foo minutes)", "rate(0 minutes)",
        "rate(-10 minutes)", "rate(10 MINUTES)", "rate( 10 minutes )", " rate(10 minutes)", "cron(0 1 * * * *)",
        "cron(7 20 * * NOT *)", "cron(INVALID)", "cron(0 dummy ? * MON-FRI *)", "cron(71 8 1 * ? *)", "cron()",
        "at(2021-12-31T23:59:59)", "", "cron(0 0 ? * ? *)", "cron(0 0 * * ?)", "cron(0 0 * * ? * *)", "cron(0 0 32 * ? *)",
        "cron(0 0 0 * ? *)", "cron(0 0 ? * 8 *)", "cron(0 0 ? * SAT#6 *)", "cron(0 0 ? * 3#1,6#3 *)", "cron(0 0 ? * SAT#2L *)",
        "cron(0/0 0 * * ? *)", "cron(0/60 0 * * ? *)", "cron(, 0 * * ? *)", "cron(1- 0 * * ? *)", "cron(0 24 * * ? *)",
        "cron(0 0 * 13 ? *)", "cron(0 0 * * ? 1969)", "cron(0 0 * * ? 2200)", "cron(0 0 * * ? 2030-2026)", "cron(0 0 L-31 * ? *)",
        "cron(0 0 32W * ? *)", "cron(0 0 1-5W * ? *)", "cron(0 0 ? * ? *) ", "cron(0 0 ? * \u0660 *)", "CRON(0 0 * * ? *)", "rate(\u0661 days)",
    ):  # fmt: skip
        refused(text)
    for text in ("at(2021-12-31T23:59:59Z)", "at(2021-12-31)", "at(2021-02-29T00:00:00)", "at(2021-12-31T24:00:00)"):
        refused(text, once=True)


# --- against a clock ----------------------------------------------------------------------------------------------------


@st.composite
def fields(draw, least, most, names=()):
    """A field, and the values that it names."""
    texts, values = [], set()
    everything = list(range(least, most + 1))
    spell = draw(st.sampled_from((str, lambda value: names[value - least] if names else str(value))))
    for _ in range(draw(st.integers(1, 3))):
        first, last, step = (draw(st.sampled_from(everything)) for _ in range(3))
        step = max(1, step)
        match draw(st.sampled_from(("value", "every", "range", "step", "from", "range step"))):
            case "value":
                text, named = spell(first), [first]
            case "every":
                text, named = "*", everything
            case "range":
                text, named = f"{spell(first)}-{spell(last)}", around(everything, first, last)
            case "step":
                text, named = f"*/{step}", everything[::step]
            case "from":
                text, named = f"{spell(first)}/{step}", everything[first - least :: step]
            case _:
                text, named = f"{spell(first)}-{spell(last)}/{step}", around(everything, first, last)[::step]
        texts.append(text)
        values |= set(named)
    return ",".join(texts), values


def around(everything, first, last):
    """From one value to another, past the end if need be."""
    start, end = everything.index(first), everything.index(last)
    return everything[start : end + 1] if start <= end else everything[start:] + everything[: end + 1]


def nearest_weekday(date):
    """Of Monday to Friday, within the month."""
    month = [date.replace(day=day) for day in range(1, calendar.monthrange(date.year, date.month)[1] + 1)]
    return min((day for day in month if day.isoweekday() < 6), key=lambda day: abs(day - date))


def in_month(day, date):
    return date <= calendar.monthrange(day.year, day.month)[1]


@st.composite
def days(draw):
    """The two fields of days, and whether a date is one of them."""
    kind = draw(st.sampled_from(("dates", "L", "L-n", "W", "LW", "weekdays", "last", "nth", "LL")))
    n, weekday = draw(st.integers(1, 5)), draw(st.integers(0, 6))
    spelled = draw(st.sampled_from((str(weekday + 1), WEEKDAYS[weekday])))
    date = draw(st.integers(1, 31))

    def last(day):
        return day.replace(day=calendar.monthrange(day.year, day.month)[1])

    match kind:
        case "dates":
            text, named = draw(fields(1, 31))
            return text, "?", lambda day: day.day in named
        case "weekdays":
            text, named = draw(fields(1, 7, WEEKDAYS))
            return "?", text, lambda day: day.isoweekday() % 7 + 1 in named
        case "L":
            return "L", "?", lambda day: day == last(day)
        case "L-n":
            return f"L-{n}", "?", lambda day: day == last(day) - dt.timedelta(days=n)
        case "W":
            return f"{date}W", "?", lambda day: in_month(day, date) and day == nearest_weekday(day.replace(day=date))
        case "LW":
            return "LW", "?", lambda day: day == nearest_weekday(last(day))
        case "last":
            return (
                "?",
                f"{spelled}L",
                lambda day: day.isoweekday() % 7 == weekday and (day + dt.timedelta(days=7)).month != day.month,
            )
        case "nth":
            return "?", f"{spelled}#{n}", lambda day: day.isoweekday() % 7 == weekday and (day.day - 1) // 7 + 1 == n
    return "?", "L", lambda day: day.isoweekday() == 6


@settings(max_examples=examples(300), deadline=None)
@given(
    days(),
    fields(1, 12, MONTHS),
    st.sets(st.integers(2024, 2031)),
    st.dates(dt.date(2023, 6, 1), dt.date(2030, 6, 1)),
)
def test_days_against_a_calendar(named, months, years, start):
    date, weekday, is_one = named
    cron = parsed(f"cron(0 0 {date} {months[0]} {weekday} {','.join(map(str, years)) or '*'})")
    wanted = years or range(1970, 2200)
    after = ms(f"{start.isoformat()}T00:00:00")
    for number in range(1, 900):
        day = start + dt.timedelta(days=number)
        if is_one(day) and day.month in months[1] and day.year in wanted:
            assert following(cron, after) == ms(f"{day.isoformat()}T00:00:00")
            break
    else:
        found = following(cron, after)
        assert found is None or found > ms(f"{day.isoformat()}T00:00:00")


# About the days on which clocks are put forward or back.
MOMENTS = st.one_of(
    st.sampled_from([ms(text) for text in (
        "2026-03-28T20:00:00", "2026-10-24T20:00:00", "2026-03-07T20:00:00", "2026-10-31T20:00:00", "2026-04-04T10:00:00",
        "2026-10-03T10:00:00", "2011-12-29T20:00:00", "2026-03-08T00:00:00", "2026-11-01T00:00:00",
    )]),
    st.integers(ms("2026-01-01T00:00:00"), ms("2027-01-01T00:00:00")),
)  # fmt: skip


@settings(max_examples=examples(120), deadline=None)
@given(fields(0, 59), fields(0, 23), st.sampled_from(ZONES), MOMENTS, st.integers(0, 12 * HOUR))
def test_times_against_a_clock(minutes, hours, zone, moment, more):
    cron, zone, after = parsed(f"cron({minutes[0]} {hours[0]} * * ? *)"), zone_of(zone), moment + more
    first = after // 60_000 * 60_000
    for minute in range(first + 60_000, first + 12 * HOUR, 60_000):
        shown = dt.datetime.fromtimestamp(minute / 1000, zone)
        if shown.minute in minutes[1] and shown.hour in hours[1] and not shown.fold:
            assert following(cron, after, zone=zone) == minute
            break
    else:
        found = following(cron, after, zone=zone)
        assert found is not None
        assert found > minute


def test_daylight_saving():
    """AWS: a time that is skipped does not come, one that comes twice comes once."""
    berlin = zone_of("Europe/Berlin")
    nightly = parsed("cron(30 2 * * ? *)")
    before = ms("2026-03-28T02:30:00", "Europe/Berlin")
    assert following(nightly, before, zone=berlin) == ms("2026-03-30T02:30:00", "Europe/Berlin")
    before = ms("2026-10-24T02:30:00", "Europe/Berlin")
    first = following(nightly, before, zone=berlin)
    assert first == ms("2026-10-25T00:30:00")
    assert following(nightly, first, zone=berlin) == ms("2026-10-26T01:30:00")
    once = parsed("at(2026-03-29T02:30:00)", once=True)
    assert following(once, 0, zone=berlin) is None
    assert following(once, 0) == ms("2026-03-29T02:30:00")
    assert following(once, ms("2026-03-29T02:30:00")) is None
    for edge in ("at(0001-01-01T00:00:00)", "at(9999-12-31T23:59:59)"):
        for zone in ("Asia/Tokyo", "America/New_York"):
            following(parsed(edge, once=True), 0, zone=zone_of(zone))


@given(st.integers(0, 10**13), st.integers(-(10**11), 10**12), st.integers(1, 10**6))
def test_rates(since, passed, minutes):
    every = minutes * 60_000
    found = following(Rate(every), since + passed, since=since)
    assert found > max(since, since + passed)
    assert (found - since) % every == 0
    assert found == since + every or found - every <= since + passed


def test_what_never_comes_is_known_at_once():
    berlin = zone_of("Europe/Berlin")
    begun = time.thread_time()
    for text in (
        "cron(0 0 30 2 ? *)", "cron(* * 31 2,4,6,9,11 ? *)", "cron(* * 31W 2 ? *)", "cron(* * ? * * 1999)", "cron(0 0 29 2 ? 2027)",
        "cron(* 2 ? 3 SUNL *)",
    ):  # fmt: skip
        assert following(parsed(text), ms("2026-11-30T00:00:00"), zone=berlin) is None, text
    assert time.thread_time() - begun < 1
    assert following(parsed("cron(0 0 * * ? *)"), 10**18) is None
    assert following(parsed("cron(59 23 31 12 ? 2199)"), 0) == ms("2199-12-31T23:59:00")
    assert following(parsed("cron(0 0 29 2 ? *)"), ms("2096-03-01T00:00:00")) == ms("2104-02-29T00:00:00")


def test_zones():
    assert zone_of("Europe/Berlin") is not None
    assert zone_of("UTC") is dt.UTC
    for name in ("Europe", "../../etc/passwd", "/etc/passwd", "", "Mars/Olympus", "Europe/Berlin\0", "x" * 50):
        assert zone_of(name) is None, name
    for name in ("localtime", "posixrules", "Factory", "posix/Europe/Berlin", "right/Europe/Berlin"):
        assert zone_of(name) is None, name
