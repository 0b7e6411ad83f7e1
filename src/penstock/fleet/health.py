"""`/healthz`, `/readyz` and `/metrics`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import prometheus_client
import sqlalchemy as sa
import sqlalchemy.exc

from penstock.store.errors import StoreError

if TYPE_CHECKING:
    from penstock.room import App

_READY_SECONDS = 2


def register(app: App) -> None:
    """Mount the three pages. They are unsigned and tell nothing of what runs."""

    async def healthz(_scope: dict[str, Any]) -> tuple[int, str]:
        return 200, "ok\n"

    async def readyz(_scope: dict[str, Any]) -> tuple[int, str]:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await app.store.read(lambda conn: conn.execute(sa.text("SELECT 1")).scalar_one())
        except (TimeoutError, StoreError, sqlalchemy.exc.SQLAlchemyError):
            return 503, "the database does not answer\n"
        return 200, "ready\n"

    async def metrics(_scope: dict[str, Any]) -> tuple[int, str]:
        return 200, prometheus_client.generate_latest().decode()

    for path, page in (("/healthz", healthz), ("/readyz", readyz), ("/metrics", metrics)):
        app.mount(path, _text(page))


def _text(page: Callable[[dict[str, Any]], Awaitable[tuple[int, str]]]) -> Any:
    async def asgi(scope: dict[str, Any], _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        status, text = await page(scope)
        body = text.encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return asgi
