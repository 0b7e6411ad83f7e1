"""A harness with identity, keys and parameters, on either database in turn."""

import penstock_identity_harness
import pytest

import penstock.fleet
import penstock.keys
import penstock.parameters
import penstock.secrets


@pytest.fixture
async def harness(any_store, clock, tmp_path):
    components = (
        penstock.keys.component,
        penstock.parameters.component,
        penstock.secrets.component,
        penstock.fleet.component,
    )
    async with penstock_identity_harness.harness_on(any_store, clock, tmp_path, *components) as made:
        yield made


@pytest.fixture
async def owner(harness):
    return await harness.administrator()
