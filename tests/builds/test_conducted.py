"""A build in the hands of its worker from the queue to its end, in this process: what is recorded, said and removed, in which order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.builds import conductor
from penstock.builds.conductor import Conductor
from penstock.builds.engine import Claimed, Described, Lost, PhaseEnded, TimePassed
from penstock.builds.errors import PhaseFailed
from penstock.builds.following import Outcome
from penstock.builds.logship import LogsDenied
from penstock.builds.model import BuildState, Phase
from penstock.builds.phases import ENDING, PhaseType, Status, next_phase
from penstock.builds.uploads import Packed
from penstock.wire.errors import AccessDenied

MB = 1 << 20


class Stage:
    """A worker with one build; `steps` is all that happens to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, phase: PhaseType = PhaseType.QUEUED) -> None:
        self.steps: list[Any] = []
        self.fails: dict[str, Exception] = {}
        self.outcomes: list[Outcome | None] = [Outcome(status=None, message="", packed=(), packing="")]
        self.under_way = False
        self.space = (100 * MB, 10 * MB)
        self.missing = ""
        self.uploaded: dict[str, Any] = {"artifacts": {"location": "l"}}
        self.refusal = ""
        self.starts: list[int] = []
        self.ending: Status | None = None
        self.exists = True
        one: Any = object.__new__(Conductor)
        self.conductor = one
        one._app = SimpleNamespace(
            clock=SimpleNamespace(now=lambda: 1000, call_at=lambda *_: SimpleNamespace(cancel=lambda: None), wait_until=self.forever),
            store=SimpleNamespace(wakeup=lambda _topic: SimpleNamespace(wait=lambda _poll: asyncio.Event().wait()), read=self.read),
            settings=SimpleNamespace(poll_seconds=1),
        )  # fmt: skip
        one._job = "the job"
        one._request = SimpleNamespace(
            role="arn:role", key=SimpleNamespace(id="p:b", topic="t", account="1", region="r"), document={"arn": "arn:build"},
            choice=SimpleNamespace(runtime="process", name="process", offer=SimpleNamespace(message="none works")),
        )  # fmt: skip
        one._workspace = SimpleNamespace(
            clear_orphan=self.note("clear orphan"), is_under_way=lambda: self.under_way, resume_log=self.note("resume log"),
            create=self.step("create"), free=lambda: self.space, write_session=self.note("session"), write_private=self.private,
            start=self.start, clear=self.note("clear"), remove=self.note("remove"), supervisor=lambda: 7, halt=self.halt,
            make_wakeup=self.note("make wakeup"), path=SimpleNamespace(exists=lambda: self.exists),
            job=SimpleNamespace(read_bytes=lambda: b'{"missing_artifacts": "%s"}' % self.missing.encode()),
        )  # fmt: skip
        one._node = "here"
        one.id = "p:b"
        one._logs = SimpleNamespace(
            open=self.open_log,
            say=lambda text: self.steps.append(text),
            ship=self.ship,
            written=asyncio.Event(),
            refusal="",
        )
        one._role = None
        one._nudge = asyncio.Event()
        one._clearing = None
        one._starts = 0
        one._known = {}
        one._state = BuildState(phases=(Phase(type=phase),), queued_until=5000)
        one._record = self.record
        one._download = self.download
        monkeypatch.setattr(conductor, "assume", self.assume)
        monkeypatch.setattr(conductor, "follow", self.follow)
        monkeypatch.setattr(conductor, "upload_all", self.upload)

    async def forever(self, _moment: int) -> None:
        await asyncio.Event().wait()

    async def read(self, *_: Any) -> None:
        return None

    def note(self, name: str) -> Any:
        return lambda *_: self.steps.append(name)

    def step(self, name: str) -> Any:
        def run(*_: Any) -> None:
            self.steps.append(name)
            if name in self.fails:
                raise self.fails[name]

        return run

    def private(self, name: str, _content: bytes) -> None:
        self.steps.append(name)

    def start(self) -> int:
        self.steps.append("start")
        return self.starts.pop(0) if self.starts else 0

    def halt(self, status: Status) -> None:
        self.steps.append(("halt", status))

    async def assume(self, _app: Any, _request: Any) -> Any:
        self.step("assume")()
        return SimpleNamespace(session="the session", to_json=lambda: b"{}", expires=10**9)

    async def open_log(self, _session: str) -> None:
        self.step("open log")()

    async def ship(self, session: str) -> None:
        assert session == "the session"
        self.steps.append("ship")

    async def download(self, _role: Any) -> dict[str, Any] | None:
        self.step("download")()
        if self.ending:
            self.conductor._state = with_(self.conductor._state, ending=self.ending)
        return {"job": 1}

    async def follow(self, _workspace: Any, *, record: Any, changed: Any) -> Outcome | None:
        assert changed == (self.conductor._nudge, self.conductor._logs.written)
        self.steps.append("follow")
        outcome = self.outcomes.pop(0)
        if outcome is not None and outcome.status is None:
            for name in ("INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD"):
                await record(PhaseEnded(phase=PhaseType(name), status=Status.SUCCEEDED, at=1))
        return outcome

    async def upload(self, _app: Any, _request: Any, session: str, packed: Any, _say: Any) -> dict[str, Any]:
        assert session == "the session"
        self.steps.append(("upload", [one.identifier for one in packed]))
        if "upload" in self.fails:
            raise self.fails["upload"]
        return self.uploaded

    async def record(self, *inputs: Any, last: bool = False) -> None:
        known, self.conductor._known = self.conductor._known, {}
        if known:
            self.steps.append(Described(members=known))
        for input in inputs:
            state = self.conductor._state
            if isinstance(input, PhaseEnded):
                self.steps.append((str(input.phase), str(input.status), input.code, input.message, last))
                following = next_phase(input.phase, input.status)
                state = with_(state, phases=(Phase(type=following),), complete=following == PhaseType.COMPLETED)
            elif isinstance(input, Claimed):
                self.steps.append(("claimed", input.node))
                if state.phase == PhaseType.QUEUED:
                    state = with_(state, phases=(Phase(type=PhaseType.PROVISIONING),))
            else:
                self.steps.append((input, last))
                state = with_(state, complete=isinstance(input, Lost))
            self.conductor._state = state

    async def run(self) -> list[Any]:
        async with asyncio.timeout(60):
            await self.conductor.run()
        return [step for step in self.steps if step != "ship"]


