"""A harness with identity and keys, on either database in turn."""

import penstock_identity_harness
import pytest

import penstock.keys


@pytest.fixture
async def harness(any_store, clock, tmp_path):
    async with penstock_identity_harness.harness_on(any_store, clock, tmp_path, penstock.keys.component) as made:
        yield made
