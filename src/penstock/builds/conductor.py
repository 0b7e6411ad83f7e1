"""One build in the hands of a worker: provision, start or adopt its supervisor, follow it, upload, finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson

from penstock.application import App
from penstock.builds import engine, records
from penstock.builds.aggregate import apply
from penstock.builds.download import Download
from penstock.builds.engine import Claimed, Described, Input, Lost, PhaseEnded, TimePassed
from penstock.builds.errors import PhaseFailed
from penstock.builds.following import Outcome, end_supervisor, follow, unless
from penstock.builds.job import Job as SupervisorJob
from penstock.builds.job import check
from penstock.builds.layout import layout_of
from penstock.builds.logship import LogsDenied, LogShipper
from penstock.builds.model import BuildState
from penstock.builds.phases import COMMAND_PHASES, ENDING, PhaseType, Status
from penstock.builds.references import Resolver
from penstock.builds.request import BuildRequest
from penstock.builds.session import RoleSession, assume
from penstock.builds.uploads import upload_all
from penstock.loops import Loop
from penstock.pools import FILES, REMOVALS
from penstock.sandbox.space import size
from penstock.store.errors import StoreFull
from penstock.store.failpoints import failpoint
from penstock.store.jobs import Job
from penstock.wire.errors import Refused

log = logging.getLogger("penstock.builds")

_BATCH_S = 0.1  # between two batches of log lines
_RENEW_BEFORE_MS = 900_000  # the role's session, before its end
_MAX_STARTS = 3
_FULL_TRIES, _FULL_PAUSE_S = 100, 0.2
INTERNAL = "INTERNAL_ERROR"


class Conductor:
    """Runs one build to its end; cancelled (the process drains), it leaves the build to its supervisor."""

    def __init__(self, app: App, job: Job, *, request: BuildRequest, state: BuildState, node: str) -> None:
        self._app = app
        self._job = job
        self._request = request
        self._workspace = request.workspace
        self._state = state
        self._node = node
        self.id = request.key.id
        self._logs = LogShipper(
            app, request.workspace, logs=request.document.get("logs", {}), region=request.key.region
        )
        self._role: RoleSession | None = None
        self._nudge = asyncio.Event()  # the supervisor wrote something, or the build is to end
        self._clearing: asyncio.Future[None] | None = None
        self._starts = 0
        self._known: dict[str, Any] = {}  # members of the API's Build that the next record adds

    async def run(self) -> None:
        """From wherever the build is to its end."""
        if self._state.phase != PhaseType.QUEUED:
            # Its space may be what the next write needs.
            await REMOVALS.run(self._workspace.clear_orphan)
        role = await self._authorise()
        if role is None:
            return
        await self._record(Claimed(node=self._node))
        if self._state.complete:
            return
        adopted = await FILES.run(self._workspace.is_under_way)
        try:
            async with self._watching() as stack:
                if not adopted and not await self._start_supervisor(role):
                    return
                await FILES.run(self._workspace.resume_log)
                shipping = Loop("builds.ship", self._ship, self._until_written)
                stack.push_async_callback(shipping.stop)
                outcome = await self._follow(role, adopted=adopted)
                if outcome is not None:
                    await self._conclude(outcome)
        except asyncio.CancelledError:
            log.info("builds.left_to_supervisor", extra={"build": self.id})
            raise

    @contextlib.asynccontextmanager
    async def _watching(self) -> AsyncIterator[contextlib.AsyncExitStack]:
        """Watch for what ends the build from outside, and renew its role's session, meanwhile."""
        # Loops of one build only: what its commands write must not make the whole process unready.
        wakeup = self._app.store.wakeup(self._request.key.topic)
        poll = self._app.settings.poll_seconds
        async with contextlib.AsyncExitStack() as stack:
            watching = Loop("builds.watch", self._watch, lambda: wakeup.wait(poll))
            stack.push_async_callback(watching.stop)
            renewing = Loop("builds.renew", self._renew_session, self._until_renewal)
            stack.push_async_callback(renewing.stop)
            alarm = self._app.clock.call_at(engine.deadline(self._state) or 0, self._time_is_up)
            stack.callback(alarm.cancel)
            yield stack

    async def _follow(self, role: RoleSession, *, adopted: bool) -> Outcome | None:
        """Follow the supervisor, and start another when it is gone before its first command; None when the build ended over that."""
        if adopted:
            log.info("builds.adopted", extra={"build": self.id})
            await FILES.run(self._workspace.make_wakeup)
            await self._halt_if_ending()
        changed = (self._nudge, self._logs.written)
        while (outcome := await follow(self._workspace, record=self._record, changed=changed)) is None:
            if not await self._start_supervisor(role):
                return None
        return outcome

    # --- before the commands --------------------------------------------------------------------------------------

    async def _authorise(self) -> RoleSession | None:
        """Take the role, and in the queue make the build's log with it; None when the build ended over it."""
        role = self._request.role
        try:
            self._role = await assume(self._app, self._request)
        except Refused as error:
            if self._state.phase != PhaseType.QUEUED and await FILES.run(self._workspace.supervisor) is not None:
                await end_supervisor(self._workspace)  # what runs already must not outlive its build
            if self._state.ending:
                await self._end_early()
            else:
                message = f"CodeBuild is not authorized to perform: sts:AssumeRole on {role}: {error.message}"
                await self._fail(PhaseFailed(message))
            return None
        if self._state.phase == PhaseType.QUEUED:
            try:
                await self._logs.open(self._role.session)
            except LogsDenied as denied:
                message = (
                    f"Service role {role} does not allow AWS CodeBuild to create Amazon CloudWatch "
                    f"Logs log streams for build {self._request.document['arn']}. Error message: {denied}"
                )
                await self._fail(PhaseFailed(message, code="ACCESS_DENIED"))
                return None
        return self._role

    async def _start_supervisor(self, role: RoleSession) -> bool:
        """PROVISIONING and DOWNLOAD_SOURCE, then start the supervisor; False when the build ended over it."""
        self._starts += 1
        if self._starts > _MAX_STARTS:
            await self._lose("Its supervisor could not be started")
            return False
        if self._request.choice.runtime is None:
            reasons = self._request.choice.offer.message
            failed = PhaseFailed(f"No build runtime is available here: {reasons}", code=INTERNAL)
            await self._fail(failed, Status.FAULT)
            return False
        try:
            await FILES.run(self._provision, role)
            recording = asyncio.ensure_future(self._end_phase(PhaseType.PROVISIONING))
            failpoint("builds.provisioned")
            try:  # the next phase does not wait for the disk, only its end does
                job = await unless(lambda: self._state.ending is not None, self._download(role), changed=self._nudge)
            finally:
                await recording
        except PhaseFailed as failed:
            await self._fail(failed)
            return False
        except OSError as error:
            failed = PhaseFailed(f"The build's directory could not be made: {error.strerror}", code=INTERNAL)
            await self._fail(failed, Status.FAULT)
            return False
        if job is None or self._state.ending:
            await self._end_early()
            return False
        self._say_end(PhaseType.DOWNLOAD_SOURCE, Status.SUCCEEDED)
        await FILES.run(self._workspace.write_private, "job.json", orjson.dumps(job))
        await self._end_phase(PhaseType.DOWNLOAD_SOURCE)
        failpoint("builds.before_supervisor")
        started = await FILES.run(self._workspace.start)
        failpoint("builds.after_supervisor")
        if started == 0:
            await self._halt_if_ending()
        return True

    def _provision(self, role: RoleSession) -> None:
        """Make the build's directory. Raises PhaseFailed, OSError."""
        self._workspace.create()
        free, kept = self._workspace.free()
        if free < kept:
            raise PhaseFailed(
                f"The disk of this worker has {size(free)} left, and {size(kept)} are kept for its server: make room, and start the "
                "build again",
                code=INTERNAL,
            )
        self._workspace.write_session(role.to_json())

    async def _download(self, role: RoleSession) -> dict[str, Any]:
        """DOWNLOAD_SOURCE: the supervisor's job. Raises PhaseFailed."""
        request, say = self._request, self._logs.say
        say("Waiting for DOWNLOAD_SOURCE")
        say("Phase is DOWNLOAD_SOURCE")
        say(f"Runtime {request.choice.name}: {request.choice.offer.message}")
        image = request.document["environment"]["image"]
        say(f"The image {image} is recorded, not pulled: this runtime uses the host's programs")
        download = Download(self._app, request, role, say)
        sources = await download.sources()
        if sources.version:
            self._known["resolvedSourceVersion"] = sources.version
        say(f"CODEBUILD_SRC_DIR={sources.directories['']}")
        spec = await download.buildspec(sources)
        check(request, spec, sources, say)
        referenced = await Resolver(self._app, request, role, say).values(spec)
        job = SupervisorJob(
            app=self._app,
            request=request,
            role=role,
            sources=sources,
            spec=spec,
            referenced=referenced,
            layout=await FILES.run(layout_of, self._app.settings),
            seconds=engine.supervisor_limit(self._state, self._app.clock.now()) / 1000,
        )
        return await FILES.run(job.to_json)

    # --- after the commands ---------------------------------------------------------------------------------------

    async def _conclude(self, outcome: Outcome) -> None:
        # What follows writes to the same disk: a build that filled it must not be in the way of its own end.
        self._clearing = asyncio.ensure_future(REMOVALS.run(self._workspace.clear))
        free, kept = self._workspace.free()
        if free < kept:
            await self._clearing
        failpoint("builds.commands_ended")
        if self._state.phase in (*COMMAND_PHASES, PhaseType.UPLOAD_ARTIFACTS) and outcome.status:
            self._logs.say(outcome.message)
            code = INTERNAL if outcome.status == Status.FAULT else ""
            await self._end_phase(self._state.phase, outcome.status, code=code, message=outcome.message)
        before: list[PhaseEnded] = []
        if self._state.phase == PhaseType.UPLOAD_ARTIFACTS:
            before.append(await self._upload(outcome))
            if outcome.packed:  # else nobody has to know before the end of the build
                await self._record(before.pop())
        await self._finalise(*before)

    async def _upload(self, outcome: Outcome) -> PhaseEnded:
        """UPLOAD_ARTIFACTS: its end, which is still to be recorded."""
        code = message = ""
        try:
            await FILES.run(self._require_packed, outcome)
            session = self._session.session
            self._known |= await upload_all(self._app, self._request, session, outcome.packed, self._logs.say)
        except PhaseFailed as failed:
            code, message = failed.code, failed.message
        except OSError as error:
            code, message = INTERNAL, f"The artifacts could not be read: {error.strerror}"
        status = Status.FAILED if code else Status.SUCCEEDED
        self._say_end(PhaseType.UPLOAD_ARTIFACTS, status, code=code, message=message)
        failpoint("builds.uploaded")
        now = self._app.clock.now()
        return PhaseEnded(phase=PhaseType.UPLOAD_ARTIFACTS, status=status, at=now, code=code, message=message)

    def _require_packed(self, outcome: Outcome) -> None:
        """Raise PhaseFailed when an artifact is not in the buildspec or could not be packed."""
        missing = orjson.loads(self._workspace.job.read_bytes())["missing_artifacts"]
        failure = missing or ("The artifacts were not packed" if outcome.packing is None else outcome.packing)
        if failure:
            raise PhaseFailed(failure)

    async def _finalise(self, *before: PhaseEnded) -> None:
        """FINALIZING: the rest of the log, then the end, and with it what ended before and is not recorded yet."""
        if self._workspace.path.exists():
            await self._ship()
        refused = self._logs.refusal if self._logs.refusal != "off" else ""
        last = PhaseEnded(
            phase=PhaseType.FINALIZING,
            status=Status.SUCCEEDED,
            at=self._app.clock.now(),
            code="ACCESS_DENIED" if refused else "",
            message=f"The build's log could not be written to CloudWatch Logs: {refused}" if refused else "",
        )
        await self._record(*before, last, last=True)
        failpoint("builds.completed")
        if self._clearing is not None:
            await self._clearing
        await REMOVALS.run(self._workspace.remove)

    # --- an end before that ---------------------------------------------------------------------------------------

    async def _fail(self, failed: PhaseFailed, status: Status = Status.FAILED) -> None:
        """The present phase failed in our hands; continue to the end."""
        await REMOVALS.run(self._workspace.clear)
        if self._workspace.path.exists():
            self._say_end(self._state.phase, status, code=failed.code, message=failed.message)
        await self._end_phase(
            self._state.phase, status, code=failed.code, message=failed.message, on_failure="ABORT", last=True
        )
        await self._end()

    async def _end_early(self) -> None:
        """The build is to end, and no supervisor is there to do it."""
        await REMOVALS.run(self._workspace.clear)
        assert self._state.ending
        message = ENDING[self._state.ending]
        await self._end_phase(self._state.phase, self._state.ending, message=message, last=True)
        await self._end()

    async def _lose(self, message: str) -> None:
        log.error("builds.lost", extra={"build": self.id, "reason": message})
        await REMOVALS.run(self._workspace.clear)
        self._logs.say(message)
        await self._ship()
        await self._record(Lost(message=message), last=True)
        await REMOVALS.run(self._workspace.remove)

    async def _end(self) -> None:
        """After a phase that ended the build here; one before DOWNLOAD_SOURCE completes it without FINALIZING."""
        if self._state.complete:
            await REMOVALS.run(self._workspace.remove)
        else:
            await self._finalise()

    # --- what is written down --------------------------------------------------------------------------------------

    async def _record(self, *inputs: Input, last: bool = False) -> None:
        """Apply inputs in one transaction, with what became known; `last`: the job is done when they complete the build."""
        known, self._known = self._known, {}
        if known:
            inputs = (Described(members=known), *inputs)
        tries = _FULL_TRIES
        while True:
            try:
                state = await self._app.store.write(
                    apply, self._app, self._request.key, inputs, job=self._job if last else None
                )
                break
            except StoreFull:
                # The supervisor of the build that fills the disk is ending it just now: this one or a neighbour.
                tries -= 1
                if not tries:
                    raise
                await asyncio.sleep(_FULL_PAUSE_S)
        if state is None:
            raise RuntimeError(f"the build {self.id} was deleted while it ran")
        self._state = state

    async def _end_phase(
        self,
        phase: PhaseType,
        status: Status = Status.SUCCEEDED,
        *,
        code: str = "",
        message: str = "",
        on_failure: str = "",
        last: bool = False,
    ) -> None:
        """Record that a phase ended now."""
        now = self._app.clock.now()
        ended = PhaseEnded(phase=phase, status=status, at=now, code=code, message=message, on_failure=on_failure)
        await self._record(ended, last=last)

    def _say_end(self, phase: PhaseType, status: Status, *, code: str = "", message: str = "") -> None:
        self._logs.say(f"Phase complete: {phase} State: {status}")
        self._logs.say(f"Phase context status code: {code} Message: {message}")

    # --- meanwhile ------------------------------------------------------------------------------------------------

    @property
    def _session(self) -> RoleSession:
        assert self._role is not None
        return self._role

    async def _ship(self) -> None:
        if self._role is not None:
            await self._logs.ship(self._role.session)

    async def _until_written(self) -> None:
        await asyncio.sleep(_BATCH_S)
        await self._logs.written.wait()

    async def _watch(self) -> None:
        """Notice StopBuild, and the end of time that another process recorded."""
        key = self._request.key
        row = await self._app.store.read(records.find_build, key.account, key.region, key.id)
        ending = records.state_of(row).ending if row is not None else None
        if ending and not self._state.ending:
            self._state = replace(self._state, ending=ending)
            await self._halt_if_ending()
            self._nudge.set()

    def _time_is_up(self) -> None:
        async def end() -> None:
            await self._record(TimePassed())
            await self._halt_if_ending()
            self._nudge.set()

        self._ending = asyncio.ensure_future(end())

    async def _halt_if_ending(self) -> None:
        """Have the supervisor end the build that is to end."""
        if self._state.ending and await FILES.run(self._workspace.supervisor) is not None:
            await FILES.run(self._workspace.halt, self._state.ending)

    async def _until_renewal(self) -> None:
        await self._app.clock.wait_until(self._session.expires - _RENEW_BEFORE_MS)

    async def _renew_session(self) -> None:
        if self._app.clock.now() < self._session.expires - _RENEW_BEFORE_MS:
            return
        try:
            self._role = await assume(self._app, self._request)
            self._workspace.write_session(self._role.to_json())
        except Refused as error:
            log.warning("builds.session_not_renewed", extra={"build": self.id, "error": error.message})
            await self._app.clock.sleep(60)
