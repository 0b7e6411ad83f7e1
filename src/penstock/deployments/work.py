"""The jobs of deployments: begin a deployment, and look after its deadlines."""

from __future__ import annotations

import contextlib

import sqlalchemy as sa

from penstock.deployments import aggregates, alarms, bundles, liveness, progress, records, runs
from penstock.deployments.roles import assumed
from penstock.deployments.server import inputs
from penstock.deployments.service import Deployments
from penstock.store import jobs
from penstock.store.failpoints import failpoint
from penstock.store.jobs import Job
from penstock.wire.call import Origin


async def start(deployments: Deployments, job: Job) -> None:
    """Begin a deployment, whose group is free now."""
    app, timeouts = deployments.app, deployments.timeouts
    deployment = job.payload["deployment"]
    row, role = await app.store.read(_row_and_role, deployment)
    refusal, location = "", None
    if row is not None and role:
        session = await assumed(
            app,
            role,
            session_name=deployment,
            account=row.account,
            region=row.region,
            group=f"{row.application}/{row.group_name}",
        )
        if session is None:
            refusal = f"IAM Role is missing for deployment group: {row.group_name}"
        else:
            location = row.body["revision"]
            with contextlib.suppress(bundles.BundleMissing):
                origin = Origin(via="invoke")
                location = await bundles.pinned(app, session, location, region=row.region, origin=origin)
    seed = app.ids.seed()

    def begin(conn: sa.Connection) -> None:
        jobs.complete(conn, job)
        if location is not None:
            runs.pin(conn, deployment, location)
        progress.begin(conn, deployment, timeouts=timeouts, refusal=refusal, now=app.clock.now(), seed=seed)
        if row is not None and not refusal:
            alarms.watch(conn, row, app.clock.now())
        failpoint("deployments.before_begin_commit")

    await app.store.write(begin)
    failpoint("deployments.after_begin_commit")


def _row_and_role(conn: sa.Connection, deployment: str) -> tuple[records.Row | None, str]:
    row = runs.deployment(conn, deployment)
    group = None if row is None else records.one(conn, records.groups, id=row.group_id)
    return row, "" if group is None else group.body["serviceRoleArn"]


async def proceed(deployments: Deployments, job: Job) -> None:
    """Start the further hosts of a large fleet."""
    app = deployments.app
    deployment, seed = job.payload["deployment"], app.ids.seed()

    def go_on(conn: sa.Connection) -> None:
        jobs.complete(conn, job)  # first, so that a Continue of this very decision is a job of its own
        aggregates.apply(conn, deployment, inputs.Proceed(), now=app.clock.now(), seed=seed)
        failpoint("deployments.before_proceed_commit")

    await app.store.write(go_on)


async def watch(deployments: Deployments, job: Job) -> None:
    """Fail what is overdue and what runs on hosts that are gone, and look again when the next can be."""
    app = deployments.app
    deployment, seed = job.payload["deployment"], app.ids.seed()

    def check_deadlines(conn: sa.Connection) -> None:
        now = app.clock.now()
        row = runs.deployment(conn, deployment)
        if row is not None:
            gone = runs.STATE.load(row.state).timeouts.gone
            liveness.give_up(conn, deployment, before=now - gone, now=now, seed=seed)
        found = aggregates.apply(
            conn, deployment, _elapsed(conn, deployment, since=app.started, now=now), now=now, seed=seed
        )
        soonest = None if found is None else progress.earliest_deadline(conn, found)
        if found is None or soonest is None:
            jobs.complete(conn, job)
        else:
            due = max(min(soonest, now + progress.next_check(found.timeouts)), now + 1)
            jobs.retry(conn, job, due=due, counts=False)
        failpoint("deployments.before_watch_commit")

    await app.store.write(check_deadlines)


def _elapsed(conn: sa.Connection, deployment: str, *, since: int, now: int) -> inputs.Elapsed:
    row = runs.deployment(conn, deployment)
    if row is None:
        return inputs.Elapsed()
    timeouts = runs.STATE.load(row.state).timeouts
    return inputs.Elapsed(
        unheard=liveness.unheard(conn, deployment, limit_ms=timeouts.gone, since=since, now=now),
        forgotten=liveness.forgotten(conn, deployment, limit_ms=timeouts.lost, since=since, now=now),
    )
