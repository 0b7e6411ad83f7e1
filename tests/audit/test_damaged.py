"""`penstock audit` beside records that somebody has damaged: it shows the rest, and says what it left out and what to do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from penstock_trails import AT, lines_of, move, record

from penstock.audit.packing import pack, unpack
from penstock.audit.records import blocks
from penstock.audit.verifying import verify
from penstock.cli import audit
from penstock.cli.exits import Exit
from penstock.store.sealing import Sealer

EVERYTHING = SimpleNamespace(chain=False, since=0, until=None, account=None)


@pytest.fixture
def sealer(tmp_path):
    return Sealer.from_file(tmp_path / "keys" / "master.key")


async def damage(store: Any, content: Any) -> str:
    """Change the second of three blocks of four lines; the name of their chain."""

    def change(conn: sa.Connection) -> str:
        where = blocks.c.first == 4
        row = conn.execute(sa.select(blocks).where(where)).one()
        conn.execute(blocks.update().where(where).values(content=content(row.content)))
        return row.chain

    return await store.write(change)


@pytest.mark.parametrize(
    "content",
    [
        lambda _old: b"",
        lambda old: old[:-7],
        lambda old: old[:150] + b"\0" * 40 + old[190:],
        lambda old: b"\xff" * len(old),
    ],
    ids=["emptied", "cut", "zeros", "ones"],
)
async def test_a_block_that_cannot_be_read_is_named_and_the_rest_is_shown(
    any_store, sealer, tmp_path, monkeypatch, capsys, content
):
    monkeypatch.setenv("NO_COLOR", "1")
    chain, lines = lines_of(tmp_path / "written", [(AT + number, record(number)) for number in range(12)])
    await any_store.write(move, sealer, chain, lines, size=4)
    await damage(any_store, content)
    sentence = f"lines 5 to 8 of chain {chain} in the database cannot be read, and was left out"

    def show(conn: sa.Connection, act: str) -> tuple[int, str, str]:
        reading = audit._Reading(conn, tmp_path / "audit")
        if act == "tail":
            audit._tail(reading, conn, 20)
        else:
            audit._export(reading, EVERYTHING)
        return audit._say_damaged(act, reading.damaged), *capsys.readouterr()

    for act in ("tail", "export"):
        code, out, err = await any_store.scan(show, act)
        assert (code, len(out.splitlines())) == (Exit.FAILED, 8)
        assert err.startswith(f"penstock audit {act}: {sentence}\n")
        assert "`penstock audit verify`" in err


async def test_a_line_that_cannot_be_read_is_named_wherever_it_lies(any_store, sealer, tmp_path, capsys):
    chain, lines = lines_of(tmp_path / "written", [(AT + number, record(number)) for number in range(12)])
    await any_store.write(move, sealer, chain, lines, size=4)
    broken = {
        5: lines[5][:70],
        6: lines[6].replace(b'"eventName":"Act6"', b'"eventName":[0]'),
        7: lines[7][:66] + b"7 []",
    }
    await damage(any_store, lambda old: pack([broken.get(at, line) for at, line in enumerate(unpack(old), 4)]).content)
    other, more = lines_of(tmp_path / "audit", [(AT + 20 + number, record(20 + number)) for number in range(3)])
    path = tmp_path / "audit" / f"{other}.chain"
    path.write_bytes(b"".join(line + b"\n" for line in (more[0], b"nothing", more[2])))

    def show(conn: sa.Connection) -> list[str]:
        reading = audit._Reading(conn, tmp_path / "audit")
        audit._tail(reading, conn, 20)
        assert len(capsys.readouterr().out.splitlines()) == 11
        told, reading.damaged = sorted(reading.damaged), []
        audit._export(reading, EVERYTHING)
        assert len(capsys.readouterr().out.splitlines()) == 11
        assert sorted(reading.damaged) == told
        return told

    in_block = [f"line {number} of chain {chain} in the database" for number in (6, 7, 8)]
    assert await any_store.scan(show) == sorted([f"line 2 of {path}", *in_block])
    assert audit._say_damaged("tail", [f"line {number} of x" for number in range(12)]) == Exit.FAILED
    assert "2 further places cannot be read either" in capsys.readouterr().err


async def test_the_tail_is_as_long_as_was_asked_however_small_the_blocks_are(any_store, sealer, tmp_path, capsys):
    """A quiet installation has a block for each minute, with a line or two."""
    chain, lines = lines_of(tmp_path / "written", [(AT + number, record(number)) for number in range(30)])
    await any_store.write(move, sealer, chain, lines, size=1)

    def show(conn: sa.Connection) -> int:
        audit._tail(audit._Reading(conn, tmp_path / "audit"), conn, 20)
        return len(capsys.readouterr().out.splitlines())

    assert await any_store.scan(show) == 20


async def test_the_tail_has_the_newest_of_all_chains_in_their_order(store, sealer, tmp_path, capsys):
    for chain in range(3):
        moments = [(AT + number // 2 * 2 + chain % 2, record(100 * chain + number)) for number in range(40)]
        name, lines = lines_of(tmp_path / f"written{chain}", moments)
        await store.write(move, sealer, name, lines, size=3)

    def show(conn: sa.Connection, most: int) -> list[str]:
        audit._tail(audit._Reading(conn, tmp_path / "audit"), conn, most)
        return capsys.readouterr().out.splitlines()

    every = await store.scan(show, 1000)
    assert len(every) == 120
    for most in (1, 7, 50, 119):
        assert await store.scan(show, most) == every[-most:]
    name, lines = lines_of(tmp_path / "one", [(AT + 100, record(number)) for number in range(9)])
    await store.write(move, sealer, name, lines, size=2)
    assert await store.scan(show, 9) == [audit._short(orjson.loads(record(number))) for number in range(9)]


@pytest.mark.parametrize("column", ["first", "lines", "last_at", "content", "number", "removed", "chain lines"])
async def test_text_where_numbers_belong_is_a_fault_and_no_traceback(store, sealer, tmp_path, capsys, column):
    """SQLite takes it."""
    chain, lines = lines_of(tmp_path / "written", [(AT + number, record(number)) for number in range(12)])
    await store.write(move, sealer, chain, lines, size=4)
    table = "audit_blocks" if column in ("first", "lines", "last_at", "content") else "audit_chains"
    statement = f"UPDATE {table} SET {column.removeprefix('chain ')} = 'x'"
    if table == "audit_blocks":
        statement += " WHERE rowid = (SELECT max(rowid) FROM audit_blocks)"
    await store.write(lambda conn: conn.exec_driver_sql(statement))

    def show(conn: sa.Connection) -> int:
        reading = audit._Reading(conn, tmp_path / "audit")
        audit._tail(reading, conn, 20)
        audit._export(reading, EVERYTHING)
        return len(capsys.readouterr().out.splitlines())

    assert await store.scan(show) == (24 if table == "audit_chains" else 16)
    assert (await store.scan(verify, sealer, tmp_path / "audit")).faults or column == "last_at"
