"""Ships a build's log to CloudWatch Logs while it runs, under the role of its project."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from penstock.builds.workspace import Line, Workspace
from penstock.room import App
from penstock.wire.call import Session
from penstock.wire.errors import Refused, ServiceError

log = logging.getLogger("penstock.builds")

BATCH_BYTES = 900_000
BATCH_EVENTS = 500  # the API takes 10,000, but understanding those would hold everybody else up
EVENT_OVERHEAD = 26  # bytes that PutLogEvents counts for each event


class LogShipper:
    """One build's way to its log stream. A role that may not write logs stops the shipping, not the build."""

    def __init__(self, app: App, workspace: Workspace, *, logs: Mapping[str, Any], region: str) -> None:
        self._app = app
        self._workspace = workspace
        self._group: str = logs.get("groupName", "")
        self._stream: str = logs.get("streamName", "")
        self._region = region
        self._lock = asyncio.Lock()
        self._opened = False
        self.refusal = "" if self._group else "off"  # why nothing is shipped (any more)

    async def open(self, session: Session) -> None:
        """Make group and stream, unless they are there."""
        if self.refusal or self._opened:
            return
        self._opened = True
        for operation, request in (
            ("CreateLogGroup", {"logGroupName": self._group}),
            ("CreateLogStream", {"logGroupName": self._group, "logStreamName": self._stream}),
        ):
            try:
                await self._app.invoke(session, "logs", operation, request, region=self._region)
            except ServiceError as error:
                if error.wire_code != "ResourceAlreadyExistsException":
                    self._refused(error)
                    return
            except Refused as error:
                if operation == "CreateLogGroup":
                    continue  # the group may be there, and the role may lack only the right to make it
                self._refused(error)
                return

    def _refused(self, error: ServiceError | Refused) -> None:
        self.refusal = error.message
        log.warning("builds.log_refused", extra={"group": self._group, "stream": self._stream, "error": error.message})

    async def ship(self, session: Session) -> None:
        """Send what the log has more than was sent, in as many batches as that takes."""
        async with self._lock:
            while not self.refusal:
                batches, offset = await asyncio.to_thread(self._unshipped)
                if not batches:
                    return
                # Whoever ships after us, if we die now, sends the very same batches, and those that arrived are kept once.
                await asyncio.to_thread(self._workspace.shipping, offset)
                for number, batch in enumerate(batches):
                    await self._put(session, batch, f"{offset}.{number}")
                await asyncio.to_thread(self._workspace.shipped, offset)

    def _unshipped(self) -> tuple[list[list[Line]], int]:
        lines, offset = self._workspace.lines()
        return _batches(lines) if lines else [], offset

    async def _put(self, session: Session, batch: list[Line], token: str) -> None:
        events = [{"timestamp": line.at, "message": line.text or " "} for line in batch]
        try:
            await self._app.invoke(
                session,
                "logs",
                "PutLogEvents",
                {
                    "logGroupName": self._group,
                    "logStreamName": self._stream,
                    "logEvents": events,
                    "sequenceToken": token,
                },
                region=self._region,
            )
        except (ServiceError, Refused) as error:
            self._refused(error)


def _batches(lines: list[Line]) -> list[list[Line]]:
    found: list[list[Line]] = [[]]
    size = 0
    last = 0
    for line in lines:
        line = Line(max(line.at, last), line.text)  # noqa: PLW2901 - a clock set back must not undo the order
        last = line.at
        weight = 4 * len(line.text) if not line.text.isascii() else len(line.text)
        weight += EVENT_OVERHEAD
        if found[-1] and (size + weight > BATCH_BYTES or len(found[-1]) == BATCH_EVENTS):
            found.append([])
            size = 0
        found[-1].append(line)
        size += weight
    return found
