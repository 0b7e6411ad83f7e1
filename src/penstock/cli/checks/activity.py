"""Current activity: jobs, events, hosts and deployments."""

from __future__ import annotations

import time
from collections.abc import Iterator

import sqlalchemy as sa

from penstock.cli.checks.findings import Finding, Installation, Verdict
from penstock.deployments.records import instances
from penstock.monitoring.source_records import sources
from penstock.store.records import jobs

_LATE_MS = 5 * 60_000
_NAMED = 3
_STOPPED_MS = 15 * 60_000  # overdue for that long, nobody works


def work(installation: Installation) -> Iterator[Finding]:
    """Is anything stuck?"""
    from penstock.builds.aggregate import RUN  # noqa: PLC0415 - loads all of builds
    from penstock.builds.work import ELSEWHERE  # noqa: PLC0415

    now = int(time.time() * 1000)
    with installation.engine.connect() as conn:
        dead = conn.execute(
            sa.select(jobs.c.kind, sa.func.count()).where(jobs.c.state == "dead").group_by(jobs.c.kind)
        ).all()
        overdue = conn.execute(
            sa.select(jobs.c.kind, sa.func.count(), sa.func.min(jobs.c.due))
            .where(jobs.c.state == "ready", jobs.c.topic == "", jobs.c.due < now - _LATE_MS)
            .group_by(jobs.c.kind)
        ).all()
        elsewhere = conn.execute(
            sa.select(sa.func.count()).where(jobs.c.kind == RUN, jobs.c.state == "ready", jobs.c.error == ELSEWHERE)
        ).scalar_one()
    if elsewhere:
        yield Finding(
            Verdict.WARN,
            "work",
            f"{elsewhere} builds wait: the run is on another worker's disk",
            "start that worker again; without it they end as FAULT when their time is up",
        )
    for kind, count in dead:
        yield Finding(
            Verdict.FAIL,
            "work",
            f"{count} jobs of kind {kind} were given up",
            "`penstock jobs` says why, and lets them run again",
        )
    for kind, count, oldest in overdue:
        yield Finding(
            Verdict.FAIL if oldest < now - _STOPPED_MS else Verdict.WARN,
            "work",
            f"{count} jobs of kind {kind} wait, the first for {(now - oldest) // 60_000} min",
            "is a worker running? its /readyz names a loop that fails",
        )
    if not (dead or overdue or elsewhere):
        yield Finding(Verdict.OK, "work", "nothing is stuck")


def hosts(installation: Installation) -> Iterator[Finding]:
    """Does every registered host poll?"""
    now = int(time.time() * 1000)
    lately = sa.func.coalesce(instances.c.seen, instances.c.registered)
    with installation.engine.connect() as conn:
        silent = conn.execute(
            sa.select(instances.c.name, lately.label("at"))
            .where(instances.c.deregistered.is_(None), lately < now - _LATE_MS)
            .order_by(lately.desc())
            .limit(4)
        ).all()
    if silent:
        names = ", ".join(f"{row.name} ({(now - row.at) // 60_000} min)" for row in silent[:3])
        yield Finding(
            Verdict.WARN,
            "hosts",
            f"silent: {names}{' and more' if len(silent) > 3 else ''}",
            "is the agent running there? `penstock-agent status` says. Deregister hosts that are gone",
        )


def stuck_deployments(installation: Installation) -> Iterator[Finding]:
    """Does a deployment wait for hosts that do not answer, or a queue for a deployment?"""
    from penstock.deployments.stuck import stuck  # noqa: PLC0415 - loads all of deployments

    with installation.engine.connect() as conn:
        found = stuck(conn, int(time.time() * 1000))
    for one in found:
        yield Finding(Verdict.FAIL if one.for_good else Verdict.WARN, "deployments", one.reason, one.mend)
    if not found:
        yield Finding(Verdict.OK, "deployments", "none waits for a host or holds up a queue")


def metric_sources(installation: Installation) -> Iterator[Finding]:
    """Do the sources of metrics answer, by which alarms stop rollouts?"""
    c = sources.c
    failing = sa.select(c.account, c.region, c.name, c.error, c.failures).where(c.error != "")
    with installation.engine.connect() as conn:
        count = conn.execute(sa.select(sa.func.count()).select_from(failing.subquery())).scalar_one()
        found = conn.execute(failing.order_by(c.failures.desc(), c.account, c.region, c.name).limit(_NAMED)).all()
    for row in found:
        yield Finding(
            Verdict.WARN,
            "sources",
            f"the metric source {row.name} of account {row.account} in {row.region} fails: {row.error}",
            f"mend what it reads, or change the source: aws penstock get-metric-source --source-name {row.name}",
        )
    if count > _NAMED:
        yield Finding(Verdict.WARN, "sources", f"{count - _NAMED} more metric sources fail")
