"""Makes the drivers beside the tests importable, and the harness of pipelines a fixture."""

import sys
from pathlib import Path

import pytest
from penstock_live import live  # noqa: F401 - the fixture

sys.path.insert(0, str(Path(__file__).parent))

from pipeline_harness import harness as open_harness  # noqa: E402

from penstock.store.clock import SystemClock  # noqa: E402
from penstock.store.database import Store  # noqa: E402


@pytest.fixture
async def harness(sqlite_url, tmp_path):
    """A working harness on SQLite, on the wall clock."""
    clock = SystemClock()
    store = await Store.open(sqlite_url, clock=clock)
    async with open_harness(store, clock, tmp_path) as opened:
        yield opened
    await store.close()


@pytest.fixture
async def any_harness(any_url, tmp_path):
    """A working harness on either database in turn."""
    clock = SystemClock()
    store = await Store.open(any_url, clock=clock)
    async with open_harness(store, clock, tmp_path) as opened:
        yield opened
    await store.close()


@pytest.fixture
async def still_harness(store, clock, tmp_path):
    """A working harness on the manual clock."""
    async with open_harness(store, clock, tmp_path) as opened:
        yield opened
