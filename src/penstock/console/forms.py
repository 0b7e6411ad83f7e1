"""What browsers send: forms, their origin, and where to go afterwards."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from starlette.requests import Request

Form = dict[str, str]
_FORM_BYTES = 64 << 10
_PATH = 1024  # characters: it also travels in a cookie, of which browsers keep 4 KiB


async def read_form(request: Request) -> Form:
    """The fields of a form, the last of each name; none when it is larger than any of ours."""
    size = 0
    parts: list[bytes] = []
    async for part in request.stream():
        size += len(part)
        if size > _FORM_BYTES:
            return {}
        parts.append(part)
    with contextlib.suppress(ValueError):
        text = b"".join(parts).decode("utf-8", "replace")
        return {
            name: value.replace("\r\n", "\n")
            for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=100)
        }
    return {}


def same_origin(request: Request) -> bool:
    """Whether a form was sent from a page of this host; browsers say so with Origin, and say nothing wrong."""
    origin = request.headers.get("origin")
    return origin is None or origin.partition("//")[2] == request.headers.get("host")


def own_path(path: str) -> str:
    """Where to go after signing in; never to another host."""
    plain = path.startswith("/console/") and "//" not in path and "\\" not in path and path.isprintable()
    plain = plain and len(path) <= _PATH
    return path if plain else "/console/"
