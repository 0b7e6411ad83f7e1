"""Ships a build's log to CloudWatch Logs while it runs, under the role of its project."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from penstock.application import App
from penstock.builds.supervisor.log import Log
from penstock.builds.workspace import Line, Workspace
from penstock.pools import FILES
from penstock.sandbox.relay import credentials_file
from penstock.wire.call import Session
from penstock.wire.errors import Refused, ServiceError, passes

_log = logging.getLogger("penstock.builds")

LOG_LIMIT = 256 * 1024**2  # bytes of one build's log
BATCH_BYTES = 900_000
BATCH_EVENTS = 2000  # the API takes 10,000, but understanding those would hold everybody else up
EVENT_OVERHEAD = 26  # bytes that PutLogEvents counts for each event
_REMADE = 3  # times that a deleted stream is made again for one batch
_DENIED = (ServiceError, Refused)


class LogsDenied(Exception):
    """The role may not make the build's log stream; the text is why."""


class LogShipper:
    """One build's way to its log stream. A role that loses the right to write logs stops the shipping, not the build.

    `written` is set when there is something to ship.
    """

    def __init__(self, app: App, workspace: Workspace, *, logs: Mapping[str, Any], region: str) -> None:
        self._app = app
        self.written = asyncio.Event()
        self._workspace = workspace
        self._group: str = logs.get("groupName", "")
        self._stream: str = logs.get("streamName", "")
        self._region = region
        self._lock = asyncio.Lock()
        self.refusal = "" if self._group else "off"  # why nothing is shipped (any more)

    def say(self, text: str) -> None:
        """Add a line of the agent's. Only while no supervisor writes the log."""
        log = Log(
            str(self._workspace.path),
            limit=LOG_LIMIT,
            session=credentials_file(str(self._workspace.path)),
            written=self.written.set,
            now=lambda: self._app.clock.now() * 1_000_000,
        )
        with contextlib.closing(log):
            log.say(text)

    async def open(self, session: Session) -> None:
        """Make group and stream, unless they are there. Raises LogsDenied, or what kept the service from answering."""
        if self.refusal:
            return
        try:
            if not await self._made(session, "CreateLogStream"):
                await self._made(session, "CreateLogGroup")
                await self._made(session, "CreateLogStream")
        except _DENIED as error:
            if passes(error):
                raise
            raise LogsDenied(error.message) from None

    async def _made(self, session: Session, operation: str) -> bool:
        """Whether it is there now; False when the group is missing."""
        request = {"logGroupName": self._group}
        if operation == "CreateLogStream":
            request["logStreamName"] = self._stream
        try:
            await self._app.invoke(session, "logs", operation, request, region=self._region)
        except ServiceError as error:
            if error.wire_code == "ResourceNotFoundException":
                return False
            if error.wire_code != "ResourceAlreadyExistsException":
                raise
        return True

    async def ship(self, session: Session) -> None:
        """Send what the log has more than was sent, in as many batches as that takes.

        Raises what kept the service from answering. The next call then begins with the same batches, and those that
        arrived are kept once.
        """
        async with self._lock:
            self.written.clear()
            while not self.refusal:
                batches, offset = await FILES.run(self._unshipped)
                if not batches:
                    return
                # Whoever ships after us, if we die now, sends the very same batches.
                await FILES.run(self._workspace.shipping, offset)
                for number, batch in enumerate(batches):
                    await self._put(session, batch, f"{offset}.{number}")
                await FILES.run(self._workspace.shipped, offset)

    def _unshipped(self) -> tuple[list[list[Line]], int]:
        lines, offset = self._workspace.lines()
        return _batches(lines) if lines else [], offset

    async def _put(self, session: Session, batch: list[Line], token: str) -> None:
        request = {
            "logGroupName": self._group,
            "logStreamName": self._stream,
            "logEvents": [{"timestamp": at, "message": text or " "} for at, text in batch],
            "sequenceToken": token,
        }
        try:
            for _ in range(_REMADE):
                try:
                    await self._app.invoke(session, "logs", "PutLogEvents", request, region=self._region)
                except ServiceError as error:
                    if error.wire_code != "ResourceNotFoundException":
                        raise
                    await self.open(session)  # somebody deleted the group or stream while the build ran
                else:
                    return
            self._refused("the log group or stream is deleted again and again")
        except LogsDenied as denied:
            self._refused(str(denied))
        except _DENIED as error:
            if passes(error):
                raise
            self._refused(error.message)

    def _refused(self, why: str) -> None:
        self.refusal = why
        _log.warning("builds.log_refused", extra={"group": self._group, "stream": self._stream, "error": why})


def _batches(lines: list[Line]) -> list[list[Line]]:
    found: list[list[Line]] = []
    for start in range(0, len(lines), BATCH_EVENTS):
        batch = lines[start : start + BATCH_EVENTS]
        text = "".join(text for _, text in batch)
        weight = len(text) if text.isascii() else 4 * len(text)
        if weight + len(batch) * EVENT_OVERHEAD <= BATCH_BYTES:
            found.append(batch)
        else:
            found += _smaller(batch)
    return found


def _smaller(lines: list[Line]) -> Iterator[list[Line]]:
    """Batches by weight, for lines that are too long to go in one."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        weight = EVENT_OVERHEAD + (len(line[1]) if line[1].isascii() else 4 * len(line[1]))
        if batch and size + weight > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += weight
    yield batch
