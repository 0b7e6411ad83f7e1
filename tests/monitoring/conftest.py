"""Metrics in process: on SQLite, and for what goes through every statement on either database in turn."""

import penstock_identity_harness
import pytest
from penstock_alarms import alarmed, now, owner, topics  # noqa: F401

import penstock.monitoring


@pytest.fixture
async def harness(store, clock, tmp_path):
    async with penstock_identity_harness.harness_on(store, clock, tmp_path, penstock.monitoring.component) as made:
        yield made


@pytest.fixture
async def either(any_store, clock, tmp_path):
    async with penstock_identity_harness.harness_on(any_store, clock, tmp_path, penstock.monitoring.component) as made:
        yield made
