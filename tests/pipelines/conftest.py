"""Makes the drivers beside the tests importable, and the house of pipelines a fixture."""

import sys
from pathlib import Path

import pytest
from penstock_live import live  # noqa: F401 - the fixture

sys.path.insert(0, str(Path(__file__).parent))

from pipeline_house import house as open_house  # noqa: E402

from penstock.store.clock import SystemClock  # noqa: E402
from penstock.store.database import Store  # noqa: E402


@pytest.fixture
async def house(sqlite_url, tmp_path):
    """A working house on SQLite, on the wall clock."""
    clock = SystemClock()
    store = await Store.open(sqlite_url, clock=clock)
    async with open_house(store, clock, tmp_path) as opened:
        yield opened
    await store.close()


@pytest.fixture
async def any_house(any_url, tmp_path):
    """A working house on either database in turn."""
    clock = SystemClock()
    store = await Store.open(any_url, clock=clock)
    async with open_house(store, clock, tmp_path) as opened:
        yield opened
    await store.close()


@pytest.fixture
async def still_house(store, clock, tmp_path):
    """A house on the manual clock, working."""
    async with open_house(store, clock, tmp_path) as opened:
        yield opened
