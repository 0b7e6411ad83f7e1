"""A harness with identity and keys, on either database in turn."""

import penstock_identity_harness
import pytest
from penstock_keys import new_key

import penstock.keys


@pytest.fixture
async def harness(any_store, clock, tmp_path):
    async with penstock_identity_harness.harness_on(any_store, clock, tmp_path, penstock.keys.component) as made:
        yield made


@pytest.fixture
async def owner(harness):
    return await harness.administrator()


@pytest.fixture
async def key(harness, owner):
    """The ARN of a key with the default policy."""
    return await new_key(harness, owner)
