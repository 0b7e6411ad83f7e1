"""Sends the traces of runs that end to a collector, by OTLP over HTTP. Nothing of it runs unless an address was given.

A collector that is away harms nothing: what waits is bounded, is tried a few times, and is then left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import orjson

from penstock import __version__, metrics, tracing
from penstock.egress import Egress, EgressSettings, NoAnswer, Occupied, Request
from penstock.fleet.settings import FleetSettings
from penstock.loops import Loop

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.store.events import Event

_log = logging.getLogger("penstock.fleet")

TRACES = metrics.by_labels(
    metrics.counter(
        "penstock_traces_total",
        "Traces of runs, by what became of them: sent, failed (the collector did not take it) or dropped (too many waited).",
        "outcome",
    )
)

_WAITING = 1_000  # runs
_TRIES = 3
_SECONDS = 10.0
_PAUSE = 2.0  # seconds after a failure
_ANSWER = 64 << 10  # bytes


class _Run(NamedTuple):
    account: str
    region: str
    id: str


class Traces:
    """Sends, for as long as it is started."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._url = app.settings.of(FleetSettings).otlp_endpoint
        # The operator names the address, so that it may be anywhere.
        allowed = ("0.0.0.0/0", "::/0")
        self._egress = Egress(
            EgressSettings(egress_networks=allowed, egress_ca_file=app.settings.of(EgressSettings).egress_ca_file)
        )
        self._waiting: deque[_Run] = deque()
        self._more = asyncio.Event()
        self._failing = False
        self._loop: Loop | None = None

    async def start(self) -> None:
        """Begin, when there is a collector."""
        if self._url:
            self._app.store.taps.add(self._note)
            self._loop = self._app.store.loops.start("fleet.traces", self._turn, self._more.wait)

    async def stop(self) -> None:
        """End. What waits is left out."""
        self._app.store.taps.discard(self._note)
        await self._app.store.loops.stop(self._loop)

    def _note(self, event: Event) -> None:
        """Take in an event that this process has committed: each run ends in one process."""
        for tracer in self._app.tracers:
            ended = tracer.ends.get(event.type)
            id = ended(event) if ended is not None else ""
            if not id:
                continue
            if len(self._waiting) >= _WAITING:
                TRACES("dropped").inc()
                continue
            self._waiting.append(_Run(event.account, event.region, id))
            self._more.set()

    async def _turn(self) -> None:
        while self._waiting:
            await self._export(self._waiting.popleft())
        self._more.clear()

    async def _export(self, run: _Run) -> None:
        app = self._app
        root = await app.store.scan(tracing.find, app.tracers, run.account, run.region, run.id)
        if root is None:
            return
        content = orjson.dumps(tracing.to_otlp(run.id, root, __version__))
        why = ""
        for _ in range(_TRIES):
            why = await self._send(content)
            if not why:
                self._failing = False
                TRACES("sent").inc()
                return
            await asyncio.sleep(_PAUSE)
        TRACES("failed").inc()
        if not self._failing:
            self._failing = True
            _log.warning("traces.not_sent", extra={"why": why})

    async def _send(self, content: bytes) -> str:
        """Why it was not taken; "" when it was."""
        headers = [("Content-Type", "application/json")]
        url = f"{self._url.rstrip('/')}/v1/traces"
        try:
            request = Request(url, "POST", headers, content, plain=True)
            answer = await self._egress.send(request, seconds=_SECONDS, most=_ANSWER, cut=True)
        except Occupied:
            return "too many names are looked up at once"
        except NoAnswer as error:
            return str(error)
        return "" if answer.status // 100 == 2 else f"the collector answers {answer.status}"
