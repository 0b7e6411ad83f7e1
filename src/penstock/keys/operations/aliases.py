"""Aliases: names of keys that can be moved to another one."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.keys import engine, records
from penstock.keys.engine import Need
from penstock.keys.errors import (
    AlreadyExistsException,
    LimitExceededException,
    NotAuthorizedException,
    NotFoundException,
    ValidationException,
)
from penstock.keys.lookup import key_of, locked, own_key
from penstock.keys.operations import after, keys_of, kms, page
from penstock.keys.vault import Vault
from penstock.wire.call import Input, Output

MAX_ALIASES = 50  # of a key (AWS: KMS resource quotas)
_LIMIT = 50  # rows of a page that says no Limit


async def _alias_and_key(call: Call, input: Input) -> tuple[str, str]:
    """Whoever gives a key another name needs to be let by both."""
    key = await key_of(call, input, "TargetKeyId", aliased=False)
    return call.arn("kms", input["AliasName"]), key.arn


async def _alias_and_its_key(call: Call, input: Input) -> tuple[str, ...]:
    row = await call.app.store.read(records.by_alias, call.account, call.region, input["AliasName"])
    alias = call.arn("kms", input["AliasName"])
    return (alias,) if row is None else (alias, row.arn)


async def _alias_and_both_keys(call: Call, input: Input) -> tuple[str, ...]:
    target = await key_of(call, input, "TargetKeyId", aliased=False)
    return (*await _alias_and_its_key(call, input), target.arn)


@kms("CreateAlias", resource=_alias_and_key, keys=keys_of)
async def create_alias(vault: Vault, call: Call, input: Input) -> None:
    """A name for a key of the caller's account."""
    name = _checked(input["AliasName"])
    row = await own_key(call, input, "TargetKeyId")

    def tx(conn: sa.Connection) -> None:
        key = _kept(conn, row)
        where = {"account": call.account, "region": call.region}
        if not records.insert_alias(conn, **where, name=name, key=key.id, now=call.now):
            raise AlreadyExistsException(arn=call.arn("kms", name))
        _check_count(conn, key.id)

    await call.app.store.write(tx)


@kms("UpdateAlias", resource=_alias_and_both_keys, keys=keys_of)
async def update_alias(vault: Vault, call: Call, input: Input) -> None:
    """Move a name to another key."""
    name = _checked(input["AliasName"])
    row = await own_key(call, input, "TargetKeyId")

    def tx(conn: sa.Connection) -> None:
        key = _kept(conn, row)
        _found(conn, call, name)
        records.move_alias(conn, call.account, call.region, name, key=key.id, now=call.now)
        _check_count(conn, key.id)

    await call.app.store.write(tx)


@kms("DeleteAlias", resource=_alias_and_its_key, keys=keys_of)
async def delete_alias(vault: Vault, call: Call, input: Input) -> None:
    """Forget a name."""
    name = _checked(input["AliasName"])

    def tx(conn: sa.Connection) -> None:
        _found(conn, call, name)
        records.delete_alias(conn, call.account, call.region, name)

    await call.app.store.write(tx)


@kms("ListAliases")
async def list_aliases(vault: Vault, call: Call, input: Input) -> Output:
    """The names of the account and region, or those of one key."""
    key_id = None
    if "KeyId" in input:
        await key_of(call, input, aliased=False)
        key_id = (await own_key(call, input)).id
    limit = input.get("Limit", _LIMIT)
    rows = await call.app.store.read(
        records.page_of_aliases,
        call.account,
        call.region,
        key_id=key_id,
        after=after(call, input),
        limit=limit + 1,
    )
    shown, more = page(call, input, rows, limit, "name")
    return {"Aliases": [_output(call, row) for row in shown], **more}


def _output(call: Call, row: Any) -> Output:
    return {
        "AliasName": row.name,
        "AliasArn": call.arn("kms", row.name),
        "TargetKeyId": row.key,
        "CreationDate": row.created,
        "LastUpdatedDate": row.updated,
    }


def _checked(name: str) -> str:
    if not name.startswith("alias/") or name == "alias/":
        raise ValidationException(
            'Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html'
        )
    if name.startswith("alias/aws/"):
        raise NotAuthorizedException
    return name


def _kept(conn: sa.Connection, row: Any) -> Any:
    """The key, which stays. Raises NotFoundException or KMSInvalidStateException."""
    key = locked(conn, row)
    engine.check(key, Need.KEPT)
    return key


def _check_count(conn: sa.Connection, key_id: str) -> None:
    """Of a key that has one more now. Raises LimitExceededException."""
    if len(records.alias_names(conn, key_id)) > MAX_ALIASES:
        raise LimitExceededException(
            f"A key can have no more than {MAX_ALIASES} aliases. Delete one that nothing uses."
        )


def _found(conn: sa.Connection, call: Call, name: str) -> Any:
    row = records.alias(conn, call.account, call.region, name)
    if row is None:
        raise NotFoundException(f"Alias {call.arn('kms', name)} is not found.")
    return row
