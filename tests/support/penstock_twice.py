"""Which tests of a component run on PostgreSQL too: those that have it do what no earlier test of their module had it do.

A test with `any_store` runs on SQLite first, where it is watched: which statements it executes, each with the kinds of its parameters
(null, text that is empty or not of ASCII, large numbers …), whether rows were found, and whether the database refused it. When
PostgreSQL has done all of that in an earlier test of the same module, the second run would only ask the component again what it has
answered already, and is spared. What is on the line for each run is therefore the same in every run, whoever runs beside it.

A test runs on both databases whatever it executes when it does things at the same time or looks which database it has (by the names in its
code), when it opens the database itself (`any_url`), when its first run did not pass or was not asked for (`-k postgresql`), when it is one
of the store's own, or when PENSTOCK_EXAMPLES asks for every example.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import CodeType
from typing import Any

import pytest
import sqlalchemy as sa
from penstock_examples import EVERY

from penstock.store import statement

SPARED = "PostgreSQL has done for an earlier test of this module all that this one has it do"
_AT_ONCE = {"gather", "TaskGroup", "create_task", "Thread", "dialect"}  # names in the code of a test
_STORE = "tests/store/"

_Done = set[tuple[Any, ...]]
_now: _Done = set()  # what the test that runs has had SQLite do
_on_sqlite: dict[str, _Done] = {}  # by test, when it has passed
_on_postgresql: dict[str, _Done] = {}  # by module


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "nul" if "\0" in value else "wide" if not value.isascii() else "text" if value else "empty"
    if isinstance(value, int):
        return "large" if abs(value) >> 31 else "int"
    return type(value).__name__


def _kinds(values: Any) -> tuple[str, ...]:
    return tuple(map(_kind, values.values() if isinstance(values, dict) else values))


def pytest_collection_finish() -> None:
    """Watch what is executed on SQLite from now on, by both ways to execute it."""
    form, rows, run = statement.Statement.form, statement._Form.rows, statement._of_sqlite

    def watched_form(self: Any, name: str, parameters: dict[str, Any]) -> Any:
        if name == "sqlite":
            _now.add((id(self), *_kinds(parameters)))
        return form(self, name, parameters)

    def watched_rows(self: Any, found: list[Any], *rest: Any) -> Any:
        _now.add((id(self), bool(found)))
        return rows(self, found, *rest)

    def watched_run(conn: Any, form: Any, values: dict[str, Any]) -> Any:
        try:
            return run(conn, form, values)
        except Exception as error:
            _now.add((id(form), type(error)))
            raise

    statement.Statement.form = watched_form
    statement._Form.rows = watched_rows
    statement._of_sqlite = watched_run

    @sa.event.listens_for(sa.Engine, "before_cursor_execute")
    def executed(conn: Any, _cursor: Any, text: str, parameters: Any, context: Any, many: bool) -> None:
        if conn.dialect.name == "sqlite":
            made = getattr(getattr(context, "compiled", None), "statement", None)
            locks = getattr(made, "_for_update_arg", None) is not None  # SQLite's text does not say so
            _now.update((text, locks, *_kinds(each)) for each in (parameters if many else [parameters]))

    @sa.event.listens_for(sa.Engine, "handle_error")
    def refused(context: Any) -> None:
        _now.add((context.statement, type(context.original_exception)))


def _database(item: pytest.Item) -> str | None:
    """The database of a run that could be spared, or whose second one could."""
    call = getattr(item, "callspec", None)
    if call is None or "any_url" not in call.params or EVERY or item.nodeid.startswith(_STORE):
        return None
    function = item.function  # type: ignore[attr-defined]
    code = getattr(function, "__wrapped__", function).__code__
    if "any_url" in code.co_varnames[: code.co_argcount] or _AT_ONCE & _names(code):
        return None
    return call.params["any_url"]


def _names(code: CodeType) -> set[str]:
    inner = (_names(each) for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*inner)


def _on(database: str, item: pytest.Item) -> str:
    """The name of the run of this test on a database."""
    return re.sub(r"(?<=[\[-])(sqlite|postgresql)(?=[\]-])", database, item.nodeid, count=1)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    _now.clear()
    if _database(item) == "postgresql" and (done := _on_sqlite.pop(_on("sqlite", item), None)) is not None:
        module = _on_postgresql.setdefault(item.nodeid.partition("::")[0], set())
        if done <= module:
            pytest.skip(SPARED)
        module |= done


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    if _database(item) == "sqlite" and outcome.excinfo is None:
        _on_sqlite[item.nodeid] = set(_now)


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Say `spared` of these, so that what is skipped stays what a component of the machine is missing for."""
    return ("spared", "", "SPARED") if report.skipped and SPARED in str(report.longrepr) else None
