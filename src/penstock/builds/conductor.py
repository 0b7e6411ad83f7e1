"""One build in the hands of a worker: provision, start or adopt its supervisor, follow it, upload, finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa

from penstock.builds import records
from penstock.builds.aggregate import apply
from penstock.builds.engine import BuildState, Claimed, Described, Input, Lost, PhaseEnded, TimePassed
from penstock.builds.errors import PhaseFailed
from penstock.builds.logship import LogsDenied, LogShipper
from penstock.builds.model import Key
from penstock.builds.phases import (
    COMMAND_PHASES,
    DOWNLOAD_SOURCE,
    FAILED,
    FAULT,
    FINALIZING,
    PROVISIONING,
    QUEUED,
    SUCCEEDED,
    UPLOAD_ARTIFACTS,
)
from penstock.builds.provision import Provision
from penstock.builds.uploads import Packed, upload
from penstock.builds.workspace import OWN_TREES, Step, Workspace
from penstock.loops import Loop
from penstock.pools import FILES
from penstock.room import App
from penstock.sandbox.registry import Choice
from penstock.sandbox.space import size
from penstock.store.crash import point
from penstock.store.errors import StoreFull
from penstock.store.jobs import Job
from penstock.wire.errors import Refused

T = TypeVar("T")

log = logging.getLogger("penstock.builds")

_LOOK_S = 1.0  # between looks at a run whose bell stays silent
_BATCH_S = 0.1  # between two batches of log lines
_RENEW_BEFORE_S = 900  # the role's session, before its end
_MAX_STARTS = 3
_FULL_TRIES, _FULL_PAUSE_S = 100, 0.2


class Conductor:
    """Runs one build to its end; cancelled (the process drains), it leaves the build to its supervisor."""

    def __init__(
        self, app: App, job: Job, *, key: Key, row: sa.Row[Any], folder: Path, node: str, choice: Choice
    ) -> None:
        self.app = app
        self.job = job
        self.key = key
        self.node = node
        self.choice = choice
        self.state = records.state_of(row)
        self.document: dict[str, Any] = dict(row.document)
        self.private: Mapping[str, Any] = row.private
        user = choice.runtime.user(int(key.uuid[:8], 16)) if choice.runtime else 0
        tree = OWN_TREES / key.uuid if user else folder / key.uuid / "tree"
        self.workspace = Workspace(folder / key.uuid, tree)
        self.provision = Provision(self, user)
        self.logs = LogShipper(app, self.workspace, logs=self.document.get("logs", {}), region=key.region)
        self.nudge = asyncio.Event()
        self.packed: list[Packed] = []
        self.packing_failure = ""
        self.packing_done = False
        self.end: Step | None = None
        self.patch: dict[str, Any] = {}
        self.starts = 0
        self.clearing: asyncio.Future[None] | None = None
        self._dirty = asyncio.Event()

    # --- the whole ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """From wherever the build is to its end."""
        wakeup = self.app.store.wakeup(self.key.topic)
        if self.state.phase != QUEUED:
            # Its space may be what the next write needs.
            await FILES.run(self._clear_orphan)
        if not await self._authorised():
            return
        await self.record(Claimed(node=self.node))
        if self.state.complete:
            return
        adopted = self.state.phase != QUEUED and await FILES.run(self._is_under_way)
        try:
            async with contextlib.AsyncExitStack() as stack:
                # Loops of one build only: what its commands write must not make the whole process unready.
                poll = self.app.settings.poll_ms / 1000
                watching = Loop("builds.watch", self._watch, lambda: wakeup.wait(poll))
                stack.push_async_callback(watching.stop)
                renewing = Loop("builds.renew", self._renew_session, self._until_renewal)
                stack.push_async_callback(renewing.stop)
                alarm = self.app.clock.call_at(self.state.runs_until or 0, self._time_is_up)
                stack.callback(alarm.cancel)
                if not adopted and not await self._provisioned():
                    return
                await FILES.run(self.workspace.resume_log)
                shipping = Loop("builds.ship", self._ship_batch, self._until_written)
                stack.push_async_callback(shipping.stop)
                while not await self._followed(adopted=adopted):
                    if not await self._provisioned():
                        return
                await self._concluded()
        except asyncio.CancelledError:
            log.info("builds.left_to_supervisor", extra={"build": self.key.id})
            raise

    async def record(self, *inputs: Input, job: Job | None = None) -> None:
        """Apply inputs in one transaction, with what became known of the build meanwhile."""
        patch, self.patch = self.patch, {}
        known: list[Input] = [Described(members=patch)] if patch else []
        tries = _FULL_TRIES
        while True:
            try:
                state = await self.app.store.write(apply, self.app, self.key, [*known, *inputs], job=job)
                break
            except StoreFull:
                # The supervisor of the build that fills the disk is ending it just now: this one or a neighbour.
                tries -= 1
                if not tries:
                    raise
                await asyncio.sleep(_FULL_PAUSE_S)
        if state is None:
            raise RuntimeError(f"the build {self.key.id} was deleted while it ran")
        self.document |= patch
        self.state = state

    def _clear_orphan(self) -> None:
        """End and delete what a supervisor left that was killed, or that ended while nobody looked."""
        if self.workspace.started and self.workspace.supervisor() is None:
            self.workspace.end_processes()
            self.workspace.clear()

    def _is_under_way(self) -> bool:
        return self.workspace.started or self.workspace.supervisor() is not None

    # --- before the commands --------------------------------------------------------------------------------------

    async def _authorised(self) -> bool:
        """Take the role, and in the queue make the build's log with it; False when the build ended over it."""
        try:
            await self.provision.assume()
        except Refused as error:
            words = f"CodeBuild is not authorized to perform: sts:AssumeRole on {self.document['serviceRole']}: {error.message}"
            await self._fail(PhaseFailed(words))
            return False
        if self.state.phase == QUEUED:
            try:
                await self.logs.open(self.provision.session)
            except LogsDenied as denied:
                words = (
                    f"Service role {self.document['serviceRole']} does not allow AWS CodeBuild to create Amazon CloudWatch "
                    f"Logs log streams for build {self.document['arn']}. Error message: {denied}"
                )
                await self._fail(PhaseFailed(words, code="ACCESS_DENIED"))
                return False
        return True

    async def _provisioned(self) -> bool:
        """Make the workspace and start the supervisor; False when the build ended over it."""
        self.starts += 1
        if self.starts > _MAX_STARTS:
            await self._lose("Its supervisor could not be started")
            return False
        if not self.choice.name:
            await self._fail(
                PhaseFailed(f"No build runtime is available here: {self.choice.offer.message}", code="INTERNAL_ERROR"),
                FAULT,
            )
            return False
        try:
            await FILES.run(self.workspace.create)
            self._require_space()
            self.provision.write_credentials()
            await self.record(PhaseEnded(phase=PROVISIONING, status=SUCCEEDED, at=self.app.clock.now()))
            point("builds.provisioned")
            job = await self._unless_told_to_end(self.provision.job())
        except PhaseFailed as failed:
            await self._fail(failed)
            return False
        except OSError as error:
            await self._fail(
                PhaseFailed(f"The build's directory could not be made: {error.strerror}", code="INTERNAL_ERROR"), FAULT
            )
            return False
        if job is None or self.state.ending:
            await self._end_early()
            return False
        self.provision.say(f"Phase complete: {DOWNLOAD_SOURCE} State: SUCCEEDED")
        self.provision.say("Phase context status code:  Message: ")
        await FILES.run(self.workspace.write_private, "job.json", orjson.dumps(job))
        await self.record(PhaseEnded(phase=DOWNLOAD_SOURCE, status=SUCCEEDED, at=self.app.clock.now()))
        point("builds.before_supervisor")
        started = await FILES.run(self.workspace.start)
        point("builds.after_supervisor")
        if started == 0 and self.state.ending:
            await FILES.run(self.workspace.halt, self.state.ending)
        return True

    def _require_space(self) -> None:
        free, kept = self.workspace.free()
        if free < kept:
            raise PhaseFailed(
                f"The disk of this worker has {size(free)} left, and {size(kept)} are kept for its server: make room, and start the "
                "build again",
                code="INTERNAL_ERROR",
            )

    async def _unless_told_to_end(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What `work` gives; None when the build is told to end before, and then nothing of it goes on."""
        working = asyncio.create_task(work)
        try:
            while not working.done() and not self.state.ending:
                self.nudge.clear()
                nudged = asyncio.create_task(self.nudge.wait())
                await asyncio.wait((working, nudged), return_when=asyncio.FIRST_COMPLETED)
                nudged.cancel()
            return working.result() if working.done() else None
        finally:
            if not working.done():
                working.cancel()
                await asyncio.wait((working,))

    async def _fail(self, failed: PhaseFailed, status: str = FAILED) -> None:
        """The present phase failed in our hands; go on to the end."""
        await FILES.run(self.workspace.clear)
        phase = self.state.phase
        now = self.app.clock.now()
        if self.workspace.path.exists():
            self.provision.say(f"Phase complete: {phase} State: {status}")
            self.provision.say(f"Phase context status code: {failed.code} Message: {failed.message}")
        await self.record(
            PhaseEnded(phase=phase, status=status, at=now, code=failed.code, message=failed.message), job=self.job
        )
        await self._ended()

    async def _lose(self, words: str) -> None:
        log.error("builds.lost", extra={"build": self.key.id, "reason": words})
        await FILES.run(self.workspace.clear)
        await FILES.run(self.workspace.say, f"{words}", self.app.clock.now())
        await self._ship_rest()
        await self.record(Lost(message=words), job=self.job)
        await FILES.run(self.workspace.remove)

    async def _end_early(self) -> None:
        await FILES.run(self.workspace.clear)
        status = self.state.ending
        words = "Build timed out" if status == "TIMED_OUT" else "Build was stopped"
        await self.record(
            PhaseEnded(phase=self.state.phase, status=status, at=self.app.clock.now(), message=words), job=self.job
        )
        await self._ended()

    async def _ended(self) -> None:
        """After a phase that ended the build here; one before DOWNLOAD_SOURCE completes it without FINALIZING."""
        if self.state.complete:
            await FILES.run(self.workspace.remove)
        else:
            await self._finalised()

    # --- while they run -------------------------------------------------------------------------------------------

    async def _followed(self, *, adopted: bool) -> bool:
        """Follow the supervisor until it said that it ended; False when it never ran a command and may be started anew."""
        if adopted:
            log.info("builds.adopted", extra={"build": self.key.id})
            await FILES.run(self.workspace.ring_back)
            if self.state.ending:
                await FILES.run(self.workspace.halt, self.state.ending)
        loop = asyncio.get_running_loop()
        bell = os.open(self.workspace.bell, os.O_RDWR | os.O_NONBLOCK)

        def rung() -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(bell, 65536)
            self.nudge.set()
            self._dirty.set()

        loop.add_reader(bell, rung)
        try:
            while True:
                self.nudge.clear()
                alive = await FILES.run(self.workspace.supervisor)
                await self._take(await FILES.run(self.workspace.steps))
                if self.end is not None:
                    return True
                if alive is None:
                    return await self._gone()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.nudge.wait(), _LOOK_S)
        finally:
            loop.remove_reader(bell)
            os.close(bell)

    async def _gone(self) -> bool:
        """The supervisor is dead and has not said why: True ends the build, False starts it anew."""
        if not self.workspace.started:
            return False
        await FILES.run(self.workspace.end_processes)
        words = (
            "The build's supervisor was killed while commands were running (or the machine went down): "
            "they may have taken effect, so they are not run a second time"
        )
        self.end = Step("ended", self.app.clock.now(), {"status": FAULT, "message": words})
        return True

    async def _take(self, steps: list[Step]) -> None:
        """What the supervisor reported since the last look."""
        inputs: list[Input] = []
        for step in steps:
            values = step.values
            match step.event:
                case "phase_ended":
                    inputs.append(PhaseEnded(at=step.at, **values))
                case "exported":
                    self.patch["exportedEnvironmentVariables"] = [
                        {"name": name, "value": value} for name, value in values["variables"].items()
                    ]
                case "packed":
                    file = self.workspace.path / values["file"]
                    self.packed.append(Packed(identifier=values["identifier"], file=file, name=values["name"]))
                case "packing_failed":
                    self.packing_failure = values["message"]
                case "packing_done":
                    self.packing_done = True
                case "ended":
                    self.end = step
        if inputs:
            point("builds.before_progress")
            await self.record(*inputs)

    # --- after the commands ---------------------------------------------------------------------------------------

    async def _concluded(self) -> None:
        assert self.end is not None
        # What follows writes to the same disk: a build that filled it must not be in the way of its own end.
        self.clearing = asyncio.ensure_future(FILES.run(self.workspace.clear))
        free, kept = self.workspace.free()
        if free < kept:
            await self.clearing
        point("builds.commands_ended")
        status, words = str(self.end.values["status"]), str(self.end.values["message"])
        if self.state.phase in (*COMMAND_PHASES, UPLOAD_ARTIFACTS) and status:
            code = "INTERNAL_ERROR" if status == FAULT else ""
            self.provision.say(words)
            await self.record(
                PhaseEnded(phase=self.state.phase, status=status, at=self.app.clock.now(), code=code, message=words)
            )
        if self.state.phase == UPLOAD_ARTIFACTS:
            await self._uploaded()
        await self._finalised()

    async def _uploaded(self) -> None:
        code = words = ""
        try:
            self.patch |= await self._upload()
        except PhaseFailed as failed:
            code, words = failed.code, failed.message
        except OSError as error:
            code, words = "INTERNAL_ERROR", f"The artifacts could not be read: {error.strerror}"
        status = FAILED if code else SUCCEEDED
        self.provision.say(f"Phase complete: {UPLOAD_ARTIFACTS} State: {status}")
        self.provision.say(f"Phase context status code: {code} Message: {words}")
        point("builds.uploaded")
        await self.record(
            PhaseEnded(phase=UPLOAD_ARTIFACTS, status=status, at=self.app.clock.now(), code=code, message=words)
        )

    async def _upload(self) -> dict[str, Any]:
        plan = await FILES.run(lambda: orjson.loads(self.workspace.job.read_bytes()))
        if plan["missing_artifacts"]:
            raise PhaseFailed(plan["missing_artifacts"])
        if self.packing_failure or not self.packing_done:
            raise PhaseFailed(self.packing_failure or "The artifacts were not packed")
        primary: dict[str, Any] = {}
        secondary: list[dict[str, Any]] = []
        for packed in self.packed:
            to = self.provision.destination(packed)
            self.provision.say(f"Uploading to s3://{to.bucket}/{to.key}")
            put = await upload(
                self.provision.objects(), packed, to, build_arn=self.document["arn"], say=self.provision.say
            )
            if packed.identifier and "pipelineContext" not in self.private:
                secondary.append(put | {"artifactIdentifier": packed.identifier})
            elif not primary:
                primary = put
            else:
                secondary.append(put | {"artifactIdentifier": packed.identifier})
        found: dict[str, Any] = {}
        if primary:
            found["artifacts"] = self.document.get("artifacts", {}) | primary
        if secondary:
            found["secondaryArtifacts"] = secondary
        return found

    async def _finalised(self) -> None:
        """FINALIZING: the rest of the log, then the end."""
        if self.workspace.path.exists():
            await self._ship_rest()
        refused = self.logs.refusal if self.logs.refusal != "off" else ""
        await self.record(
            PhaseEnded(
                phase=FINALIZING,
                status=SUCCEEDED,
                at=self.app.clock.now(),
                code="ACCESS_DENIED" if refused else "",
                message=f"The build's log could not be written to CloudWatch Logs: {refused}" if refused else "",
            ),
            job=self.job,
        )
        point("builds.completed")
        if self.clearing is not None:
            await self.clearing
        await FILES.run(self.workspace.remove)

    async def _ship_rest(self) -> None:
        if self.provision.assumed:
            await self.logs.ship(self.provision.session)

    # --- meanwhile ------------------------------------------------------------------------------------------------

    async def _ship_batch(self) -> None:
        self._dirty.clear()
        await self.logs.ship(self.provision.session)

    async def _until_written(self) -> None:
        await asyncio.sleep(_BATCH_S)
        await self._dirty.wait()

    async def _watch(self) -> None:
        """Hear of StopBuild, and of the end of time that another process recorded."""
        row = await self.app.store.read(records.find_build, self.key.account, self.key.region, self.key.id)
        if row is None:
            return
        state = records.state_of(row)
        if state.ending and not self.state.ending:
            await self._told_to_end(state)

    async def _told_to_end(self, state: BuildState) -> None:
        self.state = replace(self.state, ending=state.ending)
        if await FILES.run(self.workspace.supervisor) is not None:
            await FILES.run(self.workspace.halt, state.ending)
        self.nudge.set()

    def _time_is_up(self) -> None:
        async def end() -> None:
            await self.record(TimePassed())
            if self.state.ending:
                await self._told_to_end(self.state)

        self._ending = asyncio.ensure_future(end())

    async def _until_renewal(self) -> None:
        await self.app.clock.wait_until(self.provision.expires - _RENEW_BEFORE_S * 1000)

    async def _renew_session(self) -> None:
        if self.app.clock.now() < self.provision.expires - _RENEW_BEFORE_S * 1000:
            return
        try:
            await self.provision.assume()
            self.provision.write_credentials()
        except Refused as error:
            log.warning("builds.session_not_renewed", extra={"build": self.key.id, "error": error.message})
            await self.app.clock.sleep(60)