def with_(state: BuildState, **changes: Any) -> BuildState:
    return replace(state, **changes)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def ended(phase: str, status: str = "SUCCEEDED", code: str = "", message: str = "", *, last: bool = False) -> Any:
    return (phase, status, code, message, last)


def said(phase: str, status: str, code: str = "", message: str = "") -> list[str]:
    return [f"Phase complete: {phase} State: {status}", f"Phase context status code: {code} Message: {message}"]


TAKEN = ["assume", "open log", ("claimed", "here")]
PROVISIONED = ["create", "session", ended("PROVISIONING")]
DOWNLOADED = ["download", *said("DOWNLOAD_SOURCE", "SUCCEEDED"), "job.json", ended("DOWNLOAD_SOURCE"), "start"]
COMMANDS = [ended(name) for name in ("INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD")]
OVER = [ended("FINALIZING", last=True), "remove"]


def without(steps: list[Any], *names: str) -> list[Any]:
    """What is cleared beside the rest may come at any time before the end."""
    return [step for step in steps if step not in names]


async def test_a_build_from_the_queue_to_its_end(stage: Stage):
    steps = await stage.run()
    assert without(steps, "clear") == [
        *TAKEN, *PROVISIONED, *DOWNLOADED, "resume log", "follow", *COMMANDS, ("upload", []), *said("UPLOAD_ARTIFACTS", "SUCCEEDED"),
        Described(members={"artifacts": {"location": "l"}}), ended("UPLOAD_ARTIFACTS", last=True), *OVER,
    ]  # fmt: skip
    assert steps.index("clear") < steps.index("remove")
    assert (
        "ship"
        in stage.steps[stage.steps.index(("upload", [])) : stage.steps.index(ended("UPLOAD_ARTIFACTS", last=True))]
    )


