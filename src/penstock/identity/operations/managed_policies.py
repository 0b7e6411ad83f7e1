"""Managed policies: AWS's own, which can be read, and an account's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import naming, records
from penstock.identity.authority import Authority
from penstock.identity.document_texts import size
from penstock.identity.documents import check_managed
from penstock.identity.errors import (
    AccessDeniedException,
    DeleteConflictException,
    EntityAlreadyExistsException,
    LimitExceededException,
    NoSuchEntityException,
    ValidationErrorException,
)
from penstock.identity.managed import POLICIES, ManagedPolicy, managed_policy
from penstock.identity.operations import iam
from penstock.identity.operations.entities import POLICY_TAGS, may_tag, new_arn, page, tags
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output

MAX_SIZE = 6144  # characters without white space (AWS: IAM quotas)
EPOCH = 1_793_491_200_000  # ms; AWS's policies are as old as Penstock's service model: 2026-11-01
# What a managed policy is had for, and where that stands: the columns of the account and of the policy's ARN.
_USES = {
    "PermissionsPolicy": ((records.attachments.c.account, records.attachments.c.arn),),
    "PermissionsBoundary": tuple((table.c.account, table.c.boundary) for table in (records.users, records.roles)),
}
_UNUSED = dict.fromkeys(_USES, 0)
_HOLDERS = {"User": records.users, "Group": records.groups, "Role": records.roles}
_NOT_LISTED = frozenset({"Description", "Tags"})  # AWS: ListPolicies


def policy_arn(call: Call, input: Input) -> str:
    """The ARN that a call on a policy is authorised on; for one that can be nothing of the caller's it is `*`.

    Raises ValidationError for a text that is not an ARN.
    """
    arn = checked_arn(input)
    ours = arn.startswith(naming.arn(call.partition, call.account, "policy", "/", ""))
    return arn if ours or managed_policy(arn, call.partition) is not None else "*"


def checked_arn(input: Input) -> str:
    """The ARN of the policy that an input names. Raises ValidationError for a text that is not an ARN."""
    arn: str = input["PolicyArn"]
    if not arn.startswith("arn:") or arn.count(":") < 5:
        raise ValidationErrorException(f"ARN {arn} is not valid.")
    return arn


@iam("CreatePolicy", resource=new_arn("policy", "PolicyName"))
async def create_policy(authority: Authority, call: Call, input: Input) -> Output:
    """A new managed policy with its version v1."""
    name, path, document = input["PolicyName"], input.get("Path", "/"), input["PolicyDocument"]
    arn = naming.arn(call.partition, call.account, "policy", path, name)
    check_document(document)
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
                tags=tags(input.get("Tags"), POLICY_TAGS),
                default_version=1,
                last_version=1,
                created=call.now,
                updated=call.now,
            )
        )
        insert_version(conn, policy_id, 1, document, call.now)
        return find_policy(conn, call, arn)

    row = await authority.change(tx)
    answer = policy_output(row, _UNUSED)
    answer.pop("Description", None)  # CreatePolicy does not show it (AWS: IAM API, Policy)
    if not answer["Tags"]:
        del answer["Tags"]
    return {"Policy": answer}


@iam("GetPolicy", resource=policy_arn)
async def get_policy(authority: Authority, call: Call, input: Input) -> Output:
    """A managed policy, without its document (that is GetPolicyVersion)."""
    arn = input["PolicyArn"]

    def read(conn: sa.Connection) -> Output:
        managed = managed_policy(arn, call.partition)
        uses = uses_of(conn, call.account, [arn])[arn]
        return (
            managed_output(managed, arn, uses)
            if managed is not None
            else policy_output(find_policy(conn, call, arn), uses)
        )

    return {"Policy": await call.app.store.read(read)}


@iam("ListPolicies")
async def list_policies(authority: Authority, call: Call, input: Input) -> Output:
    """AWS's and the account's managed policies, by ARN."""
    scope, prefix = input.get("Scope", "All"), input.get("PathPrefix", "/")
    usage = input.get("PolicyUsageFilter")
    kinds = [kind for kind in _USES if usage in (None, kind)]
    attached = input.get("OnlyAttached", False) or usage is not None
    managed = {policy.arn(call.partition): policy for policy in POLICIES.values()} if scope in ("All", "AWS") else {}

    def read(conn: sa.Connection) -> tuple[list[_Listed], Output]:
        def after(keyset: list[Any] | None, limit: int) -> list[_Listed]:
            # The account's own come first, since an ARN with digits sorts before AWS's in every collation.
            begun = keyset is not None and keyset[0] in managed
            local = (
                []
                if begun or scope == "AWS"
                else _local(conn, call, prefix, keyset, limit, used_as=kinds if attached else None)
            )
            theirs = sorted(arn for arn in managed if not begun or (keyset is not None and arn > keyset[0]))
            uses = uses_of(conn, call.account, [*(row.arn for row in local), *theirs])
            found = [_Listed(row.arn, policy_output(row, uses[row.arn])) for row in local]
            found += [
                _Listed(arn, managed_output(managed[arn], arn, uses[arn]))
                for arn in theirs
                if managed[arn].path.startswith(prefix) and (not attached or any(uses[arn][kind] for kind in kinds))
            ]
            return found[:limit]

        return page(call, input, after, "arn")

    rows, more = await call.app.store.scan(read)
    shown = [{name: value for name, value in row.output.items() if name not in _NOT_LISTED} for row in rows]
    return {"Policies": shown, **more}


@iam("ListEntitiesForPolicy", resource=policy_arn)
async def list_entities_for_policy(authority: Authority, call: Call, input: Input) -> Output:
    """The users, groups and roles that have a policy, attached or as their boundary, by id."""
    arn, prefix, usage = input["PolicyArn"], input.get("PathPrefix", "/"), input.get("PolicyUsageFilter")
    kinds = [kind for kind in _HOLDERS if input.get("EntityFilter", kind) == kind]

    def holders(kind: str) -> sa.Select[str, Any, Any]:
        table, attached = _HOLDERS[kind], records.attachments.c
        ways: list[sa.ColumnElement[bool]] = []
        if usage in (None, "PermissionsPolicy"):
            ways.append(sa.exists().where(attached.owner == table.c.id, attached.arn == arn))
        if usage in (None, "PermissionsBoundary") and "boundary" in table.c:
            ways.append(table.c.boundary == arn)
        return sa.select(sa.literal(kind).label("kind"), table.c.id, table.c.name).where(
            table.c.account == call.account, table.c.path.startswith(prefix, autoescape=True), sa.or_(sa.false(), *ways)
        )

    def read(conn: sa.Connection) -> tuple[list[Any], Output]:
        if managed_policy(arn, call.partition) is None and not is_ours(records.policy(conn, arn), call):
            raise NoSuchEntityException(f"Policy {arn} does not exist or is not attachable.")

        def after(keyset: list[Any] | None, limit: int) -> list[Any]:
            if not kinds:
                return []
            all_ = sa.union_all(*map(holders, kinds)).subquery()
            return list(conn.execute(rows_behind(sa.select(all_), [all_.c.id], keyset, limit=limit)).all())

        return page(call, input, after, "id")

    found, more = await call.app.store.scan(read)
    shown = {
        f"Policy{kind}s": [{f"{kind}Name": row.name, f"{kind}Id": row.id} for row in found if row.kind == kind]
        for kind in _HOLDERS
    }
    return {**shown, **more}


@iam("DeletePolicy", resource=policy_arn)
async def delete_policy(authority: Authority, call: Call, input: Input) -> None:
    """Forget a managed policy that is attached to nobody and has but one version."""
    refuse_others(call, input, "delete policies")

    def tx(conn: sa.Connection) -> None:
        row = find_policy(conn, call, input["PolicyArn"])
        if any(uses_of(conn, call.account, [row.arn])[row.arn].values()):
            raise DeleteConflictException("Cannot delete a policy attached to entities.")
        if len(versions_of(conn, row.id)) > 1:
            raise DeleteConflictException(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's "
                "versions. The default version is deleted with the policy."
            )
        conn.execute(records.policy_versions.delete().where(records.policy_versions.c.policy == row.id))
        conn.execute(records.policies.delete().where(records.policies.c.id == row.id))

    await authority.change(tx)


class _Listed(NamedTuple):
    """An output that pages can be cut by."""

    arn: str
    output: Output


def check_document(document: str) -> None:
    """Raises MalformedPolicyDocument, or LimitExceeded where it is too large for a managed policy."""
    check_managed(document)
    if size(document) > MAX_SIZE:
        raise LimitExceededException(quota="PolicySize", limit=MAX_SIZE)


def is_ours(row: sa.Row[Any] | None, call: Call) -> bool:
    """Whether a policy belongs to the account that a call is for."""
    return row is not None and row.account == call.account


def find_policy(conn: sa.Connection, call: Call, arn: str) -> sa.Row[Any]:
    """The policy of the account that has this ARN. Raises NoSuchEntity."""
    row = records.policy(conn, arn)
    if row is None or not is_ours(row, call):
        raise NoSuchEntityException(f"Policy {arn} was not found.")
    return row


def uses_of(conn: sa.Connection, account: str, arns: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many users, groups and roles have each of some policies, by what they have it for (`_USES`)."""
    found = {arn: dict(_UNUSED) for arn in arns}
    for kind, columns in _USES.items():
        for of_account, arn in columns:
            query = (
                sa.select(arn.label("arn"), sa.func.count().label("uses"))
                .where(of_account == account, arn.in_(arns))
                .group_by(arn)
            )
            for row in conn.execute(query):
                found[row.arn][kind] += row.uses
    return found


