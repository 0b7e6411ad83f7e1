"""GetMetricData in process: series, expressions, searches, labels, pages and refusals."""

import pytest
from penstock_identity_harness import refused

from penstock.monitoring.operations import metric_data

REGION = "us-east-1"
NS = "Shop/Checkout"


async def cloudwatch(harness, by, operation, **input):
    return await harness.app.invoke(by, "cloudwatch", operation, input, region=REGION)


@pytest.fixture
async def owner(either):
    return await either.administrator()


@pytest.fixture
def now(clock):
    """The beginning of an hour, in seconds; the clock stands there."""
    clock.advance(-clock.now() % 3_600_000)
    return clock.now() // 1000


async def put(harness, by, name, values, start, **more):
    """A value for each minute from a moment on; None for none."""
    data = [
        {"MetricName": name, "Timestamp": (start + 60 * minute) * 1000, "Value": value, **more}
        for minute, value in enumerate(values)
        if value is not None
    ]
    await cloudwatch(harness, by, "PutMetricData", Namespace=NS, MetricData=data)


def stat(id, name=None, period=60, statistic="Sum", host=None, **more):
    dimensions = [{"Name": "Host", "Value": host}] if host else []
    metric = {"Namespace": NS, "MetricName": name or id, "Dimensions": dimensions}
    return {"Id": id, "MetricStat": {"Metric": metric, "Stat": statistic, "Period": period}, **more}


async def asked(harness, by, start, minutes, *queries, **more):
    more.setdefault("ScanBy", "TimestampAscending")
    return await cloudwatch(
        harness,
        by,
        "GetMetricData",
        MetricDataQueries=list(queries),
        StartTime=start * 1000,
        EndTime=(start + 60 * minutes) * 1000,
        **more,
    )


