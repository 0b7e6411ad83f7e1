"""Metrics in process: what is put, read back by periods, listed, grown coarser with age, and refused."""

import asyncio
import datetime as dt
import math

import pytest
from penstock_identity_harness import OTHER, allow, document, refused

from penstock.monitoring import records
from penstock.monitoring.ageing import Ageing
from penstock.store.retention import Sweeper
from penstock.wire.errors import AccessDenied

REGION = "us-east-1"
NS = "Shop/Checkout"
HOUR, DAY = 3_600, 86_400


async def cloudwatch(harness, by, operation, **input):
    return await harness.app.invoke(by, "cloudwatch", operation, input, region=REGION)


async def put(harness, by, *datums, namespace=NS):
    await cloudwatch(harness, by, "PutMetricData", Namespace=namespace, MetricData=list(datums))


def datum(value=None, at=None, name="latency", **more):
    made = {"MetricName": name, **more}
    if value is not None:
        made["Value"] = value
    if at is not None:
        made["Timestamp"] = at * 1000
    return made


async def statistics(harness, by, *names, start, end, period=60, **more):
    extended = [name for name in names if name[0] in "pt"]
    simple = [name for name in names if name not in extended]
    asked = {"Statistics": simple} if simple else {"ExtendedStatistics": extended}
    found = await cloudwatch(
        harness, by, "GetMetricStatistics", Namespace=NS, MetricName="latency", StartTime=start * 1000, EndTime=end * 1000,
        Period=period, **asked, **more,
    )  # fmt: skip
    points = [{**one, "Timestamp": one["Timestamp"] // 1000} for one in found["Datapoints"]]
    return sorted(points, key=lambda one: (one["Timestamp"], one["Unit"]))


@pytest.fixture
async def owner(harness):
    return await harness.administrator()


@pytest.fixture
def now(clock):
    """The beginning of an hour, in seconds; the clock stands there."""
    start = -(-clock.now() // 3_600_000) * 3_600_000
    clock.advance(start - clock.now())
    return start // 1000


async def test_values_are_counted_by_periods(either, now):
    harness, owner = either, await either.administrator()
    await put(harness, owner, datum(2.0, now - 120), datum(4.0, now - 61), datum(9.0, now - 60))
    await put(harness, owner, datum(6.0, now - 100))
    await put(harness, owner, datum(at=now - 60, Values=[1.0, 3.0], Counts=[2.0, 1.0]))
    names = ("SampleCount", "Sum", "Average", "Minimum", "Maximum")
    found = await statistics(harness, owner, *names, start=now - 120, end=now)
    assert found == [
        {"Timestamp": now - 120, "SampleCount": 3, "Sum": 12, "Average": 4, "Minimum": 2, "Maximum": 6, "Unit": "None"},
        {
            "Timestamp": now - 60,
            "SampleCount": 4,
            "Sum": 14,
            "Average": 3.5,
            "Minimum": 1,
            "Maximum": 9,
            "Unit": "None",
        },
    ]
    (found,) = await statistics(harness, owner, "p50", start=now - 120, end=now, period=120)
    assert found == {"Timestamp": now - 120, "ExtendedStatistics": {"p50": 3.0}, "Unit": "None"}
    # The start counts, the end does not; a start within a minute is that minute's.
    assert [one["Sum"] for one in await statistics(harness, owner, "Sum", start=now - 61, end=now - 60)] == [12]


async def test_units_and_dimensions_are_series_of_their_own(harness, owner, now):
    web = {"Dimensions": [{"Name": "Host", "Value": "web-1"}, {"Name": "Az", "Value": "a"}]}
    await put(harness, owner, datum(1.0, now - 60), datum(2.0, now - 60, Unit="Seconds"), datum(5.0, now - 60, **web))
    found = await statistics(harness, owner, "Sum", start=now - 60, end=now)
    assert [(one["Sum"], one["Unit"]) for one in found] == [(1, "None"), (2, "Seconds")]
    assert [one["Sum"] for one in await statistics(harness, owner, "Sum", start=now - 60, end=now, Unit="Seconds")] == [
        2
    ]
    turned = {"Dimensions": list(reversed(web["Dimensions"]))}
    assert [one["Sum"] for one in await statistics(harness, owner, "Sum", start=now - 60, end=now, **turned)] == [5]
    less = {"Dimensions": web["Dimensions"][:1]}
    assert await statistics(harness, owner, "Sum", start=now - 60, end=now, **less) == []


async def test_two_calls_at_once_count_both(either, now):
    harness, owner = either, await either.administrator()
    names = [f"m{number}" for number in range(6)] + ["latency"]
    calls = [
        put(harness, owner, *(datum(1.0, now - 60, name) for name in names[:: step or -1])) for step in (1, -1) * 4
    ]
    await asyncio.gather(*calls)
    found = await statistics(harness, owner, "SampleCount", start=now - 60, end=now)
    assert [one["SampleCount"] for one in found] == [8]


async def test_what_is_a_second_fine_is_read_by_seconds_for_three_hours(harness, owner, clock, now):
    fine = {"StorageResolution": 1}
    await put(harness, owner, datum(1.0, now - 11, **fine), datum(2.0, now - 10, **fine), datum(3.0, now - 1, **fine))
    found = await statistics(harness, owner, "Sum", start=now - 20, end=now, period=10)
    assert [(one["Timestamp"], one["Sum"]) for one in found] == [(now - 20, 1), (now - 10, 5)]
    assert [one["Sum"] for one in await statistics(harness, owner, "Sum", start=now - 60, end=now)] == [6]
    clock.advance((3 * HOUR + 61) * 1000)
    await Ageing(harness.app).turn()
    assert await statistics(harness, owner, "Sum", start=now - 20, end=now, period=10) == []
    assert [one["Sum"] for one in await statistics(harness, owner, "Sum", start=now - 60, end=now)] == [6]


async def test_data_grow_coarser_with_age_and_none_is_lost_or_counted_twice(either, clock, now):
    harness, owner = either, await either.administrator()
    begin = now - now % (5 * DAY)
    clock.advance((begin + 5 * DAY - now) * 1000)
    for minute in range(0, 600, 7):
        await put(harness, owner, datum(1.0, begin + 4 * DAY + minute * 60), datum(1.0, begin + 4 * DAY + minute * 60))
    total, span = 2 * len(range(0, 600, 7)), {"start": begin, "end": begin + 5 * DAY}

    async def counted(period):
        found = await statistics(harness, owner, "SampleCount", period=period, **span)
        return sum(one["SampleCount"] for one in found), len(found)

    for days, finest in ((0, 60), (16, 300), (50, 3_600)):
        clock.advance((days * DAY) * 1000)
        await asyncio.gather(Ageing(harness.app).turn(), Ageing(harness.app).turn())
        assert (await counted(HOUR))[0] == total
        assert (await counted(DAY)) == (total, 1)
        tiers = await harness.app.store.scan(
            lambda conn: set(conn.execute(records.sa.select(records.data.c.tier)).scalars())
        )
        assert tiers == {finest}
    clock.advance((456 * DAY) * 1000)
    await Sweeper(harness.app.store, expiring=harness.app.expiring).sweep()
    left = await harness.app.store.scan(
        lambda conn: [conn.execute(records.sa.select(t)).all() for t in (records.data, records.metrics)]
    )
    assert left == [[], []]


async def test_metrics_are_listed_by_what_they_are(harness, owner, clock, now):
    host = lambda name: {"Dimensions": [{"Name": "Host", "Value": name}]}  # noqa: E731
    await put(harness, owner, datum(1.0), datum(1.0, **host("a")), datum(1.0, **host("b")), datum(1.0, name="errors"))
    await put(harness, owner, datum(1.0), namespace="Other")

    async def listed(**input):
        found = (await cloudwatch(harness, owner, "ListMetrics", **input))["Metrics"]
        return {(one["Namespace"], one["MetricName"], *(d["Value"] for d in one["Dimensions"])) for one in found}

    assert len(await listed()) == 5
    assert await listed(Namespace="Other") == {("Other", "latency")}
    assert await listed(MetricName="errors") == {(NS, "errors")}
    assert await listed(Dimensions=[{"Name": "Host"}]) == {(NS, "latency", "a"), (NS, "latency", "b")}
    assert await listed(Dimensions=[{"Name": "Host", "Value": "b"}]) == {(NS, "latency", "b")}
    assert await listed(RecentlyActive="PT3H") == await listed()
    clock.advance((3 * HOUR + 400) * 1000)
    await put(harness, owner, datum(1.0), namespace="Other")
    assert await listed(RecentlyActive="PT3H") == {("Other", "latency")}
    clock.advance((14 * DAY + 400) * 1000)
    assert await listed() == set()


async def test_a_list_has_pages_of_500(harness, owner):
    for start in (0, 600):
        await put(harness, owner, *(datum(1.0, name=f"m{number:04}") for number in range(start, start + 600)))
    token, names = {}, []
    while True:
        page = await cloudwatch(harness, owner, "ListMetrics", **token)
        assert len(page["Metrics"]) <= 500
        names += [one["MetricName"] for one in page["Metrics"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert names == [f"m{number:04}" for number in range(1200)]
    code, _ = await refused(cloudwatch(harness, owner, "ListMetrics", NextToken="x"))
    assert code == "InvalidNextToken"


async def test_other_accounts_have_metrics_of_their_own(harness, owner, now):
    await put(harness, owner, datum(1.0, now - 60))
    other = await harness.administrator(OTHER)
    assert await statistics(harness, other, "Sum", start=now - 60, end=now) == []
    assert (await cloudwatch(harness, other, "ListMetrics"))["Metrics"] == []


async def test_a_policy_may_name_the_namespace(harness, now):
    statement = {
        "Effect": "Allow", "Action": "cloudwatch:PutMetricData", "Resource": "*",
        "Condition": {"StringEquals": {"cloudwatch:namespace": NS}},
    }  # fmt: skip
    ada = await harness.user("ada", document(statement))
    await put(harness, ada, datum(1.0))
    with pytest.raises(AccessDenied):
        await put(harness, ada, datum(1.0), namespace="Other")
    bob = await harness.user("bob", allow("cloudwatch:PutMetricData"))
    with pytest.raises(AccessDenied):
        await cloudwatch(harness, bob, "ListMetrics")


FIRST = "MetricData.member.1"
MANY = [{"MetricName": "m", "Value": 1.0}] * 1001
SET = {"SampleCount": 1.0, "Sum": 1.0, "Minimum": 1.0, "Maximum": 1.0}
BAD = [
    ([], "MissingParameter", "The parameter MetricData is required."),
    ([{"Value": 1.0}], "MissingParameter", f"The parameter {FIRST}.MetricName is required."),
    (MANY, "InvalidParameterValue", "The collection MetricData must not have a size greater than 1000."),
    (
        [datum(1.0, Values=[1.0])], "InvalidParameterCombination",
        f"The parameters {FIRST}.Value and {FIRST}.Values are mutually exclusive and you have specified both.",
    ),
    (
        [datum(1.0, StatisticValues=SET)], "InvalidParameterCombination",
        f"The parameters {FIRST}.Value and {FIRST}.StatisticValues are mutually exclusive and you have specified both.",
    ),
    (
        [datum(Values=[1.0, 2.0], Counts=[1.0])], "InvalidParameterValue",
        f"The parameters {FIRST}.Values and {FIRST}.Counts must be of the same size.",
    ),
    (
        [datum()], "InvalidParameterCombination",
        f"At least one of the parameters {FIRST}.Value, {FIRST}.Values and {FIRST}.StatisticValues must be specified.",
    ),
    ([datum(math.nan)], "InvalidParameterValue", f"The value NaN for parameter {FIRST}.Value is invalid."),
    ([datum(-math.inf)], "InvalidParameterValue", f"The value -Infinity for parameter {FIRST}.Value is invalid."),
    ([datum(2.0**361)], "InvalidParameterValue", f"The value {2.0**361} for parameter {FIRST}.Value is invalid."),
    (
        [datum(Values=[1.0] * 151)], "InvalidParameterValue",
        f"The collection {FIRST}.Values must not have a size greater than 150.",
    ),
    ([datum(Values=[1.0], Counts=[5e-324])], "InvalidParameterValue", f"The value 5e-324 for parameter {FIRST}.Counts.member.1 is invalid."),
    (
        [datum(StatisticValues=SET | {"SampleCount": 5e-324})],
        "InvalidParameterValue",
        f"The value 5e-324 for parameter {FIRST}.StatisticValues.SampleCount is invalid.",
    ),
    ([datum(Values=[1.0], Counts=[-1.0])], "InvalidParameterValue", f"The value -1.0 for parameter {FIRST}.Counts.member.1 is invalid."),
    ([datum(1.0, StorageResolution=5)], "InvalidParameterValue", f"The value 5 for parameter {FIRST}.StorageResolution is invalid."),
    (
        [datum(1.0, 1_000_000)], "InvalidParameterValue",
        f"The parameter {FIRST}.Timestamp must specify a time within the past two weeks.",
    ),
    (
        [datum(1.0, 10**10)], "InvalidParameterValue",
        f"The parameter {FIRST}.Timestamp must specify a time no more than two hours in the future.",
    ),
    (
        [datum(StatisticValues={**SET, "Minimum": 2.0})], "InvalidParameterValue",
        f"The parameter {FIRST}.StatisticValues.Maximum must be greater than {FIRST}.StatisticValues.Minimum.",
    ),
    (
        [datum(1.0, Dimensions=[{"Name": "A", "Value": "1"}] * 2)], "InvalidParameterValue",
        f"No dimension name may be given more than once in {FIRST}.Dimensions.",
    ),
    *(
        ([datum(1.0, Dimensions=[{"Name": "A", "Value": "1"} | wrong])], "InvalidParameterValue", f"The value {value} for parameter {FIRST}.Dimensions.member.1.{part} is invalid.")
        for part, value in (("Value", "a\0b"), ("Value", "é"), ("Value", " "), ("Name", "a\n"), ("Name", ":a"))
        for wrong in ({part: value},)
    ),
    (
        [datum(1.0, Unit="Bananas")], "ValidationError",
        "1 validation error detected: Value 'Bananas' at 'metricData.1.member.unit' failed to satisfy constraint: Member must",
    ),
]  # fmt: skip


async def test_what_is_refused_counts_nothing(harness, owner, now):
    for data, code, message in BAD:
        said = await refused(put(harness, owner, *data))
        assert said[0] == code
        assert said[1].startswith(message), said
    assert (await cloudwatch(harness, owner, "ListMetrics"))["Metrics"] == []


async def test_requests_for_statistics_that_are_refused(harness, owner, now):
    async def said(*names, **more):
        return await refused(statistics(harness, owner, *names, **({"start": now - 60, "end": now} | more)))

    too_many = (
        "You have requested up to 86400 datapoints, which exceeds the limit of 1440. You may reduce the datapoints requested by increasing"
        " Period, or decreasing the time range."
    )
    assert await said("Sum", start=now - 86400, period=1) == ("InvalidParameterCombination", too_many)
    order = "The parameter StartTime must be less than the parameter EndTime."
    assert await said("Sum", start=now) == ("InvalidParameterValue", order)
    assert (await said("Sum", period=61))[0] == "InvalidParameterValue"
    assert await said("p101") == (
        "InvalidParameterValue",
        "The value p101 for parameter ExtendedStatistics is not supported.",
    )
    assert (await said("Sum", ExtendedStatistics=["p50"]))[0] == "InvalidParameterCombination"
    base = {"Namespace": NS, "MetricName": "latency", "StartTime": 0, "EndTime": 60_000, "Period": 60}
    message = "Must specify either Statistics or ExtendedStatistics"
    assert await refused(cloudwatch(harness, owner, "GetMetricStatistics", **base)) == ("MissingParameter", message)
    missing = await refused(cloudwatch(harness, owner, "GetMetricStatistics", Namespace=NS, MetricName="x"))
    assert missing[1].splitlines() == [
        f"The parameter {name} is required." for name in ("StartTime", "EndTime", "Period")
    ]


async def test_times_may_be_given_as_datetimes(harness, owner, now):
    at = dt.datetime.fromtimestamp(now - 60, tz=dt.UTC)
    await put(harness, owner, {"MetricName": "latency", "Value": 1, "Timestamp": at})
    assert [one["Sum"] for one in await statistics(harness, owner, "Sum", start=now - 60, end=now)] == [1]