def _local(
    conn: sa.Connection,
    call: Call,
    prefix: str,
    keyset: list[Any] | None,
    limit: int,
    *,
    used_as: Sequence[str] | None,
) -> list[sa.Row[Any]]:
    """The account's own policies below a path, by ARN; with `used_as` those that somebody has for one of these."""
    table = records.policies
    query = sa.select(table).where(table.c.account == call.account, table.c.path.startswith(prefix, autoescape=True))
    if used_as is not None:
        used = [columns for kind in used_as for columns in _USES[kind]]
        query = query.where(
            sa.or_(*(sa.exists().where(of_account == table.c.account, arn == table.c.arn) for of_account, arn in used))
        )
    return list(conn.execute(rows_behind(query, [table.c.arn], keyset, limit=limit)))


def insert_version(conn: sa.Connection, policy: str, number: int, document: str, now: int) -> None:
    """Keep a version of a policy (its id)."""
    conn.execute(records.policy_versions.insert().values(policy=policy, version=number, document=document, created=now))


def versions_of(conn: sa.Connection, policy: str) -> list[Any]:
    """The versions of a policy (its id), the newest first."""
    table = records.policy_versions
    return list(conn.execute(sa.select(table).where(table.c.policy == policy).order_by(table.c.version.desc())).all())


