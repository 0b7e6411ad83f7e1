"""Harnesses with deployments, on either database."""

import pytest
from penstock_deployments_harness import open_harness


@pytest.fixture
async def harness(store, clock, tmp_path):
    async with open_harness(store, clock, tmp_path) as harness:
        yield harness


@pytest.fixture
async def any_harness(any_store, clock, tmp_path):
    async with open_harness(any_store, clock, tmp_path) as harness:
        yield harness
