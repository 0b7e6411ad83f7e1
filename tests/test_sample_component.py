"""The sample component, which CONTRIBUTING walks through: every part of a component's shape, on both databases."""

from __future__ import annotations

import argparse
import asyncio

import botocore.loaders
import botocore.session
import orjson
import pytest
import sample_counters
import sqlalchemy as sa
from botocore.exceptions import ClientError
from sample_counters.counters import STATE, Counter, metadata, table
from sample_counters.engine import IDLE_MS, Count, decide

from penstock import identity
from penstock.app import running
from penstock.application import Settings
from penstock.cli import serve
from penstock.store import journal
from penstock.store.clock import ManualClock
from penstock.wire.services import merge


class _Models(botocore.loaders.Loader):
    """The sample's model, in the protocol of the service's name."""

    def load_service_model(self, service_name, type_name, api_version=None):
        if service_name not in sample_counters.PROTOCOLS or type_name != "service-2":
            return super().load_service_model(service_name, type_name, api_version)
        return merge(orjson.loads(sample_counters.MODEL.read_bytes()), sample_counters.PROTOCOLS[service_name])


def _client(harness, service):
    lines = harness.credentials_file.read_text().splitlines()
    keys = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    session = botocore.session.Session()
    session.register_component("data_loader", _Models())
    return session.create_client(
        service,
        region_name="us-east-1",
        endpoint_url=harness.url,
        aws_access_key_id=keys["aws_access_key_id"],
        aws_secret_access_key=keys["aws_secret_access_key"],
    )


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


def test_its_option_is_one_of_penstock_up(monkeypatch):
    monkeypatch.setattr(serve, "component_settings", lambda: [sample_counters.SETTINGS])
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser, "up")
    assert "--largest-amount N" in parser.format_help()
    assert parser.parse_args(["--largest-amount", "5"]).largest == 5


async def _until(condition):
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - another task changes it
            await asyncio.sleep(0.01)


async def test_a_counter_over_every_protocol_its_timer_event_and_journal(empty_url, tmp_path):
    clock, made = ManualClock(), []
    settings = Settings(
        data_dir=tmp_path / "data",
        master_key_file=tmp_path / "key",
        port=0,
        database=empty_url,
        components=(sample_counters.SETTINGS(largest=6),),
    )

    def counters(app):
        made.append(sample_counters.component(app))
        return made[0]

    async with running(settings, components=(identity.component, counters), clock=clock) as harness:
        store = harness.app.store
        await store.write(lambda conn: metadata.create_all(conn))
        values = []
        for number, service in enumerate(sample_counters.PROTOCOLS, 1):
            client = _client(harness, service)
            added = await asyncio.to_thread(client.add, name="visits", amount=number)
            values.append(added["value"])
            with pytest.raises(ClientError, match="larger than 6") as refused:
                await asyncio.to_thread(client.add, name="visits", amount=7)
            assert refused.value.response["Error"]["Code"] == "AmountTooLargeException"
        assert values == [1, 3, 6, 10, 15, 21]

        async def value():
            found = await store.read(lambda conn: conn.execute(sa.select(table.c.state)).scalar())
            return STATE.load(found).value

        clock.advance(IDLE_MS - 1)
        assert await value() == 21
        clock.advance(1)

        async def is_reset():
            return await value() == 0

        await _until(is_reset)

        async def all_seen():
            return made[0].state.seen == [1, 3, 6, 10, 15, 21, 0]

        await _until(all_seen)

        account = settings.account
        found = await store.read(Counter.find_journal, account, "us-east-1", "visits")
        entries = await store.read(journal.read, found.aggregate, account=account, region="us-east-1")
        state = Count()
        for entry in entries:
            state, effects = decide(state, Counter.inputs.load(entry.input), entry.at, entry.seed)
            assert [Counter.effects.dump(effect) for effect in effects] == list(entry.effects)
        assert (len(entries), state.value) == (7, 0)
