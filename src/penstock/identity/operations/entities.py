"""What the operations on users, roles and policies share: finding them, their ARNs, pages, tags and times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import sqlalchemy as sa

from penstock.application import Call
from penstock.identity import naming, records
from penstock.identity.authority import Authority
from penstock.identity.errors import (
    EntityAlreadyExistsException,
    InvalidInputException,
    InvalidParameterValueException,
    LimitExceededException,
    NoSuchEntityException,
    ValidationErrorException,
)
from penstock.identity.guarded import as_named_now
from penstock.identity.last_uses import LastUses
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output, PrincipalKind
from penstock.wire.pages import Pages
from penstock.wire.tags import TagRules, pairs_of
from penstock.wire.tags import listed as listed_tags

Row = sa.Row[Any]
_BOUNDARY = "boundary"  # in the memo of a call: that of the user or role that it is about
T = TypeVar("T")
_DUPLICATE = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
_RESERVED = "Tag keys that begin with aws: are reserved for AWS."
_TAGS = TagRules(
    too_many=lambda: LimitExceededException("The number of tags has reached the maximum limit."),
    reserved=lambda _key: InvalidInputException(_RESERVED),
    duplicate=lambda _key: InvalidInputException(_DUPLICATE),
    malformed=lambda key, _value: InvalidInputException(f"The tag {key} is not valid."),
    ignores_case=True,
)
POLICY_TAGS = TagRules(
    too_many=lambda: LimitExceededException("The number of tags has reached the maximum limit."),
    reserved=lambda _key: InvalidInputException(_RESERVED),
    duplicate=lambda _key: InvalidInputException("Duplicate tag keys found."),
    malformed=lambda key, _value: InvalidInputException(f"The tag {key} is not valid."),
)
"""Of managed policies, where keys that differ in case are two."""
SESSION_TAGS = TagRules(
    too_many=lambda: ValidationErrorException("A session can have at most 50 tags."),
    reserved=lambda _key: ValidationErrorException(_RESERVED),
    duplicate=lambda _key: InvalidParameterValueException(_DUPLICATE),
    malformed=lambda key, _value: ValidationErrorException(f"The tag {key} is not valid."),
    ignores_case=True,
)
"""Of sessions that STS gives out."""

PAGES = Pages(lambda _token: ValidationErrorException("Invalid Marker."), member="Marker")
"""Of IAM's lists; see `page`."""


def find_user(conn: sa.Connection, account: str, name: str) -> Row:
    """The user, or NoSuchEntity."""
    row = records.user(conn, account, name)
    if row is None:
        raise NoSuchEntityException(kind="user", name=name)
    return row


def find_role(conn: sa.Connection, account: str, name: str) -> Row:
    """The role, or NoSuchEntity."""
    row = records.role(conn, account, name)
    if row is None:
        raise NoSuchEntityException(kind="role", name=name)
    return row


def find_group(conn: sa.Connection, account: str, name: str) -> Row:
    """The group, or NoSuchEntity."""
    row = records.group(conn, account, name)
    if row is None:
        raise NoSuchEntityException(kind="group", name=name)
    return row


async def group_arn(call: Call, input: Input) -> str:
    """ARN that a call on a group is authorised on."""
    row = await call.app.store.read(records.group, call.account, input["GroupName"])
    return naming.arn(call.partition, call.account, "group", "/", input["GroupName"]) if row is None else row.arn


async def user_arn(call: Call, input: Input) -> str:
    """ARN that a call on a user is authorised on; without a name it is the caller's own."""
    name = input.get("UserName")
    if name is None:
        return call.session.arn if call.session.kind is PrincipalKind.USER else "*"
    row = await call.app.store.read(records.user, call.account, name)
    if row is None:
        return naming.arn(call.partition, call.account, "user", "/", name)
    call.memo[_BOUNDARY] = row.boundary
    return row.arn


_RENAMED: dict[str, tuple[str, str, sa.Table, Callable[[sa.Connection, str, str], Row]]] = {
    "User": ("UserName", "NewUserName", records.users, find_user),
    "Group": ("GroupName", "NewGroupName", records.groups, find_group),
}


async def rename(authority: Authority, call: Call, input: Input, kind: str) -> None:
    """Give a `User` or a `Group` another name or path; what hangs on its id follows.

    Raises AccessDenied for a caller that may not change what would have the new ARN, and EntityAlreadyExists.
    """
    named, renamed, table, find = _RENAMED[kind]
    old = input[named]
    found = await call.app.store.read(find, call.account, old)
    name, path = input.get(renamed, found.name), input.get("NewPath", found.path)
    arn = naming.arn(call.partition, call.account, kind.lower(), path, name)
    if arn != found.arn:
        await authority.authorize(call, f"iam:Update{kind}", (arn,))

    def tx(conn: sa.Connection) -> None:
        row = find(conn, call.account, old)
        c = table.c
        taken = conn.execute(sa.select(c.id).where(c.account == call.account, c.key == name.lower())).scalar()
        if taken not in (None, row.id):
            raise EntityAlreadyExistsException(kind=kind, name=name)
        conn.execute(table.update().where(c.id == row.id).values(key=name.lower(), name=name, path=path, arn=arn))

    await authority.change(tx)


