"""The operations of S3 and our additions to it, declared where they are written and bound to the blobs of one installation."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from penstock.objects.blobs import Blobs
from penstock.room import Call
from penstock.wire.call import Input, Output, Reply
from penstock.wire.registry import Operations

Handler = Callable[[Blobs, Call, Input], Awaitable[Output | Reply | None]]


class Table:
    """Declared operations: each takes the blobs, the call and the input."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._declared: list[tuple[str, dict[str, Any], Handler]] = []

    def operation(self, name: str, **options: Any) -> Callable[[Handler], Handler]:
        """Declare the coroutine under it; `options` are those of `Operations.operation`."""

        def declare(handler: Handler) -> Handler:
            self._declared.append((name, options, handler))
            return handler

        return declare

    def bind(self, blobs: Blobs) -> Operations:
        """The operations, working on these blobs."""
        operations = Operations(self._service)
        for name, options, handler in self._declared:
            operations.operation(name, **options)(functools.partial(handler, blobs))
        return operations


table = Table("s3")
ours = Table("penstock")