async def test_what_was_put_is_recorded_before_the_rest_of_the_log_is_shipped(stage: Stage):
    artifact: Any = SimpleNamespace(identifier="one")
    stage.outcomes = [Outcome(status=None, message="", packed=(artifact,), packing="")]
    steps = await stage.run()
    assert ("upload", ["one"]) in steps
    assert [step for step in steps if step in (ended("UPLOAD_ARTIFACTS"), *OVER)] == [ended("UPLOAD_ARTIFACTS"), *OVER]
    assert "ship" in stage.steps[stage.steps.index(ended("UPLOAD_ARTIFACTS")) : stage.steps.index(OVER[0])]


@pytest.mark.parametrize(
    ("fails", "code", "message"),
    [
        ("assume", "", "CodeBuild is not authorized to perform: sts:AssumeRole on arn:role: no"),
        ("open log", "ACCESS_DENIED", "Service role arn:role does not allow AWS CodeBuild to create Amazon CloudWatch Logs log streams for build arn:build. Error message: no"),
    ],
)  # fmt: skip
async def test_a_build_whose_role_may_not_enough(stage: Stage, fails: str, code: str, message: str):
    stage.fails[fails] = AccessDenied("no") if fails == "assume" else LogsDenied("no")
    stage.exists = False
    steps = await stage.run()
    begun = TAKEN[: TAKEN.index(fails) + 1]
    assert steps == [*begun, "clear", ended("QUEUED", "FAILED", code or "CLIENT_ERROR", message, last=True), "remove"]


async def test_a_build_that_was_ended_while_it_waited(stage: Stage):
    stage.conductor._state = with_(stage.conductor._state, complete=True)
    assert await stage.run() == TAKEN


async def test_a_build_whose_supervisor_lives_is_adopted(monkeypatch: pytest.MonkeyPatch):
    stage = Stage(monkeypatch, PhaseType.INSTALL)
    stage.under_way = True
    stage.conductor._state = with_(stage.conductor._state, ending=Status.STOPPED, runs_until=5000)
    steps = await stage.run()
    assert without(steps, "clear")[:7] == [
        "clear orphan", "assume", ("claimed", "here"), "resume log", "make wakeup", ("halt", Status.STOPPED), "follow",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ending", "status", "code", "message"),
    [
        (None, "FAILED", "CLIENT_ERROR", "CodeBuild is not authorized to perform: sts:AssumeRole on arn:role: no"),
        (Status.STOPPED, "STOPPED", "", ENDING[Status.STOPPED]),
    ],
)
async def test_a_build_that_lost_its_role_meanwhile_ends_with_what_it_runs(
    monkeypatch: pytest.MonkeyPatch, ending: Status | None, status: str, code: str, message: str
):
    stage = Stage(monkeypatch, PhaseType.BUILD)
    stage.under_way = True
    stage.fails["assume"] = AccessDenied("no")
    stage.conductor._state = with_(stage.conductor._state, ending=ending, runs_until=5000)
    stage.conductor._workspace.supervisor = iter([7, None]).__next__
    steps = await stage.run()
    assert ("halt", Status.STOPPED) in steps
    assert ended("BUILD", status, code, message, last=True) in steps[steps.index(("halt", Status.STOPPED)) :]
    assert "start" not in steps


PROVISION_FAILED = (
    "The disk of this worker has 9 MB left, and 10 MB are kept for its server: make room, and start the build again"
)


@pytest.mark.parametrize(
    ("fails", "steps"),
    [
        (("create", OSError(28, "No space left on device")), ["create", "clear", *said("PROVISIONING", "FAULT", "INTERNAL_ERROR", "The build's directory could not be made: No space left on device"), ended("PROVISIONING", "FAULT", "INTERNAL_ERROR", "The build's directory could not be made: No space left on device", last=True), "remove"]),
        (("space", None), ["create", "clear", *said("PROVISIONING", "FAILED", "INTERNAL_ERROR", PROVISION_FAILED), ended("PROVISIONING", "FAILED", "INTERNAL_ERROR", PROVISION_FAILED, last=True), "remove"]),
        (("download", PhaseFailed("no source", code="X")), [*PROVISIONED, "download", "clear", *said("DOWNLOAD_SOURCE", "FAILED", "X", "no source"), ended("DOWNLOAD_SOURCE", "FAILED", "X", "no source", last=True), *OVER]),
        (("ending", None), [*PROVISIONED, "download", "clear", ended("DOWNLOAD_SOURCE", "STOPPED", "", "Build was stopped", last=True), *OVER]),
    ],
)  # fmt: skip
async def test_a_build_that_ends_before_its_commands(stage: Stage, fails: Any, steps: list[Any]):
    name, error = fails
    if name == "space":
        stage.space = (9 * MB, 10 * MB)
    elif name == "ending":
        stage.ending = Status.STOPPED
    else:
        stage.fails[name] = error
    assert await stage.run() == [*TAKEN, *steps]


