"""Comparing the addresses by which a console is reached."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_at(host: str, address: str) -> bool:
    """Whether a browser that sends this Host header has come by an address."""
    return place(f"//{host}") == place(address)


def place(url: str) -> tuple[str, int | None]:
    """Host and port of an address; None for the port that its scheme has anyway, which browsers do not say."""
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:  # of a Host header that is not an address
        return "", None
    return found.hostname or "", None if port in (80, 443) else port
