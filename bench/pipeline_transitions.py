"""action → next action: 3 stages of 3 no-op actions on the real engine, store, jobs and outbox, on an idle system.

    python bench/pipeline_transitions.py [--runs 200] [--url postgresql://…]

A transition is the time from the end of one action's provider call to the start of the next one's: the report, the
decision, rows, journal, events and the next job in one durable commit, the wake-up, the claim, and reading what the next
action needs. `decide` alone is printed beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.postgresql import postgresql
from bench.run import Row, Unavailable
from penstock import pipelines
from penstock.app import compose
from penstock.application import App, Settings
from penstock.component import Component
from penstock.pipelines.actions import Providers
from penstock.pipelines.actions.provider import Action, Outcome, Provider, Succeeded
from penstock.pipelines.model import ActionType, ActionTypeId
from penstock.wire.call import PrincipalKind, Session

ACCOUNT, REGION = "111111111111", "us-east-1"
CALLER = Session(
    account=ACCOUNT, kind=PrincipalKind.USER, arn=f"arn:aws:iam::{ACCOUNT}:user/bench", principal_id="AIDA"
)


@dataclass
class Result:
    """Seconds per transition and per whole run."""

    transitions: list[float]
    runs: list[float]

    def p50_ms(self) -> float:
        return statistics.median(self.transitions) * 1000

    def p99_ms(self) -> float:
        return statistics.quantiles(self.transitions, n=100)[98] * 1000


class NoOp(Provider):
    """Succeeds at once, and notes when."""

    types = tuple(
        ActionType(
            id=ActionTypeId(category=category, owner="AWS", provider="NoOp"),
            properties=(),
            inputs=(0, 0),
            outputs=(0, 0),
        )
        for category in ("Source", "Build")
    )

    def __init__(self) -> None:
        self.moments: list[float] = []

    async def start(self, action: Action) -> Outcome:  # noqa: ARG002 - the contract's
        self.moments.append(time.perf_counter())
        return Succeeded()


class _Trusting:
    async def assume(self, **_: Any) -> tuple[Session, dict[str, Any]]:
        return CALLER, {}

    async def authorize(self, *_: Any) -> None:
        return None

    async def pass_role(self, *_: Any, **__: Any) -> None:
        return None


def _declaration() -> dict[str, Any]:
    def stage(number: int) -> dict[str, Any]:
        category = "Build" if number else "Source"
        kind = {"category": category, "owner": "AWS", "provider": "NoOp", "version": "1"}
        return {
            "name": f"Stage{number}",
            "actions": [{"name": f"act{i}", "actionTypeId": kind, "runOrder": i} for i in (1, 2, 3)],
        }

    return {
        "name": "bench",
        "roleArn": f"arn:aws:iam::{ACCOUNT}:role/bench",
        "artifactStore": {"type": "S3", "location": "bench"},
        "stages": [stage(number) for number in range(3)],
    }


async def measured(url: str, runs: int) -> Result:
    """Run the pipeline `runs` times, one after another, on the database at `url`, whose schema is brought up to date."""
    provider, result = NoOp(), Result([], [])
    components = (
        lambda _app: Component(name="identity", state=None, identity=_Trusting()),  # type: ignore[arg-type]
        partial(pipelines.component, providers=Providers({"noop": provider})),
    )
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        settings = Settings(data_dir=Path(folder), master_key_file=Path(folder) / "master.key", database=url, workers=4)
        async with compose(settings, components=components) as app:
            await app.events.start()
            await app.work.start(app)
            try:
                async with app.events.tap() as queue:
                    await _run(app, queue, runs, provider, result)
            finally:
                await _invoke(app, "DeletePipeline", name="bench")
                await app.events.stop()
                await app.work.stop(1)
    return result


async def _run(app: App, queue: asyncio.Queue[Any], runs: int, provider: NoOp, result: Result) -> None:
    await _invoke(app, "CreatePipeline", pipeline=_declaration())
    await _ended(queue)
    for _ in range(runs):
        provider.moments.clear()
        began = time.perf_counter()
        await _invoke(app, "StartPipelineExecution", name="bench")
        await _ended(queue)
        result.runs.append(time.perf_counter() - began)
        result.transitions += [after - before for before, after in itertools.pairwise(provider.moments)]


async def _invoke(app: App, operation: str, **input: Any) -> Any:
    return await app.invoke(CALLER, "codepipeline", operation, input, region=REGION)


async def _ended(queue: asyncio.Queue[Any]) -> None:
    async with asyncio.timeout(30):
        while True:
            event = await queue.get()
            if event.type != "codepipeline.execution.state_changed" or event.payload["state"] == "STARTED":
                continue
            if event.payload["state"] != "SUCCEEDED":
                raise RuntimeError(f"a run of the benchmark ended as {event.payload['state']}")
            return


_RUNS = 100


def decide_microseconds(rounds: int = 2_000) -> float:
    """What one decision costs without a database: an action that ends and the next one that starts."""
    from penstock.pipelines.engine import decide  # noqa: PLC0415
    from penstock.pipelines.inputs import ActionSucceeded, PipelineCreated, StartRequested  # noqa: PLC0415
    from penstock.pipelines.model import Trigger, TriggerType  # noqa: PLC0415
    from penstock.pipelines.plan import plan_of  # noqa: PLC0415
    from penstock.pipelines.state import BLANK  # noqa: PLC0415

    plan = plan_of(_declaration(), 1, Providers({"noop": NoOp()}).type)
    state, _ = decide(BLANK, PipelineCreated(plan=plan), 1, 1)
    state, _ = decide(state, StartRequested(trigger=Trigger(type=TriggerType.START)), 1, 1)
    (execution,) = state.executions.values()
    event = ActionSucceeded(execution=execution.id, action=execution.actions["act1"].id)
    began = time.perf_counter()
    for seed in range(rounds):
        decide(state, event, 2, seed)
    return (time.perf_counter() - began) / rounds * 1e6


def run(url: str | None = None, runs: int = 200) -> dict[str, Result]:
    """Measure on a new SQLite file, and on the PostgreSQL at `url` when it is given; print and return the results."""
    results: dict[str, Result] = {}
    print(f"pipeline transitions: decide alone {decide_microseconds():.0f} µs")
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        results["sqlite"] = uvloop.run(measured(f"sqlite:///{folder}/bench.db", runs))
    if url:
        results["postgresql"] = uvloop.run(measured(url, runs))
    for name, result in results.items():
        print(
            f"pipeline transitions, {name}: p50 {result.p50_ms():.2f} ms, p99 {result.p99_ms():.2f} ms per transition; "
            f"9 actions p50 {statistics.median(result.runs) * 1000:.1f} ms"
        )
    return results


def measure() -> list[Row]:
    """The rows of `make bench`, on SQLite and on a private PostgreSQL."""
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        results["SQLite"] = uvloop.run(measured(f"sqlite:///{folder}/bench.db", _RUNS))
    rows = []
    try:
        with postgresql() as url:
            results["PostgreSQL"] = uvloop.run(measured(url, _RUNS))
    except Unavailable as reason:
        rows.append(Row(what="action → next action, PostgreSQL", measured=f"not measured: {reason}", bar="", met=None))
    bars = {"SQLite": 1.5, "PostgreSQL": 3.5}
    return [
        Row(
            what=f"action → next action, 3×3 no-op actions, idle, {name} (fsync on, journal and outbox included)",
            measured=f"p50 {result.p50_ms():.2f} ms, p99 {result.p99_ms():.2f} (whole run p50 {statistics.median(result.runs) * 1000:.0f} ms)",
            bar=f"p50 ≤ {bars[name]} ms",
            met=result.p50_ms() <= bars[name],
        )
        for name, result in results.items()
    ] + rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default=None)
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    sys.exit(0 if run(options.url, options.runs) else 1)
