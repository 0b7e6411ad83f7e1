"""Jobs of builds: running one from its claim to its end, and ending those that wait too long."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path

from penstock.builds import engine, records, starting
from penstock.builds.aggregate import QUEUED, RETRY, RUN, apply
from penstock.builds.conductor import Conductor
from penstock.builds.engine import Lost, TimePassed
from penstock.builds.errors import AccountLimitExceededException
from penstock.builds.layout import layout_of
from penstock.builds.machine import node_of
from penstock.builds.model import Key
from penstock.builds.phases import Status
from penstock.builds.request import BuildRequest
from penstock.builds.workspace import OWN_TREES, Workspace, leftovers
from penstock.pools import FILES
from penstock.room import App, Settings
from penstock.sandbox.registry import AUTO, Choice, choose
from penstock.sandbox.runtime import RuntimeRefused
from penstock.store.jobs import Job
from penstock.store.work import Retry

log = logging.getLogger("penstock.builds")

ELSEWHERE = "its run is on another worker's disk"
"""Why a build waits for a worker that is not here: the error of its job."""

_ELSEWHERE_MS = 5_000
_DRAINED_MS = 500  # longer than this process still takes jobs
_HALTED_TRIES = 100  # looks, each 0.1 s, at a supervisor that was told to end
_ATTEMPTS = 15  # failures of our own in the way of one build: with the back-off, half an hour


@dataclass(slots=True)
class Site:
    """What this process's builds have in common."""

    folder: Path
    node: str = ""
    choice: Choice | None = None
    draining: bool = False
    conducting: set[asyncio.Task[None]] = field(default_factory=set)
    _choosing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def drain(self) -> None:
        """Let go of every build: its supervisor goes on, and whoever works next adopts it."""
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

    async def runtime(self, app: App) -> Choice:
        """The runtime, probed once."""
        async with self._choosing:
            if self.choice is None:
                self.choice = await FILES.run(choose_for, app.settings)
                log.info(
                    "builds.runtime",
                    extra={"runtime": self.choice.name or "none", "isolation": self.choice.offer.message},
                )
        return self.choice


def choose_for(settings: Settings) -> Choice:
    """The runtime that the settings ask for. Raises RuntimeRefused."""
    asked = {"build_runtime": settings.build_runtime, "build_network": settings.build_network}
    given = [f"{name} = {value}" for name, value in asked.items() if value not in ("", AUTO)]
    try:
        return choose(
            wanted=settings.build_runtime,
            network=settings.build_network,
            allow_unisolated=settings.allow_unisolated_builds,
            layout=layout_of(settings),
        )
    except RuntimeRefused as refused:
        if not given:
            raise
        raise RuntimeRefused(
            f"Builds cannot run as {' and '.join(given)} asks. {refused}. Mend that, or leave the setting out."
        ) from None


async def _clear(app: App, site: Site) -> None:
    """Delete the directories of builds that are over: their worker died between their end and that."""
    names = [name for name in await FILES.run(lambda: list(leftovers(site.folder))) if len(name) == 36]
    running = await app.store.scan(records.unfinished)
    for name in names:
        if name not in {id_.rpartition(":")[2] for id_ in running}:
            workspace = Workspace(site.folder / name, OWN_TREES / name)
            try:
                if not await FILES.run(workspace.is_elsewhere):
                    await FILES.run(workspace.remove)
            except OSError as error:  # it costs space; a server that does not start costs more
                log.warning("builds.not_removed", extra={"folder": str(workspace.path), "error": str(error)})


async def _ended(workspace: Workspace) -> None:
    """Have a run end, and delete its directory; one whose supervisor does not end is deleted at the next start."""
    if not workspace.path.exists():
        return
    await FILES.run(workspace.halt, Status.STOPPED)
    for _ in range(_HALTED_TRIES):
        if await FILES.run(workspace.supervisor) is None:
            await FILES.run(workspace.remove)
            return
        await asyncio.sleep(0.1)


def register_work(app: App) -> None:
    """Declare the handlers."""
    site = Site(app.settings.data_dir / "builds")

    async def prepare() -> None:
        site.node = await FILES.run(node_of, site.folder)
        await _clear(app, site)
        if app.settings.builds:
            await site.runtime(app)

    if app.settings.works:
        app.on_start(prepare)
        app.on_stop(site.drain)

    async def given_up(app: App, job: Job, error: str) -> None:
        """A run that fails over and over ends in words; nobody waits for it for ever."""
        key = Key(job.account, job.region, job.payload["id"])
        log.error("builds.given_up", extra={"build": key.id, "error": error})
        words = "The service failed over and over while it ran the build: the log of the server says why"
        await app.store.write(apply, app, key, [Lost(message=words)], job=job)
        await _ended(Workspace(site.folder / key.uuid, OWN_TREES / key.uuid))

    @app.work.handler(RUN, concurrency=app.settings.builds, max_attempts=_ATTEMPTS, on_dead=given_up)
    async def run(app: App, job: Job) -> None:
        if site.draining:
            raise Retry(_DRAINED_MS, "this worker drains", counts=False)
        key = Key(job.account, job.region, job.payload["id"])
        row = await app.store.read(records.find_build, key.account, key.region, key.id)
        if row is None or row.complete:
            await FILES.run(Workspace(site.folder / key.uuid, OWN_TREES / key.uuid).remove)
            return
        elsewhere = await FILES.run(Workspace(site.folder / key.uuid, OWN_TREES / key.uuid).is_elsewhere)
        if elsewhere or (elsewhere is None and row.node not in ("", site.node)):
            if not engine.is_given_up(records.state_of(row), app.clock.now()):
                raise Retry(_ELSEWHERE_MS, ELSEWHERE, counts=False)
            await app.store.write(
                apply, app, key, [Lost(message="The worker that ran the build did not come back")], job=job
            )
            return
        request = BuildRequest.of(row, key, folder=site.folder, choice=await site.runtime(app))
        conductor = Conductor(app, job, request=request, state=records.state_of(row), node=site.node)
        await site.conduct(conductor)

    @app.work.handler(QUEUED)
    async def queued(app: App, job: Job) -> None:
        key = Key(job.account, job.region, job.payload["id"])
        await app.store.write(apply, app, key, [TimePassed()])

    @app.work.handler(RETRY)
    async def retry(app: App, job: Job) -> None:
        key = Key(job.account, job.region, job.payload["id"])
        try:
            await app.store.write(starting.retry, app, key, now=app.clock.now())
        except AccountLimitExceededException as error:
            raise Retry(_ELSEWHERE_MS, error.message, counts=False) from None
