"""A probe: a request to a URL, and whether what comes back is as it should be."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.egress import Answer
from penstock.monitoring.source_kind import Asked, Found, Kind, Sample
from penstock.monitoring.source_requests import Refusal, ask, check_url

_MOST = 256 << 10  # bytes of an answer that are read
_DAY = 86_400
_STATUS = "200-299"


def statuses(text: str) -> list[range]:
    """The statuses of a text such as `200,301-303`, as matchers of AWS's load balancers write them. Raises ValueError."""
    found: list[range] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and first.isascii() and (not dash or (last.isdecimal() and last.isascii()))):
            raise ValueError("expectedStatus must be statuses and ranges of them, such as 200,301-303.")
        low, high = int(first), int(last or first)
        if not 100 <= low <= high <= 599:
            raise ValueError(
                "expectedStatus must name statuses from 100 to 599, in ranges from the lower to the higher."
            )
        found.append(range(low, high + 1))
    return found


def _check(settings: Mapping[str, Any], _sockets: Sequence[str]) -> None:
    check_url(settings["url"])
    statuses(settings.get("expectedStatus", _STATUS))
    if settings.get("method") == "HEAD" and "expectedText" in settings:
        raise ValueError("expectedText needs the method GET: an answer to HEAD has no body.")


async def _read(asked: Asked) -> Found:
    settings = asked.settings
    began = time.monotonic()
    try:
        answer = await ask(
            asked,
            settings["url"],
            method=settings.get("method", "GET"),
            redirects=settings.get("maxRedirects", 0),
            most=_MOST,
            cut=True,
        )
    except Refusal as refusal:
        return _failed(str(refusal))
    latency = (time.monotonic() - began) * 1000
    wrong = _wrong(settings, answer)
    samples = [
        Sample("Success", 0.0 if wrong else 1.0),
        Sample("Latency", latency, "Milliseconds"),
        Sample("StatusCode", float(answer.status)),
    ]
    if answer.certificate_ends is not None:
        samples.append(Sample("CertificateDaysLeft", (answer.certificate_ends - asked.now / 1000) / _DAY))
    return Found(samples=samples, failure=wrong)


def _wrong(settings: Mapping[str, Any], answer: Answer) -> str:
    expected = settings.get("expectedStatus", _STATUS)
    if not any(answer.status in one for one in statuses(expected)):
        return f"The status is {answer.status}, and {expected} was expected."
    text = settings.get("expectedText", "")
    if text and text.encode() not in answer.body:
        return f"The answer does not contain the expected text in its first {_MOST >> 10} KiB."
    return ""


def _failed(why: str) -> Found:
    return Found(samples=[Sample("Success", 0.0)], failure=why)


KIND = Kind(
    name="http",
    namespace="Penstock/Probes",
    check=_check,
    address=lambda settings: settings["url"],
    read=_read,
    unanswered=_failed,
)
