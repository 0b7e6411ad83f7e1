"""What the two databases have in common, as the Store sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from penstock.store.statement import Statement
from penstock.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Write:
    """A transaction that was asked for."""

    fn: Callable[[sa.Connection], Any]
    transaction: Transaction
    future: asyncio.Future[Any]
    asked: float  # of the monotonic clock, seconds
    together: str = ""  # those of one key that wait at the same time may share a transaction


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: its value after a durable COMMIT, or the error after which nothing of it is there."""

    write: Write
    value: Any
    error: Exception | None


class Backend(Protocol):
    """One database."""

    dialect: str

    async def open(self) -> None: ...
    def hurry(self) -> None: ...
    async def close(self) -> None: ...
    def submit(self, write: Write) -> None: ...
    async def read(self, fn: Callable[[sa.Connection], Any]) -> Any: ...
    async def lookup(self, lookup: Statement, parameters: dict[str, Any]) -> Any: ...
    async def scan(self, fn: Callable[[sa.Connection], Any]) -> Any: ...
