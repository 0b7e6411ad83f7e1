"""A harness with identity alone, on either database in turn."""

import pytest
from penstock_identity_harness import harness_on


@pytest.fixture
async def harness(any_store, clock, tmp_path):
    async with harness_on(any_store, clock, tmp_path) as made:
        yield made
