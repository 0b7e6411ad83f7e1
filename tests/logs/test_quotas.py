"""What an account may have so many of, asked for by many callers at once."""

import asyncio

import penstock_identity_harness
import pytest

import penstock.logs
from penstock.logs.operations import queries

MOST = 3


@pytest.fixture
async def harness(any_store, clock, tmp_path):
    async with penstock_identity_harness.harness_on(any_store, clock, tmp_path, penstock.logs.component) as made:
        yield made
        for stop in made.app.stops:
            await stop()


async def test_callers_at_once_get_no_more_than_one_after_the_other(harness, monkeypatch):
    monkeypatch.setattr(queries, "_AT_ONCE", MOST)
    monkeypatch.setattr(queries, "_DEFINITIONS", MOST)
    owner = await harness.administrator()
    await harness.app.invoke(owner, "logs", "CreateLogGroup", {"logGroupName": "g"}, region="us-east-1")
    query = {"logGroupName": "g", "queryString": "fields a", "startTime": 1, "endTime": 2}

    async def made(operation, asked):
        try:
            await harness.app.invoke(owner, "logs", operation, asked, region="us-east-1")
        except queries.LimitExceededException:
            return 0
        return 1

    for operation, asked in (
        ("StartQuery", [query] * 12),
        ("PutQueryDefinition", [{"name": f"d{number}", "queryString": "fields a"} for number in range(12)]),
    ):
        assert sum(await asyncio.gather(*(made(operation, one) for one in asked))) == MOST
