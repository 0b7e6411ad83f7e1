"""The operations of KMS, by what they are about; what they share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from penstock.component import operations_of
from penstock.keys.errors import DryRunOperationException, InvalidMarkerException
from penstock.keys.granting import Asked, named
from penstock.keys.lookup import alias_in, key_of
from penstock.keys.material import ORIGIN
from penstock.keys.primitives import ENCRYPT_DECRYPT, GENERATE_VERIFY_MAC, SIGN_VERIFY, SYMMETRIC_DEFAULT
from penstock.wire.call import Call, Input, Output
from penstock.wire.pages import Pages

kms = operations_of("kms")
ALGORITHMS = {
    ENCRYPT_DECRYPT: "EncryptionAlgorithms",
    SIGN_VERIFY: "SigningAlgorithms",
    GENERATE_VERIFY_MAC: "MacAlgorithms",
}
"""Which member of an answer names the algorithms of a key of a usage."""
LIMIT = 100  # rows of a page that says no Limit
_PAGES = Pages(lambda _token: InvalidMarkerException(), member="Marker")


def key_arn(member: str = "KeyId", *, aliased: bool = False) -> Callable[[Call[Any], Input], Awaitable[str]]:
    """ARN of the key that an input names: what its policy is asked for.

    `aliased` operations take aliases. Those that change a key do not: an alias may stand for another key by then.
    """

    async def resource(call: Call[Any], input: Input) -> str:
        row = await key_of(call, input, member, aliased=aliased)
        ask_grants(call, input.get("EncryptionContext"))
        return row.arn

    return resource


def ask_grants(call: Call[Any], context: Mapping[str, str] | None) -> None:
    """Note under which encryption context a request asks: grants may be for one only."""
    call.memo["asked of grants"] = Asked(context or {}, call.session.source_arn)


def check_tokens(input: Input) -> None:
    """Grants count from the answer of CreateGrant on, with or without a token. Raises InvalidGrantTokenException for anything else."""
    for token in input.get("GrantTokens") or ():
        named(token)


def dry(input: Input) -> None:
    """End a request that only asks whether it would succeed. Raises DryRunOperationException."""
    if input.get("DryRun"):
        raise DryRunOperationException


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
    for member in ("SigningAlgorithm", "MacAlgorithm", "MessageType"):
        if member in input:
            found[f"kms:{member.lower()}"] = input[member]
    if alias := alias_in(input.get("KeyId", "")):
        found["kms:requestalias"] = alias
    return found


def keys_of_new(call: Call[Any], input: Input) -> Mapping[str, str | tuple[str, ...]]:
    """Those of a request for a key that there is not yet."""
    return {
        **keys_of(call, input),
        "kms:keyspec": spec_of(input),
        "kms:keyusage": input.get("KeyUsage", ENCRYPT_DECRYPT),
        "kms:keyorigin": ORIGIN,
        "kms:multiregion": "true" if input.get("MultiRegion") else "false",
        "kms:bypasspolicylockoutsafetycheck": "true" if input.get("BypassPolicyLockoutSafetyCheck") else "false",
    }


def spec_of(input: Input) -> str:
    """The spec that a new key is to have, by the name of today or the old one."""
    return input.get("KeySpec") or input.get("CustomerMasterKeySpec") or SYMMETRIC_DEFAULT


def page(call: Call[Any], input: Input, rows: list[Any], limit: int, column: str) -> tuple[list[Any], Output]:
    """A page of `limit` rows out of one more, and the members that say whether there are others."""
    found = _PAGES.page(call, input, rows, limit=limit, keyset=lambda row: [getattr(row, column)])
    more = {"NextMarker": found.more["Marker"]} if found.more else {}
    return found.rows, {"Truncated": bool(more), **more}


def after(call: Call[Any], input: Input) -> str:
    """Behind which row a page begins. Raises InvalidMarkerException."""
    (found,) = _PAGES.after(call, input) or ("",)
    return found
