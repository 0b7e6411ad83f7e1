"""The conductor between two steps: a full disk is waited for, the role's session renewed in time, and an end noticed once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.builds import conductor
from penstock.builds.conductor import Conductor
from penstock.builds.errors import PhaseFailed
from penstock.builds.following import Outcome
from penstock.builds.phases import PhaseType
from penstock.store.errors import StoreFull
from penstock.wire.errors import AccessDenied


def conducting(**app: Any) -> Any:
    """A conductor that is in the middle of a build."""
    one = object.__new__(Conductor)
    one._app = SimpleNamespace(**app)
    one._request = SimpleNamespace(key=SimpleNamespace(id="b", account="1", region="r"))
    one._job = "the job"
    one._known = {}
    one._state = SimpleNamespace(ending="", complete=False)
    one.id = "p:b"
    return one


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []

    async def sleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr(conductor, "asyncio", SimpleNamespace(sleep=sleep, ensure_future=asyncio.ensure_future))
    return pauses


@pytest.mark.parametrize(("full", "written"), [(0, True), (99, True), (100, False)])
async def test_a_full_disk_is_waited_for_twenty_seconds(slept, full, written):
    fails = [StoreFull()] * full
    asked = []

    async def write(fn, app, key, inputs, job):
        if fails:
            raise fails.pop()
        asked.append((fn, inputs, job))
        return "the state"

    one = conducting(store=SimpleNamespace(write=write))
    if not written:
        with pytest.raises(StoreFull):
            await one._record("input")
        assert slept == [0.2] * 99
        return
    await one._record("input")
    assert (one._state, slept) == ("the state", [0.2] * full)
    assert asked == [(conductor.apply, ("input",), None)]


async def test_what_became_known_is_written_with_the_next_input():
    asked = []

    async def write(_fn, _app, _key, inputs, job):
        asked.append((inputs, job))

    one = conducting(store=SimpleNamespace(write=write))
    one._known = {"a": 1}
    for _ in range(2):
        with pytest.raises(RuntimeError, match="^the build p:b was deleted while it ran$"):
            await one._record("input", last=True)
    assert asked == [((conductor.Described(members={"a": 1}), "input"), "the job"), (("input",), "the job")]


@pytest.mark.parametrize(("now", "renewed"), [(99, False), (100, True), (101, True)])
async def test_a_session_is_renewed_a_quarter_of_an_hour_before_its_end(monkeypatch, now, renewed):
    written, waited = [], []

    async def assume(_app, _request):
        return SimpleNamespace(to_json=lambda: "new")

    async def wait(moment):
        waited.append(moment)

    monkeypatch.setattr(conductor, "assume", assume)
    one = conducting(clock=SimpleNamespace(now=lambda: now, wait_until=wait))
    one._role = SimpleNamespace(expires=900_100)
    one._workspace = SimpleNamespace(write_session=written.append)
    await one._until_renewal()
    await one._renew_session()
    assert (waited, written) == ([100], ["new"] if renewed else [])


async def test_a_session_that_is_not_renewed_is_asked_for_again_in_a_minute(monkeypatch):
    slept = []

    async def assume(_app, _request):
        raise AccessDenied("no")

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(conductor, "assume", assume)
    one = conducting(clock=SimpleNamespace(now=lambda: 100, sleep=sleep))
    one._role = SimpleNamespace(expires=0)
    await one._renew_session()
    assert slept == [60]


@pytest.mark.parametrize(("ending", "supervisor", "halted"), [("STOP", 7, ["STOP"]), ("STOP", None, []), ("", 7, [])])
async def test_only_a_build_that_runs_is_halted(monkeypatch, ending, supervisor, halted):
    done = []

    async def run(fn, *arguments):
        return fn(*arguments)

    monkeypatch.setattr(conductor, "FILES", SimpleNamespace(run=run))
    one = conducting()
    one._state.ending = ending
    one._workspace = SimpleNamespace(supervisor=lambda: supervisor, halt=done.append)
    await one._halt_if_ending()
    assert done == halted


async def test_log_lines_go_up_ten_times_a_second_at_most(slept):
    one = conducting()
    one._logs = SimpleNamespace(written=asyncio.Event())
    one._logs.written.set()
    await one._until_written()
    assert slept == [0.1]


def at_work(phase: PhaseType) -> Any:
    """A conductor whose workspace and log are of no account."""
    one = conducting(clock=SimpleNamespace(now=lambda: 5))
    one._state = SimpleNamespace(phase=phase, ending=None, complete=False)
    one._workspace = SimpleNamespace(
        clear=lambda: None, remove=lambda: None, free=lambda: (2, 1), start=lambda: 0, supervisor=lambda: None,
        write_private=lambda name, content: None, path=SimpleNamespace(exists=lambda: False),
    )  # fmt: skip
    one._logs = SimpleNamespace(say=lambda text: None, refusal="")
    one._nudge = asyncio.Event()
    return one


@pytest.mark.parametrize(
    ("packed", "recorded"),
    [((), [["UPLOAD_ARTIFACTS", "FINALIZING"]]), (("an artifact",), [["UPLOAD_ARTIFACTS"], ["FINALIZING"]])],
)
async def test_the_end_of_a_build_without_artifacts_is_one_transaction(monkeypatch, packed, recorded):
    async def upload_all(*_):
        return {}

    async def record(*inputs, last=False):
        found.append([one.phase for one in inputs])
        assert last == ("FINALIZING" in found[-1])

    found: list[list[str]] = []
    monkeypatch.setattr(conductor, "upload_all", upload_all)
    one = at_work(PhaseType.UPLOAD_ARTIFACTS)
    one._role, one._record, one._require_packed = SimpleNamespace(session=None), record, lambda outcome: None
    await one._conclude(Outcome(status=None, message="", packed=packed, packing=""))
    assert found == recorded


async def test_a_source_is_downloaded_while_the_end_of_provisioning_is_recorded():
    begun, ended = asyncio.Event(), []

    async def end_phase(phase):
        if phase == PhaseType.PROVISIONING:
            await begun.wait()
        ended.append(phase)

    async def download(role):
        begun.set()
        return {}

    one = at_work(PhaseType.PROVISIONING)
    one._starts, one._request.choice = 0, SimpleNamespace(runtime="a runtime")
    one._provision, one._download, one._end_phase = lambda role: None, download, end_phase
    assert await asyncio.wait_for(one._start_supervisor(None), 60)
    assert ended == [PhaseType.PROVISIONING, PhaseType.DOWNLOAD_SOURCE]


async def test_the_end_of_provisioning_is_recorded_before_a_download_fails():
    ended = []

    async def end_phase(phase):
        await asyncio.sleep(0)
        ended.append(phase)

    async def download(role):
        raise PhaseFailed("no such source")

    async def fail(failed, *_):
        ended.append(failed.message)

    one = at_work(PhaseType.PROVISIONING)
    one._starts, one._request.choice = 0, SimpleNamespace(runtime="a runtime")
    one._provision, one._download, one._end_phase, one._fail = lambda role: None, download, end_phase, fail
    assert not await one._start_supervisor(None)
    assert ended == [PhaseType.PROVISIONING, "no such source"]
