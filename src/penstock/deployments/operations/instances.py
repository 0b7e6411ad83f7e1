"""On-premises instances. AWS: RegisterOnPremisesInstance and its family."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from penstock.application import Call
from penstock.deployments import errors, liveness, profile, records
from penstock.deployments.operations import PAGE, PAGES, operation, resources
from penstock.deployments.records import Row
from penstock.deployments.server import fleet
from penstock.deployments.service import Deployments
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output

_i = records.instances.c
_USER = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:user/[A-Za-z0-9/+=,.@_-]+")
_SESSION = re.compile(r"arn:aws[a-z-]*:sts::[0-9]{12}:assumed-role/[A-Za-z0-9+=,.@_-]+/[A-Za-z0-9+=,.@_-]+")
_MAX_TAGS = 10
_BATCH = 100


def to_api(row: Row) -> dict[str, Any]:
    """An `InstanceInfo`. `tags` is always there: the AWS CLI's `deploy deregister` relies on it."""
    member = "iamUserArn" if row.iam_kind == "user" else "iamSessionArn"
    return {
        "instanceName": row.name,
        member: row.iam_arn,
        "instanceArn": row.arn,
        "registerTime": row.registered,
        "deregisterTime": row.deregistered,
        "tags": row.tags,
    }


def identity_of(call: Call, input: Input) -> tuple[str, str]:
    """Kind and ARN of the host's identity: a user or a role session of the caller's account."""
    user, session = input.get("iamUserArn"), input.get("iamSessionArn")
    if user and session:
        raise errors.MultipleIamArnsProvidedException
    if user:
        kind, arn, form, wrong = "user", user, _USER, errors.InvalidIamUserArnException
    elif session:
        kind, arn, form, wrong = "session", session, _SESSION, errors.InvalidIamSessionArnException
    else:
        raise errors.IamArnRequiredException
    if not form.fullmatch(arn):
        raise wrong
    if arn.split(":")[4] != call.account:
        raise wrong(f"The IAM ARN {arn} does not belong to the account {call.account}.")
    return kind, arn


@operation("RegisterOnPremisesInstance", resource=resources.instance)
async def register_on_premises_instance(deployments: Deployments, call: Call, input: Input) -> Output:
    """Makes the holder of an IAM user's keys (or of a role session) a host. Its account must be the caller's."""
    name = profile.instance_name(input.get("instanceName"))
    kind, iam_arn = identity_of(call, input)
    suffix = call.app.ids.token(9)[:10].replace("-", "x").replace("_", "y")
    arn = call.arn("codedeploy", f"instance/{name}_{suffix}")
    principal = await call.app.identity.id_of(iam_arn)
    seed = call.app.ids.seed()

    def register(conn: sa.Connection) -> None:
        records.registrations_changed(conn)
        known = records.instance(conn, call.account, call.region, name, lock=True)
        if known is not None and known.deregistered is None:
            raise errors.InstanceNameAlreadyRegisteredException(name=name)
        if records.instance_of(conn, call.account, call.region, iam_arn) is not None:
            taken = (
                errors.IamUserArnAlreadyRegisteredException
                if kind == "user"
                else errors.IamSessionArnAlreadyRegisteredException
            )
            raise taken(arn=iam_arn)
        values = {
            "kind": "onpremises", "iam_arn": iam_arn, "iam_kind": kind, "arn": arn, "tags": [], "registered": call.now,
            "deregistered": None, "seen": None, "agent": "", "principal": principal,
        }  # fmt: skip
        if known is None:
            key = {"account": call.account, "region": call.region, "name": name}
            conn.execute(sa.insert(records.instances).values(**key, **values))
        else:
            where = (_i.account == call.account, _i.region == call.region, _i.name == name)
            conn.execute(sa.update(records.instances).where(*where).values(**values))
            records.forget_health(conn, call.account, call.region, name)
            if another(known, iam_arn, principal):
                liveness.fail_former(conn, call.account, call.region, name, now=call.now, seed=seed)

    await run_registration(call, register)
    return {}


def another(known: Row, iam_arn: str, principal: str | None) -> bool:
    """Whether who is registered under the name of an instance that was deregistered is not who that was."""
    return known.iam_arn != iam_arn or (known.principal or principal) != principal


async def run_registration(call: Call, register: Callable[[sa.Connection], None]) -> None:
    """Run a registration. When another came at the same moment, run it again: now it sees that one and says what is in the way."""
    try:
        await call.app.store.write(register)
    except IntegrityError:
        await call.app.store.write(register)


async def deregister(call: Call, name: str) -> None:
    """Leave a tombstone of a host, without its tags: it is served and selected no more. An unknown one is no error."""
    seed = call.app.ids.seed()

    def tx(conn: sa.Connection) -> None:
        where = (_i.account == call.account, _i.region == call.region, _i.name == name, _i.deregistered.is_(None))
        left = conn.execute(sa.update(records.instances).where(*where).values(tags=[], deregistered=call.now))
        if left.rowcount:
            records.registrations_changed(conn)
            liveness.release_stopping(conn, call.account, call.region, now=call.now, seed=seed)

    await call.app.store.write(tx)


