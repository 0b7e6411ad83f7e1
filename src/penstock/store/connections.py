"""Connections to PostgreSQL: several statements to a message, statements that stay prepared, and waiting that lets the event loop go on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from hashlib import sha256
from typing import Any, Protocol

import psycopg
from psycopg import errors
from psycopg.adapt import Transformer
from psycopg.generators import execute
from psycopg.pq import ConnStatus, ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

_FAILED = frozenset({ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED})
_ANSWER_S = 10.0  # of a connection that was just made
# What is done between two looks at whether others should have their turn.
_VALUES = 2_000
_ROWS = 16  # each may be of a megabyte


class Waits(Protocol):
    """How a connection waits without holding up the loop."""

    def cooperative(self) -> bool:
        """Whether the loop goes on while who asks waits; otherwise a thread of its own asks."""
        ...

    def until(self, conn: Connection, wait: Wait) -> Ready:
        """Let the loop go on until the connection's socket is ready."""
        ...

    def rest(self) -> None:
        """Let the loop go on for a turn, if it has been held up for long."""
        ...

    def forget(self, conn: Connection) -> None:
        """The connection is being closed."""
        ...


class Connection(psycopg.Connection[Any]):
    """A connection with `exchange`. Code that knows nothing of it uses it as any of psycopg's."""

    waits: Waits | None = None

    def __init__(self, pgconn: PGconn, *args: Any, **kwargs: Any) -> None:
        super().__init__(pgconn, *args, **kwargs)
        self._results = Transformer()
        self._prepared_as: dict[bytes, bytes] = {}  # the text of a statement → its name
        self.pooled = False
        """Whether a pooler stands before PostgreSQL. It may give each transaction another session, where other statements are prepared."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """See psycopg."""
        waits = self.waits
        if waits is None or timeout is not None or not waits.cooperative():
            return super().wait(gen, interval, timeout)
        try:
            wanted = next(gen)
            while True:
                wanted = gen.send(waits.until(self, wanted))
        except StopIteration as end:
            return end.value

    def look_for_pooler(self) -> None:
        """Find out whether the session's process is the one that the connection began with. Raises OperationalError without an answer."""
        self.pgconn.send_query(b"SELECT pg_backend_pid()")
        result = self.wait(execute(self.pgconn), timeout=_ANSWER_S)[-1]
        if result.status in _FAILED:
            raise errors.error_from_result(result)
        self.pooled = int(result.get_value(0, 0) or 0) != self.pgconn.backend_pid

    def exchange(
        self, statements: Sequence[tuple[bytes, Sequence[Any]]], *, commit: bool = False
    ) -> list[tuple[int, list[tuple[Any, ...]]]]:
        """Send statements with their values as one message; for each the number of its rows and the rows.

        A BEGIN with the connection's isolation goes first where a transaction begins; with `commit` a COMMIT goes last. Raises the error of the first statement that
        fails; what came after it was not done.
        """
        dumped = [(text, *_dump(values, self.rest)) for text, values in statements]
        with self.lock:
            begin = not self.autocommit and self.pgconn.transaction_status == TransactionStatus.IDLE
            self.pgconn.enter_pipeline_mode()
            try:
                expected = self._send(dumped, begin=begin, commit=commit)
                results = self.wait(_answers(self.pgconn))
            finally:
                if self.pgconn.status != ConnStatus.BAD:
                    self.pgconn.exit_pipeline_mode()
            for prepared, result in zip(expected, results, strict=False):
                if prepared is not None and result.status == ExecStatus.COMMAND_OK:
                    text, name = prepared
                    self._prepared_as[text] = name
            for result in results:
                if result.status in _FAILED:
                    raise errors.error_from_result(result)
            found = [result for prepared, result in zip(expected, results, strict=True) if prepared is None]
            return [self._rows(result) for result in found[begin : len(found) - commit]]

    def _send(
        self, dumped: Sequence[tuple[bytes, list[bytes | None], list[int]]], *, begin: bool, commit: bool
    ) -> list[tuple[bytes, bytes] | None]:
        """What each result will be of: the text and the name of a statement that it prepares, or None."""
        pgconn, names = self.pgconn, self._prepared_as
        expected: list[tuple[bytes, bytes] | None] = []
        fresh: dict[bytes, bytes] = {}
        if begin:
            pgconn.send_query_params(self._get_tx_start_command(), None)
            expected.append(None)
        for text, values, formats in dumped:
            if self.pooled:
                pgconn.send_query_params(text, values, None, formats, Format.BINARY)
                expected.append(None)
                continue
            name = names.get(text) or fresh.get(text)
            if name is None:
                # Told by its text, so that nothing between us and PostgreSQL can make it another statement.
                name = fresh[text] = b"penstock_" + sha256(text).hexdigest()[:32].encode()
                pgconn.send_prepare(name, text)
                expected.append((text, name))
            pgconn.send_query_prepared(name, values, formats, Format.BINARY)
            expected.append(None)
        if commit:
            pgconn.send_query_params(b"COMMIT", None)
            expected.append(None)
        pgconn.pipeline_sync()
        return expected

    def _rows(self, result: PGresult) -> tuple[int, list[tuple[Any, ...]]]:
        if not result.ntuples:
            return result.command_tuples or 0, []
        self._results.set_pgresult(result)
        rows: list[tuple[Any, ...]] = []
        while (left := result.ntuples - len(rows)) > _ROWS:
            rows += self._results.load_rows(len(rows), len(rows) + _ROWS, tuple)
            self.rest()
        rows += self._results.load_rows(len(rows), len(rows) + left, tuple)
        return result.ntuples, rows

    def rest(self) -> None:
        """Let others have their turn in the middle of a long computation. Cheap where it is not long yet."""
        if self.waits is not None and self.waits.cooperative():
            self.waits.rest()

    def rollback(self) -> None:
        """End the transaction. Unlike psycopg's own this forgets nothing that is prepared: no table is dropped at run time."""
        with self.lock:
            if self.pgconn.transaction_status != TransactionStatus.IDLE:
                self.pgconn.send_query(b"ROLLBACK")
                for result in self.wait(execute(self.pgconn)):
                    if result.status in _FAILED:
                        raise errors.error_from_result(result)

    def close(self) -> None:
        """See psycopg."""
        if self.waits is not None:
            self.waits.forget(self)
        super().close()


