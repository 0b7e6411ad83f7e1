"""Managed policies: AWS's own, which can be read, and an account's, with their versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import naming, records
from penstock.identity.authority import Authority
from penstock.identity.documents import check_managed, size
from penstock.identity.errors import (
    DeleteConflictException,
    EntityAlreadyExistsException,
    LimitExceededException,
    NoSuchEntityException,
)
from penstock.identity.managed import POLICIES, ManagedPolicy, managed_policy
from penstock.identity.operations import iam
from penstock.identity.operations.entities import encoded, may_tag, new_arn, page, tags
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output

MAX_SIZE = 6144  # characters without white space (AWS: IAM quotas)
MAX_VERSIONS = 5
_EPOCH = 1_793_491_200_000  # ms; AWS's policies are as old as Penstock's service model: 2026-11-01
_NOT_LISTED = frozenset({"Description", "Tags"})  # AWS: ListPolicies


def _of_input(call: Call, input: Input) -> str:
    """The ARN that a call on a policy is authorised on; for one that can be nothing of the caller's it is `*`."""
    arn = input["PolicyArn"]
    ours = arn.startswith(naming.arn(call.partition, call.account, "policy", "/", ""))
    return arn if ours or managed_policy(arn, call.partition) is not None else "*"


@iam("CreatePolicy", resource=new_arn("policy", "PolicyName"))
async def create_policy(authority: Authority, call: Call, input: Input) -> Output:
    """A new managed policy with its version v1."""
    name, path, document = input["PolicyName"], input.get("Path", "/"), input["PolicyDocument"]
    arn = naming.arn(call.partition, call.account, "policy", path, name)
    _check(document)
    await may_tag(call, input, "Policy", "PolicyName")

    def tx(conn: sa.Connection) -> sa.Row[Any]:
        table = records.policies
        taken = sa.select(table.c.id).where(table.c.account == call.account, table.c.key == name.lower())
        if conn.execute(taken).first() is not None:
            raise EntityAlreadyExistsException(
                f"A policy called {name} already exists. Duplicate names are not allowed."
            )
        policy_id = naming.unique_id(naming.POLICY)
        conn.execute(
            table.insert().values(
                id=policy_id,
                account=call.account,
                key=name.lower(),
                name=name,
                path=path,
                arn=arn,
                description=input.get("Description"),
                tags=tags(input.get("Tags")),
                default_version=1,
                last_version=1,
                created=call.now,
                updated=call.now,
            )
        )
        _insert_version(conn, policy_id, 1, document, call.now)
        return _find(conn, call, arn)

    row = await authority.change(tx)
    answer = _output(row, 0)
    answer.pop("Description", None)  # CreatePolicy does not show it (AWS: IAM API, Policy)
    return {"Policy": answer}


@iam("GetPolicy", resource=_of_input)
async def get_policy(authority: Authority, call: Call, input: Input) -> Output:
    """A managed policy, without its document (that is GetPolicyVersion)."""
    arn = input["PolicyArn"]

    def read(conn: sa.Connection) -> Output:
        managed = managed_policy(arn, call.partition)
        uses = _uses(conn, call.account, arn)
        return _managed_output(managed, arn, uses) if managed is not None else _output(_find(conn, call, arn), uses)

    return {"Policy": await call.app.store.read(read)}


@iam("ListPolicies")
async def list_policies(authority: Authority, call: Call, input: Input) -> Output:
    """AWS's and the account's managed policies, by ARN."""
    scope, prefix, attached = input.get("Scope", "All"), input.get("PathPrefix", "/"), input.get("OnlyAttached", False)

    if input.get("PolicyUsageFilter") == "PermissionsBoundary":
        return {"Policies": [], "IsTruncated": False}  # nothing is attached as one
    managed = {policy.arn(call.partition): policy for policy in POLICIES.values()} if scope in ("All", "AWS") else {}

    def read(conn: sa.Connection) -> tuple[list[_Listed], Output]:
        def after(keyset: list[Any] | None, limit: int) -> list[_Listed]:
            # The account's own come first, since an ARN with digits sorts before AWS's in every collation.
            begun = keyset is not None and keyset[0] in managed
            local = [] if begun or scope == "AWS" else _local(conn, call, prefix, keyset, limit, attached=attached)
            theirs = sorted(arn for arn in managed if not begun or (keyset is not None and arn > keyset[0]))
            uses = _uses_of(conn, call.account, [*(row.arn for row in local), *theirs])
            found = [_Listed(row.arn, _output(row, uses.get(row.arn, 0))) for row in local]
            found += [
                _Listed(arn, _managed_output(managed[arn], arn, uses.get(arn, 0)))
                for arn in theirs
                if managed[arn].path.startswith(prefix) and (arn in uses or not attached)
            ]
            return found[:limit]

        return page(call, input, after, "arn")

    rows, more = await call.app.store.scan(read)
    shown = [{name: value for name, value in row.output.items() if name not in _NOT_LISTED} for row in rows]
    return {"Policies": shown, **more}