async def test_the_space_that_is_kept_is_enough(stage: Stage):
    stage.space = (10 * MB, 10 * MB)
    assert ended("PROVISIONING") in await stage.run()


async def test_without_a_runtime_no_build_is_made(stage: Stage):
    stage.conductor._request.choice.runtime = None
    why = "No build runtime is available here: none works"
    assert await stage.run() == [
        *TAKEN, "clear", *said("PROVISIONING", "FAULT", "INTERNAL_ERROR", why), ended("PROVISIONING", "FAULT", "INTERNAL_ERROR", why, last=True), "remove",
    ]  # fmt: skip


async def test_a_supervisor_is_started_three_times(stage: Stage):
    stage.outcomes = [None] * 3
    steps = await stage.run()
    assert steps.count("start") == 3
    assert without(steps, "start")[-4:] == [
        "clear", "Its supervisor could not be started", (Lost(message="Its supervisor could not be started"), True), "remove",
    ]  # fmt: skip


async def test_a_build_that_is_stopped_while_its_supervisor_begins_is_halted(stage: Stage):
    def start() -> int:
        stage.conductor._state = with_(stage.conductor._state, ending=Status.TIMED_OUT)
        stage.steps.append("start")
        return stage.starts.pop(0)

    stage.conductor._workspace.start = start
    stage.starts = [0]
    assert ("halt", Status.TIMED_OUT) in await stage.run()
    stage.steps.clear()


@pytest.mark.parametrize(("started", "halted"), [(0, True), (3, False), (4, False)])
async def test_only_a_supervisor_of_ours_is_halted(stage: Stage, started: int, halted: bool):
    def start() -> int:
        stage.conductor._state = with_(stage.conductor._state, ending=Status.STOPPED)
        return started

    stage.conductor._workspace.start = start
    assert (("halt", Status.STOPPED) in await stage.run()) is halted


# --- after the commands -----------------------------------------------------------------------------------------------


def outcome(
    status: Status | None, message: str = "why", *, packing: str | None = "", packed: tuple[Packed, ...] = ()
) -> Outcome:
    return Outcome(status=status, message=message, packed=packed, packing=packing)


@pytest.mark.parametrize(
    ("phase", "status", "code"), [("BUILD", Status.STOPPED, ""), ("BUILD", Status.FAULT, "INTERNAL_ERROR"), ("UPLOAD_ARTIFACTS", Status.TIMED_OUT, "")]
)  # fmt: skip
async def test_a_build_that_ended_early(monkeypatch: pytest.MonkeyPatch, phase: str, status: Status, code: str):
    stage = Stage(monkeypatch, PhaseType(phase))
    stage.under_way = True
    stage.outcomes = [outcome(status)]
    steps = await stage.run()
    after = without(steps, "clear")[steps.index("follow") + 1 :]
    assert after == ["why", ended(phase, status, code, "why"), *OVER]


async def test_a_build_that_failed_by_itself_is_over(monkeypatch: pytest.MonkeyPatch):
    stage = Stage(monkeypatch, PhaseType.FINALIZING)
    stage.under_way = True
    stage.outcomes = [outcome(Status.FAILED)]
    steps = await stage.run()
    assert without(steps, "clear")[steps.index("follow") + 1 :] == OVER