def _answers(pgconn: PGconn) -> Generator[Wait, Ready, list[PGresult]]:
    """The results of a message that was sent. Raises OperationalError when the connection breaks before one of them says why."""
    results: list[PGresult] = []
    try:
        while pgconn.flush() != 0:
            if (yield Wait.RW) & Ready.R:
                pgconn.consume_input()
        while True:
            while pgconn.is_busy():
                yield Wait.R
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                if pgconn.status == ConnStatus.BAD:
                    raise errors.OperationalError("the connection is lost")
            elif result.status == ExecStatus.PIPELINE_SYNC:
                return results
            else:
                results.append(result)
    except errors.DatabaseError:
        if any(result.status == ExecStatus.FATAL_ERROR for result in results):
            return results
        raise


def _dump(values: Sequence[Any], rest: Callable[[], None]) -> tuple[list[bytes | None], list[int]]:
    """Values as PostgreSQL takes them, and whether each is text (0) or bytes (1). It knows the types from the statement.

    `rest` is called in the middle of long lists.
    """
    dumped: list[bytes | None] = []
    formats: list[int] = []
    for value in values:
        kind = type(value)
        if kind is str:
            dumped.append(_text(value))
        elif value is None:
            dumped.append(None)
        elif kind is int:
            dumped.append(b"%d" % value)
        elif kind is bytes:
            dumped.append(value)
            formats.append(Format.BINARY)
            continue
        else:
            dumped.append(_array(value, rest) if kind is list else _other(value))
        formats.append(Format.TEXT)
    return dumped, formats


def _text(value: str) -> bytes:
    encoded = value.encode()
    if b"\0" in encoded:  # it would end there
        raise errors.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return encoded


def _other(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, str):  # of an enumeration; what `str` says of one need not be its value
        return _text(value)
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, float):
        return repr(value).encode()
    raise errors.ProgrammingError(f"PostgreSQL is not given {type(value).__name__} by a Statement")


def _array(values: list[Any], rest: Callable[[], None]) -> bytes:
    dumped: list[bytes] = []
    for start in range(0, len(values), _VALUES):
        if start:
            rest()
        dumped += map(_element, values[start : start + _VALUES])
    return b"{" + b",".join(dumped) + b"}"


def _element(value: Any) -> bytes:
    if value is None:
        return b"NULL"
    if isinstance(value, bytes):
        return b'"\\\\x' + value.hex().encode() + b'"'
    dumped = _text(value) if isinstance(value, str) else _other(value)
    return b'"' + dumped.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
