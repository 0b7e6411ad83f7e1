"""Policies of users and roles: inline ones, and attachments of managed ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from penstock.identity import records
from penstock.identity.change import change
from penstock.identity.errors import LimitExceededException, NoSuchEntityException, ValidationErrorException
from penstock.identity.managed import managed_policy
from penstock.identity.operations import operations
from penstock.identity.operations.entities import Resource, encoded, find_role, find_user, page, role_arn, user_arn
from penstock.identity.policy import identity_policy, size
from penstock.room import Call
from penstock.wire.call import Input, Output
from penstock.wire.registry import Handler

# Characters without white space that all inline policies of one owner may have together (AWS: IAM quotas).
MAX_INLINE = {"User": 2048, "Role": 10_240}
MAX_ATTACHED = 20  # AWS's quota is 10, and up to this on request


def _declare(kind: str, find: Callable[[sa.Connection, str, str], sa.Row[Any]], resource: Resource) -> None:
    """The operations on policies are the same for users and roles but for their names."""
    member = f"{kind}Name"

    async def put(call: Call, input: Input) -> None:
        """Write an inline policy; it counts from the next request on."""
        document = input["PolicyDocument"]
        identity_policy(document)

        def tx(conn: sa.Connection) -> None:
            row = find(conn, call.account, input[member])
            table = records.inline_policies
            this = (table.c.owner == row.id) & (table.c.name == input["PolicyName"])
            others = sa.select(table.c.document).where(table.c.owner == row.id, table.c.name != input["PolicyName"])
            used = sum(size(text) for text in conn.execute(others).scalars())
            if used + size(document) > MAX_INLINE[kind]:
                raise LimitExceededException(
                    f"Maximum policy size of {MAX_INLINE[kind]} bytes exceeded for {kind.lower()} {row.name}"
                )
            if not conn.execute(table.update().where(this).values(document=document)).rowcount:
                conn.execute(
                    table.insert().values(
                        owner=row.id, name=input["PolicyName"], account=call.account, document=document
                    )
                )

        await change(call.app, tx)

    async def get(call: Call, input: Input) -> Output:
        """An inline policy."""

        def read(conn: sa.Connection) -> Output:
            row = find(conn, call.account, input[member])
            return {
                member: row.name,
                "PolicyName": input["PolicyName"],
                "PolicyDocument": encoded(_inline(conn, kind, row.id, input["PolicyName"]).document),
            }

        return await call.app.store.read(read)

    async def list_inline(call: Call, input: Input) -> Output:
        """Names of the inline policies."""
        table = records.inline_policies

        def read(conn: sa.Connection) -> tuple[list[Any], Output]:
            row = find(conn, call.account, input[member])

            def after(keyset: list[Any] | None, limit: int) -> list[Any]:
                found = sa.select(table.c.name).where(table.c.owner == row.id).order_by(table.c.name).limit(limit)
                if keyset:
                    found = found.where(table.c.name > keyset[0])
                return list(conn.execute(found).all())

            return page(call, input, after, "name")

        found, more = await call.app.store.read(read)
        return {"PolicyNames": [row.name for row in found], **more}

    async def delete(call: Call, input: Input) -> None:
        """Forget an inline policy."""

        def tx(conn: sa.Connection) -> None:
            row = find(conn, call.account, input[member])
            _inline(conn, kind, row.id, input["PolicyName"])
            table = records.inline_policies
            conn.execute(table.delete().where(table.c.owner == row.id, table.c.name == input["PolicyName"]))

        await change(call.app, tx)

    async def attach(call: Call, input: Input) -> None:
        """Attach a managed policy; attaching it twice is no error."""
        arn = _checked_arn(input)

        def tx(conn: sa.Connection) -> None:
            row = find(conn, call.account, input[member])
            if _policy_name(conn, call, arn) is None:
                raise NoSuchEntityException(f"Policy {arn} does not exist or is not attachable.")
            present = records.attached(conn, row.id)
            if arn in present:
                return
            if len(present) >= MAX_ATTACHED:
                raise LimitExceededException(quota=f"PoliciesPer{kind}", limit=MAX_ATTACHED)
            conn.execute(records.attachments.insert().values(owner=row.id, arn=arn, account=call.account))

        await change(call.app, tx)

    async def detach(call: Call, input: Input) -> None:
        """Detach a managed policy."""
        _checked_arn(input)

        def tx(conn: sa.Connection) -> None:
            row = find(conn, call.account, input[member])
            table = records.attachments
            gone = table.delete().where(table.c.owner == row.id, table.c.arn == input["PolicyArn"])
            if not conn.execute(gone).rowcount:
                raise NoSuchEntityException(f"Policy {input['PolicyArn']} was not found.")

        await change(call.app, tx)

    async def list_attached(call: Call, input: Input) -> Output:
        """The attached managed policies."""
        table = records.attachments
        prefix = input.get("PathPrefix", "/")

        def read(conn: sa.Connection) -> tuple[list[Any], Output, list[Output]]:
            row = find(conn, call.account, input[member])

            def after(keyset: list[Any] | None, limit: int) -> list[Any]:
                found = conn.execute(sa.select(table.c.arn).where(table.c.owner == row.id).order_by(table.c.arn)).all()
                return [
                    one for one in found if _path(one.arn).startswith(prefix) and (not keyset or one.arn > keyset[0])
                ][:limit]

            shown, more = page(call, input, after, "arn")
            names = [{"PolicyName": one.arn.rpartition("/")[2], "PolicyArn": one.arn} for one in shown]
            return shown, more, names

        _, more, names = await call.app.store.read(read)
        return {"AttachedPolicies": names, **more}

    handlers: dict[str, Handler] = {
        f"Put{kind}Policy": put,
        f"Get{kind}Policy": get,
        f"List{kind}Policies": list_inline,
        f"Delete{kind}Policy": delete,
        f"Attach{kind}Policy": attach,
        f"Detach{kind}Policy": detach,
        f"ListAttached{kind}Policies": list_attached,
    }
    for name, handler in handlers.items():
        operations.operation(name, resource=resource)(handler)


def _inline(conn: sa.Connection, kind: str, owner: str, name: str) -> sa.Row[Any]:
    table = records.inline_policies
    row = conn.execute(sa.select(table).where(table.c.owner == owner, table.c.name == name)).first()
    if row is None:
        raise NoSuchEntityException(f"The {kind.lower()} policy with name {name} cannot be found.")
    return row


def _checked_arn(input: Input) -> str:
    arn: str = input["PolicyArn"]
    if not arn.startswith("arn:") or arn.count(":") < 5:
        raise ValidationErrorException("Invalid ARN:  Could not be parsed!")
    return arn


def _policy_name(conn: sa.Connection, call: Call, arn: str) -> str | None:
    managed = managed_policy(arn, call.partition)
    if managed is not None:
        return managed.name
    row = records.policy(conn, arn)
    return row.name if row is not None and row.account == call.account else None


def _path(arn: str) -> str:
    return arn.partition(":policy")[2].rpartition("/")[0] + "/"


_declare("User", find_user, user_arn)
_declare("Role", find_role, role_arn)
