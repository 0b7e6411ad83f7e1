"""Metric filters: what boto3 puts and finds on a live server, and how what is written becomes data points."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from penstock_waiting import until

from penstock.logfiles import measuring
from penstock.logfiles.measuring import MINUTE
from penstock.logfiles.sealed import DataKey
from penstock.logfiles.search import answer
from penstock.logfiles.streams import StreamFiles
from penstock.logs import filter_rows, measured
from penstock.logs.errors import InvalidParameterException
from penstock.wire.call import service_session
from penstock.wire.errors import AccessDenied

ARN = "arn:aws:logs:us-east-1:111111111111:log-group:"


@pytest.fixture(scope="module")
def logs(live: Any) -> Any:
    return live.client("logs", parameter_validation=False)


@pytest.fixture
def group(logs: Any) -> str:
    name = f"/measured/{uuid.uuid4().hex[:8]}"
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="s")
    return name


def put(logs: Any, group: str, *texts: str) -> None:
    now = int(time.time() * 1000)
    events = [{"timestamp": now, "message": text} for text in texts]
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)


def put_filter(logs: Any, group: str, name: str, pattern: str, **transformation: Any) -> None:
    made = {"metricName": name, "metricNamespace": group, "metricValue": "1"} | transformation
    logs.put_metric_filter(logGroupName=group, filterName=name, filterPattern=pattern, metricTransformations=[made])


def sums(live: Any, group: str, name: str, *dimensions: tuple[str, str]) -> tuple[float, float]:
    """How many values a metric has, and their sum."""
    now = time.time()
    found = live.client("cloudwatch").get_metric_statistics(
        Namespace=group,
        MetricName=name,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions],
        StartTime=now - 3600,
        EndTime=now + 3600,
        Period=3600,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    return sum(one["SampleCount"] for one in found), sum(one["Sum"] for one in found)


def test_what_is_written_becomes_data_points(live: Any, logs: Any, group: str):
    put(logs, group, "ERROR before the filter")
    put_filter(logs, group, "errors", "ERROR", defaultValue=0.0)
    put_filter(
        logs, group, "took", "{ $.ms = * }", metricValue="$.ms", unit="Milliseconds", dimensions={"path": "$.path"}
    )
    put_filter(logs, group, "bytes", "[path, bytes > 0]", metricValue="$bytes")
    time_ = int(time.time() * 1000) + 1
    until(lambda: int(time.time() * 1000) > time_)
    put(
        logs,
        group,
        "ERROR one",
        "fine",
        '{"ms": 12.5, "path": "/a"}',
        '{"ms": 7, "path": "/b"}',
        '{"ms": "x"}',
        "/a 100",
    )
    put(logs, group, "ERROR two", "/b 11", '{"ms": 0.5, "path": "/a"}')
    assert until(lambda: sums(live, group, "errors") == (2, 2) and sums(live, group, "bytes") == (2, 111))
    assert until(lambda: sums(live, group, "took", ("path", "/a")) == (2, 13))
    assert sums(live, group, "took", ("path", "/b")) == (1, 7)
    logs.delete_metric_filter(logGroupName=group, filterName="errors")
    put(logs, group, "ERROR three", "/c 1")
    assert until(lambda: sums(live, group, "bytes") == (3, 112))
    assert sums(live, group, "errors")[1] == 2


def test_filters_are_described_replaced_and_deleted(logs: Any, group: str):
    other = group + "/other"
    logs.create_log_group(logGroupName=other)
    put_filter(logs, group, "a-1", "x")
    put_filter(logs, group, "a-1", "{ $.x = * }", metricValue="$.x", dimensions={"d": "$.y"}, unit="Count")
    put_filter(logs, other, "a-2", " ", metricName="n", metricNamespace="A.B-c_d/1#2", defaultValue=0)
    (found,) = logs.describe_metric_filters(logGroupName=group)["metricFilters"]
    assert found.pop("creationTime") > 0
    assert found == {
        "filterName": "a-1", "filterPattern": "{ $.x = * }", "logGroupName": group, "applyOnTransformedLogs": False,
        "metricTransformations": [
            {"metricName": "a-1", "metricNamespace": group, "metricValue": "$.x", "dimensions": {"d": "$.y"}, "unit": "Count"}
        ],
    }  # fmt: skip

    def names(**chosen: Any) -> list[str]:
        pages = logs.get_paginator("describe_metric_filters").paginate(**chosen, PaginationConfig={"PageSize": 1})
        return [one["filterName"] for page in pages for one in page["metricFilters"] if group in one["logGroupName"]]

    assert names() == names(filterNamePrefix="a-") == ["a-1", "a-2"]
    assert names(metricName="n", metricNamespace="A.B-c_d/1#2") == names(logGroupName=other) == ["a-2"]
    groups = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert [one["metricFilterCount"] for one in groups] == [1, 1]
    logs.delete_metric_filter(logGroupName=group, filterName="a-1")
    assert names(logGroupName=group) == []
    logs.delete_log_group(logGroupName=other)
    logs.create_log_group(logGroupName=other)
    assert names(logGroupName=other) == []


@pytest.mark.parametrize(
    ("pattern", "transformation", "text"),
    [
        ("a:b", {}, "Invalid character(s) in term ':'"),
        ("ERROR", {"dimensions": {"a": "$.b"}}, "The specified filter pattern does not support dimensions"),
        ("{ $.a = 1 }", {"dimensions": {"a": "$.b"}, "defaultValue": 0}, "dimensions and default value are mutually exclusive properties."),
        ("{ $.a = 1 }", {"dimensions": {name: "$.b" for name in "abcd"}}, "3 dimensions at most"),
        ("ERROR", {"metricName": ""}, "A metric has a name and a namespace"),
        ("ERROR", {"metricValue": "1e999"}, "Invalid metric transformation: metricValue is a number from -2^360 to 2^360"),
        ("ERROR", {"defaultValue": float("nan")}, "Invalid metric transformation: defaultValue is a number"),
        ("ERROR", {"metricValue": "$.x"}, "Invalid metric transformation: $.x names no value"),
        ("{ $.a = 1 }", {"metricValue": "x"}, "Invalid metric transformation: x names no value"),
        ("{ $.a = 1 }", {"metricValue": "$.x y"}, "Invalid metric transformation"),
        ("[a]", {"metricValue": "$"}, "Invalid metric transformation"),
    ],
)  # fmt: skip
def test_what_cannot_be_counted_is_refused(logs: Any, group: str, pattern: str, transformation: Any, text: str):
    with pytest.raises(ClientError) as refused:
        put_filter(logs, group, "f", pattern, **transformation)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"
    assert text in refused.value.response["Error"]["Message"]


def test_what_is_missing_or_too_many_is_said(logs: Any, group: str, monkeypatch: pytest.MonkeyPatch):
    def error(call: Any, *args: Any, **input: Any) -> tuple[str, str]:
        with pytest.raises(ClientError) as refused:
            call(*args, **input)
        return refused.value.response["Error"]["Code"], refused.value.response["Error"]["Message"]

    missing = ("ResourceNotFoundException", "The specified log group does not exist.")
    assert error(put_filter, logs, "/none", "f", "x") == missing
    assert error(logs.describe_metric_filters, logGroupName="/none") == missing
    assert error(logs.delete_metric_filter, logGroupName="/none", filterName="f") == missing
    assert error(logs.delete_metric_filter, logGroupName=group, filterName="f") == (
        "ResourceNotFoundException", "The specified metric filter does not exist.",
    )  # fmt: skip
    assert error(logs.describe_metric_filters, metricName="x")[0] == "InvalidParameterException"
    limit = ("LimitExceededException", "Resource limit exceeded.")
    for number in range(5):
        put_filter(logs, group, f"r{number}", f"%{number}%")
    assert error(put_filter, logs, group, "r5", "%5%") == limit
    put_filter(logs, group, "r0", "%6%")
    monkeypatch.setattr("penstock.logs.operations.metric_filters._FILTERS", 6)
    put_filter(logs, group, "plain", "x")
    assert error(put_filter, logs, group, "another", "x") == limit
    transformed = {"logGroupName": group, "filterName": "t", "filterPattern": "x", "applyOnTransformedLogs": True}
    values = [{"metricName": "m", "metricNamespace": "n", "metricValue": "1"}]
    assert error(logs.put_metric_filter, **transformed, metricTransformations=values)[0] == "InvalidParameterException"


def test_what_is_broken_off_is_counted_again_and_what_was_not_noted_is_found(
    live: Any, logs: Any, group: str, monkeypatch: pytest.MonkeyPatch
):
    put_filter(logs, group, "n", "x")
    asked, failing = filter_rows.ask, [True]
    monkeypatch.setattr(filter_rows, "ask", lambda *_: None)  # as if the server were killed before it noted the sizes
    note = filter_rows.note_measured

    def broken(*given: Any) -> None:
        if failing.pop() if failing else False:
            raise RuntimeError("killed")
        note(*given)

    monkeypatch.setattr(filter_rows, "note_measured", broken)
    time_ = int(time.time() * 1000) + 1
    until(lambda: int(time.time() * 1000) > time_)
    put(logs, group, "x")
    monkeypatch.setattr(filter_rows, "ask", asked)
    (resume,) = [one for one in live.app.starts if getattr(one, "func", None) is measured.resume]
    live.run(resume())
    assert until(lambda: sums(live, group, "n") == (2, 2))
    assert not failing


async def test_points_that_are_refused_hold_up_no_others(caplog: pytest.LogCaptureFixture):
    taken: list[float] = []

    async def invoke(session: Any, service: str, operation: str, input: Any, *, region: str) -> Any:
        assert (session.service, session.source_arn, service, operation, region) == (
            "logs.amazonaws.com", ARN + "g", "cloudwatch", "PutMetricData", "us-east-1",
        )  # fmt: skip
        values = [one["Values"][0] for one in input["MetricData"]]
        if 3.0 in values:
            raise InvalidParameterException("three is refused")
        taken.extend(values)

    call: Any = SimpleNamespace(
        account="1" * 12,
        region="us-east-1",
        app=SimpleNamespace(invoke=invoke),
        arn=lambda _service, resource: ARN[:-10] + resource,
    )
    data = [{"MetricName": "m", "Values": [float(number)]} for number in range(7)]
    await measured._count(call, "g", "N", data)
    assert taken == [0, 1, 2, 4, 5, 6]
    assert [(record.msg, record.why) for record in caplog.records] == [("logs.not_counted", "three is refused")]  # type: ignore[attr-defined]


def test_no_other_service_measures_for_an_account(live: Any):
    data = {"Namespace": "N", "MetricData": [{"MetricName": "m", "Value": 1.0}]}
    session = service_session("events.amazonaws.com", "1" * 12, ARN + "g")
    with pytest.raises(AccessDenied):
        live.run(live.app.invoke(session, "cloudwatch", "PutMetricData", data, region="us-east-1"))


# --- the process that reads ---------------------------------------------------------------------------------------------

KEY = DataKey("ab" * 16, b"k" * 32)


def counted(path: Path, offset: int = 0, *filters: dict[str, Any], start: int = 0, end: int = 10 * MINUTE) -> Any:
    given = [{"since": 0, "default": None, "dimensions": {}, "value": "1"} | one for one in filters]
    request = {
        "streams": [(str(path), offset)],
        "filters": given,
        "start": start,
        "end": end,
        "keys": {KEY.id: KEY.key.hex()},
    }
    found = answer({"kind": "measure"} | request)
    points = {
        (one["filter"], one["minute"], *one["dimensions"].items()): dict(zip(one["values"], one["counts"], strict=True))
        for one in found["points"]
    }
    return points, found["ends"].get(str(path))


@pytest.fixture
def stream(tmp_path: Path) -> StreamFiles:
    files = StreamFiles(tmp_path / "a.log")
    files.append([(1, '{"n": 2, "k": "a"}'), (2, '{"n": 2, "k": "b"}'), (MINUTE, '{"n": "3.5"}')], 10)
    files.append([(MINUTE + 1, "late x"), (2 * MINUTE, "x 1e999")], 20, seal=KEY)
    files.close()
    return files


def test_numbers_are_counted_by_minute_and_dimension(stream: StreamFiles):
    whole = stream.path.stat().st_size
    n = {"name": "n", "pattern": "{ $.n = * }", "value": "$.n"}
    assert counted(stream.path, 0, n) == ({("n", 0): {2.0: 2}, ("n", MINUTE): {3.5: 1}}, whole)
    assert counted(stream.path, 0, n | {"dimensions": {"K": "$.k"}})[0] == {
        ("n", 0, ("K", "a")): {2.0: 1}, ("n", 0, ("K", "b")): {2.0: 1}, ("n", MINUTE): {3.5: 1},
    }  # fmt: skip
    assert counted(stream.path, 0, {"name": "x", "pattern": "x", "value": "-2"}) == (
        {("x", MINUTE): {-2.0: 1}, ("x", 2 * MINUTE): {-2.0: 1}}, whole,
    )  # fmt: skip
    assert (
        counted(stream.path, 0, {"name": "x", "pattern": "[w, n]", "value": "$n"})[0] == {}
    )  # neither is a number that counts
    assert counted(stream.path, 0, n, start=1 * MINUTE)[0] == {("n", MINUTE): {3.5: 1}}
    assert counted(stream.path, 0, n, end=MINUTE)[0] == {("n", 0): {2.0: 2}}


def test_what_came_before_a_filter_or_was_measured_does_not_count(stream: StreamFiles):
    x = {"name": "x", "pattern": " "}
    assert sum(counted(stream.path, 0, x | {"since": 20})[0][("x", MINUTE)].values()) == 1
    first = stream.batches()[0].end
    assert set(counted(stream.path, first, x)[0]) == {("x", MINUTE), ("x", 2 * MINUTE)}
    assert counted(stream.path, stream.path.stat().st_size, x) == ({}, None)


def test_a_minute_without_a_match_has_the_default(stream: StreamFiles):
    x = {"name": "x", "pattern": "late", "default": 0.0}
    assert counted(stream.path, 0, x)[0] == {("x", 0): {0.0: 1}, ("x", MINUTE): {1.0: 1}, ("x", 2 * MINUTE): {0.0: 1}}


def test_a_request_measures_so_much_and_says_to_where(stream: StreamFiles, monkeypatch: pytest.MonkeyPatch):
    first = stream.batches()[0].end
    monkeypatch.setattr(measuring, "_AT_ONCE", 1)
    for bound in ("MAX_MEASURED", "MAX_NUMBERS", "MAX_PROCESSOR_S"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(measuring, bound, 0)
            _, end = counted(stream.path, 0, {"name": "x", "pattern": " "})
            assert end == (None if bound == "MAX_PROCESSOR_S" else first)
