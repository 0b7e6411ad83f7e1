"""A house with identity alone, on either database in turn."""

import pytest
from penstock_identity_house import house_on


@pytest.fixture
async def house(any_store, clock, tmp_path):
    async with house_on(any_store, clock, tmp_path) as made:
        yield made