def shown(answer, start):
    """Results by id and label: minutes with their values."""
    return {
        (one["Id"], one["Label"]): {
            (at // 1000 - start) // 60: value for at, value in zip(one["Timestamps"], one["Values"], strict=True)
        }
        for one in answer["MetricDataResults"]
    }


async def test_metrics_and_what_is_computed_from_them(either, owner, now):
    start = now - 600
    await put(either, owner, "Errors", [1, 2, None, 4], start)
    await put(either, owner, "Requests", [10, 10, 10, 0], start)
    answer = await asked(
        either, owner, start, 5,
        stat("errors", "Errors", ReturnData=False), stat("requests", "Requests"), stat("nothing"),
        {"Id": "rate", "Expression": "100 * errors / requests", "Label": "Error rate, ${MAX} at most"},
        {"Id": "full", "Expression": "FILL(errors, 0)"},
        {"Id": "each", "Expression": "METRICS('r') * 2"},
        {"Id": "by5", "Expression": "slow + errors", "ReturnData": True},
        stat("slow", "Errors", period=300),
    )  # fmt: skip
    assert shown(answer, start) == {
        ("requests", "Requests"): {0: 10, 1: 10, 2: 10, 3: 0},
        ("nothing", "nothing"): {},
        ("rate", "Error rate, 20 at most"): {0: 10, 1: 20, 2: 0},
        ("full", "full"): {0: 1, 1: 2, 2: 0, 3: 4, 4: 0},
        ("each", "Errors"): {0: 2, 1: 4, 3: 8},
        ("each", "Requests"): {0: 20, 1: 20, 2: 20, 3: 0},
        ("by5", "by5"): {0: 14},  # by the longest period of what it is computed from
        ("slow", "Errors Sum"): {0: 7},  # its name is that of another, too
    }
    assert {one["StatusCode"] for one in answer["MetricDataResults"]} == {"Complete"}
    assert (answer["Messages"], "NextToken" in answer) == ([], False)


async def test_pages_go_through_every_point_once_in_either_order(either, owner, now):
    start = now - 600
    for host in ("a", "b"):
        await put(either, owner, "Load", [1, 2, 3, 4, 5], start, Dimensions=[{"Name": "Host", "Value": host}])
    queries = [
        stat("a", "Load", host="a"),
        {"Id": "all", "Expression": "METRICS() + 10"},
        stat("b", "Load", host="b"),
        stat("c"),
    ]
    for order in ("TimestampAscending", "TimestampDescending"):
        complete = (await asked(either, owner, start, 9, *queries, ScanBy=order))["MetricDataResults"]
        for most in (1, 3, 20):
            found: dict = {}
            token = {}
            while True:
                page = await asked(either, owner, start, 9, *queries, ScanBy=order, MaxDatapoints=most, **token)
                assert sum(len(one["Values"]) for one in page["MetricDataResults"]) <= most
                for number, one in enumerate(page["MetricDataResults"]):
                    found.setdefault(one["Id"], []).extend(zip(one["Timestamps"], one["Values"], strict=True))
                    last = number == len(page["MetricDataResults"]) - 1 and "NextToken" in page
                    assert one["StatusCode"] == "Complete" or last
                if "NextToken" not in page:
                    break
                token = {"NextToken": page["NextToken"]}
            expected: dict = {}
            for one in complete:
                expected.setdefault(one["Id"], []).extend(zip(one["Timestamps"], one["Values"], strict=True))
            assert found == expected
    code, _ = await refused(asked(either, owner, start, 9, *queries, NextToken="x"))
    assert code == "InvalidNextToken"


async def test_searches_find_metrics_by_their_names(either, owner, now, monkeypatch):
    start = now - 600
    for host in ("a", "b", "c"):
        await put(either, owner, "Load", [1], start, Dimensions=[{"Name": "Host", "Value": host}])
    await put(either, owner, "Load", [100], start)
    search = f"SEARCH('{{{NS},Host}} Load NOT Host=c', 'Average', 60)"
    answer = await asked(
        either,
        owner,
        start,
        5,
        {"Id": "found", "Expression": search, "Label": "load"},
        {"Id": "total", "Expression": f"SUM({search})"},
    )
    assert shown(answer, start) == {
        ("found", "load a"): {0: 1},
        ("found", "load b"): {0: 1},
        ("total", "total"): {0: 2},
    }
    monkeypatch.setattr(metric_data, "_FOUND", 1)
    answer = await asked(either, owner, start, 5, {"Id": "total", "Expression": f"SUM({search})"})
    assert (shown(answer, start), answer["Messages"][0]["Code"]) == ({("total", "total"): {0: 1}}, "MaxMetricsExceeded")


async def test_what_would_take_too_much_is_cut_or_refused(either, owner, now, monkeypatch):
    start = now - 600
    for name in ("m1", "m2", "m3"):
        await put(either, owner, name, [1, 2, 3], start)
    monkeypatch.setattr(metric_data, "_READ", 4)
    monkeypatch.setattr(metric_data, "_ASKED", 0)
    found, token = [], {}
    while True:  # a page is shorter when it has read much
        page = await asked(either, owner, start, 5, stat("m1"), stat("m2"), stat("m3"), **token)
        found += [one["Id"] for one in page["MetricDataResults"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert (found, token != {}) == (["m1", "m2", "m3"], True)
    hidden = [stat(name, ReturnData=False) for name in ("m1", "m2", "m3")]
    _, message = await refused(asked(either, owner, start, 5, *hidden, {"Id": "e", "Expression": "SUM(METRICS())"}))
    assert message.startswith("Error in expression 'e': it needs more than 4 stored data points")
    monkeypatch.setattr(metric_data, "_ASKED", 2)  # three metrics that are not there cost as much as six points
    absent = [stat(name, "Absent" + name, ReturnData=False) for name in ("m1", "m2", "m3")]
    _, message = await refused(asked(either, owner, start, 5, *absent, {"Id": "e", "Expression": "SUM(METRICS())"}))
    assert message.startswith("Error in expression 'e': it needs more than 4 stored data points")
    monkeypatch.undo()
    monkeypatch.setattr(metric_data, "_COMPUTED", 5)
    _, message = await refused(asked(either, owner, start, 5, {"Id": "e", "Expression": "TIME_SERIES(1) + 1"}))
    assert message.startswith("Error in expression 'e': the request would compute too many data points.")


async def test_searches_compare_no_more_words_than_a_request_may(either, owner, now, monkeypatch):
    start = now - 600
    for host in ("a", "b", "c"):
        await put(either, owner, "Load", [1], start, Dimensions=[{"Name": "Host", "Value": host}])
    monkeypatch.setattr(metric_data, "_COMPARED", 4 * 3 * 5)  # texts of a metric, metrics, words
    few = {"Id": "few", "Expression": "SEARCH('Load NOT x', 'Sum', 60)"}
    many = {"Id": "many", "Expression": "SEARCH('Load NOT x NOT y', 'Sum', 60)"}
    assert len((await asked(either, owner, start, 5, few))["MetricDataResults"]) == 3
    for queries in ([many], [few, {"Id": "again", "Expression": "SEARCH('Load', 'Sum', 60)"}]):
        _, message = await refused(asked(either, owner, start, 5, *queries))
        assert message.startswith("The searches of the request compare too many words")


async def test_what_is_not_valid_is_refused(either, owner, now):
    async def said(*queries, minutes=5, **more):
        return await refused(asked(either, owner, now - 600, minutes, *queries, **more))

    assert await said(stat("m"), minutes=0) == (
        "ValidationError",
        "The parameter EndTime must be greater than StartTime",
    )
    assert await said({"Id": "e", "Expression": "1 +"}) == (
        "ValidationError",
        "Error in expression 'e': Invalid syntax: unexpected end at char 4",
    )
    assert await said({"Id": "e", "Expression": "AVG(TIME_SERIES(1))"}) == (
        "ValidationError",
        "Error in expression 'e': the expression has to return a time series or an array of time series, not a single number.",
    )
    assert (await said(stat("m", period=7)))[1].startswith(
        "The parameter MetricDataQueries.member.1.MetricStat.Period must be a value in the set"
    )
    assert (await said(stat("m", statistic="p101")))[1] == (
        "The value p101 for parameter MetricDataQueries.member.1.MetricStat.Stat is not supported."
    )
    assert (await said(stat("m", AccountId="999999999999")))[0] == "InvalidParameterValue"
    assert (await said(stat("m"), MaxDatapoints=100_801))[
        1
    ] == "The parameter MaxDatapoints must be between 1 and 100800."
    assert (await said(stat("m"), LabelOptions={"Timezone": "Z"}))[0] == "ValidationError"
    assert (await said(*[stat("m")] * 501))[
        1
    ] == "The collection MetricDataQueries must not have a size greater than 500."
    assert (await said({"Id": "e", "Expression": "SEARCH('', 'Sum', 60)"}))[1] == (
        "Error in expression 'e': SEARCH needs a metric schema or a term to search for"
    )
