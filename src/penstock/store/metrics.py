"""The store's metrics."""

from __future__ import annotations

from penstock.metrics import by_labels, counter, gauge, histogram

_SHORT = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

TRANSACTIONS = by_labels(
    counter("penstock_store_transactions_total", "Transactions, by how they ended: committed or failed.", "outcome")
)
COMMITS = counter("penstock_store_commits_total", "COMMITs; fewer than transactions where several share one.")
TOGETHER = histogram(
    "penstock_store_commit_transactions",
    "How many transactions shared a COMMIT.",
    bounds=(1, 2, 4, 8, 16, 32, 64, 128),
)
WAITING_SECONDS = histogram(
    "penstock_store_waiting_seconds",
    "From the request of a transaction to its beginning: how long it waited for its turn.",
    bounds=_SHORT,
)
TRANSACTION_SECONDS = histogram(
    "penstock_store_transaction_seconds",
    "From the request of a transaction to its durable answer.",
    bounds=_SHORT,
)
LISTENER_RECONNECTS = counter(
    "penstock_store_listener_reconnects_total", "Times that the LISTEN connection to PostgreSQL was made anew."
)
JOBS_RUN = by_labels(
    counter("penstock_jobs_total", "Runs of a job's handler, by how they ended: each is an attempt.", "kind", "outcome")
)
JOB_SECONDS = by_labels(
    histogram(
        "penstock_job_seconds",
        "Time that a job's handler took.",
        "kind",
        bounds=(0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 30, 120, 600, 3600),
    )
)
JOB_LATENCY = by_labels(
    histogram(
        "penstock_job_latency_seconds",
        "From a job's due time to the start of its handler; of pipelines.start it is the latency of a transition.",
        "kind",
        bounds=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30, 300),
    )
)
JOBS_RUNNING = by_labels(gauge("penstock_jobs_running", "Jobs in this process's hands.", "kind"))
WORKERS = gauge(
    "cicd_worker_count",
    "Jobs that this process may run at a time (--workers), by whether one runs there; kinds with a number of their own are not among them.",
    "cicd_worker_state",
)
JOBS_UNKNOWN = gauge("penstock_jobs_unknown", "Due jobs of a kind that this process has no handler for.", "kind")
JOBS_DEAD = gauge("penstock_jobs_dead", "Jobs that were given up and wait for an operator.")
LEASES_LAPSED = counter("penstock_job_leases_lapsed_total", "Leases and offers that ran out and were taken back.")
EVENTS_EMITTED = by_labels(counter("penstock_events_total", "Events, counted when they are written.", "type"))
DELIVERIES = by_labels(
    counter(
        "penstock_event_deliveries_total",
        "Attempts to deliver an event, by how they ended: delivered, failed, dead (given up) or unknown (no such "
        "subscription in this process).",
        "subscription",
        "outcome",
    )
)
DELIVERY_SECONDS = by_labels(
    histogram(
        "penstock_event_delivery_seconds",
        "From the emission of an event to the end of its delivery.",
        "subscription",
        bounds=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30, 300),
    )
)
SWEPT = by_labels(counter("penstock_store_swept_total", "Rows removed when their time was over.", "table"))