@operation("DeregisterOnPremisesInstance", resource=resources.instance)
async def deregister_on_premises_instance(deployments: Deployments, call: Call, input: Input) -> Output:
    """Removes its tags and leaves a tombstone; it is served and selected no more. Unknown is no error."""
    await deregister(call, profile.instance_name(input.get("instanceName")))
    return {}


@operation("GetOnPremisesInstance", resource=resources.instance)
async def get_on_premises_instance(deployments: Deployments, call: Call, input: Input) -> Output:
    """One instance, registered or a tombstone."""
    name = profile.instance_name(input.get("instanceName"))
    row = await call.app.store.read(records.instance, call.account, call.region, name)
    if row is None:
        raise errors.InstanceNotRegisteredException(name=name)
    return {"instanceInfo": to_api(row)}


@operation("BatchGetOnPremisesInstances", resource=resources.instances)
async def batch_get_on_premises_instances(deployments: Deployments, call: Call, input: Input) -> Output:
    """Up to 100 instances; unknown ones are left out."""
    names = _names(input, errors.BatchLimitExceededException(limit=_BATCH))

    def get(conn: sa.Connection) -> list[dict[str, Any]]:
        rows = (records.instance(conn, call.account, call.region, name) for name in names)
        return [to_api(row) for row in rows if row is not None]

    return {"instanceInfos": await call.app.store.read(get)}


_READ = 500  # hosts at a time, while those with certain tags are looked for


def _names(input: Input, too_many: Exception) -> list[str]:
    names = [profile.instance_name(name) for name in input.get("instanceNames") or ()]
    if not names:
        raise errors.InstanceNameRequiredException
    if len(names) > _BATCH:
        raise too_many
    return list(dict.fromkeys(names))


@operation("ListOnPremisesInstances", resource=resources.any_instance)
async def list_on_premises_instances(deployments: Deployments, call: Call, input: Input) -> Output:
    """Names in alphabetical order; without `registrationStatus` both registered and deregistered ones."""
    status = input.get("registrationStatus")
    wanted = input.get("tagFilters") or []
    for found in wanted:
        kind = found.get("Type") or "KEY_AND_VALUE"
        if not (found.get("Value") if kind == "VALUE_ONLY" else found.get("Key")):
            raise errors.InvalidTagFilterException
    after = PAGES.after(call, input)

    def read(conn: sa.Connection) -> list[str]:
        where: list[Any] = [_i.account == call.account, _i.region == call.region]
        if status:
            where.append(_i.deregistered.is_(None) if status == "Registered" else _i.deregistered.is_not(None))
        query = sa.select(_i.name, _i.tags).where(*where)
        names: list[str] = []
        behind, more = after, True
        while more and len(names) <= PAGE:
            rows = conn.execute(rows_behind(query, [_i.name], behind, limit=_READ)).all()
            names += (row.name for row in rows if not wanted or fleet.selected(row.tags, wanted, ()))
            behind, more = [rows[-1].name] if rows else None, len(rows) == _READ
        return names

    page = PAGES.page(call, input, await call.app.store.read(read), limit=PAGE, keyset=lambda name: [name])
    return {"instanceNames": page.rows, **page.more}


def _tags(input: Input) -> list[dict[str, str]]:
    tags = input.get("tags") or []
    if not tags:
        raise errors.TagRequiredException
    for tag in tags:
        key, value = tag.get("Key"), tag.get("Value")
        if not key or not value or len(key) > 128 or len(value) > 256:
            raise errors.InvalidTagException
    return [{"Key": tag["Key"], "Value": tag["Value"]} for tag in tags]


@operation("AddTagsToOnPremisesInstances", resource=resources.instances)
async def add_tags_to_on_premises_instances(deployments: Deployments, call: Call, input: Input) -> Output:
    """Adds every tag to every instance named; at most 10 tags per instance."""
    tags, names = _tags(input), _names(input, errors.InstanceLimitExceededException())

    def add(conn: sa.Connection) -> None:
        for name in names:
            row = _registered(call, conn, name)
            kept = {tag["Key"]: tag["Value"] for tag in row.tags} | {tag["Key"]: tag["Value"] for tag in tags}
            if len(kept) > _MAX_TAGS:
                raise errors.TagLimitExceededException
            _write_tags(call, conn, name, [{"Key": key, "Value": value} for key, value in kept.items()])

    await call.app.store.write(add)
    return {}


@operation("RemoveTagsFromOnPremisesInstances", resource=resources.instances)
async def remove_tags_from_on_premises_instances(deployments: Deployments, call: Call, input: Input) -> Output:
    """Removes the tags whose key and value are given."""
    tags, names = _tags(input), _names(input, errors.InstanceLimitExceededException())

    def remove(conn: sa.Connection) -> None:
        for name in names:
            row = _registered(call, conn, name)
            _write_tags(call, conn, name, [tag for tag in row.tags if tag not in tags])

    await call.app.store.write(remove)
    return {}


def _registered(call: Call, conn: sa.Connection, name: str) -> Row:
    row = records.instance(conn, call.account, call.region, name, lock=True)
    if row is None or row.deregistered is not None:
        raise errors.InstanceNotRegisteredException(name=name)
    return row


def _write_tags(call: Call, conn: sa.Connection, name: str, tags: list[dict[str, str]]) -> None:
    where = (_i.account == call.account, _i.region == call.region, _i.name == name)
    conn.execute(sa.update(records.instances).where(*where).values(tags=tags))
