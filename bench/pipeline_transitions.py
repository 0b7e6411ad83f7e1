"""action → next action: 3 stages of 3 no-op actions on the real engine, store, jobs and outbox, on an idle system.

    python bench/pipeline_transitions.py [--runs 200] [--url postgresql://…]

A transition is the time from the end of one action's provider call to the start of the next one's: the report, the
decision, rows, journal, events and the next job in one durable commit, the wake-up, the claim, and reading what the next
action needs. `decide` alone is printed beside it. Every action has a variable in its configuration; in a second pipeline each stage
after the first has an entry condition too, and what lies between two stages is printed apart.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
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
from penstock.pipelines.model import ActionType, ActionTypeId, Property
from penstock.pipelines.rules import variable_check
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
    stages: list[float]  # of the transitions, those from a stage to the next

    def p50_ms(self) -> float:
        return statistics.median(self.transitions) * 1000

    def p99_ms(self) -> float:
        return statistics.quantiles(self.transitions, n=100)[98] * 1000


class NoOp(Provider):
    """Succeeds at once, and notes when."""

    types = tuple(
        ActionType(
            id=ActionTypeId(category=category, owner="AWS", provider="NoOp"),
            properties=(Property(name="Of", description="Whose action it is"),),
            inputs=(0, 0),
            outputs=(0, 0),
        )
        for category in ("Source", "Build")
    )

    def __init__(self) -> None:
        self.moments: list[float] = []  # of the starts of actions

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


def declaration(name: str, *, conditions: bool = False, mode: str = "SUPERSEDED", actions: int = 3) -> dict[str, Any]:
    """Three stages of so many no-op actions in a row, which all name a variable."""
    rule = {
        "name": "holds",
        "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": "VariableCheck", "version": "1"},
        "configuration": {"Variable": "#{variables.Of}", "Value": "bench", "Operator": "EQ"},
    }

    def stage(number: int) -> dict[str, Any]:
        kind = {"category": "Build" if number else "Source", "owner": "AWS", "provider": "NoOp", "version": "1"}
        configuration = {"Of": "#{variables.Of}" if number else "bench"}
        made: dict[str, Any] = {
            "name": f"Stage{number}",
            "actions": [
                {"name": f"act{i}", "actionTypeId": kind, "runOrder": i, "configuration": configuration}
                for i in range(1, actions + 1)
            ],
        }
        if conditions and number:
            made["beforeEntry"] = {"conditions": [{"result": "FAIL", "rules": [rule]}]}
        return made

    return {
        "name": name,
        "roleArn": f"arn:aws:iam::{ACCOUNT}:role/bench",
        "artifactStore": {"type": "S3", "location": "bench"},
        "pipelineType": "V2",
        "executionMode": mode,
        "variables": [{"name": "Of", "defaultValue": "bench"}],
        "stages": [stage(number) for number in range(3)],
    }


@contextlib.asynccontextmanager
async def running(url: str, provider: NoOp) -> AsyncIterator[App]:
    """Pipelines alone, at work on the database at `url`, whose schema is brought up to date."""
    providers = Providers({"noop": provider, "variable_check": variable_check.PROVIDER})
    components = (
        lambda _app: Component(name="identity", state=None, identity=_Trusting()),  # type: ignore[arg-type]
        partial(pipelines.component, providers=providers),
    )
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        settings = Settings(data_dir=Path(folder), master_key_file=Path(folder) / "master.key", database=url, workers=4)
        async with compose(settings, components=components) as app:
            await app.events.start()
            await app.work.start(app)
            try:
                yield app
            finally:
                await app.events.stop()
                await app.work.stop(1)


async def measured(url: str, runs: int, *, conditions: bool = False) -> Result:
    """Run a pipeline `runs` times, one after another, on the database at `url`."""
    provider = NoOp()
    async with running(url, provider) as app:
        return await runs_of(app, provider, runs, declaration("bench", conditions=conditions))


async def runs_of(app: App, provider: NoOp, runs: int, declared: dict[str, Any]) -> Result:
    """Make a pipeline, run it `runs` times, one after another, and delete it."""
    result = Result([], [], [])
    async with app.events.tap() as queue:
        await invoke(app, "CreatePipeline", pipeline=declared)
        await ended(queue, declared["name"])
        for _ in range(runs):
            provider.moments.clear()
            began = time.perf_counter()
            await invoke(app, "StartPipelineExecution", name=declared["name"])
            await ended(queue, declared["name"])
            result.runs.append(time.perf_counter() - began)
            between = [after - before for before, after in itertools.pairwise(provider.moments)]
            result.transitions += between
            result.stages += between[2::3]
    await invoke(app, "DeletePipeline", name=declared["name"])
    return result


async def invoke(app: App, operation: str, **input: Any) -> Any:
    """Call CodePipeline in process."""
    return await app.invoke(CALLER, "codepipeline", operation, input, region=REGION)


async def ended(queue: asyncio.Queue[Any], of: str, runs: int = 1) -> None:
    """Wait for the successful ends of so many runs of pipelines whose names begin with `of`."""
    async with asyncio.timeout(600):
        while runs:
            event = await queue.get()
            if event.type != "codepipeline.execution.state_changed" or not event.payload["pipeline"].startswith(of):
                continue
            if event.payload["state"] == "STARTED":
                continue
            if event.payload["state"] != "SUCCEEDED":
                raise RuntimeError(f"a run of the benchmark ended as {event.payload['state']}")
            runs -= 1


_RUNS = 100


def decide_microseconds(rounds: int = 2_000) -> float:
    """What one decision costs without a database: an action that ends and the next one that starts."""
    from penstock.pipelines.engine import decide  # noqa: PLC0415
    from penstock.pipelines.inputs import ActionSucceeded, PipelineCreated, StartRequested  # noqa: PLC0415
    from penstock.pipelines.model import Trigger, TriggerType  # noqa: PLC0415
    from penstock.pipelines.plan import plan_of  # noqa: PLC0415
    from penstock.pipelines.state import BLANK  # noqa: PLC0415

    plan = plan_of(declaration("bench"), 1, Providers({"noop": NoOp()}).type)
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
    results: dict[tuple[str, bool], Result] = {}
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        for conditions in (False, True):
            url = f"sqlite:///{folder}/bench-{conditions}.db"
            results["SQLite", conditions] = uvloop.run(measured(url, _RUNS, conditions=conditions))
    rows = []
    try:
        with postgresql() as url:
            for conditions in (False, True):
                results["PostgreSQL", conditions] = uvloop.run(measured(url, _RUNS, conditions=conditions))
    except Unavailable as reason:
        rows.append(Row(what="action → next action, PostgreSQL", measured=f"not measured: {reason}", bar="", met=None))
    bars = {"SQLite": 1.5, "PostgreSQL": 3.5}
    return [
        Row(
            what=f"action → next action, 3×3 no-op actions with variables{', entry conditions' if conditions else ''}, idle, {name} "
            "(fsync on, journal and outbox included)",
            measured=f"p50 {result.p50_ms():.2f} ms, p99 {result.p99_ms():.2f}; into the next stage p50 "
            f"{statistics.median(result.stages) * 1000:.2f} (whole run p50 {statistics.median(result.runs) * 1000:.0f} ms)",
            bar=f"p50 ≤ {bars[name]} ms",
            met=result.p50_ms() <= bars[name],
        )
        for (name, conditions), result in results.items()
    ] + rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default=None)
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    sys.exit(0 if run(options.url, options.runs) else 1)
