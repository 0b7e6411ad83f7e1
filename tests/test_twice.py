"""Whether the second run of a test, on PostgreSQL, is spared when it would have the database do nothing new."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import penstock_twice
import pytest
import sqlalchemy as sa

from penstock.store.records import event_sequences
from penstock.store.statement import Statement

_NAMED = Statement(sa.select(event_sequences).where(event_sequences.c.aggregate == sa.bindparam("aggregate")))
_ADDED = Statement(sa.insert(event_sequences))
_ROW = {"aggregate": "t", "account": "", "region": "", "sequence": 1, "at": 0}
_modules = (f"tests/made_up_{number}.py" for number in itertools.count())


async def _nothing(store: Any) -> None:
    """A test that is alone in what it does."""


async def _at_once(store: Any) -> None:
    await asyncio.gather()


@dataclass
class _Module:
    """Tests that are run as pytest would, each on SQLite and then, if it is not spared, on PostgreSQL."""

    store: Any
    name: str = field(default_factory=lambda: next(_modules))
    _count: int = 0

    async def spared(self, *does: Any, function: Any = _nothing, passes: bool = True) -> bool:
        self._count += 1
        penstock_twice.pytest_runtest_setup(self._run("sqlite", function))
        call = penstock_twice.pytest_runtest_call(self._run("sqlite", function))
        next(call)
        for act in does:
            await act(self.store)
        with pytest.raises(StopIteration):
            call.send(SimpleNamespace(excinfo=None if passes else (AssertionError,)))
        return self._spared(function)

    def _spared(self, function: Any = _nothing) -> bool:
        try:
            penstock_twice.pytest_runtest_setup(self._run("postgresql", function))
        except pytest.skip.Exception as skipped:
            return skipped.msg == penstock_twice.SPARED
        return False

    def _run(self, database: str, function: Any) -> Any:
        nodeid = f"{self.name}::test_{self._count}[one-{database}-sqlite]"
        return SimpleNamespace(nodeid=nodeid, function=function, callspec=SimpleNamespace(params={"any_url": database}))


def _named(aggregate: Any) -> Any:
    return lambda store: store.read(lambda conn: _NAMED.all(conn, {"aggregate": aggregate}))


def _executed(statement: Any) -> Any:
    return lambda store: store.read(lambda conn: conn.execute(statement).all())


async def _add(store: Any) -> None:
    await store.write(lambda conn: _ADDED.later(conn, _ROW))


async def _add_in_vain(store: Any) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        await _add(store)


@pytest.fixture
def module(store: Any, monkeypatch: pytest.MonkeyPatch) -> _Module:
    monkeypatch.setattr(penstock_twice, "EVERY", False)
    return _Module(store)


async def test_a_run_is_spared_that_would_do_nothing_new(module):
    assert not await module.spared(_named("a"), _executed(sa.select(event_sequences)))
    assert await module.spared(_named("b"))
    assert await module.spared(_executed(sa.select(event_sequences)), _named("c"))
    # Another module may run in another process.
    assert not await _Module(module.store).spared(_named("b"))


@pytest.mark.parametrize(
    "new",
    [
        _named(None), _named(""), _named("é"), _named("\0"), _named(1), _named(1 << 40),
        _executed(sa.select(event_sequences.c.aggregate)), _executed(sa.select(event_sequences).with_for_update()), _add,
    ],
)  # fmt: skip
async def test_whatever_is_new_is_done_on_postgresql_too(module, new):
    assert not await module.spared(_named("a"), _executed(sa.select(event_sequences)))
    assert not await module.spared(new)


async def test_rows_that_are_found_are_new_after_none(module):
    assert not await module.spared(_named("t"))
    await _add(module.store)
    assert not await module.spared(_named("t"))
    assert await module.spared(_named("t"))


async def test_a_refusal_is_new(module):
    assert not await module.spared(_add)
    assert not await module.spared(_add_in_vain)
    assert await module.spared(_add_in_vain)


async def test_what_happens_at_once_runs_on_both(module):
    assert not await module.spared(_named("a"))
    assert not await module.spared(_named("a"), function=_at_once)


async def test_a_first_run_that_failed_or_was_not_asked_for_says_nothing(module):
    assert not await module.spared(_named("a"))
    assert not await module.spared(_named("a"), passes=False)
    assert not module._spared()
