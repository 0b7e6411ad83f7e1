"""What 1,000 pipelines with 20,000 past runs change, and 500 runs of one QUEUED pipeline that are asked for at once.

The same pipeline runs in the same process before and after the others are there. Fifty runs of a pipeline may be in progress, so that the
next of the five hundred asks when one has ended.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.pipeline_transitions import NoOp, declaration, ended, invoke, running, runs_of
from bench.postgresql import postgresql
from bench.run import Row, Unavailable
from penstock.application import App
from penstock.pipelines.model import CONCURRENT_EXECUTIONS

PIPELINES, EACH, QUEUED = 1_000, 20, 500
_AT_ONCE = 40  # pipelines that are filled at a time
_RUNS, _STATES = 60, 300
_TIMES = 1.3


@dataclass
class _Times:
    """Medians, in milliseconds."""

    transition: float
    state: float


async def _times(app: App, provider: NoOp) -> _Times:
    result = await runs_of(app, provider, _RUNS, declaration("measured", conditions=True))
    await invoke(app, "CreatePipeline", pipeline=declaration("shown"))
    taken = []
    for _ in range(_STATES):
        began = time.perf_counter()
        await invoke(app, "GetPipelineState", name="shown")
        taken.append(time.perf_counter() - began)
    await invoke(app, "DeletePipeline", name="shown")
    return _Times(result.p50_ms(), statistics.median(taken) * 1000)


async def _fill(app: App) -> None:
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> None:
        async with turn:
            declared = declaration(f"past-{number}", mode="PARALLEL", actions=1)
            await invoke(app, "CreatePipeline", pipeline=declared)
            for _ in range(EACH - 1):
                await invoke(app, "StartPipelineExecution", name=declared["name"])

    async with app.events.tap() as queue:
        filling = asyncio.gather(*(one(number) for number in range(PIPELINES)))
        await ended(queue, "past-", PIPELINES * EACH)
        await filling


async def _queued(app: App) -> tuple[float, bool]:
    """Seconds until all have ended, and whether each ended in its turn."""
    await invoke(app, "CreatePipeline", pipeline=declaration("queued", mode="QUEUED", actions=1))

    places = asyncio.Semaphore(CONCURRENT_EXECUTIONS - 1)  # its first run has one

    async def start() -> str:
        await places.acquire()
        return (await invoke(app, "StartPipelineExecution", name="queued"))["pipelineExecutionId"]

    finished: list[str] = []
    async with app.events.tap() as queue:
        began = time.perf_counter()
        starting = asyncio.gather(*(start() for _ in range(QUEUED)))
        async with asyncio.timeout(600):
            while len(finished) <= QUEUED:
                event = await queue.get()
                if event.type == "codepipeline.execution.state_changed" and event.payload["state"] == "SUCCEEDED":
                    finished.append(event.payload["execution-id"])
                    places.release()
        seconds = time.perf_counter() - began
        asked = set(await starting)
    shown: list[str] = []
    token: dict[str, str] = {}
    while token is not None:
        page = await invoke(app, "ListPipelineExecutions", pipelineName="queued", **token)
        shown += [one["pipelineExecutionId"] for one in page["pipelineExecutionSummaries"]]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    order = [one for one in reversed(shown) if one in asked]
    return seconds, [one for one in finished if one in asked] == order


async def measured(url: str) -> tuple[_Times, _Times, float, float, bool]:
    """Before, after, seconds to fill; seconds of the queue, and whether it kept its order."""
    provider = NoOp()
    async with running(url, provider) as app:
        before = await _times(app, provider)
        began = time.perf_counter()
        await _fill(app)
        filling = time.perf_counter() - began
        after = await _times(app, provider)
        seconds, in_order = await _queued(app)
    return before, after, filling, seconds, in_order


def measure() -> list[Row]:
    """The rows of `make bench`."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        rows += _rows("SQLite", f"sqlite:///{folder}/bench.db")
    try:
        with postgresql() as url:
            rows += _rows("PostgreSQL", url)
    except Unavailable as reason:
        rows.append(Row(what="1,000 pipelines, PostgreSQL", measured=f"not measured: {reason}", bar="", met=None))
    return rows


def _rows(name: str, url: str) -> list[Row]:
    before, after, filling, seconds, in_order = uvloop.run(measured(url))
    transition, state = after.transition / before.transition, after.state / before.state
    return [
        Row(
            what=f"{PIPELINES:,} pipelines with {PIPELINES * EACH:,} past runs, {name}: p50 against an empty installation",
            measured=f"transition {transition:.2f}× ({after.transition:.2f} ms), GetPipelineState {state:.2f}× ({after.state:.2f} ms); "
            f"they were run in {filling:.0f} s",
            bar=f"≤ {_TIMES}×",
            met=max(transition, state) <= _TIMES,
        ),
        Row(
            what=f"{QUEUED} runs of a QUEUED pipeline of three stages, asked for at once, {name}",
            measured=f"{seconds:.1f} s, {'each in its turn' if in_order else 'OUT OF ORDER'}",
            bar="all end, in order",
            met=in_order,
        ),
    ]


if __name__ == "__main__":
    for row in measure():
        print(row)
