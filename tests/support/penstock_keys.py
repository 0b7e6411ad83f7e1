"""Calls of KMS in process, and what is answered when one is refused."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.wire.call import Origin
from penstock.wire.errors import AccessDenied, ServiceError

REGION = "us-east-1"


async def kms(harness: Any, by: Any, operation: str, *, origin: Origin | None = None, **input: Any) -> dict[str, Any]:
    more = {} if origin is None else {"origin": origin}
    return await harness.app.invoke(by, "kms", operation, input, region=REGION, **more)


async def refused(coroutine: Any) -> tuple[str, str]:
    """(code, message) of the error that a call answers."""
    with pytest.raises((ServiceError, AccessDenied)) as found:
        await coroutine
    error = found.value
    return getattr(error, "wire_code", type(error).__name__), str(error)


async def new_key(harness: Any, by: Any, **input: Any) -> str:
    """The ARN of a new key."""
    return (await kms(harness, by, "CreateKey", **input))["KeyMetadata"]["Arn"]
