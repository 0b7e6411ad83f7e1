"""A harness with identity and topics, on SQLite and on both databases in turn; an endpoint."""

import asyncio

import pytest
from penstock_topics import Endpoint, topics_on

from penstock import egress
from penstock.topics import work


@pytest.fixture
async def harness(store, clock, tmp_path):
    async with topics_on(store, clock, tmp_path) as made:
        yield made


@pytest.fixture
async def either(any_store, clock, tmp_path):
    async with topics_on(any_store, clock, tmp_path) as made:
        yield made


@pytest.fixture
async def owner(harness):
    return await harness.administrator()


@pytest.fixture
async def endpoint():
    found = Endpoint()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield found
    server.close()


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    """A busy machine makes no endpoint of these tests a slow one, and what finds no place looks again at once: the clock stands still."""
    monkeypatch.setattr(egress, "_SLOW_S", 3_600)
    monkeypatch.setattr(work, "_BUSY_MS", (0, 0))
