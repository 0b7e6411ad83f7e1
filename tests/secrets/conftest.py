"""A harness with identity, keys and secrets, on either database in turn."""

import penstock_identity_harness
import pytest

import penstock.keys
import penstock.secrets


@pytest.fixture
async def harness(any_store, clock, tmp_path):
    components = (penstock.keys.component, penstock.secrets.component)
    async with penstock_identity_harness.harness_on(any_store, clock, tmp_path, *components) as made:
        yield made


@pytest.fixture
async def owner(harness):
    return await harness.administrator()
