"""Background loops: what a turn raises is counted, shown by /readyz, and tried again."""

from __future__ import annotations

import ast
import asyncio
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from penstock_live import live  # noqa: F401 - the fixture
from penstock_waiting import eventually

import penstock
from penstock import loops as loops_module
from penstock.loops import FAILING, FAILURES, Loop, Loops

SOURCE = Path(penstock.__file__).parent
FIRST = loops_module._FIRST_PAUSE


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops_module, "_FIRST_PAUSE", 0.001)


@pytest.mark.parametrize("error", [ValueError("never thought of"), asyncio.CancelledError()])
async def test_a_loop_outlives_what_its_turn_raises(error: BaseException):
    loops, turns, broken = Loops(), 0, True

    async def turn() -> None:
        nonlocal turns
        turns += 1
        if broken:
            raise error

    loop = loops.start("test.turn", turn, lambda: asyncio.sleep(0))
    before = FAILURES.labels("test.turn")._value.get()
    await eventually(lambda: turns >= 3)
    assert loops.failing() == ["test.turn"]
    assert FAILURES.labels("test.turn")._value.get() >= before + 2
    broken = False
    await eventually(lambda: not loops.failing())
    await loops.stop(loop)
    ended = turns
    await asyncio.sleep(0.005)
    assert turns == ended


class Naps:
    """asyncio, but that nobody sleeps."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def __getattr__(self, name: str) -> object:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)


async def test_the_pause_doubles_to_half_a_minute_and_begins_anew_after_a_success(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    naps, done, rests = Naps(), asyncio.Event(), 0
    monkeypatch.setattr(loops_module, "_FIRST_PAUSE", FIRST)
    monkeypatch.setattr(loops_module, "asyncio", naps)
    turns = iter("fffffffff.f.lf")
    loops = Loops()

    async def turn() -> None:
        match next(turns, None):
            case "f":
                raise ValueError("never thought of")
            case "l":  # a turn that lasts says by itself that it works, and breaks later on
                loop.succeeded()
                raise OSError("gone")
            case None:
                done.set()

    async def rest() -> None:
        nonlocal rests
        rests += 1
        if done.is_set():
            await asyncio.sleep(3600)

    loop = loops.start("test.pauses", turn, rest)
    assert loops.failing() == []
    async with asyncio.timeout(60):
        await done.wait()
    assert naps.pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 0.2, 0.2, 0.4]
    told = [record for record in caplog.records if record.getMessage() == "loop.failed"]
    assert [record.again_after for record in told] == naps.pauses
    assert [bool(record.exc_info) for record in told] == [True] + [False] * 8 + [True, True, False]
    assert {record.loop for record in told} == {"test.pauses"}
    assert told[0].error == "ValueError: never thought of"
    await eventually(lambda: rests == 3)
    await loops.stop(loop)
    await loops.stop(loop)
    await loops.stop(None)
    assert loops._running == []


async def test_those_that_fail_are_counted_and_named_once_each(monkeypatch: pytest.MonkeyPatch):
    loops, failing = Loops(), FAILING.labels("test.b")._value

    async def fail() -> None:
        raise ValueError

    two = [loops.start(name, fail, fail) for name in ("test.b", "test.a", "test.b")]
    await eventually(lambda: loops.failing() == ["test.a", "test.b"] and failing.get() == 2)
    await loops.stop(two[0])
    assert failing.get() == 1
    for loop in two[1:]:
        await loops.stop(loop)
    assert (failing.get(), loops.failing()) == (0, [])


async def test_stopping_ends_a_turn_that_swallows_its_cancellation():
    loops = Loops()
    started = asyncio.Event()

    async def turn() -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return  # as a claim does, which has to be given back

    loop = loops.start("test.swallow", turn, lambda: asyncio.sleep(60))
    await started.wait()
    async with asyncio.timeout(60):
        await loops.stop(loop)


def test_the_process_is_not_ready_while_a_loop_fails(live):  # noqa: F811 - the fixture
    broken = True

    async def turn() -> None:
        if broken:
            raise ValueError("never thought of")

    async def start() -> Loop:
        loop = live.app.store.loops.start("test.broken", turn, lambda: asyncio.sleep(0.01))
        await asyncio.sleep(0)
        return loop

    def ready() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{live.url}/readyz") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    assert ready() == (200, "ready\n")
    loop = live.run(start())
    status, said = ready()
    assert (status, "test.broken" in said) == (503, True)
    assert loops_module.FAILING.labels("test.broken")._value.get() == 1
    broken = False
    live.run(eventually(lambda: not live.app.store.loops.failing()))
    assert ready() == (200, "ready\n")
    live.run(live.app.store.loops.stop(loop))


TASKS = {"create_task", "ensure_future"}


def endless(function: ast.AsyncFunctionDef) -> bool:
    return any(isinstance(node, ast.While) and isinstance(node.test, ast.Constant) for node in ast.walk(function))


def test_no_endless_coroutine_is_started_as_a_bare_task():
    """Its end would be seen by nobody: a loop is started by penstock.loops."""
    bare = []
    for path in sorted(SOURCE.rglob("*.py")):
        source = path.read_text()
        if not any(task in source for task in TASKS):
            continue
        tree = ast.parse(source)
        loops = {node.name for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef) and endless(node)}
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TASKS):
                continue
            for called in ast.walk(node.args[0]):
                if isinstance(called, ast.Call):
                    name = getattr(called.func, "attr", getattr(called.func, "id", ""))
                    if name in loops:
                        bare.append(f"{path.relative_to(SOURCE)}:{node.lineno} {name}")
    assert bare == []
