"""Jobs of builds: running one from its claim to its end, and ending those that wait too long."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import sqlalchemy as sa

from penstock.application import App, Settings
from penstock.builds import commands, engine, records, starting
from penstock.builds.aggregate import apply
from penstock.builds.conductor import Conductor
from penstock.builds.engine import Lost, StopRequested, TimePassed
from penstock.builds.errors import AccountLimitExceededException
from penstock.builds.following import end_supervisor
from penstock.builds.layout import layout_of
from penstock.builds.machine import node_of
from penstock.builds.model import Key
from penstock.builds.request import BuildRequest
from penstock.builds.settings import BuildSettings
from penstock.builds.workspace import OWN_TREES, Workspace, leftovers
from penstock.pools import FILES, REMOVALS
from penstock.sandbox.registry import AUTO, Choice, choose
from penstock.sandbox.runtime import RuntimeRefused
from penstock.store.events import Event
from penstock.store.jobs import Job
from penstock.store.work import Retry

log = logging.getLogger("penstock.builds")

ELSEWHERE = "its run is on another worker's disk"
"""Why a build waits for a worker that is not here: the error of its job."""

_ELSEWHERE_MS = 5_000
_DRAINED_MS = 500  # longer than this process still takes jobs
_GIVEN_UP = ("ABANDONED", "CANCELED", "FAILED")
ATTEMPTS = 15  # failures of our own in the way of one build: with the back-off, half an hour


class Builds:
    """What the builds of one process share."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.settings = app.settings.of(BuildSettings)
        self.folder = app.settings.data_dir / "builds"
        self.node = ""
        self.draining = False
        self.conducting: set[asyncio.Task[None]] = set()
        self._choice: Choice | None = None
        self._choosing = asyncio.Lock()

    async def prepare(self) -> None:
        """Find out what this process's builds need, and delete what those of its last life left."""
        self.node = await FILES.run(node_of, self.folder)
        await _clear(self.app, self.folder)
        if self.settings.at_once:
            await self.runtime()

    async def drain(self) -> None:
        """Detach from every build: its supervisor continues, and the next worker adopts it."""
        self.draining = True
        for task in self.conducting:
            task.cancel()

    async def conduct(self, conductor: Conductor) -> None:
        """Run a build to its end, or until this process drains. Raises Retry then."""
        task = asyncio.create_task(conductor.run(), name=f"build {conductor.id}")
        self.conducting.add(task)
        try:
            await asyncio.wait({task})
        finally:
            self.conducting.discard(task)
            task.cancel()
        if task.cancelled():
            raise Retry(_DRAINED_MS, "left to its supervisor", counts=False)
        task.result()

    async def runtime(self) -> Choice:
        """The runtime, probed once."""
        async with self._choosing:
            if self._choice is None:
                self._choice = await FILES.run(choose_for, self.app.settings)
                log.info(
                    "builds.runtime",
                    extra={"runtime": self._choice.name or "none", "isolation": self._choice.offer.message},
                )
        return self._choice


def choose_for(settings: Settings) -> Choice:
    """The runtime that the settings ask for. Raises RuntimeRefused."""
    wanted = settings.of(BuildSettings)
    asked = {"--build-runtime": wanted.runtime, "--build-network": wanted.network}
    given = [f"{name} {value}" for name, value in asked.items() if value not in ("", AUTO)]
    try:
        return choose(
            wanted=wanted.runtime,
            network=wanted.network,
            allow_unisolated=wanted.allow_unisolated,
            layout=layout_of(settings),
        )
    except RuntimeRefused as refused:
        if not given:
            raise
        raise RuntimeRefused(
            f"Builds cannot run as {' and '.join(given)} asks. {refused}. Mend that, or leave the setting out."
        ) from None


async def _clear(app: App, folder: Path) -> None:
    """Delete the directories of finished builds whose worker died before it could."""
    names = [name for name in await FILES.run(lambda: list(leftovers(folder))) if len(name) == 36]
    running = await app.store.scan(records.unfinished)
    for name in names:
        if name not in {id_.rpartition(":")[2] for id_ in running}:
            workspace = Workspace(folder / name, OWN_TREES / name)
            try:
                if not await FILES.run(workspace.is_elsewhere):
                    await REMOVALS.run(workspace.remove)
            except OSError as error:  # it costs space; a server that does not start costs more
                log.warning("builds.not_removed", extra={"folder": str(workspace.path), "error": str(error)})


