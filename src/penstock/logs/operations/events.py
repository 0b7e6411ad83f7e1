"""Log events: PutLogEvents, GetLogEvents, FilterLogEvents."""

from __future__ import annotations

import functools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from penstock.application import Call
from penstock.logfiles.search import OVERHEAD
from penstock.logfiles.streams import START, Position
from penstock.logs import records
from penstock.logs.errors import InvalidParameterException, ResourceNotFoundException
from penstock.logs.logstore import LogStore
from penstock.logs.operations import check_pattern, operation
from penstock.logs.operations.groups import (
    existing_group,
    existing_stream,
    group_arn,
    group_name,
    sequence_token,
    stream_arn,
)
from penstock.logs.unlocking import unlocked
from penstock.wire.call import Input, Output
from penstock.wire.pages import Pages
from penstock.wire.registry import Recorded

MAX_BATCH = 1_048_576  # bytes, each event counted with OVERHEAD
MAX_EVENTS = 10_000
_STREAMS = 2_000  # that a page of FilterLogEvents looks into
_DAY = 86_400_000
_TOO_OLD = 14 * _DAY
_TOO_NEW = 2 * 3_600_000
_NEWEST_FIRST_SINCE = 1_704_067_200_000  # AWS: FilterLogEvents
_FOUND = Pages(  # a token says which way it goes, whatever startFromHead says beside it
    lambda _token: InvalidParameterException("The specified nextToken is invalid."),
    bound=(
        "logGroupName",
        "logGroupIdentifier",
        "logStreamNames",
        "logStreamNamePrefix",
        "startTime",
        "endTime",
        "filterPattern",
    ),
)
_TOKEN = re.compile(r"([fb])/(\d{20})(\d{20})/s\Z")


@operation("PutLogEvents", resource=stream_arn, unthrottled=True, recorded=Recorded.DATA)
async def put_log_events(logs: LogStore, call: Call, input: Input) -> Output:
    """Append a batch to a stream. The same batch with the same sequence token again, as after a lost answer, is kept once."""
    given = input["logEvents"]
    timestamps, messages = [event["timestamp"] for event in given], [event["message"] for event in given]
    _check_batch(timestamps, messages)
    row = await existing_stream(call, input["logGroupName"], input["logStreamName"])
    old = bisect_left(timestamps, call.now - _TOO_OLD)
    expired = bisect_left(timestamps, _kept_since(call, row.retention))
    new = len(timestamps) - bisect_right(timestamps, call.now + _TOO_NEW)
    kept = list(zip(timestamps, messages, strict=True))[max(old, expired) : len(timestamps) - new]
    if kept:
        seal = await logs.keys.to_seal(call, row.group, row.data_key)
        await logs.append(row.file, kept, call.now, input.get("sequenceToken", ""), seal)
    output: Output = {"nextSequenceToken": sequence_token(row.file, call.now)}
    rejected = {}
    if old:
        rejected["tooOldLogEventEndIndex"] = old
    if expired:
        rejected["expiredLogEventEndIndex"] = expired
    if new:
        rejected["tooNewLogEventStartIndex"] = len(timestamps) - new
    return output | ({"rejectedLogEventsInfo": rejected} if rejected else {})


@operation("GetLogEvents", resource=stream_arn, abandonable=True, recorded=Recorded.DATA)
async def get_log_events(logs: LogStore, call: Call, input: Input) -> Output:
    """A page of a stream, and tokens for the pages around it; at an end the token given comes back."""
    start, end = _range(input)
    direction, position = _opened(input.get("nextToken"), head=bool(input.get("startFromHead")))
    row = await existing_stream(call, group_name(call, input), input["logStreamName"])
    reading = functools.partial(
        logs.page,
        row.file,
        direction=direction,
        position=position,
        start=max(start, _kept_since(call, row.retention)),
        end=end,
        limit=input.get("limit", MAX_EVENTS),
    )
    page = await unlocked(logs, call, {row.group: row.data_key}, reading)
    return {
        "events": page["events"],
        "nextForwardToken": _token("f", page["last"] or position or START),
        "nextBackwardToken": _token("b", page["first"] or position or START),
    }


