"""The operations of KMS, by what they are about; what they share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from penstock.component import operations_of
from penstock.keys.errors import InvalidMarkerException
from penstock.keys.lookup import key_of
from penstock.wire.call import Call, Input, Output
from penstock.wire.pages import BadPageToken

kms = operations_of("kms")
LIMIT = 100  # rows of a page that says no Limit


def key_arn(member: str = "KeyId") -> Callable[[Call[Any], Input], Awaitable[str]]:
    """ARN of the key that an input names: what its policy is asked for."""

    async def resource(call: Call[Any], input: Input) -> str:
        return (await key_of(call, input, member)).arn

    return resource


def keys_of(call: Call[Any], input: Input) -> Mapping[str, str | tuple[str, ...]]:
    """KMS's condition keys of a request."""
    found: dict[str, str | tuple[str, ...]] = {"kms:calleraccount": call.session.account}
    if call.called_via:
        service = call.called_via[-1].removesuffix(".amazonaws.com")
        found["kms:viaservice"] = f"{service}.{call.region}.amazonaws.com"
    context = input.get("EncryptionContext") or input.get("SourceEncryptionContext") or {}
    for name, value in context.items():
        found[f"kms:encryptioncontext:{name.lower()}"] = value
    if context:
        found["kms:encryptioncontextkeys"] = tuple(context)
    named = input.get("KeyId", "")
    alias = named.rpartition(":")[2]
    if alias.startswith("alias/"):
        found["kms:requestalias"] = alias
    key = call.memo.get("key KeyId")
    if key is not None:
        found |= {"kms:keyspec": key.spec, "kms:keyusage": key.usage, "kms:keyorigin": "AWS_KMS"}
    return found


def page(call: Call[Any], input: Input, rows: list[Any], limit: int, column: str) -> tuple[list[Any], Output]:
    """A page of `limit` rows out of one more, and the members that say whether there are others."""
    if len(rows) <= limit:
        return rows, {"Truncated": False}
    shown = rows[:limit]
    marker = call.app.page_tokens.seal(call, input, [getattr(shown[-1], column)])
    return shown, {"Truncated": True, "NextMarker": marker}


def after(call: Call[Any], input: Input) -> str:
    """Behind which row a page begins. Raises InvalidMarkerException."""
    if "Marker" not in input:
        return ""
    try:
        (found,) = call.app.page_tokens.open(call, input, input["Marker"])
    except BadPageToken:
        raise InvalidMarkerException from None
    return found
