"""Structured lines on stderr: time, level, dotted event name, `key=value` fields. Nothing secret is ever passed in."""

from __future__ import annotations

import json
import sys
import time

from penstock_agent.failures import reason

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_threshold = LEVELS["info"]


def set_level(name: str) -> None:
    """Lines below `name` (a key of LEVELS) are not written."""
    global _threshold  # noqa: PLW0603 - one process, one log
    _threshold = LEVELS[name]


def write(level: str, event: str, **fields: object) -> None:
    """Write one line; values with spaces or quotes are JSON strings."""
    if LEVELS[level] < _threshold:
        return
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + ".%03dZ" % (now % 1 * 1000)
    parts = [stamp, level, event]
    for name, value in fields.items():
        text = reason(value) if isinstance(value, OSError) else str(value)
        plain = text and not any(c in text for c in " \"'=\\") and text.isprintable()
        parts.append(name + "=" + (text if plain else json.dumps(text)))
    try:
        sys.stderr.write(" ".join(parts).encode("utf-8", "replace").decode("utf-8") + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # a closed stderr must not stop a deployment


def debug(event: str, **fields: object) -> None:
    """Something for whoever looks for a fault."""
    write("debug", event, **fields)


def info(event: str, **fields: object) -> None:
    """Something that happened as it should."""
    write("info", event, **fields)


def warning(event: str, **fields: object) -> None:
    """Something that the agent gets over by itself."""
    write("warning", event, **fields)


def error(event: str, **fields: object) -> None:
    """Something that someone should look at."""
    write("error", event, **fields)


def fault(event: str, raised: BaseException) -> None:
    """A defect of the agent itself, with where it was raised."""
    import traceback

    places = " < ".join(
        "%s:%d" % (frame.filename.rpartition("/")[2], frame.lineno or 0)
        for frame in reversed(traceback.extract_tb(raised.__traceback__))
    )
    error(event, kind=type(raised).__name__, reason=str(raised), at=places)