@operation("FilterLogEvents", resource=group_arn, abandonable=True)
async def filter_log_events(logs: LogStore, call: Call, input: Input) -> Output:
    """Events of a group's streams that match a pattern, merged by time, oldest first or newest first.

    A page looks into so many streams at most. In a larger group the pages of the first streams come before those of the next.
    """
    pattern = input.get("filterPattern", "")
    check_pattern(pattern)
    start, end = _range(input)
    group = group_name(call, input)
    names = input.get("logStreamNames", [])
    if names and input.get("logStreamNamePrefix"):
        raise InvalidParameterException("logStreamNamePrefix and logStreamNames are mutually exclusive.")
    found_group = await existing_group(call, group)
    newest_first = not input.get("startFromHead", True)
    if newest_first and start < _NEWEST_FIRST_SINCE:
        raise InvalidParameterException(
            "startFromHead can be false only where startTime is on or after Jan 1, 2024 00:00:00 UTC."
        )
    behind, others, newest_first = _FOUND.after(call, input) or (None, "", newest_first)
    streams = await call.app.store.scan(
        records.list_files,
        call.account,
        call.region,
        group,
        limit=_STREAMS,
        after=others,
        prefix=input.get("logStreamNamePrefix", ""),
        names=names,
    )
    if len(streams) < len(set(names)):
        raise ResourceNotFoundException(what="log stream")
    reading = functools.partial(
        logs.search,
        streams,
        pattern=pattern,
        behind=behind,
        start=max(start, _kept_since(call, found_group.retention)),
        end=None if end is None else end + 1,  # unlike that of GetLogEvents, this end is within the range
        limit=input.get("limit", MAX_EVENTS),
        newest_first=newest_first,
    )
    found = await unlocked(logs, call, {group: found_group.data_key}, reading)
    output: Output = {"events": found["events"], "searchedLogStreams": []}
    if found["more"] is not None:
        output["nextToken"] = _FOUND.token(call, input, [found["more"], others, newest_first])
    elif len(streams) == _STREAMS:
        output["nextToken"] = _FOUND.token(call, input, [None, list(streams)[-1], newest_first])
    return output


def _check_batch(timestamps: list[int], messages: list[str]) -> None:
    text = "".join(messages)
    size = len(messages) * OVERHEAD + (len(text) if text.isascii() else len(text.encode("utf-8", "replace")))
    if size > MAX_BATCH:
        raise InvalidParameterException(f"Upload too large: {size} bytes exceeds limit of {MAX_BATCH}")
    if sorted(timestamps) != timestamps:
        raise InvalidParameterException("Log events in a single PutLogEvents request must be in chronological order.")
    if timestamps[-1] - timestamps[0] > _DAY:
        raise InvalidParameterException(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
        )


def _kept_since(call: Call, retention: int | None) -> int:
    """The time stamp from which on a group keeps events: those of before are not given any more, and go with their stream."""
    return 0 if retention is None else call.now - retention * _DAY


def _range(input: Input) -> tuple[int, int | None]:
    start, end = input.get("startTime", 0), input.get("endTime")
    if end is not None and end < start:
        raise InvalidParameterException("endTime must not be before startTime")
    return start, end


def _opened(token: str | None, *, head: bool) -> tuple[str, Position | None]:
    if not token:
        return ("f" if head else "b"), None
    found = _TOKEN.match(token)
    if found is None:
        raise InvalidParameterException("The specified nextToken is invalid.")
    direction, timestamp, offset = found.groups()
    return direction, (int(timestamp) - 1, int(offset) - 1)


def _token(direction: str, position: Sequence[int]) -> str:
    return f"{direction}/{position[0] + 1:020d}{position[1] + 1:020d}/s"
