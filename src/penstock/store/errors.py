"""What the store can fail with. The process continues; the transaction that raised one has changed nothing unless said."""

from __future__ import annotations

import sqlite3
from typing import NoReturn

from sqlalchemy import exc

from penstock.wire.errors import MalformedBody


class StoreError(Exception):
    """The database could not do it."""

    says_all = False  # whether its text says what there is to know, so that a traceback adds nothing


class StoreFull(StoreError):
    """The database has no room left: its disk or its quota is full."""

    says_all = True


class StoreBusy(StoreError):
    """The database stayed locked by somebody else for too long."""


class StoreUnavailable(StoreError):
    """The database cannot be reached. When the connection broke during COMMIT, the outcome is unknown."""

    says_all = True


class StoreUnsuited(StoreError):
    """The database can be reached, but is not made as Penstock needs it."""


class StoreDamaged(StoreError):
    """The database file cannot be read or written as a database."""


class StoreInUse(StoreError):
    """Another process has the SQLite database open."""


class SchemaMismatch(StoreError):
    """The database's schema is not the one that this release works with."""


class StoreClosed(StoreError):
    """The store is closed."""


_SQLITE: dict[int, type[StoreError]] = {
    sqlite3.SQLITE_FULL: StoreFull,
    sqlite3.SQLITE_BUSY: StoreBusy,
    sqlite3.SQLITE_LOCKED: StoreBusy,
    sqlite3.SQLITE_IOERR: StoreUnavailable,
    sqlite3.SQLITE_CANTOPEN: StoreUnavailable,
    sqlite3.SQLITE_READONLY: StoreUnavailable,
    sqlite3.SQLITE_CORRUPT: StoreDamaged,
    sqlite3.SQLITE_NOTADB: StoreDamaged,
}
_SQLSTATES: dict[str, type[StoreError]] = {
    "53100": StoreFull,  # disk_full
    "53200": StoreUnavailable,  # out_of_memory
    "53300": StoreUnavailable,  # too_many_connections
    "55P03": StoreBusy,  # lock_not_available
    "57014": StoreBusy,  # query_canceled: statement_timeout
    "40001": StoreBusy,  # serialization_failure, after the retries
    "40P01": StoreBusy,  # deadlock_detected, after the retries
    "25006": StoreUnavailable,  # read_only_sql_transaction: a standby
}
_NO_TEXT = frozenset({"22021", "22P05"})  # character_not_in_repertoire, untranslatable_character
REPEATABLE = frozenset({"40001", "40P01"})
"""SQLSTATEs after which the same transaction may simply be run again."""


def explain(error: Exception) -> Exception:
    """The store's own exception for a driver's one; anything else (an IntegrityError, a component's own) unchanged.

    Of a text that no database keeps, which only somebody outside can have given, it is MalformedBody.
    """
    if isinstance(error, StoreError):
        return error
    if _is_no_text(error):
        return MalformedBody("A string contains the character U+0000, or half of a surrogate pair.")
    if isinstance(error, StopIteration):  # a future refuses it, and whoever waits for one would wait for ever
        return RuntimeError(f"a StopIteration left a transaction: {error}")
    cause: object = error.orig if isinstance(error, exc.DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        kind = _SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
        return error if kind is None else kind(f"{kind.__doc__} ({cause})")
    if isinstance(error, exc.TimeoutError):
        return StoreUnavailable(f"{StoreUnavailable.__doc__} (no connection became free)")
    if not isinstance(error, exc.DBAPIError):
        return error
    state = sqlstate(error)
    kind = _SQLSTATES.get(state)
    if kind is None and (lost(error) or state[:2] in {"08", "57"}):
        kind = StoreUnavailable
    return error if kind is None else kind(f"{kind.__doc__} ({str(cause).strip()})")


def _is_no_text(error: Exception) -> bool:
    if isinstance(error, UnicodeEncodeError):
        return True
    # The drivers say the first themselves; PostgreSQL says it of a text within a document.
    return isinstance(error, exc.DataError) and (
        sqlstate(error) in _NO_TEXT or (not sqlstate(error) and "NUL" in str(error.orig))
    )


def raise_explained(error: Exception) -> NoReturn:
    """Raise the store's own exception for a driver's one, or that error itself."""
    better = explain(error)
    if better is error:
        raise error
    raise better from error


def sqlstate(error: Exception) -> str:
    """PostgreSQL's five characters, or an empty text."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


def lost(error: Exception) -> bool:
    """Whether the connection broke, or could not be made."""
    if not isinstance(error, exc.DBAPIError):
        return False
    return bool(error.connection_invalidated) or (isinstance(error, exc.OperationalError) and not sqlstate(error))