async def _end(workspace: Workspace) -> None:
    """Have a run end, and delete its directory; one whose supervisor does not end is deleted at the next start."""
    if not workspace.path.exists():
        return
    if await end_supervisor(workspace):
        await REMOVALS.run(workspace.remove)


async def run(builds: Builds, job: Job) -> None:
    """Run a build, or take it over from a worker of this machine that died."""
    if builds.draining:
        raise Retry(_DRAINED_MS, "this worker drains", counts=False)
    app, key = builds.app, Key(job.account, job.region, job.payload["id"])
    row = await app.store.read(records.find_build, key.account, key.region, key.id)
    workspace = _workspace(builds, key)
    if row is None or row.complete:
        await REMOVALS.run(workspace.remove)
        return
    elsewhere = await FILES.run(workspace.is_elsewhere)
    if elsewhere or (elsewhere is None and row.node not in ("", builds.node)):
        if not engine.is_given_up(records.state_of(row), app.clock.now()):
            raise Retry(_ELSEWHERE_MS, ELSEWHERE, counts=False)
        lost = Lost(message="The worker that ran the build did not come back")
        await app.store.write(apply, app, key, [lost], job=job)
        return
    request = BuildRequest.of(row, key, folder=builds.folder, choice=await builds.runtime())
    conductor = Conductor(app, job, request=request, state=records.state_of(row), node=builds.node)
    await builds.conduct(conductor)


async def give_up(builds: Builds, job: Job, error: str) -> None:
    """End a build whose run fails over and over with a message, so that nobody waits for it for ever."""
    app, key = builds.app, Key(job.account, job.region, job.payload["id"])
    log.error("builds.given_up", extra={"build": key.id, "error": error})
    lost = Lost(message="The service failed over and over while it ran the build: the log of the server says why")
    await app.store.write(apply, app, key, [lost], job=job)
    await _end(_workspace(builds, key))


async def end_waiting(builds: Builds, job: Job) -> None:
    """End a build that has waited too long."""
    key = Key(job.account, job.region, job.payload["id"])
    await builds.app.store.write(apply, builds.app, key, [TimePassed()])


def concerns(_conn: sa.Connection, event: Event) -> bool:
    """Whether an action ended that may have left commands behind, or an execution whose rules may have."""
    detail = event.payload
    if "action" in detail:
        return detail["state"] in _GIVEN_UP and detail["type"]["provider"] == "Commands"
    return detail["state"] == "STOPPED"


async def end_commands(builds: Builds, event: Event) -> None:
    """End commands that nobody waits for any more: their action was abandoned, or their pipeline is gone."""
    detail = event.payload
    name = commands.name_for(detail["pipeline"])
    if "action" in detail:
        ids = [f"{name}:{detail['action-execution-id']}"]
    else:
        # Rules have no events. Those of a pipeline that was deleted are nobody's any more.
        execution = detail["execution-id"]
        ids = await builds.app.store.read(records.running_of, event.account, event.region, name, execution)
    for id_ in ids:
        key = Key(event.account, event.region, id_)
        row = await builds.app.store.read(records.find_build, key.account, key.region, key.id)
        if row is not None and not row.complete:
            await builds.app.store.write(apply, builds.app, key, [StopRequested()], cause=event.id)


async def retry(builds: Builds, job: Job) -> None:
    """Start a build anew that failed."""
    key = Key(job.account, job.region, job.payload["id"])
    try:
        await builds.app.store.write(starting.retry, builds.app, key, now=builds.app.clock.now())
    except AccountLimitExceededException as error:
        raise Retry(_ELSEWHERE_MS, error.message, counts=False) from None


def _workspace(builds: Builds, key: Key) -> Workspace:
    return Workspace(builds.folder / key.uuid, OWN_TREES / key.uuid)
