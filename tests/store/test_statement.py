import sqlite3

import pytest
import sqlalchemy as sa

from penstock.store.schema import Json
from penstock.store.statement import Statement, among, ask
from penstock.wire.errors import MalformedBody

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
BY_NAME = Statement(
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


@pytest.mark.parametrize("text", ["one\0", "\ud800one"])
async def test_a_text_that_no_database_keeps_is_the_fault_of_who_sent_it(things, text):
    """Of a statement and of any other, alone or in a list, where it is written and where it is looked for."""

    def listed(conn):
        return conn.execute(sa.select(_things).where(_things.c.name.in_(["one", text]))).all()

    def written(conn):
        conn.execute(_things.update().values(name=text))

    if text.endswith("\0") and things.dialect == "sqlite":
        assert await things.lookup(BY_NAME, name=text, least=1) is None
        return
    for asked in (
        things.lookup(BY_NAME, name=text, least=1),
        things.read(listed),
        things.scan(listed),
        things.write(written),
    ):
        with pytest.raises(MalformedBody):
            await asked
    assert (await things.lookup(BY_NAME, name="one", least=1)).id == 1


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
    nowhere = Statement(sa.select(sa.table("nowhere", sa.column("id"))).where(sa.column("id") == sa.bindparam("id")))
    with pytest.raises((sqlite3.OperationalError, sa.exc.ProgrammingError), match="nowhere"):
        await any_store.lookup(nowhere, id=1)


async def test_a_list_of_any_length_is_one_parameter(things):
    texts = set()
    for column, wanted, ids in (
        (_things.c.id, [3, 1, 1, 99], [1, 3]),
        (_things.c.name, ["two"], [2, 3]),
        (_things.c.name, ("two",), [2, 3]),
        (_things.c.name, [], []),
        (_things.c.name, ["one'); --", "one"], [1]),
        (_things.c.name, ["two" + " " * 18], []),  # longer than the column, and not what it would be without its end
    ):
        found = Statement(sa.select(_things.c.id).where(among(things.dialect, column, "wanted")).order_by(_things.c.id))
        rows = await things.read(lambda conn, found=found, wanted=wanted: found.all(conn, {"wanted": wanted}))
        assert [row.id for row in rows] == ids
        texts.add(found.form(things.dialect, {"wanted": wanted}).text)
    assert len(texts) == 2  # one for each column


# --- writes that are put off ------------------------------------------------------------------------------------------

_INSERT = Statement(_things.insert())
_RENAME = Statement(_things.update().where(_things.c.id == sa.bindparam("i")).values(name=sa.bindparam("n")))
_ALL = Statement(sa.select(_things.c.id, _things.c.name).order_by(_things.c.id))
NEW = {"id": 9, "name": "nine", "ready": True, "body": {"b": 1}, "sealed": b"s"}


async def names(store) -> dict[int, str]:
    return {row.id: row.name for row in await store.read(lambda conn: _ALL.all(conn, {}))}


async def test_questions_asked_together_are_answered_in_their_order_after_what_waits(things):
    def write(conn):
        _RENAME.later(conn, {"i": 1, "n": "new"})
        return ask(conn, (BY_NAME, {"name": "new", "least": 1}), (BY_NAME, {"name": "none", "least": 1}), (_ALL, {}))

    new, none, every = await things.write(write)
    assert [row.id for row in new] == [1]
    assert none == []
    assert [(row.id, row.name) for row in every] == [(1, "new"), (2, "two"), (3, "two")]
    assert [len(rows) for rows in await things.read(lambda conn: ask(conn, (_ALL, {}), (_ALL, {})))] == [3, 3]


async def test_a_transaction_of_nothing_but_writes_put_off(things):
    await things.write(lambda conn: _INSERT.later(conn, NEW))
    assert (await things.lookup(BY_NAME, name="two", least=1)).id == 2
    found = await things.read(lambda conn: conn.execute(sa.select(_things).where(_things.c.id == 9)).one())
    assert found._asdict() == NEW


@pytest.mark.parametrize("how", ["statement", "execute", "savepoint"])
async def test_whoever_asks_next_sees_what_was_put_off(things, how):
    def tx(conn):
        _INSERT.later(conn, NEW)
        _RENAME.later(conn, {"i": 9, "n": "renamed"})
        if how == "statement":
            return [row.name for row in _ALL.all(conn, {})]
        if how == "execute":
            return list(conn.execute(sa.select(_things.c.name).order_by(_things.c.id)).scalars())
        with conn.begin_nested() as point:
            _RENAME.later(conn, {"i": 1, "n": "never"})
            point.rollback()
        return [row.name for row in _ALL.all(conn, {})]

    assert await things.write(tx) == ["one", "two", "two", "renamed"]
    assert (await names(things))[9] == "renamed"


async def test_it_keeps_the_values_of_its_call(things):
    def tx(conn):
        row = {**NEW, "body": {"a": 1}}
        _INSERT.later(conn, row)
        row["name"] = "changed"
        row["body"]["a"] = 2

    await things.write(tx)
    found = await things.read(lambda conn: conn.execute(sa.select(_things).where(_things.c.id == 9)).one())
    assert (found.name, found.body) == ("nine", {"a": 1})


@pytest.mark.parametrize("reads_first", [True, False])
async def test_an_error_of_a_write_put_off_takes_all_back(things, reads_first):
    def tx(conn):
        if reads_first:
            _ALL.all(conn, {})
        _RENAME.later(conn, {"i": 2, "n": "gone with it"})
        _INSERT.later(conn, {**NEW, "id": 1})
        _INSERT.later(conn, NEW)

    with pytest.raises(sa.exc.IntegrityError):
        await things.write(tx)
    assert await names(things) == {1: "one", 2: "two", 3: "two"}
    await things.write(lambda conn: _INSERT.later(conn, NEW))  # the connection continues
    assert len(await names(things)) == 4


@pytest.mark.parametrize("then", ["nothing", "a question", "a write"])
async def test_a_check_gets_how_many_rows_before_the_commit(things, then):
    class Wrong(Exception):
        pass

    def check(rows):
        counts.append(rows)
        if rows != 1:
            raise Wrong

    def tx(conn, id):
        _INSERT.later(conn, {**NEW, "id": 10 + id})
        _RENAME.later(conn, {"i": id, "n": "checked"}, check=check)
        if then == "a question":
            _ALL.all(conn, {})
        if then == "a write":
            _RENAME.later(conn, {"i": 3, "n": "after"})

    counts = []
    await things.write(tx, 1)
    with pytest.raises(Wrong):
        await things.write(tx, 5)
    assert counts == [1, 0]
    assert sorted(await names(things)) == [1, 2, 3, 11]


async def test_other_names_than_the_statements_are_refused(things):
    for parameters in ({"i": 1}, {"i": 1, "n": "x", "more": 1}):
        with pytest.raises((TypeError, KeyError)):
            await things.write(lambda conn, parameters=parameters: _RENAME.later(conn, parameters))
    assert (await names(things))[1] == "one"


async def test_scans_and_reads_with_statements_leave_no_transaction_open(things):
    for _ in range(20):
        assert len(await things.scan(lambda conn: _ALL.all(conn, {}))) == 3
        assert len(await things.read(lambda conn: _ALL.all(conn, {}))) == 3
    if things.dialect == "postgresql":
        held = await things.read(
            lambda conn: conn.execute(
                sa.text(
                    "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%' AND datname = current_database()"
                )
            ).scalar()
        )
        assert held == 0
