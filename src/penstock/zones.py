"""Time zones by their names in the database of the system (IANA's), which is renewed with the system."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


@lru_cache(1024)
def zone_of(name: str) -> dt.tzinfo | None:
    """A time zone, such as Europe/Berlin; None for a name that the system does not know. UTC needs no database."""
    if name == "UTC":
        return dt.UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, such as Europe
        return None
