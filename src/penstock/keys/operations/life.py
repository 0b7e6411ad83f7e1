"""The life of keys: made, described, disabled, deleted."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.keys import engine, records
from penstock.keys.engine import WINDOW_DAYS, Need, State
from penstock.keys.errors import (
    LimitExceededException,
    UnsupportedOperationException,
    ValidationException,
)
from penstock.keys.lookup import default_policy, key_of, locked, own_key
from penstock.keys.material import ORIGIN, await_rotation, insert_key
from penstock.keys.operations import (
    ALGORITHMS,
    LIMIT,
    after,
    check_tokens,
    key_arn,
    keys_of,
    keys_of_new,
    kms,
    page,
    spec_of,
)
from penstock.keys.operations.policies import checked_policy
from penstock.keys.operations.tags import checked_tags
from penstock.keys.primitives import (
    SYMMETRIC_DEFAULT,
    algorithms_of,
    check_new,
)
from penstock.keys.vault import Vault, made
from penstock.store import jobs
from penstock.store.jobs import Job
from penstock.wire.call import Input, Output

DELETION = "keys.delete"
MAX_KEYS = 100_000  # of an account in a region (AWS: KMS resource quotas)


@kms("CreateKey", keys=keys_of_new)
async def create_key(vault: Vault, call: Call, input: Input) -> Output:
    """A new key: symmetric, a pair that signs or decrypts, or one of MACs."""
    spec = spec_of(input)
    if input.get("Origin", ORIGIN) != ORIGIN or "CustomKeyStoreId" in input or "XksKeyId" in input:
        raise UnsupportedOperationException("The material of keys is made here: only the Origin AWS_KMS is served.")
    usage = check_new(spec, input.get("KeyUsage"))
    tags = checked_tags(input.get("Tags"))
    if tags:
        await call.app.identity.authorize(call, "kms:TagResource", ("*",))
    document = input.get("Policy") or default_policy(call)
    bypass = input.get("BypassPolicyLockoutSafetyCheck", False)
    secret = await made(spec)

    def tx(conn: sa.Connection) -> Any:
        if records.count(conn, call.account, call.region) >= MAX_KEYS:
            raise LimitExceededException(f"An account can have no more than {MAX_KEYS} keys in a region.")
        key_id = insert_key(
            conn,
            call,
            multi_region=input.get("MultiRegion", False),
            description=input.get("Description", ""),
            usage=usage,
            spec=spec,
            secret=secret,
            tags=tags,
            policy=document,
            policy_ids=checked_policy(conn, call, document, bypass=bypass),
        )
        return records.key(conn, key_id)

    row = await call.app.identity.change(tx)
    call.memo["resources"] = (row.arn,)
    return {"KeyMetadata": await described(vault, row)}


@kms("DescribeKey", resource=key_arn(aliased=True), keys=keys_of)
async def describe_key(vault: Vault, call: Call, input: Input) -> Output:
    """A key, by id, alias or ARN."""
    check_tokens(input)
    return {"KeyMetadata": await described(vault, await key_of(call, input))}


@kms("ListKeys")
async def list_keys(vault: Vault, call: Call, input: Input) -> Output:
    """The keys of the account and region by id."""
    if input.get("ResourceOwners", ["SELF"]) != ["SELF"]:
        raise UnsupportedOperationException(
            "No account's keys are shared through a resource access manager here: leave ResourceOwners out."
        )
    limit = input.get("Limit", LIMIT)
    where = (call.account, call.region, after(call, input), limit + 1)
    shown, more = page(call, input, await call.app.store.read(records.page_of_keys, *where), limit, "id")
    return {"Keys": [{"KeyId": row.id, "KeyArn": row.arn} for row in shown], **more}


@kms("UpdateKeyDescription", resource=key_arn(), keys=keys_of)
async def update_key_description(vault: Vault, call: Call, input: Input) -> None:
    """Another description."""
    await _change(call, input, lambda _row: {"description": input["Description"]}, need=Need.KEPT)


@kms("EnableKey", resource=key_arn(), keys=keys_of)
async def enable_key(vault: Vault, call: Call, input: Input) -> None:
    """Let it be used (again). A rotation that was due meanwhile follows at once."""
    row = await own_key(call, input)

    def tx(conn: sa.Connection) -> None:
        key = locked(conn, row)
        engine.check(key, Need.KEPT)
        records.change(conn, key.id, state=State.ENABLED)
        if key.rotation_due is not None:
            await_rotation(conn, key, key.rotation_due)

    await call.app.store.write(tx)


@kms("DisableKey", resource=key_arn(), keys=keys_of)
async def disable_key(vault: Vault, call: Call, input: Input) -> None:
    """Let it be used no more, until it is enabled."""
    await _change(call, input, lambda _row: {"state": State.DISABLED}, need=Need.KEPT)


@kms("ScheduleKeyDeletion", resource=key_arn(), keys=keys_of)
async def schedule_key_deletion(vault: Vault, call: Call, input: Input) -> Output:
    """Delete it when the window is over; what it has encrypted can never be read again then."""
    days = input.get("PendingWindowInDays", WINDOW_DAYS[1])
    if not WINDOW_DAYS[0] <= days <= WINDOW_DAYS[1]:
        raise ValidationException(
            f"PendingWindowInDays must be between {WINDOW_DAYS[0]} and {WINDOW_DAYS[1]} (inclusive)"
        )
    row = await own_key(call, input)

    def tx(conn: sa.Connection) -> engine.Deletion:
        key = locked(conn, row)
        found = engine.schedule(key, days, call.now)
        records.change(conn, key.id, state=State.PENDING_DELETION, deletion=found.due)
        jobs.enqueue(
            conn,
            kind=DELETION,
            payload={"key": key.id},
            account=key.account,
            region=key.region,
            due=found.due,
            dedup=f"{key.id}/{found.due}",
        )
        return found

    deletion = await call.app.store.write(tx)
    return {
        "KeyId": row.arn,
        "DeletionDate": deletion.due,
        "KeyState": State.PENDING_DELETION,
        "PendingWindowInDays": days,
    }


@kms("CancelKeyDeletion", resource=key_arn(), keys=keys_of)
async def cancel_key_deletion(vault: Vault, call: Call, input: Input) -> Output:
    """Keep it after all. It has to be enabled before it can be used."""
    row = await _change(call, input, lambda key: {"state": engine.cancel(key), "deletion": None})
    return {"KeyId": row.arn}


async def delete(vault: Vault, job: Job) -> None:
    """The job of a deletion that is due."""
    app, key_id = vault.app, job.payload["key"]

    def tx(conn: sa.Connection) -> bool:
        key = records.locked(conn, key_id)
        if key is None or not engine.is_due(key, app.clock.now()):
            return False
        records.delete(conn, key_id)
        return True

    if await app.identity.change(tx):
        vault.forget(key_id)


async def described(vault: Vault, row: Any) -> Output:
    """The `KeyMetadata` shape."""
    material = await vault.material(row, row.material)
    found: Output = {
        "AWSAccountId": row.account,
        "KeyId": row.id,
        "Arn": row.arn,
        "CreationDate": row.created,
        "Enabled": row.state == State.ENABLED,
        "Description": row.description,
        "KeyUsage": row.usage,
        "KeyState": row.state,
        "Origin": ORIGIN,
        "KeyManager": "AWS" if row.manager else "CUSTOMER",
        "CustomerMasterKeySpec": row.spec,
        "KeySpec": row.spec,
        ALGORITHMS[row.usage]: list(algorithms_of(row)),
        "MultiRegion": row.id.startswith("mrk-"),
    }
    if material is not None and row.spec == SYMMETRIC_DEFAULT:
        found["CurrentKeyMaterialId"] = material.id
    if found["MultiRegion"]:
        primary = {"Arn": row.arn, "Region": row.region}
        found["MultiRegionConfiguration"] = {"MultiRegionKeyType": "PRIMARY", "PrimaryKey": primary, "ReplicaKeys": []}
    if row.deletion is not None:
        found["DeletionDate"] = row.deletion
    return found


async def _change(call: Call, input: Input, values: Any, *, need: Need = Need.ANY) -> Any:
    """Change the key that an input names, in its transaction; the key as it was found."""
    row = await own_key(call, input)

    def tx(conn: sa.Connection) -> None:
        key = locked(conn, row)
        engine.check(key, need)
        records.change(conn, key.id, **values(key))

    await call.app.store.write(tx)
    return row
