"""Pools: a full queue refuses, and one kind of work never waits for another."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path

import pytest

import penstock
from penstock import pools
from penstock.pools import Pool
from penstock.wire.errors import Throttled

SOURCE = Path(penstock.__file__).parent


async def test_what_does_not_fit_into_the_queue_is_refused_and_takes_no_place():
    pool = Pool("test", 1, queue=1)
    let_go = threading.Event()
    running = [asyncio.ensure_future(pool.run(let_go.wait, 10)) for _ in range(2)]
    await asyncio.sleep(0)
    for _ in range(3):
        with pytest.raises(Throttled):
            await pool.run(int)
    let_go.set()
    assert await asyncio.gather(*running) == [True, True]
    assert await pool.run(int) == 0


async def test_a_caller_that_leaves_does_not_make_room():
    pool = Pool("test", 1, queue=0)
    let_go = threading.Event()
    running = asyncio.ensure_future(pool.run(let_go.wait, 10))
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    with pytest.raises(Throttled):
        await pool.run(int)
    let_go.set()


async def test_a_cancelled_caller_leaves_when_its_thread_has_ended():
    pool = Pool("test", 1)
    began, let_go, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        let_go.wait(60)
        ended.set()

    calling = asyncio.ensure_future(pool.finish(work))
    while not began.is_set():
        await asyncio.sleep(0)
    calling.cancel()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not calling.done()
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert ended.is_set()


def test_folders_are_deleted_by_threads_of_their_own():
    """A build may leave a million files."""
    removing = re.compile(
        r"\bFILES\.\w+\([^)]*\b(remove|clear|clear_orphan|rmtree|remove_tree|_sweep|_clear_quarantine)\b"
    )
    found = [str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if removing.search(path.read_text())]
    assert found == []


def test_nothing_blocks_on_the_loops_own_executor():
    """Whatever floods that one starves everything else that uses it."""
    shared = re.compile(r"\bto_thread\(|run_in_executor\(\s*None")
    found = [str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if shared.search(path.read_text())]
    assert found == []


def test_how_many_threads_a_kind_of_work_has():
    """What strangers can ask for has few of them, and a queue that ends."""
    found = {pool.name: (pool.threads, pool._places._most) for pool in vars(pools).values() if isinstance(pool, Pool)}
    assert found == {
        "passwords": (1, 9), "passkeys": (1, 17), "logs": (4, None), "segments": (2, None), "bodies": (2, None), "archives": (2, None), "removals": (2, None),
        "names": (8, 72), "filters": (1, None), "math": (1, 65), "scans": (2, None), "connects": (6, None), "files": (8, None),
    }  # fmt: skip
    assert {pool._executor._max_workers - pool.threads for pool in vars(pools).values() if isinstance(pool, Pool)} == {
        0
    }
