"""Time zones by their names in the database of the system (IANA's), which is renewed with the system."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# Files of the system that are no zones of IANA: what they say differs between machines, or counts leap seconds.
_NO_ZONES = ("localtime", "posixrules", "Factory", "posix/", "right/")


@lru_cache(1024)
def zone_of(name: str) -> dt.tzinfo | None:
    """A time zone, such as Europe/Berlin; None for a name that the system does not know. UTC needs no database."""
    if name == "UTC":
        return dt.UTC
    if name.startswith(_NO_ZONES):
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, such as Europe
        return None
