"""Many hosts to a transaction: what arrives while one runs shares the next.

Taken one by one, the polls and reports of a large fleet would spend most of their time on beginning and ending transactions and on
loading and writing what they have in common, and would be answered later than the agents wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import sqlalchemy as sa

from penstock.store.database import Store

T = TypeVar("T")
R = TypeVar("R")

_TOGETHER = 64  # in one transaction: others' transactions wait for it

Apply = Callable[[sa.Connection, Sequence[T]], Sequence["R | Exception"]]


class Together(Generic[T, R]):
    """The requests of this process that wait for a transaction, by what they have in common."""

    def __init__(self, store: Store, apply: Apply[T, R]) -> None:
        """`apply` answers requests of one key in their order, each with its answer or the error that belongs to it alone."""
        self._store = store
        self._apply = apply
        self._waiting: dict[str, list[tuple[T, asyncio.Future[R]]]] = {}
        self._writers: set[asyncio.Task[None]] = set()

    async def put(self, key: str, request: T) -> R:
        """The answer to a request, once what it changed is durable. Raises the request's error."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        queue = self._waiting.get(key)
        if queue is None:
            self._waiting[key] = [(request, answer)]
            writer = asyncio.create_task(self._write(key), name="deployments.together")
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)
        else:
            queue.append((request, answer))
        return await answer

    async def _write(self, key: str) -> None:
        queue = self._waiting[key]
        try:
            while queue:
                taken, queue[:_TOGETHER] = queue[:_TOGETHER], ()
                await self._together(taken)
        finally:
            del self._waiting[key]

    async def _together(self, taken: list[tuple[T, asyncio.Future[R]]]) -> None:
        requests = [request for request, _ in taken]
        try:
            answers = await self._store.write(self._apply, requests)
        except Exception as error:  # noqa: BLE001 - it belongs to who asked
            if len(taken) > 1:
                for one in taken:  # one of them may be at fault: the others do not suffer for it
                    await self._together([one])
                return
            answers = [error]
        for (_, future), answer in zip(taken, answers, strict=True):
            if future.done():
                continue  # whoever asked is gone
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
