"""New keys and new materials of keys, as rows."""

from __future__ import annotations

import secrets
import uuid
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.keys import records
from penstock.keys.primitives import new_secret
from penstock.store import jobs

ROTATION = "keys.rotate"  # job
ORIGIN = "AWS_KMS"  # of all materials: none is imported


def insert_key(conn: sa.Connection, call: Call, *, secret: bytes, multi_region: bool = False, **values: Any) -> str:
    """Write a new enabled key with its first material, which is made of `secret`; its id."""
    key_id = f"mrk-{uuid.uuid4().hex}" if multi_region else str(uuid.uuid4())
    row = {
        "id": key_id,
        "account": call.account,
        "region": call.region,
        "arn": call.arn("kms", f"key/{key_id}"),
        "state": "Enabled",
        "manager": "",
        "material": 1,
        "created": call.now,
        **values,
    }
    conn.execute(records.keys.insert().values(row))
    insert_material(conn, call.app, account=call.account, key_id=key_id, number=1, now=call.now, secret=secret)
    return key_id


def insert_material(
    conn: sa.Connection,
    app: App,
    *,
    account: str,
    key_id: str,
    number: int,
    now: int,
    secret: bytes,
    rotation: str | None = None,
) -> None:
    """Write new material of a key."""
    conn.execute(
        records.materials.insert().values(
            key=key_id,
            number=number,
            id=secrets.token_hex(32),
            account=account,
            sealed=app.sealer.seal(secret, records.context_of(key_id, number)),
            created=now,
            rotation=rotation,
        )
    )


def renew_material(conn: sa.Connection, app: App, key: Any, rotation: str, now: int) -> None:
    """Let a key encrypt with new material from now on."""
    number = key.material + 1
    secret = new_secret(key.spec)
    insert_material(
        conn, app, account=key.account, key_id=key.id, number=number, now=now, secret=secret, rotation=rotation
    )
    records.change(conn, key.id, material=number)


def plan_rotation(conn: sa.Connection, key: Any, *, days: int, due: int) -> None:
    """Let a key be rotated by itself: at `due` (ms), and every so many days from then on."""
    records.change(conn, key.id, rotation_days=days, rotation_due=due)
    await_rotation(conn, key, due)


def await_rotation(conn: sa.Connection, key: Any, due: int) -> None:
    """Put the job of a rotation that is due at `due` (ms)."""
    jobs.enqueue(
        conn,
        kind=ROTATION,
        payload={"key": key.id, "due": due},
        account=key.account,
        region=key.region,
        due=due,
        dedup=f"{key.id}/{due}",
    )
