"""StartLiveTail: boto3 and the AWS CLI listen to a live server, and what ends a session."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import ClientError, EventStreamError
from penstock_waiting import until

from penstock.logfiles.sealed import DataKey
from penstock.logfiles.search import Sample, tail
from penstock.logfiles.streams import StreamFiles
from penstock.logs.errors import SessionTimeoutException
from penstock.logs.operations import live_tail
from penstock.store.clock import ManualClock
from penstock.wire.event_streams import EventStream, message

ARN = "arn:aws:logs:us-east-1:111111111111:log-group:"


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_tail, "_TURN_S", 0.05)
        yield


@pytest.fixture(scope="module")
def logs(live: Any) -> Any:
    return live.client("logs", parameter_validation=False)


@pytest.fixture
def group(logs: Any) -> str:
    name = f"/tail/{uuid.uuid4().hex[:8]}"
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="s")
    return name


def put(logs: Any, group: str, stream: str, *texts: str) -> int:
    now = int(time.time() * 1000)
    events = [{"timestamp": now, "message": text} for text in texts]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    return now


def results(stream: Any, many: int) -> list[Any]:
    """What updates bring, until so many events have come."""
    found: list[Any] = []
    for event in stream:
        if len(found := found + event.get("sessionUpdate", {}).get("sessionResults", [])) >= many:
            break
    return found


def test_what_is_written_comes_once_and_as_the_model_says(logs: Any, group: str):
    put(logs, group, "s", "before")
    answer = logs.start_live_tail(logGroupIdentifiers=[ARN + group], logEventFilterPattern="-noise")
    with closing(answer["responseStream"]) as stream:
        events = iter(stream)
        start = next(events)["sessionStart"]
        assert (start["logGroupIdentifiers"], start["logEventFilterPattern"]) == ([ARN + group], "-noise")
        assert start["requestId"] == answer["ResponseMetadata"]["RequestId"]
        now = put(logs, group, "s", "one", "noise", "two")
        logs.create_log_stream(logGroupName=group, logStreamName="new")
        found = results(events, 2)
        put(logs, group, "new", "three")
        found += results(events, 1)
        put(logs, group, "s", "four")
        found += results(events, 1)
    assert [(one["logStreamName"], one["message"]) for one in found] == [
        ("s", "one"), ("s", "two"), ("new", "three"), ("s", "four"),
    ]  # fmt: skip
    assert found[0] | {"ingestionTime": 0} == {
        "logGroupIdentifier": ARN + group, "logStreamName": "s", "message": "one", "timestamp": now, "ingestionTime": 0,
    }  # fmt: skip


def test_streams_are_chosen_by_name_or_prefix(logs: Any, group: str):
    for name in ("web-1", "job-1"):
        logs.create_log_stream(logGroupName=group, logStreamName=name)
    for chosen in ({"logStreamNames": ["web-1"]}, {"logStreamNamePrefixes": ["web-", "x"]}):
        with closing(logs.start_live_tail(logGroupIdentifiers=[ARN + group], **chosen)["responseStream"]) as stream:
            events = iter(stream)
            next(events)
            put(logs, group, "job-1", "other")
            put(logs, group, "web-1", "mine")
            assert [one["message"] for one in results(events, 1)] == ["mine"]


@pytest.mark.parametrize(
    ("input", "code", "text"),
    [
        ({"logGroupIdentifiers": ["x"]}, "InvalidParameterException", "x is not the ARN of a log group"),
        ({"logGroupIdentifiers": [ARN + "x:*"]}, "InvalidParameterException", "Member must satisfy regular expression pattern"),
        ({"logGroupIdentifiers": [ARN + "none"]}, "ResourceNotFoundException", "The specified log group does not exist."),
        ({"logStreamNames": ["none"]}, "ResourceNotFoundException", "The specified log stream does not exist."),
        ({"logStreamNames": ["s"], "logStreamNamePrefixes": ["s"]}, "InvalidParameterException", "mutually exclusive"),
        ({"logStreamNames": ["s"], "logGroupIdentifiers": [ARN + "a", ARN + "b"]}, "InvalidParameterException", "only where one"),
        ({"logGroupIdentifiers": [ARN + "a", ARN + "a"]}, "InvalidParameterException", "more than once"),
        ({"logEventFilterPattern": "a:b"}, "InvalidParameterException", "Invalid character(s) in term ':'"),
        ({"logGroupIdentifiers": [ARN + str(number) for number in range(11)]}, "InvalidParameterException", "less than or equal to 10"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused(logs: Any, group: str, input: Any, code: str, text: str):
    with pytest.raises(ClientError) as refused:
        logs.start_live_tail(**{"logGroupIdentifiers": [ARN + group]} | input)
    assert refused.value.response["Error"]["Code"] == code
    assert text in refused.value.response["Error"]["Message"]


def test_an_account_has_so_many_sessions_until_they_are_left(logs: Any, group: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_tail, "SESSIONS", 1)
    asked = {"logGroupIdentifiers": [ARN + group]}
    with closing(logs.start_live_tail(**asked)["responseStream"]):
        with pytest.raises(ClientError) as refused:
            logs.start_live_tail(**asked)
        assert refused.value.response["Error"] == {
            "Code": "LimitExceededException",
            "Message": "Resource limit exceeded.",
        }

    def again() -> bool:
        try:
            logs.start_live_tail(**asked)["responseStream"].close()
        except ClientError:
            return False
        return True

    assert until(again)


def test_a_session_ends_after_its_time(logs: Any, group: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_tail, "LONGEST_MS", 1)
    with (
        closing(logs.start_live_tail(logGroupIdentifiers=[ARN + group])["responseStream"]) as stream,
        pytest.raises(EventStreamError, match="SessionTimeoutException.*open for three hours"),
    ):
        list(stream)


def test_the_aws_cli_prints_what_is_written(live: Any, logs: Any, group: str):
    command = [
        str(Path(sys.executable).parent / "aws"),
        "logs",
        "start-live-tail",
        "--log-group-identifiers",
        ARN + group,
    ]
    environment = live.environment() | {"AWS_DISABLE_HOST_PREFIX_INJECTION": "true", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as client:
        writing = threading.Event()

        def write() -> None:
            while not writing.wait(0.1):  # it says nothing of when it has begun
                put(logs, group, "s", "hello from s")

        writer = threading.Thread(target=write)
        writer.start()
        assert client.stdout is not None
        line = client.stdout.readline()
        writing.set()
        writer.join()
        client.terminate()
    assert "hello from s" in line


# --- in process ---------------------------------------------------------------------------------------------------------


def test_a_sample_is_spread_evenly_and_bounded():
    for many in (0, 3, 4, 5, 8, 100, 1001):
        sample = Sample[int](4)
        for number in range(many):
            sample.add(number)
        kept = sample.kept()
        assert len(kept) == min(many, 4)
        assert sorted(set(kept)) == kept
        assert sample.seen == many
        assert many < 100 or kept[-1] > many / 2


def test_what_was_appended_behind_an_offset_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    key = DataKey("ab" * 16, b"k" * 32)
    files = StreamFiles(tmp_path / "a.log")
    files.append([(5, "old")], 1)
    offset = files.path.stat().st_size
    files.append([(9, "x1"), (9, "no")], 2)
    files.append([(3, "x2")], 3, seal=key)
    asked: dict[str, Any] = {
        "keys": {key.id: key.key},
        "pattern": "?x1 ?x2",
        "streams": [("g", "s", str(files.path), offset)],
    }
    found = tail(**asked, limit=9)
    assert [(one["timestamp"], one["message"], one["logGroupIdentifier"]) for one in found["events"]] == [
        (3, "x2", "g"),
        (9, "x1", "g"),
    ]
    assert (found["ends"], found["sampled"]) == ({str(files.path): files.path.stat().st_size}, False)
    assert tail(**asked, limit=1)["sampled"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.logfiles.search.MAX_PROCESSOR_S", -1)
        late = tail(**asked, limit=9)  # a pattern that takes long: the rest of it is passed over
        assert (late["events"], late["sampled"], late["ends"]) == ([], True, found["ends"])
    monkeypatch.setattr("penstock.logfiles.search.MAX_SEARCHED", 1)
    newest = tail(**asked, limit=9)  # more than is looked through: the oldest of it is passed over
    assert ([one["message"] for one in newest["events"]], newest["sampled"]) == ([], True)
    assert newest["ends"] == found["ends"]
    files.close()
    files.path.unlink()
    assert tail(**asked, limit=9)["events"] == []


def test_messages_are_framed_as_botocore_reads_them():
    buffer = EventStreamBuffer()
    buffer.add_data(message({":event-type": "a", ":message-type": "event"}, b"{}") + message({}, b"x" * 70_000))
    first, second = buffer
    assert (first.headers, first.payload) == ({":event-type": "a", ":message-type": "event"}, b"{}")
    assert (second.headers, len(second.payload)) == ({}, 70_000)


class Quiet:
    """Events that never come."""

    closed = False

    def __aiter__(self) -> Quiet:
        return self

    async def __anext__(self) -> Any:
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.closed = True


async def test_a_server_that_drains_ends_a_stream_that_waits():
    events = Quiet()
    stream = EventStream(events, b"{}", lambda _name, _value: b"", "application/json")
    pieces = aiter(stream)
    assert b"initial-response" in await anext(pieces)
    waiting = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0)
    stream.end()
    with pytest.raises(StopAsyncIteration):
        await waiting
    await stream.aclose()
    assert events.closed


async def test_three_hours_are_the_longest_session():
    clock = ManualClock(0)
    tailed: dict[str, int] = {"1": 0}
    app = SimpleNamespace(clock=clock, ids=SimpleNamespace(uuid=lambda: "id"))
    call: Any = SimpleNamespace(now=0, account="1", app=app, request_id="r")
    session = live_tail.LiveTail(SimpleNamespace(tailed=tailed), call, {}, [], {})  # type: ignore[arg-type]
    assert (await anext(session))[0] == "sessionStart"
    update = asyncio.ensure_future(session.__anext__())
    await asyncio.sleep(0)
    clock.advance(live_tail.LONGEST_MS - 1)
    assert await update == ("sessionUpdate", {"sessionMetadata": {"sampled": False}, "sessionResults": []})
    update = asyncio.ensure_future(session.__anext__())
    await asyncio.sleep(0)
    clock.advance(50)
    with pytest.raises(SessionTimeoutException):
        await update
    for _ in range(2):
        await session.aclose()
    assert tailed == {"1": 0}
