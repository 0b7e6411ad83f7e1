"""The versions of managed policies: at most five of each, one of which counts."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import records
from penstock.identity.authority import Authority
from penstock.identity.errors import DeleteConflictException, LimitExceededException, NoSuchEntityException
from penstock.identity.managed import ManagedPolicy, managed_policy
from penstock.identity.operations import iam
from penstock.identity.operations.entities import cut, encoded
from penstock.identity.operations.managed_policies import (
    EPOCH,
    check_document,
    find_policy,
    insert_version,
    is_ours,
    policy_arn,
    refuse_others,
    versions_of,
)
from penstock.wire.call import Input, Output

MAX_VERSIONS = 5  # of one policy (AWS: IAM quotas)


@iam("GetPolicyVersion", resource=policy_arn)
async def get_policy_version(authority: Authority, call: Call, input: Input) -> Output:
    """One version with its document."""

    def read(conn: sa.Connection) -> Output:
        managed = managed_policy(input["PolicyArn"], call.partition)
        if managed is not None and input["VersionId"] == managed.version:
            return managed_version(managed) | {"Document": encoded(managed.document(call.partition))}
        row, version = _version(conn, call, input)
        return version_output(row, version, document=True)

    return {"PolicyVersion": await call.app.store.read(read)}


@iam("ListPolicyVersions", resource=policy_arn)
async def list_policy_versions(authority: Authority, call: Call, input: Input) -> Output:
    """The versions of a policy, the newest first."""

    def read(conn: sa.Connection) -> list[Output]:
        managed = managed_policy(input["PolicyArn"], call.partition)
        if managed is not None:
            return [managed_version(managed)]
        row = find_policy(conn, call, input["PolicyArn"])
        return [version_output(row, version, document=False) for version in versions_of(conn, row.id)]

    found, more = cut(call, input, await call.app.store.read(read), lambda version: version["VersionId"])
    return {"Versions": found, **more}


@iam("CreatePolicyVersion", resource=policy_arn)
async def create_policy_version(authority: Authority, call: Call, input: Input) -> Output:
    """A new version, which counts at once when it is made the default."""
    refuse_others(call, input, "update policies")
    check_document(input["PolicyDocument"])

    def tx(conn: sa.Connection) -> Output:
        row = find_policy(conn, call, input["PolicyArn"])
        if len(versions_of(conn, row.id)) >= MAX_VERSIONS:
            raise LimitExceededException(
                f"A managed policy can have up to {MAX_VERSIONS} versions. Before you create a new version, you must "
                "delete an existing version."
            )
        number = row.last_version + 1
        insert_version(conn, row.id, number, input["PolicyDocument"], call.now)
        values: dict[str, Any] = {"last_version": number, "updated": call.now}
        if input.get("SetAsDefault"):
            values["default_version"] = number
        conn.execute(records.policies.update().where(records.policies.c.id == row.id).values(values))
        row, version = _version(conn, call, input | {"VersionId": f"v{number}"})
        return version_output(row, version, document=False)

    return {"PolicyVersion": await authority.change(tx)}


@iam("SetDefaultPolicyVersion", resource=policy_arn)
async def set_default_policy_version(authority: Authority, call: Call, input: Input) -> None:
    """Make another version the one that counts."""
    refuse_others(call, input, "update policies")

    def tx(conn: sa.Connection) -> None:
        row, version = _version(conn, call, input)
        values = {"default_version": version.version, "updated": call.now}
        conn.execute(records.policies.update().where(records.policies.c.id == row.id).values(values))

    await authority.change(tx)


@iam("DeletePolicyVersion", resource=policy_arn)
async def delete_policy_version(authority: Authority, call: Call, input: Input) -> None:
    """Forget a version that is not the default."""
    refuse_others(call, input, "delete policy versions for policies")

    def tx(conn: sa.Connection) -> None:
        row, version = _version(conn, call, input)
        if version.version == row.default_version:
            raise DeleteConflictException("Cannot delete the default version of a policy.")
        table = records.policy_versions
        conn.execute(table.delete().where(table.c.policy == row.id, table.c.version == version.version))

    await authority.change(tx)


def _version(conn: sa.Connection, call: Call, input: Input) -> tuple[sa.Row[Any], Any]:
    """The policy of the account and the version that an input names. Raises NoSuchEntity, alike for either."""
    arn, version_id = input["PolicyArn"], input["VersionId"]
    row = records.policy(conn, arn)
    if row is not None and is_ours(row, call):
        for version in versions_of(conn, row.id):
            if f"v{version.version}" == version_id:
                return row, version
    raise NoSuchEntityException(f"Policy {arn} version {version_id} does not exist or is not attachable.")


def version_output(row: sa.Row[Any], version: Any, *, document: bool) -> Output:
    """The `PolicyVersion` shape."""
    answer: Output = {
        "VersionId": f"v{version.version}",
        "IsDefaultVersion": version.version == row.default_version,
        "CreateDate": version.created,
    }
    if document:
        answer["Document"] = encoded(version.document)
    return answer


def managed_version(policy: ManagedPolicy) -> Output:
    """The `PolicyVersion` shape of one of AWS's, without its document."""
    return {"VersionId": policy.version, "IsDefaultVersion": True, "CreateDate": EPOCH}
