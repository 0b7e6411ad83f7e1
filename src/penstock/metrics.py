"""Metrics for Prometheus. The module that writes one declares it, once, and `docs/reference/metrics.md` is generated from the declarations.

A process has one registry, which `/metrics` serves. Names begin with `penstock_`, or are those of OpenTelemetry's conventions for CI/CD as its
exporter for Prometheus prints them. Each label has a line in `LABELS` that says what bounds its values: no label holds what a caller chose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import generate_latest

if TYPE_CHECKING:
    import sqlalchemy as sa

M = TypeVar("M", Counter, Gauge, Histogram)

LABELS = {
    "category": "category of an action; the seven that CodePipeline has",
    "cicd_pipeline_name": "name of a pipeline; the first 200 that a process meets, all others are `_other`",
    "cicd_pipeline_result": "`success`, `failure`, `cancellation` or `skip` (superseded by a later run)",
    "cicd_pipeline_run_state": "always `executing`: a run is in no other state of OpenTelemetry's here",
    "cicd_system_component": "name of a background loop, or kind of jobs; few fixed ones",
    "cicd_worker_state": "`available` or `busy`",
    "error_type": "class of an error of the program, or failure type of CodePipeline; `_other` for any else",
    "kind": "kind of jobs; one of those that components have",
    "loop": "name of a background loop; few fixed ones",
    "operation": "operation; one that a service's model has, empty for a request that was none",
    "outcome": "how it ended; few fixed words",
    "pool": "name of a pool of threads; few fixed ones",
    "result": "how it ended, as the API's status says",
    "service": "service; one of those that are served, empty for a request to none",
    "source_kind": "kind of metric sources; one of those that are served",
    "state": "few fixed words",
    "status": "HTTP status of the answer",
    "subscription": "subscription to events; one of those that components have",
    "table": "table of the database",
    "type": "type of events; one of those that [events](events.md) lists",
    "via": "how a call came: `http`, `git`, `console`, or `invoke` from one of our own services",
}
"""What a label says, and what bounds how many values it has."""

_NAME = re.compile(r"(penstock|cicd)(_[a-z0-9]+)+")
OTHER = "_other"
_NAMES = 200
_SHORT = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric as it was declared."""

    name: str
    kind: str  # counter gauge histogram
    labels: tuple[str, ...]
    description: str  # one sentence


REGISTRY = CollectorRegistry()
_declared: dict[str, Declared] = {}
disable_created_metrics()  # when each part was first counted is of no use, and as long as the rest
ProcessCollector(registry=REGISTRY)


def counter(name: str, description: str, *labels: str) -> Counter:
    """Declare what is counted from the start of the process; its name ends with `_total`."""
    _declare(name, "counter", labels, description)
    return Counter(name, description, labels, registry=REGISTRY)


def gauge(name: str, description: str, *labels: str) -> Gauge:
    """Declare what has a value at each moment."""
    _declare(name, "gauge", labels, description)
    return Gauge(name, description, labels, registry=REGISTRY)


def histogram(name: str, description: str, *labels: str, bounds: Sequence[float]) -> Histogram:
    """Declare what is observed again and again; `bounds` are those of its buckets in the unit of the name."""
    _declare(name, "histogram", labels, description)
    return Histogram(name, description, labels, registry=REGISTRY, buckets=bounds)


def _declare(name: str, kind: str, labels: tuple[str, ...], description: str) -> None:
    if not _NAME.fullmatch(name) or name.endswith("_total") != (kind == "counter"):
        raise ValueError(f"{name} is no name of a {kind}: penstock_…, and _total at the end of a counter")
    if unknown := sorted(set(labels) - LABELS.keys()):
        raise ValueError(f"{name}: LABELS does not say what bounds {', '.join(unknown)}")
    if not description.endswith("."):
        raise ValueError(f"{name} is described by a sentence")
    _declared[name] = Declared(name, kind, labels, description)


def declared() -> Iterator[Declared]:
    """The metrics of every module that was imported, by name."""
    return iter(sorted(_declared.values(), key=lambda one: one.name))


def by_labels(metric: M) -> Callable[..., M]:
    """The part of a metric that has these values of its labels. Looking it up costs more than counting, so that is done once."""
    return cache(metric.labels)


def exposition() -> str:
    """All metrics of this process in the text format of Prometheus."""
    return generate_latest(REGISTRY).decode()


class Names:
    """Names that people chose, as values of a label: the first 200 that this process meets; the others are one value together."""

    def __init__(self, most: int = _NAMES) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        """The value of the label for a name."""
        if name not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(name)
        return name


Values = Mapping[tuple[str, ...], float]
"""Values of a gauge by those of its labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Gauges whose values stand in the database: they are read when somebody asks for the metrics, and then hold for a while."""

    gauges: Sequence[Gauge]
    read: Callable[
        [sa.Connection, int], Sequence[Values]
    ]  # (conn, now in ms) → the values of each gauge; one cheap query
    every: float = _SHORT  # seconds that they hold

    def show(self, found: Sequence[Values]) -> None:
        """Set the gauges to what was read."""
        for gauge, values in zip(self.gauges, found, strict=True):
            if () in values:
                gauge.set(values[()])
                continue
            gauge.clear()
            for labels, value in values.items():
                gauge.labels(*labels).set(value)

    def forget(self) -> None:
        """Nothing is known of them: they show no value rather than an old one."""
        for gauge in self.gauges:
            if gauge._labelnames:  # noqa: SLF001 - prometheus_client has no other way to ask
                gauge.clear()
            else:
                gauge.set(float("nan"))
