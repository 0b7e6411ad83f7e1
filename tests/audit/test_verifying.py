"""What somebody does to the records of an installation, and what is said of it."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from penstock_trails import AT, lines_of, move, record

from penstock.audit import records
from penstock.audit.packing import pack, unpack
from penstock.audit.records import blocks, chains
from penstock.audit.shipping import block_of
from penstock.audit.verifying import Verified, verify
from penstock.store.database import Store
from penstock.store.sealing import Sealer

TEN = [(AT + number * 1000, record(number)) for number in range(10)]


@pytest.fixture
def sealer(tmp_path: Path) -> Sealer:
    return Sealer.from_file(tmp_path / "keys" / "master.key")


@pytest.fixture
async def kept(any_store: Store, sealer: Sealer, tmp_path: Path) -> list[str]:
    """Three chains of ten lines, in blocks of four."""
    names = []

    def write(conn: sa.Connection) -> None:
        for number in range(3):
            chain, lines = lines_of(tmp_path / f"written-{number}", TEN)
            move(conn, sealer, chain, lines, size=4)
            names.append(chain)

    await any_store.write(write)
    return names


async def said(store: Store, sealer: Sealer, folder: Path) -> Verified:
    return await store.scan(verify, sealer, folder)


async def changed(store: Store, statement: Any) -> None:
    assert (await store.write(lambda conn: conn.execute(statement).rowcount)) > 0


async def test_what_nobody_has_touched_has_no_fault(any_store, sealer, tmp_path, kept):
    found = await said(any_store, sealer, tmp_path / "audit")
    assert (found.faults, found.notes, found.chains, found.lines) == ([], [], 3, 30)
    assert (found.newest.number, found.newest.lines) == (3, 10)
    assert found.moving is False


@pytest.mark.parametrize(("line", "before"), [(5, 3000), (6, 4000)])  # the first of a block, and one within
async def test_a_changed_line_is_named_with_the_time_before_it(any_store, sealer, tmp_path, kept, line, before):
    where = (blocks.c.chain == kept[1]) & (blocks.c.first == 4)
    content = await any_store.write(lambda conn: conn.execute(sa.select(blocks.c.content).where(where)).scalar_one())
    lines = unpack(content)
    lines[line - 5] = lines[line - 5].replace(b"Act%d" % (line - 1), b"Act9")
    other = pack(lines).content
    await changed(any_store, blocks.update().where(where).values(content=other))
    (fault,) = (await said(any_store, sealer, tmp_path / "audit")).faults
    assert (fault.chain, fault.at) == (kept[1], AT + before)
    assert fault.what == f"line {line} was changed, or does not follow the line before it"


async def test_who_chains_changed_lines_anew_does_not_know_the_seal(any_store, sealer, tmp_path, kept):
    """Everything that the database has is rewritten, but for what needs the master key."""
    forged = [(at, one.replace(b"user-3", b"user-4")) for at, one in TEN]
    _, lines = lines_of(tmp_path / "forged", forged)
    (tmp_path / "again").mkdir()
    from penstock.trail import chained, first_hash

    head, written = first_hash(kept[0]), []
    for line in lines:
        head = chained(head, line[65:])
        written.append(head.encode() + b" " + line[65:])

    def forge(conn: sa.Connection) -> None:
        conn.execute(blocks.delete().where(blocks.c.chain == kept[0]))
        block = block_of(written, 0)
        values = {name: getattr(block, name) for name in type(block).__slots__}
        conn.execute(blocks.insert().values(chain=kept[0], **values))
        conn.execute(chains.update().where(chains.c.id == kept[0]).values(head=head))

    await any_store.write(forge)
    (fault,) = (await said(any_store, sealer, tmp_path / "audit")).faults
    assert fault.chain == kept[0]
    assert "the seal does not fit" in fault.what


REMOVED = {
    "a block": (lambda ids: blocks.delete().where(blocks.c.chain == ids[1], blocks.c.first == 4), "lines 5 to 8 are missing"),
    "the first block": (lambda ids: blocks.delete().where(blocks.c.chain == ids[1], blocks.c.first == 0), "lines 1 to 4 are missing"),
    "the last block": (lambda ids: blocks.delete().where(blocks.c.chain == ids[1], blocks.c.first == 8), "lines 9 to 10 are missing"),
    "all blocks": (lambda ids: blocks.delete().where(blocks.c.chain == ids[1]), "lines 1 to 10 are missing"),
    "a chain's row": (lambda ids: chains.delete().where(chains.c.id == ids[1]), "chain 2 were removed before it"),
    "the first chain's row": (lambda ids: chains.delete().where(chains.c.id == ids[0]), "chain 1 were removed before it"),
    "the count": (lambda ids: chains.update().where(chains.c.id == ids[1]).values(lines=8), "the seal does not fit"),
    "lines at the end": (lambda ids: chains.update().where(chains.c.id == ids[1]).values(lines=9), "it does not end with the line that its row names"),
    "the head": (lambda ids: chains.update().where(chains.c.id == ids[1]).values(head="0" * 64), "it does not end with the line that its row names"),
    "the state": (lambda ids: chains.update().where(chains.c.id == ids[1]).values(state="broken"), "the seal does not fit"),
    "what was removed": (lambda ids: chains.update().where(chains.c.id == ids[1]).values(removed=4), "the seal does not fit"),
    "the number": (lambda ids: chains.update().where(chains.c.id == ids[2]).values(number=9), "chains 3 to 8 were removed before it"),
    "the key": (lambda ids: chains.update().where(chains.c.id == ids[1]).values(key=b"x" * 60), "its seal cannot be checked"),
    "the order": (lambda ids: blocks.update().where(blocks.c.chain == ids[1], blocks.c.first == 0).values(first=20), "are missing"),
}  # fmt: skip


@pytest.mark.parametrize("what", REMOVED)
async def test_what_is_removed_is_missed(any_store, sealer, tmp_path, kept, what):
    statement, sentence = REMOVED[what]
    await changed(any_store, statement(kept))
    found = (await said(any_store, sealer, tmp_path / "audit")).faults
    assert any(sentence in fault.what for fault in found), found


async def test_retention_leaves_no_fault_and_the_rest_of_the_chain(any_store, sealer, tmp_path, kept):
    assert (
        await any_store.write(records.remove, sealer, AT + 3000, limit=100) == 0
    )  # the last line of a block is as old
    assert await any_store.write(records.remove, sealer, AT + 3001, limit=100) == 3
    found = await said(any_store, sealer, tmp_path / "audit")
    assert (found.faults, found.lines) == ([], 18)
    assert await any_store.write(records.remove, sealer, AT + 5000, limit=100) == 0
    assert await any_store.write(records.remove, sealer, AT + 60_000, limit=2) == 2
    assert await any_store.write(records.remove, sealer, AT + 60_000, limit=100) == 4
    found = await said(any_store, sealer, tmp_path / "audit")
    assert (found.faults, found.lines, found.chains) == ([], 0, 3)


async def test_files_are_checked_against_what_the_database_has(any_store, sealer, tmp_path):
    folder = tmp_path / "audit"
    chain, lines = lines_of(folder, TEN)
    file = folder / f"{chain}.chain"

    def begin(conn: sa.Connection) -> None:
        here = f"{socket.gethostname()}:{folder}"
        kept = records.begin(conn, sealer, chain, writer=here, now=AT)
        records.add(conn, sealer, kept, [block_of(lines[:4], 0)], state=records.OPEN)

    await any_store.write(begin)
    whole = file.read_bytes()
    found = await said(any_store, sealer, folder)
    assert (found.faults, found.notes, found.lines) == ([], [], 10)

    file.write_bytes(whole + b"half a li")
    found = await said(any_store, sealer, folder)
    assert (found.faults, len(found.notes)) == ([], 1)

    gap = whole + b"\0" * 9 + lines[0] + b"\n"
    file.write_bytes(gap)
    (fault,) = (await said(any_store, sealer, folder)).faults  # its process lives, and has written no zeros
    assert fault.what == "line 11 cannot be read"

    file.rename(tmp_path / "held")
    file.write_bytes(gap)
    found = await said(any_store, sealer, folder)
    assert (found.faults, found.lines) == ([], 10)
    (note,) = found.notes
    assert "behind line 10 is a gap, as a power failure leaves it" in note

    file.write_bytes(whole.replace(b"Act7", b"Act8"))
    (fault,) = (await said(any_store, sealer, folder)).faults
    assert (fault.at, fault.what) == (AT + 6000, "line 8 was changed, or does not follow the line before it")

    file.write_bytes(b"".join(line + b"\n" for line in lines[:2]))
    (fault,) = (await said(any_store, sealer, folder)).faults
    assert fault.what == "lines 3 to 4 were removed from its file"

    file.unlink()
    (fault,) = (await said(any_store, sealer, folder)).faults
    assert "its file was removed" in fault.what


async def test_the_file_of_another_machine_is_not_missed(any_store, sealer, tmp_path, kept):
    def reopen(conn: sa.Connection) -> None:
        found = records.find(conn, kept[2])
        records._change(conn, sealer, found, replace(found.chain, state=records.OPEN))

    await any_store.write(reopen)
    found = await said(any_store, sealer, tmp_path / "audit")
    assert (found.faults, len(found.notes)) == ([], 1)
    assert "lies on elsewhere in /there" in found.notes[0]
