"""StartLiveTail: what is appended to log groups, each second, as long as somebody listens."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from penstock.application import Call
from penstock.logs import records
from penstock.logs.errors import (
    AccessDeniedException,
    InvalidParameterException,
    LimitExceededException,
    ResourceNotFoundException,
    SessionStreamingException,
    SessionTimeoutException,
)
from penstock.logs.logstore import LogStore
from penstock.logs.operations import check_pattern, operation
from penstock.logs.operations.groups import existing_group
from penstock.logs.unlocking import unlocked
from penstock.wire.arns import resource_here
from penstock.wire.call import Input, Output
from penstock.wire.errors import Throttled, Unavailable
from penstock.wire.event_streams import Event
from penstock.wire.registry import Recorded

SESSIONS = 15  # of an account at a time. AWS: CloudWatch Logs quotas
LONGEST_MS = 3 * 3_600_000
_TURN_S = 1.0
_MOST = 500  # events of an update. AWS: StartLiveTail
_STREAMS = 2_000  # of a group that a session follows: the newest
_NOTHING: dict[str, Any] = {"events": [], "sampled": False}


class LiveTail:
    """A session. It holds to where it has read, and nothing else: a client that takes its time gets what came meanwhile, sampled."""

    def __init__(self, logs: LogStore, call: Call, input: Input, groups: Sequence[str], ends: dict[str, int]) -> None:
        self._logs, self._call, self._input = logs, call, input
        self._groups = groups
        self._ends = ends  # to where each stream (by file) has been read
        self._started = False
        self._until = call.now + LONGEST_MS
        self._open = True
        logs.tailed[call.account] += 1

    def __aiter__(self) -> LiveTail:
        return self

    async def __anext__(self) -> Event:
        """The start of the session, then an update each second. Raises what ends it."""
        if not self._started:
            self._started = True
            return "sessionStart", self._start()
        clock = self._call.app.clock
        await clock.sleep(_TURN_S)
        if clock.now() >= self._until:
            raise SessionTimeoutException
        try:
            found = await self._appended()
        except Throttled:  # what is not read now is read for the next update
            found = _NOTHING
        except (AccessDeniedException, InvalidParameterException, Unavailable) as error:
            raise SessionStreamingException(str(error)) from None
        return "sessionUpdate", {"sessionMetadata": {"sampled": found["sampled"]}, "sessionResults": found["events"]}

    async def aclose(self) -> None:
        """End the session."""
        if self._open:
            self._open = False
            self._logs.tailed[self._call.account] -= 1

    async def _appended(self) -> dict[str, Any]:
        """What was appended since the last update."""
        call, logs = self._call, self._logs
        groups: dict[str, str | None] = {}
        new: list[tuple[str, str, str, int]] = []
        for group in self._groups:
            streams = await _streams(call, group, self._input)
            grown = await logs.grown(self._ends, streams.values())
            row = await call.app.store.read(records.find_group, call.account, call.region, group) if grown else None
            if row is not None:  # else nothing came, or the group was deleted meanwhile
                groups[group] = row.data_key
                arn = call.arn("logs", f"log-group:{group}")
                new += [(arn, name, file, self._ends.get(file, 0)) for name, file in streams.items() if file in grown]
        if not new:
            return _NOTHING
        pattern = self._input.get("logEventFilterPattern", "")
        reading = functools.partial(logs.tail, new, pattern=pattern, limit=_MOST)
        found = await unlocked(logs, call, groups, reading)
        self._ends |= found["ends"]
        return found

    def _start(self) -> Output:
        call = self._call
        return {
            "requestId": call.request_id,
            "sessionId": call.app.ids.uuid(),
            "logGroupIdentifiers": [call.arn("logs", f"log-group:{group}") for group in self._groups],
            "logStreamNames": self._input.get("logStreamNames", []),
            "logStreamNamePrefixes": self._input.get("logStreamNamePrefixes", []),
            "logEventFilterPattern": self._input.get("logEventFilterPattern", ""),
        }


def _groups(call: Call, input: Input) -> list[str]:
    """The names of the groups. Raises InvalidParameterException for what is no ARN of a group."""
    names = []
    for identifier in input["logGroupIdentifiers"]:
        kind, _, name = (resource_here(call, identifier, "logs") or "").partition(":")
        if not identifier.startswith("arn:"):
            raise InvalidParameterException(
                f"{identifier} is not the ARN of a log group. It has the form arn:aws:logs:REGION:ACCOUNT:log-group:NAME."
            )
        if kind != "log-group":
            raise ResourceNotFoundException(what="log group")
        names.append(name)
    return names


def _group_arns(call: Call, input: Input) -> list[str]:
    return [call.arn("logs", f"log-group:{name}") for name in _groups(call, input)]


async def _streams(call: Call, group: str, input: Input) -> dict[str, str]:
    """The files of the streams that a session follows, by name."""
    return await call.app.store.read(
        records.list_tailed,
        call.account,
        call.region,
        group,
        limit=_STREAMS,
        names=input.get("logStreamNames", []),
        prefixes=input.get("logStreamNamePrefixes", []),
    )


@operation("StartLiveTail", resource=_group_arns, recorded=Recorded.DATA)
async def start_live_tail(logs: LogStore, call: Call, input: Input) -> Output:
    """Give what is written to up to ten groups from now on, as it comes, for three hours at most."""
    groups = _groups(call, input)
    names, prefixes = input.get("logStreamNames", []), input.get("logStreamNamePrefixes", [])
    if names and prefixes:
        raise InvalidParameterException("logStreamNames and logStreamNamePrefixes are mutually exclusive.")
    if (names or prefixes) and len(groups) > 1:
        raise InvalidParameterException("Log streams can be named only where one log group is.")
    if len(set(groups)) < len(groups):
        raise InvalidParameterException("logGroupIdentifiers names a log group more than once.")
    check_pattern(input.get("logEventFilterPattern", ""))
    ends: dict[str, int] = {}
    for group in groups:
        await existing_group(call, group)
        streams = await _streams(call, group, input)
        if len(streams) < len(set(names)):
            raise ResourceNotFoundException(what="log stream")
        ends |= await logs.grown({}, streams.values())
    if logs.tailed[call.account] >= SESSIONS:
        raise LimitExceededException
    return {"responseStream": LiveTail(logs, call, input, groups, ends)}
