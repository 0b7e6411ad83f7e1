"""When windows of rotation open and close: tables, and what is refused."""

import datetime as dt

import pytest

from penstock.secrets.errors import InvalidParameterException
from penstock.secrets.schedule import schedule_of


def at(text):
    return int(dt.datetime.fromisoformat(f"{text}+00:00").timestamp() * 1000)


NOW = "2026-11-30T13:30"  # a Monday


@pytest.mark.parametrize(
    ("rules", "since", "opens", "closes"),
    [
        ({"AutomaticallyAfterDays": 1}, NOW, "2026-12-01T00:00", "2026-12-02T00:00"),
        ({"AutomaticallyAfterDays": 30}, NOW, "2026-12-30T00:00", "2026-12-31T00:00"),
        ({"AutomaticallyAfterDays": 30, "Duration": "3h"}, NOW, "2026-12-30T00:00", "2026-12-30T03:00"),
        # What was missed is made up for on the next day, or in the next hour.
        ({"AutomaticallyAfterDays": 30}, "2026-10-01T00:00", "2026-12-01T00:00", "2026-12-02T00:00"),
        ({"AutomaticallyAfterDays": 30}, "2026-10-31T13:00", "2026-12-01T00:00", "2026-12-02T00:00"),
        ({"ScheduleExpression": "rate(10 days)"}, NOW, "2026-12-10T00:00", "2026-12-11T00:00"),
        ({"ScheduleExpression": "rate(1 day)", "Duration": "24h"}, NOW, "2026-12-01T00:00", "2026-12-02T00:00"),
        ({"ScheduleExpression": "rate(4 hours)"}, NOW, "2026-11-30T17:00", "2026-11-30T18:00"),
        ({"ScheduleExpression": "rate(12 hours)", "Duration": "2h"}, NOW, "2026-12-01T01:00", "2026-12-01T03:00"),
        ({"ScheduleExpression": "rate(4 hours)"}, "2026-11-01T00:00", "2026-11-30T14:00", "2026-11-30T15:00"),
        # The examples of the User Guide.
        ({"ScheduleExpression": "cron(0 /8 * * ? *)"}, NOW, "2026-11-30T16:00", "2026-11-30T17:00"),
        ({"ScheduleExpression": "cron(0 8/8 * * ? *)"}, NOW, "2026-11-30T16:00", "2026-11-30T17:00"),
        ({"ScheduleExpression": "cron(0 2/10 * * ? *)"}, NOW, "2026-11-30T22:00", "2026-11-30T23:00"),
        ({"ScheduleExpression": "cron(0 10 * * ? *)"}, NOW, "2026-12-01T10:00", "2026-12-02T00:00"),
        ({"ScheduleExpression": "cron(0 18 ? * SAT *)"}, NOW, "2026-12-05T18:00", "2026-12-06T00:00"),
        ({"ScheduleExpression": "cron(0 8 1 * ? *)"}, NOW, "2026-12-01T08:00", "2026-12-02T00:00"),
        ({"ScheduleExpression": "cron(0 1 ? 1/3 SUN#1 *)"}, NOW, "2027-01-03T01:00", "2027-01-04T00:00"),
        ({"ScheduleExpression": "cron(0 17 L * ? *)"}, NOW, "2026-11-30T17:00", "2026-12-01T00:00"),
        ({"ScheduleExpression": "cron(0 12 L * ? *)"}, NOW, "2026-12-31T12:00", "2027-01-01T00:00"),
        ({"ScheduleExpression": "cron(0 8 ? * MON-FRI *)"}, NOW, "2026-12-01T08:00", "2026-12-02T00:00"),
        ({"ScheduleExpression": "cron(0 16 1,15 * ? *)", "Duration": "2h"}, NOW, "2026-12-01T16:00", "2026-12-01T18:00"),
        ({"ScheduleExpression": "cron(0 0 ? * SUN#1 *)"}, NOW, "2026-12-06T00:00", "2026-12-07T00:00"),
        ({"ScheduleExpression": "cron(0 0 ? * 6L *)"}, NOW, "2026-12-25T00:00", "2026-12-26T00:00"),
        ({"ScheduleExpression": "cron(0 0 ? * L *)"}, NOW, "2026-12-05T00:00", "2026-12-06T00:00"),
        ({"ScheduleExpression": "cron(0 20 29 FEB ? *)"}, NOW, "2028-02-29T20:00", "2028-03-01T00:00"),
        ({"ScheduleExpression": "cron(0 20 10,L 2 ? *)"}, NOW, "2027-02-10T20:00", "2027-02-11T00:00"),
        ({"ScheduleExpression": "cron(0 8 15W * ? *)"}, NOW, "2026-12-15T08:00", "2026-12-16T00:00"),
        ({"ScheduleExpression": "cron(0 8 30-1 * ? *)"}, NOW, "2026-12-01T08:00", "2026-12-02T00:00"),
        ({"ScheduleExpression": "cron(0 13 30 * ? *)"}, NOW, "2026-12-30T13:00", "2026-12-31T00:00"),  # open already
    ],
)  # fmt: skip
def test_windows(rules, since, opens, closes):
    schedule = schedule_of(rules)
    assert schedule is not None
    window = schedule.window(at(since), at(NOW))
    assert (window.opens, window.closes) == (at(opens), at(closes))


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ({"AutomaticallyAfterDays": 3, "ScheduleExpression": "rate(3 days)"}, "both"),
        ({"Duration": "3h"}, "A Duration belongs to a schedule"),
        ({"AutomaticallyAfterDays": 3, "Duration": "0h"}, "between 1h and 24h"),
        ({"AutomaticallyAfterDays": 3, "Duration": "25h"}, "between 1h and 24h"),
        ({"ScheduleExpression": "rate(3 hours)"}, "every 4 hours at most"),
        ({"ScheduleExpression": "rate(0 days)"}, "between 1 and 999"),
        ({"ScheduleExpression": "rate(1000 days)"}, "between 1 and 999"),
        ({"ScheduleExpression": "rate(99999 hours)"}, "every 4 hours at most"),
        ({"ScheduleExpression": "rate(1 days)"}, "says hour or day"),
        ({"ScheduleExpression": "rate(2 day)"}, "says hour or day"),
        ({"ScheduleExpression": "rate(10 minutes)"}, "must be rate(N hours)"),
        ({"ScheduleExpression": "tomorrow"}, "must be rate(N hours)"),
        ({"ScheduleExpression": "rate(4 hours)", "Duration": "5h"}, "more than 4h"),
        ({"ScheduleExpression": "cron(0 20 * * ? *)", "Duration": "5h"}, "more than 4h"),
        ({"ScheduleExpression": "cron(0 /8 * * ? *)", "Duration": "9h"}, "more than 8h"),
        ({"ScheduleExpression": "cron(0 * * * ? *)"}, "every 4 hours at most"),
        ({"ScheduleExpression": "cron(0 0,22 * * ? *)"}, "every 4 hours at most"),
        ({"ScheduleExpression": "cron(0 8 * * ?)"}, "six fields"),
        ({"ScheduleExpression": "cron(30 8 * * ? *)"}, "minutes must be 0"),
        ({"ScheduleExpression": "cron(0 8 * * ? 2027)"}, "year must be *"),
        ({"ScheduleExpression": "cron(0 8 * * * *)"}, "must be ?"),
        ({"ScheduleExpression": "cron(0 8 ? * ? *)"}, "must be ?"),
        ({"ScheduleExpression": "cron(0 24 * * ? *)"}, "24"),
        ({"ScheduleExpression": "cron(0 8 0 * ? *)"}, "0"),
        ({"ScheduleExpression": "cron(0 8 */0 * ? *)"}, "*/0"),
        ({"ScheduleExpression": "cron(0 8 1, * ? *)"}, "1,"),
        ({"ScheduleExpression": "cron(0 8 , * ? *)"}, ","),
        ({"ScheduleExpression": "cron(0 8 32W * ? *)"}, "32W"),
        ({"ScheduleExpression": "cron(0 8 1 JANUARY ? *)"}, "JANUARY"),
        ({"ScheduleExpression": "cron(0 8 ? * MON#6 *)"}, "MON#6"),
        ({"ScheduleExpression": "cron(0 8 ? * MON-FRI#1 *)"}, "MON-FRI#1"),
        ({"ScheduleExpression": "cron(0 8 30 2 ? *)"}, "no day that there is"),
    ],
)
def test_refused_rules(rules, why):
    with pytest.raises(InvalidParameterException) as refused:
        schedule_of(rules)
    assert why in refused.value.message


