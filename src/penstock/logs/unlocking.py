"""Reading what may be sealed: whoever reads gets the data keys of a group that seals, or that is found to have sealed."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from penstock.application import Call
from penstock.logfiles.sealed import Locked
from penstock.logs.errors import AccessDeniedException
from penstock.logs.group_keys import not_usable
from penstock.logs.logstore import LogStore


async def unlocked(
    logs: LogStore, call: Call, groups: Mapping[str, str | None], read: Callable[..., Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    """What a reader finds in groups, of which each has the id of the data key that it seals under, or None.

    Raises AccessDeniedException where there is something that CloudWatch Logs may not decrypt.
    """
    if not any(groups.values()):
        with contextlib.suppress(Locked):
            return await read(keys={})
    keys: dict[str, str] = {}
    for group in groups:
        keys |= await logs.keys.to_read(call, group)
    try:
        return await read(keys=keys)
    except Locked:
        raise AccessDeniedException(not_usable(call, next(iter(groups)))) from None
