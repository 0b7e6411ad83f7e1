"""Policies of keys: who may use them, and nobody else, whatever policies of their own say."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.application import Call
from penstock.keys import records
from penstock.keys.errors import MalformedPolicyDocumentException, NotFoundException
from penstock.keys.lookup import locked, own_key
from penstock.keys.operations import key_arn, keys_of, kms
from penstock.keys.vault import Vault
from penstock.wire.call import Input, Output
from penstock.wire.identity import PolicyRefused, ResourcePolicy

NAME = "default"  # the only one that a key may have
_MAX_POLICY = 32_768  # characters (AWS: KMS resource quotas)


def checked_policy(conn: sa.Connection, call: Call, document: str, *, bypass: bool) -> dict[str, str]:
    """The ids of whom a policy names. Raises MalformedPolicyDocumentException.

    Unless `bypass`, it has to let its account or the caller change it later (AWS: PutKeyPolicy, the lockout safety check).
    """
    if len(document) > _MAX_POLICY:
        raise MalformedPolicyDocumentException(f"The policy is longer than {_MAX_POLICY} characters.")
    try:
        ids = call.app.identity.check_policy(conn, document)
    except PolicyRefused as refused:
        if refused.principal:
            raise MalformedPolicyDocumentException(
                "Policy contains a statement with one or more invalid principals."
            ) from None
        raise MalformedPolicyDocumentException(refused.message) from None
    guard = ResourcePolicy(account=call.account, documents=(document,), ids=ids, must_allow=True)
    if not bypass and not call.app.identity.would_let(call, guard, "kms:PutKeyPolicy"):
        raise MalformedPolicyDocumentException(
            "The new key policy will not allow you to update the key policy in the future."
        )
    return ids


@kms("PutKeyPolicy", resource=key_arn(), keys=keys_of)
async def put_key_policy(vault: Vault, call: Call, input: Input) -> None:
    """Replace the policy; it counts from the next request on."""
    _check_name(input)
    row = await own_key(call, input)
    bypass = input.get("BypassPolicyLockoutSafetyCheck", False)

    def tx(conn: sa.Connection) -> None:
        key = locked(conn, row)
        ids = checked_policy(conn, call, input["Policy"], bypass=bypass)
        records.change(conn, key.id, policy=input["Policy"], policy_ids=ids)

    await call.app.identity.change(tx)


@kms("GetKeyPolicy", resource=key_arn(), keys=keys_of)
async def get_key_policy(vault: Vault, call: Call, input: Input) -> Output:
    """The policy as it was put; users and roles that are gone are shown by their ids."""
    _check_name(input)
    row = await own_key(call, input)
    shown = await call.app.store.read(call.app.identity.policy_to_api, row.policy, row.policy_ids)
    return {"Policy": shown, "PolicyName": NAME}


@kms("ListKeyPolicies", resource=key_arn(), keys=keys_of)
async def list_key_policies(vault: Vault, call: Call, input: Input) -> Output:
    """The only name that there is."""
    await own_key(call, input)
    return {"PolicyNames": [NAME], "Truncated": False}


def _check_name(input: Input) -> None:
    if input.get("PolicyName", NAME) != NAME:
        raise NotFoundException("No such policy exists")