@pytest.mark.parametrize(
    ("missing", "packing", "uploaded", "code", "message"),
    [
        ("no artifacts are declared", "", False, "CLIENT_ERROR", "no artifacts are declared"),
        ("", "no matching artifact paths found", False, "CLIENT_ERROR", "no matching artifact paths found"),
        ("", None, False, "CLIENT_ERROR", "The artifacts were not packed"),
        ("", "", PhaseFailed("AccessDenied: no", code="X"), "X", "AccessDenied: no"),
        (
            "",
            "",
            OSError(5, "Input/output error"),
            "INTERNAL_ERROR",
            "The artifacts could not be read: Input/output error",
        ),
    ],
)
async def test_artifacts_that_are_not_put(monkeypatch: pytest.MonkeyPatch, missing, packing, uploaded, code, message):
    stage = Stage(monkeypatch, PhaseType.UPLOAD_ARTIFACTS)
    stage.under_way = True
    stage.missing = missing
    stage.outcomes = [outcome(Status.NONE, packing=packing)]
    if uploaded:
        stage.fails["upload"] = uploaded
    steps = await stage.run()
    tried = [("upload", [])] if uploaded else []
    assert without(steps, "clear")[steps.index("follow") + 1 :] == [
        *tried, *said("UPLOAD_ARTIFACTS", "FAILED", code, message), ended("UPLOAD_ARTIFACTS", "FAILED", code, message, last=True), *OVER,
    ]  # fmt: skip


@pytest.mark.parametrize(("refusal", "code"), [("", ""), ("off", ""), ("no", "ACCESS_DENIED")])
async def test_a_log_that_could_not_be_written_is_told_at_the_end(stage: Stage, refusal: str, code: str):
    stage.conductor._logs.refusal = refusal
    message = "The build's log could not be written to CloudWatch Logs: no" if code else ""
    assert ended("FINALIZING", "SUCCEEDED", code, message, last=True) in await stage.run()


async def test_a_build_that_filled_the_disk_is_cleared_before_anything_is_written(monkeypatch: pytest.MonkeyPatch):
    stage = Stage(monkeypatch, PhaseType.BUILD)
    stage.under_way = True
    stage.space = (9 * MB, 10 * MB)
    stage.outcomes = [outcome(Status.FAILED)]
    steps = await stage.run()
    assert steps[steps.index("follow") + 1 :][:2] == ["clear", "why"]


# --- what comes from outside ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "known", "ending", "halted"),
    [(None, None, Status.STOPPED, True), (None, None, None, False), (None, Status.TIMED_OUT, Status.STOPPED, False), ("gone", None, None, False)],
)  # fmt: skip
async def test_an_end_that_another_process_recorded_is_noticed_once(
    monkeypatch, stage: Stage, there, known, ending, halted
):
    async def read(*_: Any) -> Any:
        return None if there == "gone" else SimpleNamespace()

    stage.conductor._app.store.read = read
    stage.conductor._state = with_(stage.conductor._state, ending=known)
    monkeypatch.setattr(conductor.records, "state_of", lambda _row: SimpleNamespace(ending=ending))
    await stage.conductor._watch()
    assert stage.steps == ([("halt", ending)] if halted else [])
    assert stage.conductor._nudge.is_set() is halted
    assert stage.conductor._state.ending == (ending if halted else known)


async def test_time_that_is_over_is_recorded_and_halts(stage: Stage):
    async def record(input: Any) -> None:
        stage.steps.append(input)
        stage.conductor._state = with_(stage.conductor._state, ending=Status.TIMED_OUT)

    stage.conductor._record = record
    stage.conductor._time_is_up()
    async with asyncio.timeout(60):
        await stage.conductor._nudge.wait()
    assert stage.steps == [TimePassed(), ("halt", Status.TIMED_OUT)]


async def test_a_build_is_ended_at_its_deadline(stage: Stage):
    alarms: list[Any] = []

    def call_at(moment: int, call: Any) -> Any:
        alarms.append((moment, call))
        return SimpleNamespace(cancel=lambda: alarms.append("cancelled"))

    stage.conductor._app.clock.call_at = call_at
    stage.conductor._state = with_(stage.conductor._state, runs_until=7000)
    await stage.run()
    assert alarms == [(7000, stage.conductor._time_is_up), "cancelled"]
