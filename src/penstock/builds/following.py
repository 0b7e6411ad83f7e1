"""Follows a build's supervisor from the outside: what it reports is recorded, and a supervisor that was killed is noticed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from penstock.builds.engine import Described, Input, PhaseEnded
from penstock.builds.phases import PhaseType, Status
from penstock.builds.uploads import Packed
from penstock.builds.workspace import Step, Workspace
from penstock.pools import FILES
from penstock.store.failpoints import failpoint

T = TypeVar("T")

_HALTED_TRIES, _HALTED_S = 100, 0.1  # looks at a supervisor that has to end
_CHECK_S = 1.0  # between looks at a run whose supervisor writes nothing
KILLED = (
    "The build's supervisor was killed while commands were running (or the machine went down): "
    "they may have taken effect, so they are not run a second time"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a supervisor left when its commands were over."""

    status: Status | None  # of the phase that it ended in; None when it got to its end
    message: str
    packed: tuple[Packed, ...]
    packing: str | None  # why artifacts could not be packed, "" when all are; None when it was not tried to the end


async def follow(
    workspace: Workspace,
    *,
    record: Callable[..., Awaitable[None]],
    changed: Sequence[asyncio.Event],
) -> Outcome | None:
    """Record what the supervisor reports, as inputs of the build, until it has ended; None when it is gone and never ran a command.

    `changed` are set whenever it has written something; the first of them also wakes this.
    """
    reported: list[Step] = []
    async with _woken(workspace, changed):
        while True:
            changed[0].clear()
            alive = await FILES.run(workspace.supervisor)
            steps = await FILES.run(workspace.steps)
            reported += steps
            inputs = [found for step in steps if (found := _input(step)) is not None]
            if inputs:
                failpoint("builds.before_progress")
                await record(*inputs)
            end = next((step for step in reported if step.event == "ended"), None)
            if end is not None:
                status = Status(end.values["status"]) if end.values["status"] else None
                return _outcome(workspace, reported, status, end.values["message"])
            if alive is None:
                if not workspace.started:
                    return None
                await FILES.run(workspace.end_processes)
                return _outcome(workspace, reported, Status.FAULT, KILLED)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed[0].wait(), _CHECK_S)


async def end_supervisor(workspace: Workspace) -> bool:
    """Have the supervisor end with all that it runs, and wait for that; False when it has not in time."""
    await FILES.run(workspace.halt, Status.STOPPED)
    for _ in range(_HALTED_TRIES):
        if await FILES.run(workspace.supervisor) is None:
            return True
        await asyncio.sleep(_HALTED_S)
    return False


async def unless(ends: Callable[[], bool], work: Coroutine[Any, Any, T], *, changed: asyncio.Event) -> T | None:
    """What `work` gives; None when `ends` holds before, and then `work` is cancelled. `changed` is set when `ends` may have changed."""
    working = asyncio.create_task(work)
    try:
        while not working.done() and not ends():
            changed.clear()
            waiting = asyncio.create_task(changed.wait())
            await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        return working.result() if working.done() else None
    finally:
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))


@contextlib.asynccontextmanager
async def _woken(workspace: Workspace, changed: Sequence[asyncio.Event]) -> AsyncIterator[None]:
    """Set the events whenever the supervisor wakes us."""
    loop = asyncio.get_running_loop()
    fifo = os.open(workspace.wakeup, os.O_RDWR | os.O_NONBLOCK)

    def woken() -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(fifo, 65536)
        for event in changed:
            event.set()

    loop.add_reader(fifo, woken)
    try:
        yield
    finally:
        loop.remove_reader(fifo)
        os.close(fifo)


def _input(step: Step) -> Input | None:
    """What a reported step is to the build's engine; None when it is nothing to it."""
    values: Mapping[str, Any] = step.values
    if step.event == "phase_ended":
        return PhaseEnded(
            phase=PhaseType(values["phase"]),
            status=Status(values["status"]),
            at=step.at,
            code=values["code"],
            message=values["message"],
            on_failure=values["on_failure"],
        )
    if step.event == "exported":
        exported = [{"name": name, "value": value} for name, value in values["variables"].items()]
        return Described(members={"exportedEnvironmentVariables": exported})
    return None


def _outcome(workspace: Workspace, reported: Sequence[Step], status: Status | None, message: str) -> Outcome:
    packed = tuple(
        Packed(
            identifier=step.values["identifier"],
            file=workspace.path / step.values["file"],
            name=step.values["name"],
        )
        for step in reported
        if step.event == "packed"
    )
    failure = next((step.values["message"] for step in reported if step.event == "packing_failed"), None)
    if failure is None and any(step.event == "packing_done" for step in reported):
        failure = ""
    return Outcome(status=status, message=message, packed=packed, packing=failure)
