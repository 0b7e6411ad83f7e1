"""Many rows in one statement: as many as there are, with the columns' own types, on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from penstock.store.database import Store
from penstock.store.rows import Rows
from penstock.store.schema import Json, State

_things = sa.Table(
    "many_things",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("order", sa.String(8), primary_key=True),  # a word of SQL
    sa.Column("at", sa.BigInteger),
    sa.Column("on", sa.Boolean, nullable=False),
    sa.Column("state", State(10), nullable=False),
    sa.Column("body", Json),
    sa.Column("sealed", sa.LargeBinary),
)
_STATED = ("at", "on", "state", "body", "sealed")
INSERT = Rows(_things, "id", "order", *_STATED)
CHANGE = Rows(_things, *_STATED, by=("id", "order"))


def row(id: int) -> dict[str, object]:
    return {
        "id": id,
        "order": f"o{id % 3}",
        "at": None if id % 5 == 0 else id + (1 << 40),
        "on": id % 2 == 0,
        "state": "ready",
        "body": None if id % 4 == 0 else {"a": [id, None, "it's {[\"%,}"], "n": 1.5},
        "sealed": b"\x00\xff" * (id % 3),
    }


@pytest.fixture
async def things(any_store: Store) -> Store:
    await any_store.write(_things.create)
    return any_store


async def everything(store: Store) -> list[dict[str, object]]:
    found = await store.scan(lambda conn: conn.execute(sa.select(_things).order_by(_things.c.id)).all())
    return [each._asdict() for each in found]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 63, 64, 65, 200])
async def test_as_many_as_there_are_are_written_and_changed(things: Store, count: int):
    rows = [row(id) for id in range(count)]
    await things.write(INSERT.write, rows)
    assert await everything(things) == rows
    changed = [
        {**each, "at": 7, "on": not each["on"], "state": "done", "body": [each["id"]], "sealed": None} for each in rows
    ]
    await things.write(CHANGE.write, changed[1:][::-1])
    assert await everything(things) == rows[:1] + changed[1:]


async def test_a_change_finds_rows_by_all_of_its_columns(things: Store):
    await things.write(INSERT.write, [row(1), row(2)])
    await things.write(CHANGE.write, [{**row(1), "order": "o2", "at": 9}, {**row(2), "order": "o1", "at": 9}])
    assert await everything(things) == [row(1), row(2)]


@pytest.mark.parametrize("count", [1, 3])
async def test_one_that_does_not_fit_takes_the_transaction_back(things: Store, count: int):
    await things.write(INSERT.write, [row(1)])
    for bad in (row(1), {**row(9), "on": None}):
        with pytest.raises(sa.exc.IntegrityError):
            await things.write(INSERT.write, [row(id) for id in range(10, 9 + count)] + [bad])
    assert await everything(things) == [row(1)]


@pytest.mark.parametrize("count", [1, 2])
async def test_what_is_too_long_for_its_column_is_not_cut(things: Store, count: int):
    """SQLite knows no lengths and keeps all of it; PostgreSQL refuses it."""
    long = [{**row(id), "order": "x" * 20} for id in range(count)]
    try:
        await things.write(INSERT.write, long)
    except sa.exc.DataError:
        assert await everything(things) == []
    else:
        assert await everything(things) == long


async def test_what_is_put_off_comes_before_the_next_question(things: Store):
    def write(conn: sa.Connection) -> list[int]:
        INSERT.write(conn, [row(1), row(2)])
        return list(conn.execute(sa.select(_things.c.id).order_by(_things.c.id)).scalars())

    assert await things.write(write) == [1, 2]


def test_only_a_word_is_a_state():
    """It is written into the statement."""
    with pytest.raises(ValueError, match='^"it\'s" is not a state$'):
        _things.c.state == "it's"  # noqa: B015 - the comparison refuses it
