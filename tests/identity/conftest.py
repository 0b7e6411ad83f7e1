"""A harness with identity, on either database in turn, or on SQLite where both would do the same."""

import pytest
from penstock_identity_harness import harness_on


@pytest.fixture
def components():
    """Those beside identity; a module that needs some has its own fixture of this name."""
    return ()


@pytest.fixture
async def either(any_store, clock, tmp_path, components):
    async with harness_on(any_store, clock, tmp_path, *components) as made:
        yield made


@pytest.fixture
async def on_sqlite(store, clock, tmp_path, components):
    async with harness_on(store, clock, tmp_path, *components) as made:
        yield made


@pytest.fixture
def harness(either):
    """A module most of whose tests need one database only has its own fixture of this name, which returns `on_sqlite`."""
    return either
