"""Time zones by their names in the database of the system (IANA's), which is renewed with the system."""

from __future__ import annotations

from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


@lru_cache(1024)
def zone_of(name: str) -> ZoneInfo | None:
    """A time zone, such as Europe/Berlin; None for a name that the system does not know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, such as Europe
        return None
