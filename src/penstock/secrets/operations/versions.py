"""Values: each is a version, and stages say which one is which."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, TypeVar

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.secrets import engine, records, rotations, values
from penstock.secrets.engine import CURRENT, DAY_MS
from penstock.secrets.errors import (
    InvalidRequestException,
    ResourceExistsException,
    ResourceNotFoundException,
)
from penstock.secrets.operations import PAGES, called, found, keys_of, locked, secret_arn, secretsmanager, usable
from penstock.secrets.rotation import changed_by_hand
from penstock.store.errors import StoreError
from penstock.wire.call import Input, Output

_LIMIT = 100  # versions of a page that says no MaxResults
_TRIES = 10  # of a request that others overtake
T = TypeVar("T")


class Overtaken(Exception):
    """Another request has changed the key or the versions of a secret since they were read for this one."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value of an input, and the id of the version that it is to be."""

    id: str
    value: bytes
    binary: bool


def given(input: Input, *, needed: bool = False) -> Given | None:
    """The value of an input, or None. Raises InvalidParameterException or InvalidRequestException."""
    text, binary = input.get("SecretString"), input.get("SecretBinary")
    engine.check_value(text=text is not None, binary=binary is not None, needed=needed)
    value = binary if text is None else text.encode()
    if value is None:
        return None
    token = input.get("ClientRequestToken")
    if not token:
        raise InvalidRequestException("You must provide a ClientRequestToken value. We recommend a UUID-type value.")
    return Given(token, bytes(value), binary=text is None)


async def same_version(call: Call, secret: Any, version: Any, new: Given) -> bool:
    """Whether a version has a value."""
    return version.binary == new.binary and compare_digest(await values.opened(call, secret, version), new.value)


# --- reading ----------------------------------------------------------------------------------------------------------


@secretsmanager("GetSecretValue", resource=secret_arn, keys=keys_of)
async def get_secret_value(app: App, call: Call, input: Input) -> Output:
    """The value of the current version, or of another one."""
    row = usable(call)
    version = await app.store.read(_chosen, row, input.get("VersionId", ""), input.get("VersionStage", ""))
    value = await values.opened(call, row, version)
    today = call.now - call.now % DAY_MS
    if row.accessed < today:
        with contextlib.suppress(StoreError):  # a disk that is full is no reason to keep a secret from its reader
            await app.store.write(records.change, row, accessed=today)
    shown: Output = {"SecretBinary": value} if version.binary else {"SecretString": value.decode()}
    return {
        **called(row),
        "VersionId": version.id,
        **shown,
        "VersionStages": version.stages,
        "CreatedDate": version.created,
    }


def _chosen(conn: sa.Connection, row: Any, version_id: str, stage: str) -> Any:
    """The version that an input means. Raises ResourceNotFoundException or InvalidRequestException."""
    if not version_id:
        version_id = engine.holder(records.stages(conn, [row])[row.name], stage or CURRENT)
        if not version_id:
            raise ResourceNotFoundException(
                f"Secrets Manager can't find the specified secret value for staging label: {stage or CURRENT}"
            )
    version = records.version(conn, row, version_id)
    if version is None or not version.value:
        raise ResourceNotFoundException(
            f"Secrets Manager can't find the specified secret value for VersionId: {version_id}"
        )
    if stage and stage not in version.stages:
        raise InvalidRequestException("You provided a VersionStage that is not associated to the provided VersionId.")
    return version


@secretsmanager("ListSecretVersionIds", resource=secret_arn, keys=keys_of)
async def list_secret_version_ids(app: App, call: Call, input: Input) -> Output:
    """The versions with stages, the latest first; all of them with IncludeDeprecated."""
    row, limit = found(call), input.get("MaxResults", _LIMIT)
    (after,) = PAGES.after(call, input) or (None,)
    read = await app.store.read(records.page_of_versions, row, after=after, limit=limit + 1)
    page = PAGES.page(call, input, read, limit=limit, keyset=lambda one: [one.number])
    listed = [
        {
            "VersionId": one.id,
            "CreatedDate": one.created,
            "KmsKeyIds": [one.key or "DefaultEncryptionKey"],
            **({"VersionStages": one.stages} if one.stages else {}),
        }
        for one in page.rows
        if one.stages or input.get("IncludeDeprecated")
    ]
    return {**called(row), "Versions": listed, **page.more}


# --- writing ----------------------------------------------------------------------------------------------------------