async def change_row(
    authority: Authority,
    table: sa.Table,
    find: Callable[[sa.Connection], Row],
    values: Callable[[Row], Mapping[str, Any]],
) -> None:
    """Change columns of the row that `find` finds, as it is at that moment: of two calls at once both count."""

    def tx(conn: sa.Connection) -> None:
        row = find(conn)
        if changed := values(row):
            (key,) = table.primary_key
            conn.execute(table.update().where(key == getattr(row, key.name)).values(dict(changed)))

    await authority.change(tx)


async def role_arn(call: Call, input: Input) -> str:
    """ARN that a call on a role is authorised on."""
    row = await call.app.store.read(records.role, call.account, input["RoleName"])
    if row is None:
        return naming.arn(call.partition, call.account, "role", "/", input["RoleName"])
    call.memo[_BOUNDARY] = row.boundary
    return row.arn


def policy_keys(call: Call, input: Input) -> Mapping[str, str | tuple[str, ...]]:
    """What policies may ask of who gives policies or boundaries (AWS: "Actions, resources, and condition keys for IAM").

    `iam:PermissionsBoundary` is the boundary that is asked for, or else the one that the user or role has.
    """
    found = {"iam:policyarn": input.get("PolicyArn")}
    found["iam:permissionsboundary"] = input.get("PermissionsBoundary") or call.memo.get(_BOUNDARY)
    return {key: arn for key, arn in found.items() if arn}


def new_arn(kind: str, name_member: str) -> Callable[[Call, Input], str]:
    """ARN of what a Create operation is about to make."""

    def resource(call: Call, input: Input) -> str:
        return naming.arn(call.partition, call.account, kind, input.get("Path", "/"), input[name_member])

    return resource


def path_arn(kind: str) -> Callable[[Call, Input], str]:
    """ARN that a list is authorised on: the path below which it looks (AWS names it so when it refuses)."""

    def resource(call: Call, input: Input) -> str:
        return naming.arn(call.partition, call.account, kind, input.get("PathPrefix", "/"), "")

    return resource


def user_name(call: Call, conn: sa.Connection, input: Input) -> str:
    """The name in the input, or the caller's own."""
    if "UserName" in input:
        return input["UserName"]
    if call.session.kind is not PrincipalKind.USER:
        raise ValidationErrorException("Must specify userName when calling with non-User credentials")
    row = records.user_by_id(conn, call.session.principal_id)
    if row is None:
        raise NoSuchEntityException(kind="user", name=call.session.arn.rpartition("/")[2])
    return row.name


def settable_status(input: Input) -> str:
    """The status that a key or a credential is given: Active or Inactive. Raises ValidationError for what only time makes of one."""
    status: str = input["Status"]
    if status not in ("Active", "Inactive"):
        raise ValidationErrorException(
            "1 validation error detected: Value at 'status' failed to satisfy constraint: Member must satisfy enum value set: "
            "[Active, Inactive]"
        )
    return status


def page(
    call: Call, input: Input, rows: Callable[[list[Any] | None, int], list[Any]], key: str
) -> tuple[list[Any], Output]:
    """One page of a list: its rows, and the members `IsTruncated` and `Marker`.

    `rows(after, limit)` gives the rows behind a keyset; `key` names the rows' column, which alone orders them.
    """
    limit = input.get("MaxItems", 100)
    read = rows(PAGES.after(call, input), limit + 1)
    found = PAGES.page(call, input, read, limit=limit, keyset=lambda row: [getattr(row, key)])
    return found.rows, {"IsTruncated": bool(found.more), **found.more}


def cut(call: Call, input: Input, found: Sequence[T], place: Callable[[T], str]) -> tuple[list[T], Output]:
    """One page of what was read as a whole, in its order, and the members `IsTruncated` and `Marker`; `place` tells its entries apart."""
    after, limit = PAGES.after(call, input), input.get("MaxItems", 100)
    start = 0
    if after is not None:
        # Behind entries that went meanwhile the others have moved up; where it is the next one that went, its number is left.
        following, number = after
        start = next((at for at, one in enumerate(found) if place(one) == following), number)
    end = start + limit
    rest = found[start : end + 1]
    read = PAGES.page(call, input, rest, limit=limit, keyset=lambda _last: (place(found[end]), end))
    return read.rows, {"IsTruncated": bool(read.more), **read.more}


