"""What agents report: deployment on a deployment, those of many hosts in one transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from penstock.deployments import commands, records, runs
from penstock.deployments.aggregates import DeploymentAggregate
from penstock.deployments.hostcommands.errors import ClientException
from penstock.deployments.hostcommands.together import Together
from penstock.deployments.records import Row
from penstock.deployments.server import inputs
from penstock.deployments.server.model import EventStatus, Host, LifecycleEvent
from penstock.store import outside
from penstock.store.database import Store
from penstock.store.failpoints import failpoint
from penstock.wire.errors import AccessDenied, ServiceError


class Reporter(NamedTuple):
    """The host that a verified key is."""

    account: str
    region: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An acknowledgement (with the `nonce` of its offer) or a completion, from a host that is who it says it is."""

    reporter: Reporter
    deployment: str
    position: int
    nonce: str
    input: inputs.Acknowledged | inputs.Completed
    now: int
    seed: int


class Reports:
    """The reports of this process that wait for a transaction, by deployment: each needs the deployment's row."""

    def __init__(self, store: Store) -> None:
        self._together: Together[Report, str] = Together(store, applied)
        self.waited_ms = 0  # how long the newest answer took: what an agent's next report may have to wait

    async def put(self, report: Report) -> str:
        """Decide on it; the status of the command, once that is durable. Raises what the service answers a wrong report."""
        began = time.monotonic()
        try:
            return await self._together.put(report.deployment, report)
        finally:
            self.waited_ms = int((time.monotonic() - began) * 1000)


def applied(conn: sa.Connection, reports: Sequence[Report]) -> list[str | Exception]:
    """Decide on reports of one deployment in their order; for each the command's status, or the error that answers it."""
    deployment = DeploymentAggregate.find(conn, reports[0].deployment)
    if deployment is None:
        return [ClientException() for _ in reports]
    deployment.expect(report.position for report in reports)
    acknowledged = _acknowledged(conn, deployment, reports)
    answers: list[str | Exception] = []
    with deployment:
        for report in reports:
            try:
                if isinstance(report.input, inputs.Completed):
                    answers.append(_complete(deployment, report))
                else:
                    answers.append(_acknowledge(conn, deployment, report, acknowledged))
            except (AccessDenied, ServiceError) as error:
                answers.append(error)
    return answers


def _acknowledged(conn: sa.Connection, deployment: DeploymentAggregate, reports: Sequence[Report]) -> set[str]:
    """The commands that are taken, of those that their hosts acknowledge first of all that they report here.

    What a host says after that is looked at when its turn comes: what it said before may have ended the command.
    """
    first = {report.position: report for report in reversed(reports)}
    offers: dict[str, str] = {}
    for report in first.values():
        host = deployment.host(report.position)
        if host is None or not _is_own(deployment.row, host, report.reporter):
            continue
        if isinstance(report.input, inputs.Acknowledged) and report.input.index == host.current:
            offers[_command(report)] = report.nonce
    return set(outside.acknowledge(conn, offers.items(), lease_ms=None, now=reports[0].now))


def _command(report: Report) -> str:
    return commands.command_id(report.deployment, report.position, report.input.index)


def _acknowledge(conn: sa.Connection, deployment: DeploymentAggregate, report: Report, acknowledged: set[str]) -> str:
    host, index, command = _own_host(deployment, report), report.input.index, _command(report)
    # What ended in this transaction is over, although the row of its job may not say so yet.
    if host.current != index:
        return over(host.events, index)
    if command in acknowledged:
        acknowledged.discard(command)
    elif not outside.acknowledge(conn, [(command, report.nonce)], lease_ms=None, now=report.now):
        return over(host.events, index)
    deployment.apply(report.input, now=report.now, seed=report.seed)
    failpoint("deployments.before_acknowledge_commit")
    return "InProgress"


def _complete(deployment: DeploymentAggregate, report: Report) -> str:
    _own_host(deployment, report)
    deployment.apply(report.input, now=report.now, seed=report.seed)
    failpoint("deployments.before_complete_commit")
    return ""


def _own_host(deployment: DeploymentAggregate, report: Report) -> Host:
    return _own(deployment.row, deployment.host(report.position), report.reporter)


def own_host(conn: sa.Connection, row: Row | None, reporter: Reporter, position: int) -> Host:
    """The host in a deployment. Raises AccessDenied for another host, ClientException when it is missing."""
    target = None if row is None else records.TARGET.first(conn, {"deployment": row.id, "position": position})
    return _own(
        row, None if row is None or target is None else runs.host(target, runs.STATE.load(row.state).events), reporter
    )


def _own(row: Row | None, host: Host | None, reporter: Reporter) -> Host:
    if row is None or host is None:
        raise ClientException
    if not _is_own(row, host, reporter):
        # Whether the deployment exists is not this host's business.
        raise AccessDenied("The host is not part of this deployment.")
    return host


def _is_own(row: Row, host: Host, reporter: Reporter) -> bool:
    return (row.account, row.region, host.name) == reporter


def over(events: Sequence[LifecycleEvent], index: int) -> str:
    """The answer that makes an agent drop a command: the outcome of its event when it had one."""
    return "Succeeded" if index < len(events) and events[index].status is EventStatus.SUCCEEDED else "Failed"
