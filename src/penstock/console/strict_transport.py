"""Strict-Transport-Security: a browser that saw the console over TLS asks for it in no other way."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.application import Asgi

_HEADER = (b"strict-transport-security", b"max-age=31536000")  # a year, of this host alone


def strict_transport(asgi: Asgi) -> Asgi:
    """`asgi` with the header on each of its answers over TLS."""

    async def wrapped(
        scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        async def strict(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), _HEADER]}
            await send(message)

        lasting = scope.get("scheme") == "https" and _has_a_name(scope)
        await asgi(scope, receive, strict if lasting else send)

    return wrapped


def _has_a_name(scope: dict[str, Any]) -> bool:
    """Browsers keep the promise by host name and for every port, so `localhost` may not give it for others."""
    host = dict(scope.get("headers", ())).get(b"host", b"").decode("latin-1")
    name = host.rpartition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return bool(name) and name != "localhost" and not name.endswith(".localhost")
    return False
