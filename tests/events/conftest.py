"""EventBridge in process, with identity and stand-ins for what rules start."""

from contextlib import asynccontextmanager
from types import SimpleNamespace

import penstock_identity_harness
import pytest
from penstock_bridge import Stand, component
from penstock_identity_harness import REGION

import penstock.events


@pytest.fixture
async def harness_of(clock, tmp_path):
    @asynccontextmanager
    async def made(store):
        stand = Stand()
        components = (component(stand), penstock.events.component)
        async with penstock_identity_harness.harness_on(store, clock, tmp_path, *components) as harness:
            owner = await harness.administrator()

            async def events(operation, by=owner, **input):
                return await harness.app.invoke(by, "events", operation, input, region=REGION)

            yield SimpleNamespace(
                harness=harness, app=harness.app, stand=stand, owner=owner, events=events, clock=clock
            )

    return made


@pytest.fixture
async def bridge(harness_of, store):
    """On SQLite."""
    async with harness_of(store) as made:
        yield made


@pytest.fixture
async def any_bridge(harness_of, any_store):
    """On either database in turn."""
    async with harness_of(any_store) as made:
        yield made


@pytest.fixture
async def working(bridge):
    """On SQLite, with its jobs at work."""
    await bridge.app.events.start()
    await bridge.app.work.start(bridge.app)
    yield bridge
    await bridge.app.work.stop()
    await bridge.app.events.stop()
