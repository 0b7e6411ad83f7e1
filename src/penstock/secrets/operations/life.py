"""The life of secrets: made, described, changed, deleted."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.secrets import engine, names, records, rotations, values
from penstock.secrets.engine import CURRENT, DAY_MS
from penstock.secrets.errors import (
    AccessDeniedException,
    InvalidRequestException,
    ResourceExistsException,
)
from penstock.secrets.operations import (
    called,
    described,
    found,
    keys_of,
    locked,
    secret_arn,
    secretsmanager,
    usable,
)
from penstock.secrets.operations.tags import checked_tags
from penstock.secrets.operations.versions import Given, Overtaken, given, put, same_version, settled
from penstock.secrets.rotation import planned
from penstock.store import jobs
from penstock.store.jobs import Job
from penstock.wire.call import Input, Output

DELETION = "secrets.delete"  # job
_RESEALED = (CURRENT, engine.PENDING, engine.PREVIOUS)  # stages of the versions that another key is for as well


def _new_arn(call: Call, input: Input) -> str:
    return names.asked(input["Name"], call.account, call.region).arn


@secretsmanager("CreateSecret", resource=_new_arn, keys=keys_of)
async def create_secret(app: App, call: Call, input: Input) -> Output:
    """A new secret, with or without a first version."""
    _refuse_unserved(input)
    name, new, token = input["Name"], given(input), input.get("ClientRequestToken", "")
    names.check_new(name)
    tags = checked_tags(input.get("Tags"))
    if tags:
        await app.identity.authorize(call, "secretsmanager:TagResource", (_new_arn(call, input),))
    place = (call.account, call.region)
    if (before := await app.store.read(records.secret, place, name)) is not None:
        return await _repeated(app, call, before, token, new)
    row = {
        "account": call.account,
        "region": call.region,
        "name": name,
        "suffix": names.new_suffix(),
        "token": token,
        "description": input.get("Description"),
        "key": input.get("KmsKeyId") or None,
        "tags": tags or None,
        "policy_ids": {},
        "created": call.now,
        "changed": call.now,
        "accessed": 0,
    }
    secret = SimpleNamespace(**row)
    value = b"" if new is None else await values.sealed(call, secret, new.id, new.value, key=secret.key)

    def tx(conn: sa.Connection) -> bool:
        if not records.insert(conn, **row):
            return False
        if new is not None:
            records.insert_version(
                conn, secret, id=token, created=call.now, stages=[CURRENT], key=secret.key, binary=new.binary, value=value
            )  # fmt: skip
        return True

    if not await app.store.write(tx):
        before = await app.store.read(records.secret, place, name)
        if before is None:
            raise ResourceExistsException(name=name)
        return await _repeated(app, call, before, token, new)
    return called(secret) | ({} if new is None else {"VersionId": token})


async def _repeated(app: App, call: Call, before: Any, token: str, new: Given | None) -> Output:
    """The answer when there is a secret of the name: the former one to a request that is sent again. Raises ResourceExistsException or InvalidRequestException."""
    if before.deletion is not None:
        raise InvalidRequestException(
            "You can't create this secret because a secret with this name is already scheduled for deletion."
        )
    if not token or before.token != token:
        raise ResourceExistsException(name=before.name)
    if new is None:
        return called(before)
    version = await app.store.read(records.version, before, token)
    if version is None or not await same_version(call, before, version, new):
        raise ResourceExistsException(name=before.name)
    return called(before) | {"VersionId": token}


def _refuse_unserved(input: Input) -> None:
    """Replicas and secrets of partners are not served: a secret that would only look like one is worse than none."""
    for member in ("AddReplicaRegions", "ForceOverwriteReplicaSecret", "CrossAccountPrimaryARN"):
        if input.get(member):
            raise InvalidRequestException(
                f"Secrets are not replicated to other regions or accounts here: leave {member} out."
            )
    if input.get("Type"):
        raise InvalidRequestException("Secrets of partners are not served: leave Type out.")


@secretsmanager("DescribeSecret", resource=secret_arn, keys=keys_of)
async def describe_secret(app: App, call: Call, input: Input) -> Output:
    """What is said of a secret, and which version has which stages."""
    row = found(call)
    stages = (await app.store.read(records.stages, [row]))[row.name]
    return described(row) | ({"VersionIdsToStages": stages} if stages else {})


@secretsmanager("UpdateSecret", resource=secret_arn, keys=keys_of)
async def update_secret(app: App, call: Call, input: Input) -> Output:
    """Another description or key, and perhaps another value."""
    if input.get("Type"):
        raise InvalidRequestException("Secrets of partners are not served: leave Type out.")
    secret, new = usable(call), given(input)
    said: dict[str, Any] = {}
    if "Description" in input:
        said["description"] = input["Description"]
    if "KmsKeyId" in input:
        said["key"] = input["KmsKeyId"] or None

    async def change(row: Any) -> None:
        key = said.get("key", row.key)
        resealed = await _resealed(app, call, row, key) if key != row.key else None

        def tx(conn: sa.Connection) -> None:
            if locked(conn, row).key != row.key:
                raise Overtaken
            if resealed is not None and not resealed.keys() >= set(_in_use(conn, row)):
                raise Overtaken
            records.change(conn, row, changed=call.now, **said)
            for version_id, value in (resealed or {}).items():
                records.change_version(conn, row, version_id, key=key, value=value)

        if new is None:
            await app.store.write(tx)
        else:
            await put(app, call, row, new, labels=[CURRENT], key=key, also=tx)

    await settled(app, secret, change)
    return called(secret) | ({} if new is None else {"VersionId": new.id})


def _in_use(conn: sa.Connection, row: Any) -> list[str]:
    """The versions that another key is for as well."""
    kept = records.kept(conn, row)
    return [one.id for one in kept if not one.empty and not set(one.stages).isdisjoint(_RESEALED)]


async def _resealed(app: App, call: Call, row: Any, key: str | None) -> Mapping[str, bytes] | None:
    """The values of the versions in use under another key; None where the caller may not use it for them, as on AWS. Raises Overtaken."""
    made: dict[str, bytes] = {}
    for version_id in await app.store.read(_in_use, row):
        version = await app.store.read(records.version, row, version_id)
        if version is None:
            raise Overtaken
        try:
            made[version_id] = await values.sealed(
                call, row, version_id, await values.opened(call, row, version), key=key
            )
        except AccessDeniedException:
            return None
    return made


@secretsmanager("DeleteSecret", resource=secret_arn, keys=keys_of)
async def delete_secret(app: App, call: Call, input: Input) -> Output:
    """Delete a secret when its window is over, or at once. One that is not there can be deleted at once, as on AWS."""
    force = input.get("ForceDeleteWithoutRecovery", False)
    days = engine.window(input.get("RecoveryWindowInDays"), force=force)
    if force and call.memo["secret"] is None:
        asked = names.asked(input["SecretId"], call.account, call.region)
        return {"ARN": asked.arn, "Name": asked.candidates[0][0], "DeletionDate": call.now}
    row = found(call) if force else usable(call)
    due = call.now + days * DAY_MS

    def tx(conn: sa.Connection) -> None:
        if force:
            if records.locked(conn, row) is not None:
                records.delete(conn, row)
            return
        locked(conn, row)
        records.change(conn, row, deletion=due, changed=call.now)
        jobs.enqueue(
            conn,
            kind=DELETION,
            payload={"account": row.account, "region": row.region, "name": row.name, "due": due},
            account=row.account,
            region=row.region,
            due=due,
            dedup=records.dedup(row, due),
        )

    await app.identity.change(tx)
    return called(row) | {"DeletionDate": due}


async def delete(app: App, job: Job) -> None:
    """The job of a deletion that is due: the secret was not restored, nor scheduled anew."""
    payload = job.payload

    def tx(conn: sa.Connection) -> None:
        row = records.secret(conn, (payload["account"], payload["region"]), payload["name"])
        now = None if row is None else records.locked(conn, row)
        if now is not None and now.deletion == payload["due"] <= app.clock.now():
            records.delete(conn, now)

    await app.identity.change(tx)


@secretsmanager("RestoreSecret", resource=secret_arn, keys=keys_of)
async def restore_secret(app: App, call: Call, input: Input) -> Output:
    """Keep a secret after all."""
    row = found(call)

    def tx(conn: sa.Connection) -> None:
        secret = records.locked(conn, row)
        if secret is None:
            return
        records.change(conn, row, deletion=None, changed=call.now)
        rotation = records.rotation(secret)
        if rotation is not None:
            rotations.keep(conn, secret, rotation, planned(rotation, since=rotation.rotated or call.now, now=call.now))

    await app.store.write(tx)
    return called(row)
