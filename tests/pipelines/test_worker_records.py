"""The tables of what outside workers run: action types of accounts, secrets of configurations."""

from __future__ import annotations

from types import SimpleNamespace

import sqlalchemy as sa

from penstock.pipelines import worker_records as records
from penstock.pipelines.model import ActionTypeId
from penstock.store.database import Store

A, B = "111111111111", "222222222222"
BUILDER = ActionTypeId(category="Build", owner="Custom", provider="Builder", version="1")


async def test_action_types_are_an_accounts_own(any_store: Store):
    def write(conn: sa.Connection) -> None:
        records.put(conn, A, "us-east-1", BUILDER, now=1, definition={"n": 1})
        records.put(conn, A, "us-east-1", BUILDER, now=2, definition={"n": 2}, deleted=2)
        records.put(conn, B, "us-east-1", BUILDER, now=3, definition={"n": 3})

    await any_store.write(write)
    own = await any_store.read(records.find_own, A, "us-east-1", BUILDER)
    assert (own.definition, own.created, own.updated, own.deleted, own.tags) == ({"n": 2}, 1, 2, 2, {})
    assert await any_store.read(records.find_own, A, "eu-west-1", BUILDER) is None
    anybodys = await any_store.read(records.find_anybodys, "us-east-1", BUILDER)
    assert [row.account for row in anybodys] == [A, B]


async def test_secrets_are_those_of_one_action_of_one_version(any_store: Store):
    key = {"pipeline_id": "p", "version": 1, "stage": "Build", "action": "Make", "name": "Token"}
    rows = [{**key, "version": version, "account": A, "region": "us-east-1", "value": b"s"} for version in (1, 2)]
    await any_store.write(records.put_secrets, rows)
    await any_store.write(records.put_secrets, [])
    found = await any_store.read(records.secrets_of, "p", 2, "Build", "Make")
    assert [(row.version, row.value) for row in found] == [(2, b"s")]
    assert records.secret_context(SimpleNamespace(**key)) == "secret of pipeline p/1/Build/Make/Token"


def test_a_change_back_to_an_earlier_revision_is_another_change():
    digests = {records.revision_digest(*one) for one in (("a", "1"), ("a", "2"), ("b", "1"), ("a1", ""), ("", "a1"))}
    assert len(digests) == 5
