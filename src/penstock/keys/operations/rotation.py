"""Rotation: new material that encrypts from now on, while the older ones go on decrypting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.keys import engine, records
from penstock.keys.engine import DAY_MS, ROTATION_DAYS, Need, Rotation
from penstock.keys.lookup import key_of, locked, own_key
from penstock.keys.material import plan_rotation, renew_material
from penstock.keys.operations import LIMIT, after, key_arn, keys_of, kms, page
from penstock.keys.vault import Vault
from penstock.store.failpoints import failpoint
from penstock.store.jobs import Job
from penstock.wire.call import Input, Output


def _keys_of_period(call: Call, input: Input) -> Mapping[str, str | tuple[str, ...]]:
    days = input.get("RotationPeriodInDays")
    return {**keys_of(call, input), **({} if days is None else {"kms:rotationperiodindays": str(days)})}


@kms("EnableKeyRotation", resource=key_arn(), keys=_keys_of_period)
async def enable_key_rotation(vault: Vault, call: Call, input: Input) -> None:
    """Rotate a key by itself from now on."""
    row, days = await own_key(call, input), input.get("RotationPeriodInDays", ROTATION_DAYS)

    def tx(conn: sa.Connection) -> None:
        key = locked(conn, row)
        _check(key)
        if key.rotation_days != days:
            plan_rotation(conn, key, days=days, due=call.now + days * DAY_MS)

    await call.app.store.write(tx)


@kms("DisableKeyRotation", resource=key_arn(), keys=keys_of)
async def disable_key_rotation(vault: Vault, call: Call, input: Input) -> None:
    """Rotate a key no more, but on demand."""
    row = await own_key(call, input)

    def tx(conn: sa.Connection) -> None:
        key = locked(conn, row)
        _check(key)
        records.change(conn, key.id, rotation_days=None, rotation_due=None)

    await call.app.store.write(tx)


@kms("GetKeyRotationStatus", resource=key_arn(), keys=keys_of)
async def get_key_rotation_status(vault: Vault, call: Call, input: Input) -> Output:
    """Whether and when a key is rotated by itself."""
    row = await key_of(call, input)
    engine.check_rotated(row, changed=False)
    found: Output = {"KeyId": row.id, "KeyRotationEnabled": engine.is_rotated(row)}
    if found["KeyRotationEnabled"]:
        found |= {"RotationPeriodInDays": row.rotation_days, "NextRotationDate": row.rotation_due}
    return found


@kms("RotateKeyOnDemand", resource=key_arn(), keys=keys_of)
async def rotate_key_on_demand(vault: Vault, call: Call, input: Input) -> Output:
    """New material at once; when the next rotation is due stays as it is."""
    row = await own_key(call, input)

    def tx(conn: sa.Connection) -> None:
        key = locked(conn, row)
        _check(key)
        engine.check_on_demand(key, records.count_rotations(conn, key.id, Rotation.ON_DEMAND))
        renew_material(conn, call.app, key, Rotation.ON_DEMAND, call.now)

    await call.app.store.write(tx)
    return {"KeyId": row.arn}


@kms("ListKeyRotations", resource=key_arn(), keys=keys_of)
async def list_key_rotations(vault: Vault, call: Call, input: Input) -> Output:
    """The materials of a key by age: those that a rotation has made, or all."""
    row, limit = await own_key(call, input), input.get("Limit", LIMIT)
    engine.check_rotated(row, changed=False)
    rows = await call.app.store.read(
        records.page_of_materials,
        row.id,
        first=1 if input.get("IncludeKeyMaterial") == "ALL_KEY_MATERIAL" else 2,
        after=int(after(call, input) or 0),
        limit=limit + 1,
    )
    shown, more = page(call, input, rows, limit, "number")
    return {"Rotations": [_output(row, material) for material in shown], **more}


async def rotate(vault: Vault, job: Job) -> None:
    """The job of a rotation that is due. A key that is disabled by then is rotated when it is enabled."""
    app, due = vault.app, job.payload["due"]

    def tx(conn: sa.Connection) -> None:
        key, now = records.locked(conn, job.payload["key"]), app.clock.now()
        if key is None or not engine.is_rotation_due(key, due, now):
            return
        renew_material(conn, app, key, Rotation.AUTOMATIC, now)
        plan_rotation(conn, key, days=key.rotation_days, due=engine.rotation_after(key, now))
        failpoint("keys.rotating")

    await app.store.write(tx)
    failpoint("keys.rotated")


async def plan_managed(vault: Vault) -> None:
    """Let AWS managed keys that older releases have made rotate as those do that are made now: a year after they were, or at once."""
    days = ROTATION_DAYS

    def tx(conn: sa.Connection) -> int:
        found = records.managed_unrotated(conn, LIMIT)
        for key in found:
            plan_rotation(conn, key, days=days, due=max(key.created + days * DAY_MS, vault.app.clock.now()))
        return len(found)

    while await vault.app.store.write(tx) == LIMIT:
        pass


def _check(key: Any) -> None:
    """Of a key whose rotation is to be changed. Raises what KMS answers when it cannot be."""
    engine.check(key, Need.USABLE)
    engine.check_rotated(key, changed=True)


def _output(key: Any, material: Any) -> Output:
    found: Output = {
        "KeyId": key.id,
        "KeyMaterialId": material.id,
        "KeyMaterialState": "CURRENT" if material.number == key.material else "NON_CURRENT",
    }
    if material.rotation:
        found |= {"RotationDate": material.created, "RotationType": material.rotation}
    return found
