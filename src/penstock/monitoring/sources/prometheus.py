"""An instant query to a server that speaks the HTTP API of Prometheus.

(Prometheus: "HTTP API", instant queries.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson

from penstock.monitoring.source_kind import Asked, Found, Kind, ReadFailed, Sample, dimension, finite
from penstock.monitoring.source_requests import Refusal, ask, check_url

_MOST = 1 << 20  # bytes of an answer
_SERIES = 100
_NAME = "Value"
_DIGITS = 400  # of a value; those of the largest one are 309


def _check(settings: Mapping[str, Any], _sockets: Sequence[str]) -> None:
    check_url(settings["url"])
    if "?" in settings["url"]:
        raise ValueError(
            "url must be the server's own address, such as http://prometheus:9090: /api/v1/query is added."
        )
    labels = settings.get("labels", ())
    if len(set(labels)) != len(labels) or "Source" in labels:
        raise ValueError("labels must name each label once, and not Source, the dimension that every metric has.")


async def _read(asked: Asked) -> Found:
    settings = asked.settings
    url = f"{settings['url'].rstrip('/')}/api/v1/query?{urlencode({'query': settings['query']})}"
    try:
        answer = await ask(asked, url, most=_MOST)
    except Refusal as refusal:
        raise ReadFailed(str(refusal)) from None
    data = _data(answer.status, answer.body)
    name = settings.get("metricName", _NAME)
    return Found(samples=samples(data, name, settings.get("labels", ())))


def _data(status: int, body: bytes) -> Mapping[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict) or document.get("status") not in ("success", "error"):
        raise ReadFailed(f"The answer (status {status}) is not one of Prometheus's HTTP API.")
    if document["status"] == "error":
        why = str(document.get("error", ""))[:500].rstrip(".")
        raise ReadFailed(f"Prometheus refuses the query: {why}.")
    data = document.get("data")
    if not isinstance(data, dict):
        raise ReadFailed("The answer of Prometheus has no data.")
    return data


def samples(data: Mapping[str, Any], name: str, labels: Sequence[str]) -> list[Sample]:
    """The values of a result, each with its labels as dimensions. Raises ReadFailed.

    NaN and infinities are left out: a metric has no such values, and a rate of errors without requests is one.
    """
    kind, result = data.get("resultType"), data.get("result")
    if kind == "scalar":
        series = [((), _value(result))]
    elif kind == "vector" and isinstance(result, list):
        if len(result) > _SERIES:
            raise ReadFailed(f"The query has {len(result)} series, and {_SERIES} are read at most: aggregate them.")
        series = [_series(one, labels) for one in result]
    else:
        raise ReadFailed(f"The result is a {str(kind)[:40]}: a query must have a scalar or an instant vector.")
    known: set[tuple[tuple[str, str], ...]] = set()
    for dimensions, _ in series:
        if dimensions in known:
            shown = ", ".join(f"{key}={value}" for key, value in dimensions) or "none"
            raise ReadFailed(f"Several series have the same dimensions ({shown}): aggregate them, or name more labels.")
        known.add(dimensions)
    return [Sample(name, value, "None", dimensions) for dimensions, value in series if finite(value)]


def _series(one: Any, labels: Sequence[str]) -> tuple[tuple[tuple[str, str], ...], float]:
    metric = one.get("metric") if isinstance(one, dict) else None
    if not isinstance(metric, dict):
        raise ReadFailed("A series of the result has no labels.")
    found = [(label, metric[label]) for label in labels if metric.get(label)]
    return tuple(dimension(label, str(value)) for label, value in found), _value(one.get("value"))


def _value(pair: Any) -> float:
    text = pair[1] if isinstance(pair, list) and len(pair) == 2 else None
    try:
        return float(text if isinstance(text, str) and len(text) <= _DIGITS else "")
    except ValueError:
        raise ReadFailed("A value of the result is no number.") from None


KIND = Kind(
    name="prometheus",
    namespace="Penstock/Prometheus",
    check=_check,
    address=lambda settings: settings["url"],
    read=_read,
)
