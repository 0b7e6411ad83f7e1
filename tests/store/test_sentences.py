"""What the store says to a program that uses it wrongly."""

import contextlib
import re
import uuid

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from penstock.store import masterkeys, schema, statement
from penstock.store.catalogue import Catalogue, EventType, UndeclaredEvent
from penstock.store.clock import ManualClock
from penstock.store.database import Store, StoreInUse, StoreUnavailable
from penstock.store.transaction import transaction_of

KIND = EventType(name="x.done", description="Something is done.", aggregate="x")


def said(error, text):
    return pytest.raises(error, match=f"^{re.escape(text)}$")


def test_an_event_type_is_declared_once_and_kept_to():
    catalogue = Catalogue()
    catalogue.declare(KIND)
    with said(ValueError, "the event type x.done is declared twice"):
        catalogue.declare(KIND)
    catalogue.check("y.done", "y/1", 7)  # while components declare theirs
    catalogue.complete = True
    catalogue.check("x.done", "x/1", 1)
    with said(UndeclaredEvent, "the event type y.done is not declared by any component"):
        catalogue.check("y.done", "y/1", 1)
    for aggregate, version in (("y/1", 1), ("x/1", 2)):
        with said(
            UndeclaredEvent,
            f"x.done is declared for x/… in version 1, and emitted for {aggregate} in version {version}",
        ):
            catalogue.check("x.done", aggregate, version)


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()], ids=lambda dialect: dialect.name)
def test_a_uuid_has_sixteen_bytes(dialect):
    kind, one = schema.Uuid(), str(uuid.UUID(int=7))
    assert kind.process_bind_param(None, dialect) is None
    bound = kind.process_bind_param(one, dialect)
    assert bound == (uuid.UUID(int=7).bytes if dialect.name == "sqlite" else one)
    assert kind.process_result_value(bound, dialect) in (one, None)
    for wrong in ("ab" * 15, "ab" * 17, ""):
        with said(ValueError, f"{wrong!r} is no UUID"):
            kind.process_bind_param(wrong, dialect)


def test_a_list_has_no_fixed_text():
    table = sa.table("t", sa.column("a"))
    with pytest.raises(TypeError, match=r"^an IN list has no fixed text; write it as OR: SELECT"):
        statement._compiled(sa.select(table).where(table.c.a.in_([1])), sqlite.dialect(), [])


async def test_a_transaction_is_where_something_is_written(any_store: Store):
    with said(RuntimeError, "this needs a transaction: call it from a function that runs in Store.write"):
        await any_store.read(transaction_of)
    assert await any_store.write(lambda conn: transaction_of(conn).clock.now()) == any_store.clock.now()


async def test_sqlite_is_a_file_of_one_process(tmp_path, clock: ManualClock):
    for url in ("sqlite://", "sqlite:///:memory:"):
        with said(ValueError, "SQLite needs a file: sqlite:////path/to/penstock.db"):
            await Store.open(url, clock=clock)
    url = f"sqlite:///{tmp_path}/penstock.db"
    store = await Store.open(url, clock=clock)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        with pytest.raises(StoreInUse) as refused:
            await Store.open(url, clock=clock)
    assert str(refused.value).endswith(
        "An SQLite database serves exactly one process; to run several, give them a PostgreSQL database: "
        "--database postgresql://user@host/penstock"
    )
    assert f"{tmp_path}/penstock.db is in use by another Penstock process (pid " in str(refused.value)
    (tmp_path / "away").mkdir()
    (tmp_path / "away/penstock.db.lock").mkdir()
    with said(
        StoreUnavailable,
        f"cannot write to {tmp_path}/away: Is a directory. The data dir has to lie on a disk that takes writes, and belong to the user that "
        "runs Penstock.",
    ):
        await Store.open(f"sqlite:///{tmp_path}/away/penstock.db", clock=clock)


def test_lines_of_a_key_file():
    one, other = masterkeys.new_key(), masterkeys.new_key()
    text = masterkeys.lines_of([one, other])
    assert masterkeys.parsed(f"# a comment\n\n{text}") == [one, other]
    [plain, following] = masterkeys.parsed(text.replace("\n", " next\n").replace(" next\n", "\n", 1))
    assert (plain.next, following.next, following.key) == (False, True, other.key)
    for wrong, reason in (
        (text.replace("\n", " last\n"), "an unknown mark"),
        (text + masterkeys.lines_of([one]), "no key that seals, or two of one id"),
        (text.replace("\n", " next\n"), "no key that seals, or two of one id"),
        ("", "no key that seals, or two of one id"),
        (f"{'00' * masterkeys.KEY_ID_BYTES} {'AAAA' * 8}\n", "a key of another length"),
        ("x" * (masterkeys._MAX_BYTES + 1), "too long"),
    ):
        with said(ValueError, reason):
            masterkeys.parsed(wrong)
