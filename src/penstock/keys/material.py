"""New keys and new materials of keys, as rows."""

from __future__ import annotations

import os
import secrets
import uuid
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.keys import records

ORIGIN = "AWS_KMS"  # of all materials: none is imported


def insert_key(conn: sa.Connection, call: Call, *, multi_region: bool = False, **values: Any) -> str:
    """Write a new enabled key with its first material; its id."""
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
    insert_material(conn, call.app, account=call.account, key_id=key_id, number=1, now=call.now)
    return key_id


def insert_material(conn: sa.Connection, app: App, *, account: str, key_id: str, number: int, now: int) -> None:
    """Write new random material of a key."""
    conn.execute(
        records.materials.insert().values(
            key=key_id,
            number=number,
            id=secrets.token_hex(32),
            account=account,
            sealed=app.sealer.seal(os.urandom(32), context_of(key_id, number)),
            created=now,
        )
    )


def context_of(key_id: str, number: int) -> str:
    """For what a material is sealed."""
    return f"kms/{key_id}/{number}"