@pytest.mark.parametrize(
    ("rules", "taken"),
    [
        *(({"ScheduleExpression": f"rate({number} {unit})"}, taken) for number, unit, taken in (
            (4, "hours", True), (23_976, "hours", True), (23_977, "hours", False), (1, "day", True), (999, "days", True), (1, "hour", False),
        )),
        *(({"AutomaticallyAfterDays": 3, "Duration": f"{hours}h"}, taken) for hours, taken in ((1, True), (24, True), (25, False), (0, False))),
        *(({"ScheduleExpression": "rate(4 hours)", "Duration": f"{hours}h"}, taken) for hours, taken in ((4, True), (5, False))),
        *(({"ScheduleExpression": f"cron(0 {fields} *)"}, taken) for fields, taken in (
            ("0,4 * * ?", True), ("0,3 * * ?", False), ("1,21 * * ?", True), ("1,22 * * ?", False), ("23 31 12 ?", True), ("23 32 * ?", False),
            ("23 1 13 ?", False), ("23 1 0 ?", False), ("0 ? * 1-7", True), ("0 ? * 8", False), ("0 ? * 0", False), ("0 ? * MON#5", True),
            ("0 ? * MON#0", False), ("0 5-5 * ?", True), ("0 5-32 * ?", False), ("0 1/1 * ?", True), ("0 1/0 * ?", False),
        )),
    ],
)  # fmt: skip
def test_rules_at_their_bounds(rules, taken):
    if taken:
        assert schedule_of(rules) is not None
    else:
        with pytest.raises(InvalidParameterException):
            schedule_of(rules)


@pytest.mark.parametrize(
    ("expression", "since", "opens"),
    [
        ("cron(0 0 * * ? *)", "2026-11-29T00:00", "2026-12-01T00:00"),
        ("cron(0 /4 * * ? *)", "2026-11-29T00:00", "2026-11-30T04:00"),
        ("rate(4 hours)", "2026-11-29T20:00", "2026-11-30T01:00"),
        ("rate(4 days)", "2026-11-26T00:00", "2026-12-01T00:00"),
    ],
)
def test_a_window_that_opens_now_is_not_the_next_one(expression, since, opens):
    schedule = schedule_of({"ScheduleExpression": expression})
    assert schedule is not None
    assert schedule.window(at(since), at("2026-11-30T00:00")).opens == at(opens)


def test_no_rules_are_no_schedule():
    assert schedule_of({}) is None
