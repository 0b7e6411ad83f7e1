"""The counters of an nginx, as its module stub_status shows them.

(nginx: "Module ngx_http_stub_status_module".)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.monitoring.source_kind import Asked, Found, Kind, ReadFailed, Sample, difference
from penstock.monitoring.source_requests import check_url, document

_MOST = 64 << 10  # bytes of an answer
_PAGE = re.compile(
    r"Active connections: (\d{1,18}) *\nserver accepts handled requests *\n"
    r" *(\d{1,18}) (\d{1,18}) (\d{1,18}) *\nReading: (\d{1,18}) Writing: (\d{1,18}) Waiting: (\d{1,18})\s*",
    re.ASCII,
)


def _check(settings: Mapping[str, Any], _sockets: Sequence[str]) -> None:
    check_url(settings["url"])


async def _read(asked: Asked) -> Found:
    body = await document(asked, asked.settings["url"], most=_MOST)
    page = _PAGE.fullmatch(body.decode("latin-1"))
    if page is None:
        raise ReadFailed("The answer is not that of nginx's stub_status.")
    return found(
        dict(zip(("active", *_COUNTERS, "reading", "writing", "waiting"), map(int, page.groups()), strict=True)),
        asked.progress,
    )


_COUNTERS = ("accepts", "handled", "requests")


def found(now: Mapping[str, int], before: Mapping[str, Any]) -> Found:
    """What a page says, and what its counters say since the read before."""
    samples = [
        Sample("ActiveConnections", now["active"], "Count"),
        Sample("Reading", now["reading"], "Count"),
        Sample("Writing", now["writing"], "Count"),
        Sample("Waiting", now["waiting"], "Count"),
    ]
    if before:
        anew = any(not isinstance(before.get(name), int) or before[name] > now[name] for name in _COUNTERS)
        grown = {name: difference(0 if anew else before[name], now[name]) for name in _COUNTERS}
        samples += [
            Sample("AcceptedConnections", grown["accepts"], "Count"),
            Sample("DroppedConnections", max(0, grown["accepts"] - grown["handled"]), "Count"),
            Sample("Requests", grown["requests"], "Count"),
        ]
    return Found(samples=samples, progress={name: now[name] for name in _COUNTERS})


KIND = Kind(
    name="nginx",
    namespace="Penstock/Nginx",
    check=_check,
    address=lambda settings: settings["url"],
    read=_read,
)
