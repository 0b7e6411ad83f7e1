"""PostgreSQL crashes under a burst while the server lives on: what was answered happens, once, and everything recovers by itself."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pipeline_harness import BUILD, SOURCE, harness

from penstock.fleet.health import Readiness
from penstock.pipelines.actions.provider import Succeeded
from penstock.pipelines.errors import ConcurrentPipelineExecutionsLimitExceededException
from penstock.pipelines.records import actions, executions
from penstock.store import dead_letters, records
from penstock.store.clock import SystemClock
from penstock.store.database import Store
from penstock.store.errors import StoreError

PIPELINES = 10


async def burst(postgresql: Any, url: str, folder: Path, *, seed: int, runs: int, restarts: int) -> None:
    """`runs` executions of each pipeline at least, and on until all restarts have been."""
    source = random.Random(seed)
    store = await Store.open(url, clock=SystemClock())
    try:
        async with harness(store, SystemClock(), folder, lease_ms=2_000) as opened:
            tokens: dict[tuple[str, str], set[str]] = defaultdict(set)

            def effect(started: Any) -> Succeeded:
                tokens[started.execution, started.name].add(started.token)
                return Succeeded(outputs=started.outputs)

            for action in ("pull", "compile"):
                opened.scripted.answers[action, "start"] = effect
            for number in range(PIPELINES):
                await opened.create(SOURCE, BUILD, name=f"p{number}", executionMode="QUEUED", pipelineType="V2")
            readiness = Readiness(opened.app)
            assert await readiness.faults() == []
            answered: list[str] = []
            failed: list[BaseException] = []

            async def start(pipeline: str) -> None:
                for _ in range(runs):
                    try:
                        answered.append((await opened("StartPipelineExecution", name=pipeline))["pipelineExecutionId"])
                    except ConcurrentPipelineExecutionsLimitExceededException:
                        await asyncio.sleep(0.05)  # starts are answered faster than runs end
                    except StoreError as error:
                        failed.append(error)
                        await asyncio.sleep(0.05)  # as clients do

            async def crash() -> None:
                for _ in range(restarts):
                    await asyncio.sleep(source.uniform(0.05, 0.4))
                    await asyncio.to_thread(postgresql.stop)
                    readiness._until = 0.0  # an answer holds for a second
                    assert await readiness.faults() != []
                    await asyncio.to_thread(postgresql.start)

            crashing = asyncio.create_task(crash())
            while not crashing.done():
                await asyncio.gather(*(start(f"p{number}") for number in range(PIPELINES)))
            await crashing
            async with asyncio.timeout(60):
                while await readiness.faults() or not await store.read(_is_quiet):
                    await asyncio.sleep(0.05)
            await store.read(_check, set(answered), len(failed), tokens)
            assert len(answered) >= PIPELINES
    finally:
        await store.close()


def _is_quiet(conn: sa.Connection) -> bool:
    live = sa.select(sa.func.count()).select_from(executions).where(executions.c.live)
    owed = sa.select(sa.func.count()).select_from(records.deliveries)
    return not conn.execute(live).scalar() and not conn.execute(owed).scalar()


def _check(conn: sa.Connection, answered: set[str], failed: int, tokens: Mapping[tuple[str, str], set[str]]) -> None:
    """Every execution that was answered ended well; each action of it started once, however often that was tried."""
    ids = set(conn.execute(sa.select(executions.c.id)).scalars())
    assert answered <= ids
    # The first run comes from CreatePipeline; a call that failed may have been committed.
    assert len(answered) <= len(ids) - PIPELINES <= len(answered) + failed
    rows = conn.execute(sa.select(actions.c.execution_id, actions.c.action, actions.c.status))
    started = Counter(tuple(row) for row in rows)
    assert started == Counter((id, name, "Succeeded") for id in ids for name in ("pull", "compile"))
    assert {(*key, "Succeeded"): len(each) for key, each in tokens.items()} == dict.fromkeys(started, 1)
    assert dead_letters.count_dead(conn) == 0


@pytest.mark.timeout(100)
async def test_a_burst_survives_a_crash_of_the_database(postgresql: Any, postgresql_url: str, tmp_path: Path):
    await burst(postgresql, postgresql_url, tmp_path, seed=1, runs=5, restarts=1)


@pytest.mark.prove
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(10, 20))
async def test_bursts_survive_many_crashes_of_the_database(
    postgresql: Any, postgresql_url: str, tmp_path: Path, seed: int
):
    await burst(postgresql, postgresql_url, tmp_path, seed=seed, runs=20, restarts=6)
