"""`/healthz`, `/readyz` and `/metrics`."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
import sqlalchemy.exc

from penstock import metrics
from penstock.fleet.readings import Readings
from penstock.fleet.settings import FleetSettings
from penstock.pools import FILES
from penstock.store.errors import StoreError
from penstock.store.records import subscriptions
from penstock.wire.asgi import send_text
from penstock.wire.message import client_address, join_headers

if TYPE_CHECKING:
    from penstock.application import App, Asgi

log = logging.getLogger("penstock.fleet")

_READY_SECONDS = 4  # a store that takes longer for one small write serves nobody
_KNOWN_SECONDS = 1.0  # for which an answer holds, so that asking often costs nothing
_PROBE_BYTES = 64 << 10
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-real-ip")
_NOT_YOURS = (
    "Metrics can be read from 127.0.0.1 only, or with `Authorization: Bearer TOKEN` and the token of the server's option "
    "--metrics-token-file.\n"
)


class Readiness:
    """Whether this process can do its work: its stores take writes, and none of its background loops fails."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._asking = asyncio.Lock()
        self._known: list[str] = []
        self._until = 0.0

    async def faults(self) -> list[str]:
        """Why it cannot, in sentences; empty when it can."""
        async with self._asking:
            if time.monotonic() >= self._until:
                self._known = [fault for fault in (await self._database(), await self._disk()) if fault]
                self._until = time.monotonic() + _KNOWN_SECONDS
        failing = self._app.store.loops.failing()
        return self._known + [f"the background loop {name} fails; the server's log says why" for name in failing]

    async def _database(self) -> str:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self._app.store.write(_touch)
        except TimeoutError:
            return "the database does not answer"
        except (StoreError, sqlalchemy.exc.SQLAlchemyError) as error:
            log.warning("ready.database_failed", extra={"error": str(error)})
            return "the database takes no writes"
        return ""

    async def _disk(self) -> str:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await FILES.run(_write, self._app.settings.data_dir / f".ready-{os.getpid()}")
        except TimeoutError:
            return "the data dir does not answer"
        except OSError as error:
            log.warning("ready.disk_failed", extra={"error": str(error)})
            return f"the data dir takes no writes: {error.strerror}"
        return ""


def _touch(conn: sa.Connection) -> None:
    """Write something: reading still works when a disk is full or read-only."""
    one = sa.select(sa.func.min(subscriptions.c.name)).scalar_subquery()
    conn.execute(subscriptions.update().where(subscriptions.c.name == one).values(since=subscriptions.c.since))


def _write(path: Path) -> None:
    try:
        with path.open("wb", buffering=0) as file:
            if file.write(b"\0" * _PROBE_BYTES) != _PROBE_BYTES:
                raise OSError(28, "No space left on device")
    finally:
        path.unlink(missing_ok=True)


class Health:
    """The three pages. They are unsigned; what the metrics show of the installation is not for everybody."""

    def __init__(self, app: App) -> None:
        self._readiness = Readiness(app)
        self.readings = Readings(app)
        self._token = app.settings.of(FleetSettings).metrics_token

    @property
    def mounts(self) -> dict[str, Asgi]:
        """Their paths."""
        return {"/healthz": _text(self._healthz), "/readyz": _text(self._readyz), "/metrics": _text(self._metrics)}

    async def _healthz(self, _scope: dict[str, Any]) -> tuple[int, str]:
        return 200, "ok\n"

    async def _readyz(self, _scope: dict[str, Any]) -> tuple[int, str]:
        faults = await self._readiness.faults()
        return (503, "".join(f"{fault}\n" for fault in faults)) if faults else (200, "ready\n")

    async def _metrics(self, scope: dict[str, Any]) -> tuple[int, str]:
        if not _may_scrape(scope, self._token):
            return 403, _NOT_YOURS
        await self.readings.refresh()
        return 200, metrics.exposition()


def _may_scrape(scope: dict[str, Any], token: str) -> bool:
    """Whoever has the token, and the people of this machine: not its builds, and not those whom a proxy lets in."""
    headers = join_headers(scope["headers"])
    given = headers.get("authorization", "").encode("latin-1")
    if token and hmac.compare_digest(given, b"Bearer " + token.encode()):
        return True
    return client_address(scope) == "127.0.0.1" and not any(name in headers for name in _FORWARDED)


def _text(page: Callable[[dict[str, Any]], Awaitable[tuple[int, str]]]) -> Any:
    async def asgi(scope: dict[str, Any], _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        status, text = await page(scope)
        await send_text(send, status, text)

    return asgi
