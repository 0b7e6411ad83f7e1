"""Roles that are linked to services: made for one, and deleted when nothing of it needs them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.component import LinkedRole
from penstock.identity import naming, records
from penstock.identity.authority import Authority
from penstock.identity.errors import InvalidInputException, NoSuchEntityException
from penstock.identity.linked_roles import PATH, deletions, is_linked, trust_of
from penstock.identity.operations import iam
from penstock.identity.operations.entities import find_role, new_role_output, role_arn
from penstock.identity.operations.roles import new_role
from penstock.wire.call import Input, Output

_TASK = re.compile(rf"task({PATH}[\w+=,.@-]+/)([\w+=,.@-]+)/([0-9a-f-]{{36}})", re.ASCII)
_NEEDED = 20  # ARNs of what needs a role that is to be deleted, in a region
_KEPT_MS = 90 * 86_400_000  # what became of a deletion


def _new_arn(call: Call, input: Input) -> str:
    service = input["AWSServiceName"]
    known = call.app.linked_roles.get(service)
    return naming.arn(call.partition, call.account, "role", f"{PATH}{service}/", "*" if known is None else known.name)


def _keys(_call: Call, input: Input) -> Mapping[str, str | tuple[str, ...]]:
    """What policies may ask of the service."""
    return {"iam:awsservicename": input["AWSServiceName"]}


@iam("CreateServiceLinkedRole", resource=_new_arn, keys=_keys)
async def create_service_linked_role(authority: Authority, call: Call, input: Input) -> Output:
    """The role of a service in the account, with the policy that the service has for it."""
    service = input["AWSServiceName"]
    linked = call.app.linked_roles.get(service)
    if linked is None:
        raise InvalidInputException(f"Cannot find Service Linked Role template for {service}")
    if "CustomSuffix" in input:
        raise InvalidInputException(f"Custom suffix is not allowed for {service}")

    def tx(conn: sa.Connection) -> Any:
        if records.role(conn, call.account, linked.name) is not None:
            raise InvalidInputException(
                f"Service role name {linked.name} has been taken in this account, please try a different suffix."
            )
        row = new_role(
            conn,
            call,
            account=call.account,
            name=linked.name,
            path=f"{PATH}{service}/",
            trust=trust_of(linked),
            description=input.get("Description"),
        )
        policy = naming.arn(call.partition, "aws", "policy", PATH, linked.policy)
        conn.execute(records.attachments.insert().values(owner=row["id"], arn=policy, account=call.account))
        return find_role(conn, call.account, linked.name)

    return {"Role": new_role_output(await authority.change(tx))}


@iam("DeleteServiceLinkedRole", resource=role_arn)
async def delete_service_linked_role(authority: Authority, call: Call, input: Input) -> Output:
    """Forget a role of a service, unless something of the service needs it. Which of both it is says the task that is answered."""

    def tx(conn: sa.Connection) -> str:
        row = find_role(conn, call.account, input["RoleName"])
        if not is_linked(row):
            raise NoSuchEntityException(
                f"The service-linked role with name {row.name} cannot be found. DeleteRole deletes roles of other kinds."
            )
        uses = _uses(conn, call, row)
        reason = None
        if uses:
            service = row.path.removeprefix(PATH).rstrip("/")
            reason = f"Resources of {service} use the role. Delete them, then delete the role again."
        else:
            conn.execute(records.attachments.delete().where(records.attachments.c.owner == row.id))
            conn.execute(records.roles.delete().where(records.roles.c.id == row.id))
        task = {"id": str(uuid.uuid4()), "account": call.account, "at": call.now, "reason": reason, "uses": uses}
        task["task"] = f"task{row.path}{row.name}/{task['id']}"
        conn.execute(deletions.insert().values(task))
        return task["task"]

    return {"DeletionTaskId": await authority.change(tx)}


def _role_of_task(call: Call, input: Input) -> str:
    task = _TASK.fullmatch(input["DeletionTaskId"])
    return "*" if task is None else naming.arn(call.partition, call.account, "role", task[1], task[2])


@iam("GetServiceLinkedRoleDeletionStatus", resource=_role_of_task)
async def get_service_linked_role_deletion_status(authority: Authority, call: Call, input: Input) -> Output:
    """What became of the deletion of a role, which has ended when its task is answered."""
    task = _TASK.fullmatch(input["DeletionTaskId"])
    if task is None:
        raise InvalidInputException(f"Invalid deletion task id: {input['DeletionTaskId']}")
    c = deletions.c
    this = (c.id == task[3]) & (c.account == call.account) & (c.task == task[0])
    found = await call.app.store.read(lambda conn: conn.execute(sa.select(deletions).where(this)).first())
    if found is None:
        raise NoSuchEntityException(f"The deletion task with id {task[0]} cannot be found.")
    if found.reason is None:
        return {"Status": "SUCCEEDED"}
    uses = [{"Region": region, "Resources": arns} for region, arns in found.uses.items()]
    return {"Status": "FAILED", "Reason": {"Reason": found.reason, "RoleUsageList": uses}}


def over(now: int) -> sa.ColumnElement[bool]:
    """Deletions that nobody asks about any more."""
    return deletions.c.at < now - _KEPT_MS


def _uses(conn: sa.Connection, call: Call, role: Any) -> dict[str, list[str]]:
    linked: LinkedRole | None = call.app.linked_roles.get(role.path.removeprefix(PATH).rstrip("/"))
    found = {} if linked is None else linked.uses(conn, call.account)
    return {region: list(arns[:_NEEDED]) for region, arns in found.items() if arns}