def refuse_others(call: Call, input: Input, done: str) -> None:
    """Nobody changes policies of AWS's or of other accounts. Raises AccessDenied."""
    arn = input["PolicyArn"]
    if managed_policy(arn, call.partition) is not None or naming.account_of(arn) != call.account:
        raise AccessDeniedException(f"Cannot {done} outside your own account.")


def policy_output(row: sa.Row[Any], uses: Mapping[str, int]) -> Output:
    """The `Policy` shape of a policy of the account."""
    answer: Output = {
        "PolicyName": row.name,
        "PolicyId": row.id,
        "Arn": row.arn,
        "Path": row.path,
        "DefaultVersionId": f"v{row.default_version}",
        "AttachmentCount": uses["PermissionsPolicy"],
        "PermissionsBoundaryUsageCount": uses["PermissionsBoundary"],
        "IsAttachable": True,
        "CreateDate": row.created,
        "UpdateDate": row.updated,
    }
    if row.description:
        answer["Description"] = row.description
    answer["Tags"] = sorted_tags(row)
    return answer


def sorted_tags(row: sa.Row[Any]) -> list[dict[str, str]]:
    """The tags of a policy in the order in which AWS was seen to show them: short keys first."""
    return sorted(row.tags, key=lambda tag: (len(tag["Key"]), tag["Key"]))


def managed_output(policy: ManagedPolicy, arn: str, uses: Mapping[str, int]) -> Output:
    """The `Policy` shape of one of AWS's."""
    return {
        "PolicyName": policy.name,
        "PolicyId": policy.policy_id,
        "Arn": arn,
        "Path": policy.path,
        "DefaultVersionId": policy.version,
        "AttachmentCount": uses["PermissionsPolicy"],
        "PermissionsBoundaryUsageCount": uses["PermissionsBoundary"],
        "IsAttachable": True,
        "Description": policy.description,
        "CreateDate": EPOCH,
        "UpdateDate": EPOCH,
        "Tags": [],
    }
