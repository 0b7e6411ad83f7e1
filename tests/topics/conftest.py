"""A harness with identity and topics, on SQLite, and on both databases in turn."""

import penstock_identity_harness
import pytest

import penstock.topics


@pytest.fixture
async def harness(store, clock, tmp_path):
    async with penstock_identity_harness.harness_on(store, clock, tmp_path, penstock.topics.component) as made:
        yield made


@pytest.fixture
async def either(any_store, clock, tmp_path):
    async with penstock_identity_harness.harness_on(any_store, clock, tmp_path, penstock.topics.component) as made:
        yield made


@pytest.fixture
async def owner(harness):
    return await harness.administrator()
