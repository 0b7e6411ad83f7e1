import pytest
import sqlalchemy as sa

from penstock.store.lookup import Lookup
from penstock.store.schema import Json

_things = sa.Table(
    "lookup_things",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(20)),
    sa.Column("ready", sa.Boolean),
    sa.Column("body", Json),
    sa.Column("sealed", sa.LargeBinary),
)
ROWS = [
    {"id": 1, "name": "one", "ready": True, "body": {"a": [1, None]}, "sealed": b"\x00\xff"},
    {"id": 2, "name": "two", "ready": False, "body": None, "sealed": None},
    {"id": 3, "name": "two", "ready": None, "body": "text", "sealed": b""},
]
BY_NAME = Lookup(
    sa.select(_things)
    .where(_things.c.name == sa.bindparam("name"), _things.c.id < 4, _things.c.id >= sa.bindparam("least"))
    .order_by(_things.c.id)
    .limit(1)
)


@pytest.fixture
async def things(any_store):
    def make(conn):
        _things.create(conn)
        conn.execute(_things.insert(), ROWS)

    await any_store.write(make)
    return any_store


async def test_it_finds_what_the_statement_finds_with_the_columns_own_types(things):
    for row in ROWS:
        found = await things.lookup(BY_NAME, name=row["name"], least=row["id"])
        read = await things.read(lambda conn, row=row: BY_NAME.first(conn, {"name": row["name"], "least": row["id"]}))
        assert found._asdict() == read._asdict() == row


async def test_nothing_is_none(things):
    assert await things.lookup(BY_NAME, name="three", least=1) is None
    assert await things.lookup(BY_NAME, name=None, least=1) is None


async def test_it_sees_what_was_committed_before_it(things):
    await things.write(lambda conn: conn.execute(_things.update().where(_things.c.id == 1).values(name="new")))
    assert await things.lookup(BY_NAME, name="one", least=1) is None
    assert (await things.lookup(BY_NAME, name="new", least=1)).id == 1


async def test_it_leaves_no_transaction_open(things):
    await things.lookup(BY_NAME, name="one", least=1)
    await things.write(lambda conn: conn.execute(_things.delete()))
    assert await things.read(lambda conn: conn.execute(sa.select(_things)).all()) == []
    assert await things.lookup(BY_NAME, name="one", least=1) is None


async def test_a_missing_table_is_the_databases_own_error(any_store):
    nowhere = Lookup(sa.select(sa.table("nowhere", sa.column("id"))).where(sa.column("id") == sa.bindparam("id")))
    with pytest.raises(Exception, match="nowhere"):
        await any_store.lookup(nowhere, id=1)