@iam("DeletePolicy", resource=_of_input)
async def delete_policy(authority: Authority, call: Call, input: Input) -> None:
    """Forget a managed policy that is attached to nobody and has but one version."""

    def tx(conn: sa.Connection) -> None:
        row = _find(conn, call, input["PolicyArn"])
        if _uses(conn, call.account, row.arn):
            raise DeleteConflictException("Cannot delete a policy attached to entities.")
        if len(_versions(conn, row.id)) > 1:
            raise DeleteConflictException(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's "
                "versions. The default version is deleted with the policy."
            )
        conn.execute(records.policy_versions.delete().where(records.policy_versions.c.policy == row.id))
        conn.execute(records.policies.delete().where(records.policies.c.id == row.id))

    await authority.change(tx)


@iam("GetPolicyVersion", resource=_of_input)
async def get_policy_version(authority: Authority, call: Call, input: Input) -> Output:
    """One version with its document."""

    def read(conn: sa.Connection) -> Output:
        managed = managed_policy(input["PolicyArn"], call.partition)
        if managed is not None and input["VersionId"] == "v1":
            return {
                "Document": encoded(managed.document),
                "VersionId": "v1",
                "IsDefaultVersion": True,
                "CreateDate": _EPOCH,
            }
        row = _find(conn, call, input["PolicyArn"])
        return _version_output(row, _version(conn, row, input["VersionId"]), document=True)

    return {"PolicyVersion": await call.app.store.read(read)}


@iam("ListPolicyVersions", resource=_of_input)
async def list_policy_versions(authority: Authority, call: Call, input: Input) -> Output:
    """The versions of a policy, the newest first; at most five, so always one page."""

    def read(conn: sa.Connection) -> list[Output]:
        if managed_policy(input["PolicyArn"], call.partition) is not None:
            return [{"VersionId": "v1", "IsDefaultVersion": True, "CreateDate": _EPOCH}]
        row = _find(conn, call, input["PolicyArn"])
        return [_version_output(row, version, document=False) for version in _versions(conn, row.id)]

    return {"Versions": await call.app.store.read(read), "IsTruncated": False}


@iam("CreatePolicyVersion", resource=_of_input)
async def create_policy_version(authority: Authority, call: Call, input: Input) -> Output:
    """A new version, which counts at once when it is made the default."""
    _check(input["PolicyDocument"])

    def tx(conn: sa.Connection) -> Output:
        row = _find(conn, call, input["PolicyArn"])
        if len(_versions(conn, row.id)) >= MAX_VERSIONS:
            raise LimitExceededException(
                f"A managed policy can have up to {MAX_VERSIONS} versions. Before you create a new version, you must "
                "delete an existing version."
            )
        number = row.last_version + 1
        _insert_version(conn, row.id, number, input["PolicyDocument"], call.now)
        values: dict[str, Any] = {"last_version": number, "updated": call.now}
        if input.get("SetAsDefault"):
            values["default_version"] = number
        conn.execute(records.policies.update().where(records.policies.c.id == row.id).values(values))
        row = _find(conn, call, input["PolicyArn"])
        return _version_output(row, _version(conn, row, f"v{number}"), document=False)

    return {"PolicyVersion": await authority.change(tx)}


@iam("SetDefaultPolicyVersion", resource=_of_input)
async def set_default_policy_version(authority: Authority, call: Call, input: Input) -> None:
    """Make another version the one that counts."""

    def tx(conn: sa.Connection) -> None:
        row = _find(conn, call, input["PolicyArn"])
        version = _version(conn, row, input["VersionId"])
        values = {"default_version": version.version, "updated": call.now}
        conn.execute(records.policies.update().where(records.policies.c.id == row.id).values(values))

    await authority.change(tx)


