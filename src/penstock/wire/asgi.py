"""What every ASGI application of this server needs: a plain-text answer, and to learn that the client has left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def send_text(send: Send, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
    """Answer with a text; `headers` are further ones, with lower-case names."""
    body = text.encode()
    start = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def client_left(receive: Callable[[], Awaitable[Any]]) -> None:
    """Return when the client has left. What it still sends is dropped: only for requests whose body has been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
