"""CloudWatch Logs as boto3 uses it, on a live server."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import sqlite3
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from penstock.logs import records


@pytest.fixture(scope="module")
def logs(live: Any) -> Any:
    return live.client("logs", parameter_validation=False)


@pytest.fixture
def group(logs: Any) -> str:
    name = f"/test/{uuid.uuid4().hex[:8]}"
    logs.create_log_group(logGroupName=name)
    return name


def put(logs: Any, group: str, stream: str, *texts: str, at: int | None = None, step: int = 1) -> int:
    started = int(time.time() * 1000) if at is None else at
    events = [{"timestamp": started + i * step, "message": text} for i, text in enumerate(texts)]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    return started


def error(call: Any, **input: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        call(**input)
    return refused.value.response["Error"]["Code"], refused.value.response["Error"]["Message"]


def test_groups_and_streams_come_and_go(logs: Any, group: str):
    assert error(logs.create_log_group, logGroupName=group) == (
        "ResourceAlreadyExistsException",
        "The specified log group already exists",
    )
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    assert error(logs.create_log_stream, logGroupName=group, logStreamName="s")[0] == "ResourceAlreadyExistsException"
    found = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    assert (found["logGroupName"], found["arn"]) == (group, f"arn:aws:logs:us-east-1:111111111111:log-group:{group}:*")
    assert logs.describe_log_streams(logGroupIdentifier=found["logGroupArn"])["logStreams"][0]["logStreamName"] == "s"
    put(logs, group, "s", "one", "two")
    stream = logs.describe_log_streams(logGroupName=group)["logStreams"][0]
    assert stream["lastEventTimestamp"] == stream["firstEventTimestamp"] + 1
    logs.delete_log_stream(logGroupName=group, logStreamName="s")
    assert error(logs.get_log_events, logGroupName=group, logStreamName="s") == (
        "ResourceNotFoundException",
        "The specified log stream does not exist.",
    )
    logs.delete_log_group(logGroupName=group)
    assert error(logs.delete_log_group, logGroupName=group) == (
        "ResourceNotFoundException",
        "The specified log group does not exist.",
    )
    assert error(logs.describe_log_streams, logGroupName=group)[0] == "ResourceNotFoundException"


def test_pages_forward_and_backward_and_tokens_at_the_ends(logs: Any, group: str):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    where = {"logGroupName": group, "logStreamName": "s", "limit": 2}
    empty = logs.get_log_events(**where, startFromHead=True)
    assert empty["events"] == []
    put(logs, group, "s", *"abcde")
    page = logs.get_log_events(**where, nextToken=empty["nextForwardToken"])
    assert [e["message"] for e in page["events"]] == ["a", "b"]
    page = logs.get_log_events(**where, nextToken=page["nextForwardToken"])
    page = logs.get_log_events(**where, nextToken=page["nextForwardToken"])
    assert [e["message"] for e in page["events"]] == ["e"]
    end = page["nextForwardToken"]
    assert end.startswith("f/")
    assert logs.get_log_events(**where, nextToken=end)["nextForwardToken"] == end
    back = logs.get_log_events(**where, nextToken=page["nextBackwardToken"])
    assert [e["message"] for e in back["events"]] == ["c", "d"]
    assert [e["message"] for e in logs.get_log_events(**where)["events"]] == ["d", "e"]
    put(logs, group, "s", "f")
    assert [e["message"] for e in logs.get_log_events(**where, nextToken=end)["events"]] == ["f"]
    assert error(logs.get_log_events, **where, nextToken="x")[0] == "InvalidParameterException"


def test_batches_that_come_out_of_order_are_read_in_order(logs: Any, group: str):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    now = put(logs, group, "s", "late")
    put(logs, group, "s", "early", at=now - 5000)
    events = logs.get_log_events(logGroupName=group, logStreamName="s", startFromHead=True)["events"]
    assert [e["message"] for e in events] == ["early", "late"]
    events = logs.get_log_events(logGroupName=group, logStreamName="s", startTime=now, startFromHead=True)["events"]
    assert [e["message"] for e in events] == ["late"]


def test_bad_batches_are_refused_or_partly_taken(logs: Any, group: str):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    now = int(time.time() * 1000)
    where = {"logGroupName": group, "logStreamName": "s"}

    def events(*stamps: int, text: str = "x") -> list[dict[str, Any]]:
        return [{"timestamp": stamp, "message": text} for stamp in stamps]

    assert "chronological" in error(logs.put_log_events, **where, logEvents=events(now, now - 1))[1]
    assert "24 hours" in error(logs.put_log_events, **where, logEvents=events(now - 90_000_000, now))[1]
    assert "Upload too large" in error(logs.put_log_events, **where, logEvents=events(now, text="x" * 1_100_000))[1]
    assert error(logs.put_log_events, **where, logEvents=[])[0] == "InvalidParameterException"
    assert error(logs.put_log_events, logGroupName="/no", logStreamName="s", logEvents=events(now)) == (
        "ResourceNotFoundException",
        "The specified log group does not exist.",
    )
    old = logs.put_log_events(**where, logEvents=events(now - 15 * 86_400_000))
    assert old["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    new = logs.put_log_events(**where, logEvents=events(now, now + 3 * 3_600_000))
    assert new["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 1}
    assert len(logs.get_log_events(**where)["events"]) == 1


def test_a_batch_spans_a_day_and_no_more(logs: Any, group: str):
    logs.create_log_stream(logGroupName=group, logStreamName="days")
    now = int(time.time() * 1000)
    first = now - 86_400_000

    def put(*times: int) -> dict[str, Any]:
        events = [{"timestamp": at, "message": "m"} for at in times]
        return logs.put_log_events(logGroupName=group, logStreamName="days", logEvents=events)

    assert re.fullmatch(r"496\d{53}", put(first, now)["nextSequenceToken"])
    assert error(lambda: put(first - 1, now))[0] == "InvalidParameterException"


def test_filtering_merges_streams_and_pages_to_the_end(logs: Any, group: str):
    now = int(time.time() * 1000)
    for number, stream in enumerate(("a", "b", "c")):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        put(
            logs,
            group,
            stream,
            *(f"{stream}{i} {'odd' if i % 2 else 'even'}" for i in range(10)),
            at=now + number,
            step=3,
        )
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, PaginationConfig={"PageSize": 4})
    events = [event for page in pages for event in page["events"]]
    assert [e["timestamp"] for e in events] == list(range(now, now + 30))
    assert len({e["eventId"] for e in events}) == 30
    odd = [
        e["message"]
        for e in logs.filter_log_events(logGroupName=group, filterPattern="odd", logStreamNames=["b"])["events"]
    ]
    assert odd == [f"b{i} odd" for i in range(1, 10, 2)]
    some = logs.filter_log_events(logGroupName=group, startTime=now + 27, endTime=now + 28)["events"]
    assert [e["message"] for e in some] == ["a9 odd", "b9 odd"]
    assert error(logs.filter_log_events, logGroupName=group, logStreamNames=["none"])[0] == "ResourceNotFoundException"


def test_each_kind_of_pattern_filters(logs: Any, group: str):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    put(logs, group, "s", '{"level": "ERROR", "ms": 12}', '127.0.0.1 frank "GET /a b" 404', "plain ERROR 7")
    for pattern, found in (
        ("{ $.level = ERROR && $.ms > 11 }", [0]),
        ("[ip, user, request = *GET*, status = 4*]", [1]),
        (r"%\sERROR\s\d$%", [2]),
        ('" "', [0, 1, 2]),
    ):
        events = logs.filter_log_events(logGroupName=group, filterPattern=pattern)["events"]
        assert [["{", "1", "p"].index(event["message"][0]) for event in events] == found
    assert error(logs.filter_log_events, logGroupName=group, filterPattern='{ $."a" = 1 }') == (
        "InvalidParameterException",
        "Invalid character(s) in term '$.\"' at character 3; expected a property selector such as $.name or $.list[0]",
    )


def test_newest_events_come_first_page_by_page(logs: Any, group: str):
    now = int(time.time() * 1000)
    for number, stream in enumerate("ab"):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        put(logs, group, stream, *(f"{stream}{i}" for i in range(4)), at=now + number, step=2)
    asked = {"logGroupName": group, "startTime": now - 1, "startFromHead": False}
    pages = list(logs.get_paginator("filter_log_events").paginate(**asked, PaginationConfig={"PageSize": 3}))
    assert [e["message"] for page in pages for e in page["events"]] == ["b3", "a3", "b2", "a2", "b1", "a1", "b0", "a0"]
    token = logs.filter_log_events(**asked, limit=3)["nextToken"]
    turned = asked | {"startFromHead": True, "nextToken": token}  # the token says which way it goes
    assert [e["message"] for e in logs.filter_log_events(**turned, limit=1)["events"]] == ["a2"]
    year = 1_704_067_200_000  # 2024 begins
    assert logs.filter_log_events(**asked | {"startTime": year})["events"]
    for early in ({}, {"startTime": year - 1}):
        refused = error(logs.filter_log_events, logGroupName=group, startFromHead=False, **early)
        assert refused[0] == "InvalidParameterException"


def test_a_filter_is_tried_on_messages(logs: Any):
    found = logs.test_metric_filter(
        filterPattern="[ip, ..., status = 4*, size]", logEventMessages=["1.2.3.4 x 404 15", "1.2.3.4 x 200 15"]
    )["matches"]
    values = {"$ip": "1.2.3.4", "$2": "x", "$status": "404", "$size": "15"}
    assert found == [{"eventNumber": 1, "eventMessage": "1.2.3.4 x 404 15", "extractedValues": values}]
    refused = error(logs.test_metric_filter, filterPattern="a:b", logEventMessages=["x"])
    assert refused[0] == "InvalidParameterException"
    assert refused[1].startswith("Invalid character(s) in term ':' at character 2")
    assert error(logs.test_metric_filter, filterPattern="a", logEventMessages=["x"] * 51)[0] == refused[0]


def test_what_is_over_its_time_is_neither_taken_nor_given(logs: Any, group: str):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    now, day = int(time.time() * 1000), 86_400_000
    where = {"logGroupName": group, "logStreamName": "s"}
    put(logs, group, "s", "old", at=now - 3 * day)
    put(logs, group, "s", "new", at=now)
    logs.put_retention_policy(logGroupName=group, retentionInDays=1)
    for answer in (logs.get_log_events(**where), logs.filter_log_events(logGroupName=group)):
        assert [event["message"] for event in answer["events"]] == ["new"]
    events = [{"timestamp": now - hours * 3_600_000, "message": f"{hours}"} for hours in (36, 23, 13)]
    answer = logs.put_log_events(**where, logEvents=events)
    assert answer["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}
    stream = logs.describe_log_streams(logGroupName=group)["logStreams"][0]
    assert re.fullmatch(r"496\d{53}", stream["uploadSequenceToken"])
    logs.delete_retention_policy(logGroupName=group)
    assert "old" in [event["message"] for event in logs.get_log_events(**where)["events"]]


def test_tags_by_their_first_names_are_the_same(logs: Any, group: str):
    arn = f"arn:aws:logs:us-east-1:111111111111:log-group:{group}"
    logs.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
    logs.tag_log_group(logGroupName=group, tags={"b": "3", "c": "4"})
    assert logs.list_tags_log_group(logGroupName=group)["tags"] == {"a": "1", "b": "3", "c": "4"}
    logs.untag_log_group(logGroupName=group, tags=["a", "none"])
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "3", "c": "4"}
    for call, input in (
        (logs.tag_log_group, {"tags": {"a": ""}}),
        (logs.untag_log_group, {"tags": ["a"]}),
        (logs.list_tags_log_group, {}),
    ):
        assert error(call, logGroupName="/none", **input)[1] == "The specified log group does not exist."


def test_a_search_looks_into_every_stream(logs: Any, group: str):
    now = int(time.time() * 1000)
    for number in range(120):
        logs.create_log_stream(logGroupName=group, logStreamName=f"s{number}")
        put(logs, group, f"s{number}", f"needle {number}", "hay", at=now - number)
    events = logs.filter_log_events(logGroupName=group, filterPattern="needle")["events"]
    assert [e["message"] for e in events] == [f"needle {number}" for number in reversed(range(120))]


def test_a_search_of_very_many_streams_takes_them_page_by_page(logs: Any, group: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("penstock.logs.operations.events._STREAMS", 3)
    now = int(time.time() * 1000)
    for number in range(7):
        logs.create_log_stream(logGroupName=group, logStreamName=f"s{number}")
        put(logs, group, f"s{number}", f"needle {number}", f"needle {number}", at=now - number)
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, filterPattern="needle", PaginationConfig={"PageSize": 4}
    )
    found = [[event["logStreamName"] for event in page["events"]] for page in pages]
    assert sorted(name for page in found for name in page) == sorted(f"s{number}" for number in range(7) for _ in "ab")
    assert all(len(set(page)) <= 3 for page in found)
    some = logs.filter_log_events(logGroupName=group, logStreamNames=["s5", "s6"])
    assert (len(some["events"]), "nextToken" in some) == (4, False)


def test_names_are_reported_apart_by_case(logs: Any, group: str):
    logs.create_log_group(logGroupName=group.upper())
    for stream in ("Web", "web"):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        put(logs, group, stream, stream)

    def names(**filters: Any) -> list[str]:
        return [found["logGroupName"] for found in logs.describe_log_groups(**filters)["logGroups"]]

    assert names(logGroupNamePrefix=group) == names(logGroupNamePattern=group[3:]) == [group]
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="w")["logStreams"]
    assert [stream["logStreamName"] for stream in streams] == ["web"]
    events = logs.filter_log_events(logGroupName=group, logStreamNamePrefix="W")["events"]
    assert [event["message"] for event in events] == ["Web"]


def test_groups_are_chosen_by_identifier_and_class(logs: Any, group: str):
    arn = f"arn:aws:logs:us-east-1:111111111111:log-group:{group}"
    for identifiers in ([group], [arn], [group, "/none"]):
        found = logs.describe_log_groups(logGroupIdentifiers=identifiers)["logGroups"]
        assert [one["logGroupArn"] for one in found] == [arn]
    assert logs.describe_log_groups(logGroupNamePrefix=group, logGroupClass="INFREQUENT_ACCESS")["logGroups"] == []
    both = error(logs.describe_log_groups, logGroupIdentifiers=[group], logGroupNamePrefix=group)
    assert both[0] == "InvalidParameterException"


def test_pages_of_groups_and_streams_are_as_long_as_asked(live: Any, logs: Any, group: str):
    names = [f"{group}/{number:02}" for number in range(52)]
    where = {"account": "1" * 12, "region": "us-east-1"}

    def fill(conn: Any) -> None:
        kept = {"created": 1, "group_class": "STANDARD", "protected": False, "tags": {}}
        for number, name in enumerate(names):
            records.insert_group(conn, where | kept | {"name": name})
            stream = {"group": group, "name": name[-2:], "file": uuid.uuid4().hex, "created": 1, "size": number}
            records.insert_stream(conn, where | stream | {"last_event": 1000 - number // 2 if number < 10 else None})

    live.run(live.app.store.write(fill))

    def pages(call: Any, member: str, name: str, **input: Any) -> list[list[str]]:
        found, more = [], {}
        while not found or more:
            answer = call(**input, **more)
            found.append([each[name] for each in answer[member]])
            more = {"nextToken": answer["nextToken"]} if "nextToken" in answer else {}
        return found

    for call, input, member, name, every in (
        (logs.describe_log_groups, {"logGroupNamePrefix": f"{group}/"}, "logGroups", "logGroupName", names),
        (logs.describe_log_streams, {"logGroupName": group}, "logStreams", "logStreamName", [n[-2:] for n in names]),
    ):
        assert pages(call, member, name, **input) == [every[:50], every[50:]]
        assert pages(call, member, name, **input, limit=26) == [every[:26], every[26:]]
        assert [len(page) for page in pages(call, member, name, **input, limit=25)] == [25, 25, 2]
    last = [n[-2:] for n in names][::-1]
    descending = {"logGroupName": group, "descending": True}
    assert pages(logs.describe_log_streams, "logStreams", "logStreamName", **descending, limit=40) == [
        last[:40],
        last[40:],
    ]
    by_time = {"logGroupName": group, "orderBy": "LastEventTime", "descending": True, "limit": 5}
    times = pages(logs.describe_log_streams, "logStreams", "logStreamName", **by_time)
    assert times[:2] == [["01", "00", "03", "02", "05"], ["04", "07", "06", "09", "08"]]
    assert sum(times[2:], []) == last[:-10]
    assert logs.describe_log_groups(logGroupNamePrefix=group, limit=1)["logGroups"][0]["storedBytes"] == sum(range(52))

    assert error(logs.describe_log_streams, logGroupName=group, orderBy="LastEventTime", logStreamNamePrefix="0") == (
        "InvalidParameterException",
        "Cannot order by LastEventTime with a logStreamNamePrefix.",
    )


def test_what_excludes_each_other_is_refused(logs: Any, group: str):
    arn = f"arn:aws:logs:us-east-1:111111111111:log-group:{group}"
    stream = {"logStreamName": "s"}
    logs.create_log_stream(logGroupName=group, **stream)
    for call, input, answer in (
        (
            logs.get_log_events,
            {"logGroupName": group, "logGroupIdentifier": arn, **stream},
            ("ValidationException", "LogGroup name and LogGroup ARN are mutually exclusive parameters."),
        ),
        (
            logs.get_log_events,
            stream,
            ("InvalidParameterException", "Either logGroupName or logGroupIdentifier must be specified."),
        ),
        (
            logs.describe_log_groups,
            {"logGroupNamePrefix": group, "logGroupNamePattern": "x"},
            (
                "InvalidParameterException",
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
            ),
        ),
        (
            logs.filter_log_events,
            {"logGroupName": group, "logStreamNames": ["s"], "logStreamNamePrefix": "s"},
            ("InvalidParameterException", "logStreamNamePrefix and logStreamNames are mutually exclusive."),
        ),
        (
            logs.filter_log_events,
            {"logGroupName": group, "startTime": 2, "endTime": 1},
            ("InvalidParameterException", "endTime must not be before startTime"),
        ),
    ):
        assert error(call, **input) == answer
    group_is_missing = ("ResourceNotFoundException", "The specified log group does not exist.")
    for call, input in (
        (logs.create_log_stream, stream),
        (logs.delete_log_stream, stream),
        (logs.filter_log_events, {}),
        (logs.put_retention_policy, {"retentionInDays": 1}),
        (logs.delete_retention_policy, {}),
    ):
        assert error(call, logGroupName=f"{group}/none", **input) == group_is_missing
    for days in (1, 3653):
        logs.put_retention_policy(logGroupName=group, retentionInDays=days)
    assert error(logs.put_retention_policy, logGroupName=group, retentionInDays=2) == (
        "InvalidParameterException",
        "A log group cannot keep events for 2 days. retentionInDays is one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, "
        "400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653.",
    )
    assert error(logs.tag_resource, resourceArn=arn, tags={"aws:x": "1"}) == (
        "InvalidParameterException",
        "The tag key aws:x begins with aws:, which is reserved for AWS.",
    )
    assert error(logs.create_log_group, logGroupName=f"{group}/t", tags={"a#": ""})[0] == "InvalidParameterException"


def test_ends_of_a_range_belong_to_it_where_aws_says_so(logs: Any, group: str):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    now = put(logs, group, "s", "a", "b", "c")
    where = {"logGroupName": group, "startTime": now + 1, "endTime": now + 2}
    assert [e["message"] for e in logs.get_log_events(**where, logStreamName="s")["events"]] == ["b"]
    assert [e["message"] for e in logs.filter_log_events(**where)["events"]] == ["b", "c"]


def test_a_batch_sent_again_with_its_sequence_token_is_kept_once(logs: Any, group: str):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    batch = {
        "logGroupName": group,
        "logStreamName": "s",
        "logEvents": [{"timestamp": 1 + int(time.time() * 1000), "message": "m"}],
    }
    token = logs.put_log_events(**batch)["nextSequenceToken"]
    for _ in range(2):
        logs.put_log_events(**batch, sequenceToken=token)
    assert len(logs.get_log_events(logGroupName=group, logStreamName="s")["events"]) == 2


def test_events_are_read_without_their_index(live: Any, logs: Any, group: str):
    """The processes that read write no file: the server adds to the index what it lacks, also where it has the stream open."""
    names = {"logGroupName": group, "logStreamName": "s"}
    logs.create_log_stream(**names)
    before = set(live.data_dir.rglob("*.index"))
    put(logs, group, "s", "one", "two")
    (index,) = set(live.data_dir.rglob("*.index")) - before

    def read() -> list[list[str]]:
        pages = (logs.get_log_events(**names, startFromHead=True), logs.filter_log_events(logGroupName=group))
        return [[event["message"] for event in page["events"]] for page in pages]

    os.truncate(index, 0)
    assert read() == [["one", "two"]] * 2
    index.unlink()
    assert read() == [["one", "two"]] * 2
    put(logs, group, "s", "three")
    assert read() == [["one", "two", "three"]] * 2
    assert [one["lastEventTimestamp"] for one in logs.describe_log_streams(logGroupName=group)["logStreams"]]
    with index.with_suffix(".log").open("ab") as file:
        file.write(bytes(100))  # what is no event is passed over
    assert read() == [["one", "two", "three"]] * 2


def test_what_a_group_is_made_with_is_kept(logs: Any):
    name = "/kept/members"
    arn = f"arn:aws:logs:us-east-1:111111111111:log-group:{name}"
    key = "arn:aws:kms:us-east-1:111111111111:key/11111111-1111-1111-1111-111111111111"
    assert error(logs.create_log_group, logGroupName=name, kmsKeyId=key) == (
        "AccessDeniedException",
        f"The specified KMS key does not exist or is not allowed to be used with Arn '{arn}'",
    )
    logs.create_log_group(
        logGroupName=name, deletionProtectionEnabled=True, tags={"team": "a"}, logGroupClass="INFREQUENT_ACCESS"
    )
    (answer,) = logs.describe_log_groups(logGroupNamePrefix=name, logGroupClass="INFREQUENT_ACCESS")["logGroups"]
    assert (answer["logGroupClass"], answer["deletionProtectionEnabled"]) == ("INFREQUENT_ACCESS", True)
    assert logs.describe_log_groups(logGroupNamePrefix=name, logGroupClass="STANDARD")["logGroups"] == []
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "a"}
    logs.tag_resource(resourceArn=arn, tags={"team": "b", "cost": "c"})
    logs.untag_resource(resourceArn=arn, tagKeys=["cost", "none"])
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "b"}
    logs.put_retention_policy(logGroupName=name, retentionInDays=30)
    kept = {"logGroupNamePrefix": name, "logGroupClass": "INFREQUENT_ACCESS"}
    assert logs.describe_log_groups(**kept)["logGroups"][0]["retentionInDays"] == 30
    logs.delete_retention_policy(logGroupName=name)
    assert "retentionInDays" not in logs.describe_log_groups(**kept)["logGroups"][0]
    assert logs.describe_log_groups(**kept)["logGroups"][0]["metricFilterCount"] == 0
    full = {str(number): "" for number in range(49)}
    logs.tag_resource(resourceArn=arn, tags=full)
    assert len(logs.list_tags_for_resource(resourceArn=arn)["tags"]) == 50
    logs.untag_resource(resourceArn=arn, tagKeys=list(full))
    many = {str(number): "" for number in range(50)}
    assert error(logs.tag_resource, resourceArn=arn, tags=many)[0] == "TooManyTagsException"
    assert error(logs.list_tags_for_resource, resourceArn=f"{arn}/none")[0] == "ResourceNotFoundException"
    assert error(logs.delete_log_group, logGroupName=name)[0] == "ValidationException"
    logs.put_log_group_deletion_protection(logGroupIdentifier=arn, deletionProtectionEnabled=False)
    logs.delete_log_group(logGroupName=name)


def test_many_equal_times_are_paged_without_loss(logs: Any, group: str):
    now = int(time.time() * 1000)
    for stream in ("a", "b"):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        put(logs, group, stream, *(f"{stream}{i}" for i in range(7)), at=now, step=0)
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, PaginationConfig={"PageSize": 3})
    assert sorted(e["message"] for page in pages for e in page["events"]) == sorted(
        f"{s}{i}" for s in "ab" for i in range(7)
    )


@pytest.mark.parametrize("operation", ["get_log_events", "filter_log_events"])
def test_a_client_that_leaves_ends_its_search(live: Any, logs: Any, group: str, operation: str):
    logs.create_log_stream(logGroupName=group, logStreamName="s")
    with contextlib.closing(sqlite3.connect(live.data_dir / "penstock.db")) as database:
        ((file,),) = database.execute('SELECT file FROM log_streams WHERE "group" = ?', (group,))
    index = live.data_dir / "log-events" / file[:2] / f"{file}.index"
    index.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(index)  # holds whoever reads it
    with_short_timeout = live.client("logs", read_timeout=0.5)
    stream = {"logStreamName": "s"} if operation == "get_log_events" else {}
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(getattr(with_short_timeout, operation), logGroupName=group, **stream)
        with pytest.raises(ReadTimeoutError):
            asked.result(20)
    deadline = time.monotonic() + 60
    with pytest.raises(OSError) as gone:  # noqa: PT012
        writing = os.open(index, os.O_WRONLY | os.O_NONBLOCK)
        with os.fdopen(writing, "wb", buffering=0) as held:
            while time.monotonic() < deadline:
                select.select([], [], [held], 0.02)
                held.write(b"?")
    assert gone.value.errno in (errno.ENXIO, errno.EPIPE)
    index.unlink()


def test_what_was_put_survives_a_restart(live_factory: Any):
    with live_factory() as live:
        logs = live.client("logs")
        logs.create_log_group(logGroupName="g")
        logs.create_log_stream(logGroupName="g", logStreamName="s")
        put(logs, "g", "s", "kept")
    with live_factory() as live:
        logs = live.client("logs")
        put(logs, "g", "s", "more")
        assert [
            e["message"] for e in logs.get_log_events(logGroupName="g", logStreamName="s", startFromHead=True)["events"]
        ] == ["kept", "more"]