@iam("DeletePolicyVersion", resource=_of_input)
async def delete_policy_version(authority: Authority, call: Call, input: Input) -> None:
    """Forget a version that is not the default."""

    def tx(conn: sa.Connection) -> None:
        row = _find(conn, call, input["PolicyArn"])
        version = _version(conn, row, input["VersionId"])
        if version.version == row.default_version:
            raise DeleteConflictException("Cannot delete the default version of a policy.")
        table = records.policy_versions
        conn.execute(table.delete().where(table.c.policy == row.id, table.c.version == version.version))

    await authority.change(tx)


class _Listed(NamedTuple):
    """An output that pages can be cut by."""

    arn: str
    output: Output


def _check(document: str) -> None:
    check_managed(document)
    if size(document) > MAX_SIZE:
        raise LimitExceededException(quota="PolicySize", limit=MAX_SIZE)


def _find(conn: sa.Connection, call: Call, arn: str) -> sa.Row[Any]:
    row = records.policy(conn, arn)
    if row is None or row.account != call.account:
        raise NoSuchEntityException(f"Policy {arn} was not found.")
    return row


def _uses(conn: sa.Connection, account: str, arn: str) -> int:
    table = records.attachments
    return conn.execute(sa.select(sa.func.count()).where(table.c.account == account, table.c.arn == arn)).scalar_one()


def _uses_of(conn: sa.Connection, account: str, arns: Sequence[str]) -> dict[str, int]:
    """How many users and roles each of some policies is attached to; one that is attached to nobody is left out."""
    table = records.attachments
    query = (
        sa.select(table.c.arn, sa.func.count().label("uses"))
        .where(table.c.account == account, table.c.arn.in_(arns))
        .group_by(table.c.arn)
    )
    return {row.arn: row.uses for row in conn.execute(query)}


def _local(
    conn: sa.Connection, call: Call, prefix: str, keyset: list[Any] | None, limit: int, *, attached: bool
) -> list[sa.Row[Any]]:
    """The account's own policies below a path, by ARN; `attached`: those that somebody has."""
    table, used = records.policies, records.attachments
    query = sa.select(table).where(table.c.account == call.account, table.c.path.startswith(prefix, autoescape=True))
    if attached:
        query = query.where(sa.exists().where(used.c.account == table.c.account, used.c.arn == table.c.arn))
    return list(conn.execute(rows_behind(query, [table.c.arn], keyset, limit=limit)))


def _insert_version(conn: sa.Connection, policy: str, number: int, document: str, now: int) -> None:
    conn.execute(records.policy_versions.insert().values(policy=policy, version=number, document=document, created=now))


def _versions(conn: sa.Connection, policy: str) -> list[Any]:
    table = records.policy_versions
    return list(conn.execute(sa.select(table).where(table.c.policy == policy).order_by(table.c.version.desc())).all())


def _version(conn: sa.Connection, row: sa.Row[Any], version_id: str) -> Any:
    for version in _versions(conn, row.id):
        if f"v{version.version}" == version_id:
            return version
    raise NoSuchEntityException(f"Policy {row.arn} version {version_id} does not exist or is not attachable.")


def _version_output(row: sa.Row[Any], version: Any, *, document: bool) -> Output:
    answer: Output = {
        "VersionId": f"v{version.version}",
        "IsDefaultVersion": version.version == row.default_version,
        "CreateDate": version.created,
    }
    if document:
        answer["Document"] = encoded(version.document)
    return answer


def _output(row: sa.Row[Any], uses: int) -> Output:
    answer: Output = {
        "PolicyName": row.name,
        "PolicyId": row.id,
        "Arn": row.arn,
        "Path": row.path,
        "DefaultVersionId": f"v{row.default_version}",
        "AttachmentCount": uses,
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "CreateDate": row.created,
        "UpdateDate": row.updated,
    }
    if row.description:
        answer["Description"] = row.description
    if row.tags:
        answer["Tags"] = row.tags
    return answer


def _managed_output(policy: ManagedPolicy, arn: str, uses: int) -> Output:
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.policy_id,
        "Arn": arn,
        "Path": policy.path,
        "DefaultVersionId": "v1",
        "AttachmentCount": uses,
        "PermissionsBoundaryUsageCount": 0,
        "IsAttachable": True,
        "Description": policy.description,
        "CreateDate": _EPOCH,
        "UpdateDate": _EPOCH,
    }
