"""The sample component, which CONTRIBUTING walks through: every part of a component's shape, on both databases."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
import sample_counters
from botocore.exceptions import ClientError
from penstock_sample import client
from penstock_waiting import eventually
from sample_counters import counters
from sample_counters.counters import CHANGED, Counter, CounterSettings
from sample_counters.engine import IDLE_MS, Count, decide

from penstock import identity
from penstock.app import running
from penstock.application import Settings
from penstock.store import events, journal
from penstock.store.clock import ManualClock


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path):
    """A database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/sample.db"
        return
    server = request.getfixturevalue("postgresql")
    name = server.create()
    yield server.url(name)
    server.drop(name)


async def test_a_counter_over_every_protocol_its_timer_event_and_journal(empty_url, tmp_path, monkeypatch):
    clock = ManualClock()
    settings = Settings(
        data_dir=tmp_path / "data",
        master_key_file=tmp_path / "key",
        port=0,
        database=empty_url,
        components=(CounterSettings(largest=6),),
    )
    async with running(settings, components=(identity.component, sample_counters.component), clock=clock) as harness:
        store, account = harness.app.store, settings.account
        await store.write(lambda conn: Counter.table.create(conn))
        values = []
        for number, service in enumerate(sample_counters.PATCHES, 1):
            caller = client(harness.url, harness.credentials_file, service)
            added = await asyncio.to_thread(caller.add, name="visits", amount=number)
            values.append(added["value"])
            with pytest.raises(ClientError, match="larger than 6") as refused:
                await asyncio.to_thread(caller.add, name="visits", amount=7)
            assert refused.value.response["Error"]["Code"] == "AmountTooLargeException"
        assert values == [1, 3, 6, 10, 15, 21]

        async def value():
            ((_, state),) = await store.read(Counter.after, account, "us-east-1", "", 2)
            return state.value

        clock.advance(IDLE_MS - 1)
        assert await value() == 21
        clock.advance(1)

        async def is_reset():
            return await value() == 0

        await eventually(is_reset)
        emitted = await store.read(events.after, 0)
        assert [event.payload["value"] for event in emitted if event.type == CHANGED.name] == [*values, 0]

        assert Counter.find_journal in harness.app.journals
        found = await store.read(Counter.find_journal, account, "us-east-1", "visits")
        assert found.arn == f"arn:aws:counters:us-east-1:{account}:counter/visits"
        assert await store.read(Counter.find_journal, account, "us-east-1", "misses") is None
        entries = await store.read(journal.read, found.aggregate, account=account, region="us-east-1")
        state = Count()
        for entry in entries:
            state, effects = decide(state, Counter.inputs.load(entry.input), entry.at, entry.seed)
            assert [Counter.effects.dump(effect) for effect in effects] == list(entry.effects)
        assert (len(entries), state.value) == (7, 0)
        assert {entry.actor for entry in entries[:-1]} == {f"arn:aws:iam::{account}:user/administrator"}
        assert entries[-1].actor == ""
        assert all(entry.cause for entry in entries)

        gone = SimpleNamespace(id="j", account=account, region="us-east-1", payload={"id": "misses"})
        await Counter.run_timer(harness.app, gone)
        assert await store.read(Counter.find_journal, account, "us-east-1", "misses") is None

        lister = client(harness.url, harness.credentials_file, "counters-json11")
        monkeypatch.setattr(counters, "_LIMIT", 2)
        for name in ("b", "a", "c"):
            await asyncio.to_thread(lister.add, name=name, amount=1)
        listed, page = [], {}
        while page is not None:
            answer = await asyncio.to_thread(lister.list_counters, **page)
            listed.append([one["name"] for one in answer["counters"]])
            page = {"nextToken": answer["nextToken"]} if "nextToken" in answer else None
        assert listed == [["a", "b"], ["c", "visits"]]
        with pytest.raises(ClientError, match="Begin with its first page") as refused:
            await asyncio.to_thread(lister.list_counters, nextToken="x")
        assert refused.value.response["Error"]["Code"] == "InvalidNextTokenException"
