"""A harness with identity and certificates, on either database in turn."""

import penstock_identity_harness
import pytest

import penstock.certificates


@pytest.fixture
async def harness(any_store, clock, tmp_path):
    async with penstock_identity_harness.harness_on(
        any_store, clock, tmp_path, penstock.certificates.component
    ) as made:
        yield made


@pytest.fixture
async def owner(harness):
    return await harness.administrator()
