"""Houses with deployments, on either database."""

import pytest
from penstock_deployments_house import open_house


@pytest.fixture
async def house(store, clock, tmp_path):
    async with open_house(store, clock, tmp_path) as house:
        yield house


@pytest.fixture
async def any_house(any_store, clock, tmp_path):
    async with open_house(any_store, clock, tmp_path) as house:
        yield house
