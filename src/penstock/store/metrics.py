"""The store's metrics for Prometheus. One set per process; `/metrics` serves the default registry."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram

M = TypeVar("M", Counter, Gauge, Histogram)


def _of(metric: M) -> Callable[..., M]:
    """The part of a metric that has these values of its labels. Looking it up costs more than counting, so that is done once."""
    return cache(metric.labels)


TRANSACTIONS = _of(Counter("penstock_store_transactions_total", "Transactions, by outcome.", ["outcome"]))
COMMITS = Counter("penstock_store_commits_total", "COMMITs; fewer than transactions where several share one.")
TRANSACTION_SECONDS = Histogram(
    "penstock_store_transaction_seconds",
    "From Store.write to its durable answer.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
LISTENER_RECONNECTS = Counter("penstock_store_listener_reconnects_total", "Times the LISTEN connection was made anew.")
JOBS_RUN = _of(Counter("penstock_jobs_total", "Runs of a job's handler, by how they ended.", ["kind", "outcome"]))
JOB_SECONDS = _of(
    Histogram(
        "penstock_job_seconds",
        "Time a job's handler took.",
        ["kind"],
        buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30, 120, 600, 3600),
    )
)
JOB_LATENCY = Histogram(
    "penstock_job_latency_seconds",
    "From a job's due time to the start of its handler.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30, 300),
)
JOBS_RUNNING = _of(Gauge("penstock_jobs_running", "Jobs in this process's hands.", ["kind"]))
JOBS_UNKNOWN = Gauge("penstock_jobs_unknown", "Due jobs of a kind that this process has no handler for.", ["kind"])
JOBS_DEAD = Gauge("penstock_jobs_dead", "Jobs that were given up and wait for an operator.")
LEASES_LAPSED = Counter("penstock_job_leases_lapsed_total", "Leases and offers that ran out and were taken back.")
EVENTS_EMITTED = _of(Counter("penstock_events_total", "Events, counted when they are written.", ["type"]))
DELIVERIES = _of(
    Counter("penstock_event_deliveries_total", "Deliveries to subscriptions.", ["subscription", "outcome"])
)
SWEPT = Counter("penstock_store_swept_total", "Rows removed when their time was over.", ["table"])
