"""A house with identity alone, on either database in turn."""

import pytest
from penstock_identity_house import house_on


@pytest.fixture
async def house(any_store, clock, tmp_path):
    made = house_on(any_store, clock, tmp_path)
    for start in made.app.starts:
        await start()
    yield made
    for stop in made.app.stops:
        await stop()