def tags_page(call: Call, input: Input, tags: Sequence[dict[str, str]]) -> Output:
    """One page of an entity's tags, as the operations that list them answer it."""
    found, more = cut(call, input, tags, lambda tag: tag["Key"])
    return {"Tags": found, **more}


async def listed(call: Call, input: Input, table: sa.Table) -> tuple[list[Any], Output]:
    """One page of the account's users, groups or roles, by name, below `PathPrefix`; see `page`."""
    c = table.c

    def rows(conn: sa.Connection) -> tuple[list[Any], Output]:
        def after(keyset: list[Any] | None, limit: int) -> list[Any]:
            found = sa.select(table).where(c.account == call.account)
            if "PathPrefix" in input:
                found = found.where(c.path.startswith(input["PathPrefix"], autoescape=True))
            return list(conn.execute(rows_behind(found, [c.key], keyset, limit=limit)).all())

        return page(call, input, after, "key")

    return await call.app.store.scan(rows)


def tags(given: list[dict[str, str]] | None, rules: TagRules = _TAGS) -> list[dict[str, str]]:
    """Tags of a new entity. Raises InvalidInput for a key that stands twice or is AWS's."""
    return listed_tags(rules.check(pairs_of(given)))


async def may_tag(call: Call, input: Input, kind: str, name_member: str, *, path_kind: str = "") -> None:
    """Who makes an entity with tags must be allowed to tag it: tags decide in policies. Raises AccessDenied.

    `path_kind` is how ARNs name the kind, where that is not `kind` in lower case.
    """
    if input.get("Tags"):
        resource = new_arn(path_kind or kind.lower(), name_member)(call, input)
        await call.app.identity.authorize(call, f"iam:Tag{kind}", (resource,))


def merged_tags(old: list[dict[str, str]], new: list[dict[str, str]], rules: TagRules = _TAGS) -> list[dict[str, str]]:
    """Tags after adding `new`. Raises InvalidInput or LimitExceeded."""
    return listed_tags(rules.add(dict(pairs_of(old)), pairs_of(new)))


def without_tags(old: list[dict[str, str]], keys: list[str], rules: TagRules = _TAGS) -> list[dict[str, str]]:
    """Tags after removing some."""
    return listed_tags(rules.remove(dict(pairs_of(old)), keys))


def boundary_output(row: Row) -> Output:
    """The member `PermissionsBoundary` of a user or role that has one."""
    if row.boundary is None:
        return {}
    shown = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": row.boundary}
    return {"PermissionsBoundary": shown}


def encoded(document: str) -> str:
    """A policy document as IAM's answers carry it (RFC 3986)."""
    return quote(document, safe="-_.~")


def user_output(row: Row, *, full: bool = True, signed_in: int | None = None) -> Output:
    """The `User` shape. Lists leave tags out; only ListUsers and GetUser say when the user `signed_in` (ms) by password."""
    entity: Output = {
        "Path": row.path,
        "UserName": row.name,
        "UserId": row.id,
        "Arn": row.arn,
        "CreateDate": row.created,
    }
    if signed_in is not None:
        entity["PasswordLastUsed"] = signed_in
    if full:
        entity |= boundary_output(row)
        if row.tags:
            entity["Tags"] = row.tags
    return entity


def new_role_output(row: Row) -> Output:
    """The `Role` shape as operations that make one answer it: without what nobody can have changed or used yet."""
    left_out = ("Description", "MaxSessionDuration")
    entity = {name: value for name, value in role_output(row, row.trust).items() if name not in left_out}
    return entity | boundary_output(row) | ({"Tags": row.tags} if row.tags else {})


def trusts_to_api(conn: sa.Connection, rows: Sequence[Row]) -> list[str]:
    """The trust policies of roles as their readers see them: users and roles by what they are called now, or by their ids."""
    arns = records.arns_of(conn, (known for row in rows for known in row.trusted.values()))
    return [as_named_now(row.trust, row.trusted, arns) for row in rows]


def role_output(row: Row, trust: str, uses: LastUses | None = None) -> Output:
    """The `Role` shape with its trust policy as it is shown. Lists leave out what takes `uses`: last use, boundary and tags."""
    entity: Output = {
        "Path": row.path,
        "RoleName": row.name,
        "RoleId": row.id,
        "Arn": row.arn,
        "CreateDate": row.created,
        "AssumeRolePolicyDocument": encoded(trust),
        "MaxSessionDuration": row.max_session,
    }
    if row.description is not None:
        entity["Description"] = row.description
    if uses is not None:
        use = uses.latest(row)
        entity |= boundary_output(row)
        entity["RoleLastUsed"] = {} if use is None else {"LastUsedDate": use.at, "Region": use.region}
        if row.tags:
            entity["Tags"] = row.tags
    return entity