@secretsmanager("PutSecretValue", resource=secret_arn, keys=keys_of)
async def put_secret_value(app: App, call: Call, input: Input) -> Output:
    """A new version: the current one, or one with other stages."""
    if "RotationToken" in input:
        raise InvalidRequestException("Secrets are rotated by their own account here: leave RotationToken out.")
    row, new = usable(call), given(input, needed=True)
    assert new is not None
    stages = await settled(
        app, row, lambda row: put(app, call, row, new, labels=input.get("VersionStages"), key=row.key)
    )
    return {**called(row), "VersionId": new.id, "VersionStages": stages}


async def settled(app: App, row: Any, change: Callable[[Any], Awaitable[T]]) -> T:
    """What `change` makes of a secret, which it is given again as it is by now when it raises Overtaken.

    Values are sealed before the transaction that keeps them, because that asks KMS: nothing that was sealed for a former key stays.
    """
    for _ in range(_TRIES):
        with contextlib.suppress(Overtaken):
            return await change(row)
        now = await app.store.read(records.secret, (row.account, row.region), row.name)
        if now is None or now.suffix != row.suffix:
            raise ResourceNotFoundException
        row = now
    raise InvalidRequestException("Other requests change this secret at the same time. Send yours again.")


async def put(
    app: App,
    call: Call,
    row: Any,
    new: Given,
    *,
    labels: Sequence[str] | None,
    key: str | None,
    also: Callable[[sa.Connection], None] | None = None,
) -> list[str]:
    """Write a version, and what `also` changes in the same transaction; its stages.

    A version that there is stays as it is: a request may be sent twice. Raises ResourceExistsException when it has another value, and
    Overtaken.
    """
    version = await app.store.read(records.version, row, new.id)
    if version is not None and version.value:
        if not await same_version(call, row, version, new):
            raise ResourceExistsException("You can't modify an existing version, you can only create new versions.")
        if also is not None:
            await app.store.write(also)
        return version.stages
    value = await values.sealed(call, row, new.id, new.value, key=key)
    return await app.store.write(_insert, call, row, new, labels=labels, key=key, value=value, also=also)


def _insert(
    conn: sa.Connection,
    call: Call,
    row: Any,
    new: Given,
    *,
    labels: Sequence[str] | None,
    key: str | None,
    value: bytes,
    also: Callable[[sa.Connection], None] | None,
) -> list[str]:
    """The stages of the version that was written. Raises Overtaken."""
    secret = locked(conn, row)
    kept = records.kept(conn, row)
    before = {one.id: one.stages for one in kept}
    unfilled = next((one for one in kept if one.id == new.id), None)  # by a rotation, without a value
    if (unfilled is not None and not unfilled.empty) or secret.key != row.key:
        raise Overtaken
    gone = engine.outdated(kept, call.now)
    records.delete_versions(conn, row, gone)
    engine.check_room([one for one in kept if one.id not in gone])
    if also is not None:
        also(conn)
    after = engine.attached(before, new.id, engine.of_new(before, labels))
    if unfilled is not None:
        records.change_version(conn, row, new.id, key=key, binary=new.binary, value=value)
    else:
        records.insert_version(
            conn, row, id=new.id, created=call.now, stages=after[new.id], key=key, binary=new.binary, value=value
        )
    records.change_stages(conn, row, before, after)
    records.change(conn, row, changed=call.now)
    rotation = records.rotation(secret)
    if rotation is not None and CURRENT in after[new.id]:
        rotations.keep(conn, secret, rotation, changed_by_hand(rotation, call.now))
    return after[new.id]


@secretsmanager("UpdateSecretVersionStage", resource=secret_arn, keys=keys_of)
async def update_secret_version_stage(app: App, call: Call, input: Input) -> Output:
    """Move a stage from one version to another, add it, or remove it."""
    row = usable(call)

    def tx(conn: sa.Connection) -> None:
        locked(conn, row)
        kept = records.kept(conn, row)
        engine.check_has_value(kept, input["VersionStage"], input.get("MoveToVersionId", ""))
        before = {one.id: one.stages for one in kept}
        after = engine.moved(
            before,
            input["VersionStage"],
            remove_from=input.get("RemoveFromVersionId", ""),
            move_to=input.get("MoveToVersionId", ""),
        )
        records.change_stages(conn, row, before, after)
        records.change(conn, row, changed=call.now)

    await app.store.write(tx)
    return called(row)
