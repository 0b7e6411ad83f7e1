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
from penstock.loops import FAILURES, Loops

SOURCE = Path(penstock.__file__).parent


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

    async def start() -> None:
        live.app.store.loops.start("test.broken", turn, lambda: asyncio.sleep(0.01))
        await asyncio.sleep(0)

    def ready() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{live.url}/readyz") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    assert ready() == (200, "ready\n")
    live.run(start())
    status, said = ready()
    assert (status, "test.broken" in said) == (503, True)
    assert loops_module.FAILING.labels("test.broken")._value.get() == 1
    broken = False
    live.run(eventually(lambda: not live.app.store.loops.failing()))
    assert ready() == (200, "ready\n")


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
