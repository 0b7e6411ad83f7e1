"""What agents report, many hosts to a transaction.

Every report of a deployment's hosts needs the deployment's row. Taken one by one, the reports of a large fleet would spend most of
their time on loading and writing that row, and would come later than the agents wait. What arrives while a transaction of a deployment runs
shares the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from penstock.deployments import progress, records
from penstock.deployments.hostcommands.errors import ClientException
from penstock.deployments.records import Row
from penstock.deployments.server import inputs
from penstock.store import jobs
from penstock.store.crash import point
from penstock.store.database import Store
from penstock.wire.errors import AccessDenied, ServiceError

_TOGETHER = 64  # reports in one transaction: others' transactions wait for it


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
    """The reports of this process that wait for a transaction, by deployment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, list[tuple[Report, asyncio.Future[str]]]] = {}
        self._writers: set[asyncio.Task[None]] = set()
        self.waited_ms = 0  # how long the newest answer took: what an agent's next report may have to wait

    async def put(self, report: Report) -> str:
        """Decide on it; the status of the command, once that is durable. Raises what the service answers a wrong report."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        queue = self._waiting.get(report.deployment)
        if queue is None:
            self._waiting[report.deployment] = [(report, answer)]
            writer = asyncio.create_task(self._write(report.deployment), name="deployments.reports")
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        else:
            queue.append((report, answer))
        began = time.monotonic()
        try:
            return await answer
        finally:
            self.waited_ms = int((time.monotonic() - began) * 1000)

    async def _write(self, deployment: str) -> None:
        queue = self._waiting[deployment]
        try:
            while queue:
                taken, queue[:_TOGETHER] = queue[:_TOGETHER], ()
                await self._together(taken)
        finally:
            del self._waiting[deployment]

    async def _together(self, taken: list[tuple[Report, asyncio.Future[str]]]) -> None:
        reports = [report for report, _ in taken]
        try:
            answers: Sequence[str | Exception] = await self._store.write(applied, reports)
        except Exception as error:  # noqa: BLE001 - it belongs to who reported
            if len(taken) > 1:
                for one in taken:  # one of them may be at fault: the others do not suffer for it
                    await self._together([one])
                return
            answers = [error]
        for (_, future), answer in zip(taken, answers, strict=True):
            if future.done():
                continue  # whoever reported is gone
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


def applied(conn: sa.Connection, reports: Sequence[Report]) -> list[str | Exception]:
    """Decide on reports of one deployment in their order; for each the command's status, or the error that answers it."""
    decisions = progress.Decisions.load(conn, reports[0].deployment)
    if decisions is None:
        return [ClientException() for _ in reports]
    answers: list[str | Exception] = []
    for report in reports:
        take: Callable[..., str] = _acknowledged if isinstance(report.input, inputs.Acknowledged) else _completed
        try:
            answers.append(take(conn, decisions, report))
        except (AccessDenied, ServiceError) as error:
            answers.append(error)
    decisions.save()
    return answers


def _acknowledged(conn: sa.Connection, decisions: progress.Decisions, report: Report) -> str:
    target = own_target(conn, decisions.row, report.reporter, report.position)
    id_ = progress.command_id(report.deployment, report.position, report.input.index)
    if jobs.acknowledge(conn, id_, report.nonce, lease_ms=None, now=report.now) is None:
        return over(target, report.input.index)
    decisions.take(report.input, now=report.now, seed=report.seed, target=target)
    point("deployments.before_acknowledge_commit")
    return "InProgress"


def _completed(conn: sa.Connection, decisions: progress.Decisions, report: Report) -> str:
    target = own_target(conn, decisions.row, report.reporter, report.position)
    decisions.take(report.input, now=report.now, seed=report.seed, target=target)
    point("deployments.before_complete_commit")
    return ""


def own_target(conn: sa.Connection, row: Row | None, reporter: Reporter, position: int) -> Row:
    """The host's row in a deployment. Raises AccessDenied for another host's, ClientException when there is none."""
    target = None if row is None else records.TARGET.first(conn, {"deployment": row.id, "position": position})
    if row is None or target is None:
        raise ClientException
    if (row.account, row.region, target.name) != reporter:
        # Whether the deployment exists is not this host's business.
        raise AccessDenied("The host is not part of this deployment.")
    return target


def over(target: Row, index: int) -> str:
    """How an agent is told to drop a command: with the outcome of its event when it had one."""
    events = target.events or []
    return "Succeeded" if index < len(events) and events[index]["status"] == "Succeeded" else "Failed"
