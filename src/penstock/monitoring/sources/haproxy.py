"""The counters of an HAProxy, by its socket or its page of statistics.

(HAProxy: Management Guide, "Statistics and monitoring", CSV format.)
"""

from __future__ import annotations

import asyncio
import csv
import itertools
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from penstock.monitoring.source_kind import Asked, Found, Kind, ReadFailed, Sample, difference, dimension
from penstock.monitoring.source_requests import check_url, document
from penstock.pools import FILES

_MOST = 1 << 20  # bytes of an answer
_ROWS = 100
_LISTENER = "3"
_ASKED = b"show stat\n"

_RESPONSES = ("hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other")
_COUNTERS = {
    "stot": "Sessions",
    "hrsp_2xx": "Responses2xx",
    "hrsp_3xx": "Responses3xx",
    "hrsp_4xx": "Responses4xx",
    "hrsp_5xx": "Responses5xx",
    "econ": "ConnectionErrors",
    "eresp": "ResponseErrors",
}
_GAUGES = {"scur": "CurrentSessions", "qcur": "QueuedRequests"}
_NAMED = frozenset({"pxname", "svname", "type"})
_NO_TABLE = "The answer is not HAProxy's table of statistics."
_KEPT = tuple(dict.fromkeys((*_COUNTERS, *_RESPONSES)))
_COLUMNS = _NAMED | {"status", *_GAUGES, *_KEPT}


def _check(settings: Mapping[str, Any], sockets: Sequence[str]) -> None:
    if ("url" in settings) == ("socket" in settings):
        raise ValueError("haproxy needs either a url, of the page of statistics, or a socket.")
    if "url" in settings:
        check_url(settings["url"])
        return
    path = settings["socket"]
    if not sockets:
        raise ValueError(
            "The server may open no sockets: whoever runs it names a folder for them by the option --metric-socket-dir."
        )
    if "\0" in path or not any(_lies_below(os.path.normpath(path), folder) for folder in sockets):
        raise ValueError(f"socket must be a path below {' or '.join(sockets)} (--metric-socket-dir).")


def _lies_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


async def _read(asked: Asked) -> Found:
    settings = asked.settings
    if "url" in settings:
        content = await document(asked, _table(settings["url"]), most=_MOST)
    else:
        content = await _ask(await FILES.run(_socket, settings["socket"], asked.sockets))
    return found(content.decode("latin-1"), settings.get("proxies", ()), asked.progress)


def _table(url: str) -> str:
    """The address of the table that belongs to a page of statistics."""
    parts = urlsplit(url)
    return url if ";csv" in parts.path else urlunsplit(parts._replace(path=f"{parts.path or '/'};csv"))


def _socket(path: str, folders: Sequence[str]) -> str:
    """The path itself, without links: what it names must lie in one of the folders. Raises ReadFailed."""
    real = os.path.realpath(path)
    if not any(_lies_below(real, os.path.realpath(folder)) for folder in folders):
        raise ReadFailed(f"{path} lies in none of the folders of --metric-socket-dir.")
    try:
        mode = Path(real).stat().st_mode
    except OSError as error:
        raise ReadFailed(f"{path} cannot be opened: {error.strerror}.") from None
    if not stat.S_ISSOCK(mode):
        raise ReadFailed(f"{path} is not a socket.")
    return real


async def _ask(path: str) -> bytes:
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError as error:
        raise ReadFailed(f"The socket cannot be opened: {error.strerror}.") from None
    content = bytearray()
    try:
        writer.write(_ASKED)
        while data := await reader.read(_MOST + 1 - len(content)):
            content += data
            if len(content) > _MOST:
                raise ReadFailed(f"The socket answers with more than {_MOST} bytes.")
    except OSError as error:
        raise ReadFailed(f"The socket ends the connection: {error.strerror}.") from None
    finally:
        writer.transport.abort()
    return bytes(content)


def found(text: str, proxies: Sequence[str], before: Mapping[str, Any]) -> Found:
    """What a table of statistics says of proxies (all of them when none is named), and since the read before. Raises ReadFailed."""
    rows = list(itertools.islice(_rows(text, proxies), _ROWS + 1))
    if not rows:
        named = f" of {', '.join(proxies)}" if proxies else ""
        raise ReadFailed(f"The statistics have no rows{named}.")
    if len(rows) > _ROWS:
        raise ReadFailed(
            f"There are more than {_ROWS} frontends, backends and servers: name those that are to be read as proxies."
        )
    samples: list[Sample] = []
    progress: dict[str, dict[str, int]] = {}
    for row in rows:
        proxy, server = row["pxname"], row["svname"]
        dimensions = (dimension("Proxy", proxy), dimension("Server", server))
        now = {name: value for name in _KEPT if (value := _count(row, name)) is not None}
        samples += (
            Sample(name, value, unit, dimensions)
            for name, value, unit in _measured(row, now, before.get(f"{proxy}/{server}"))
        )
        progress[f"{proxy}/{server}"] = now
    return Found(samples=samples, progress=progress)


def _rows(text: str, proxies: Sequence[str]) -> Iterator[dict[str, str]]:
    """What is known of each row, by the names of columns. The time is linear in the text, whatever its columns and rows are."""
    wanted, read = frozenset(proxies), csv.reader(text.lstrip().removeprefix("# ").split("\n"))
    try:
        places = {name: place for place, name in enumerate(next(read, ())) if name in _COLUMNS}
        if not places.keys() >= _NAMED:
            raise ReadFailed(_NO_TABLE)
        for row in read:
            if not row:
                continue
            found = {name: row[place] for name, place in places.items() if place < len(row)}
            if not found.keys() >= _NAMED:
                raise ReadFailed(_NO_TABLE)
            if found["type"] != _LISTENER and (not wanted or found["pxname"] in wanted):
                yield found
    except csv.Error:
        raise ReadFailed(_NO_TABLE) from None


def _count(row: Mapping[str, str], name: str) -> int | None:
    text = row.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise ReadFailed(f"The statistics have {text[:40]!r} as {name}, which is no number.")
    return int(text)


def _measured(row: Mapping[str, str], now: Mapping[str, int], before: Any) -> Iterator[tuple[str, float, str]]:
    for name, metric in _GAUGES.items():
        value = _count(row, name)
        if value is not None:
            yield metric, value, "Count"
    up = _up(row.get("status") or "")
    if up is not None:
        yield "Up", up, "None"
    if not isinstance(before, dict):
        return
    anew = any(isinstance(before.get(name), int) and before[name] > value for name, value in now.items())
    grown = {name: difference(0 if anew else before.get(name, value), value) for name, value in now.items()}
    for name, metric in _COUNTERS.items():
        if name in grown:
            yield metric, grown[name], "Count"
    responses = sum(grown.get(name, 0) for name in _RESPONSES)
    if responses:
        yield "Responses5xxPercent", 100.0 * grown.get("hrsp_5xx", 0) / responses, "Percent"


def _up(status: str) -> float | None:
    """Whether something takes requests; None for what somebody has taken out of service on purpose, as deployments do."""
    if status.startswith(("MAINT", "DRAIN")):
        return None
    return 1.0 if status.startswith(("UP", "OPEN", "no check")) else 0.0


KIND = Kind(
    name="haproxy",
    namespace="Penstock/HAProxy",
    check=_check,
    address=lambda settings: settings.get("url") or settings["socket"],
    read=_read,
)
