"""An operation that is held open, or given up, for as long as its client stays."""

from __future__ import annotations

import asyncio
from typing import Any

from penstock.wire.asgi import Receive, client_left
from penstock.wire.call import Call, Input, Output, Reply
from penstock.wire.registry import Handler


class Hold:
    """A poll that is held in the present task.

    It is ended by cancelling that task, which is cheaper than a task for each handler. Whoever ends it runs while the task
    waits somewhere in the handler, so that is where the cancellation arrives, and nowhere behind it.
    """

    __slots__ = ("_ended", "_task")

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._ended = False

    async def run(self, handler: Handler, call: Call[Any], input: Input, receive: Receive) -> Output | Reply | None:
        """Run an operation; the answer is empty when the client leaves or this is ended meanwhile."""
        left = asyncio.ensure_future(self._client_left(receive))
        try:
            return await handler(call, input)
        except asyncio.CancelledError:
            if not self.forgiven():
                raise
            return {}
        finally:
            left.cancel()

    async def _client_left(self, receive: Receive) -> None:
        await client_left(receive)
        self.end()

    def end(self) -> None:
        """Have the poll answered with nothing."""
        if not self._ended and self._task is not None:
            self._ended = True
            self._task.cancel()

    def forgiven(self) -> bool:
        """Whether the cancellation that arrived was ours alone; then it is taken back."""
        return self._ended and self._task is not None and self._task.uncancel() == 0
