"""Action types of partners: GetActionType and UpdateActionType, and, ours, how they come to be and who is a client of their providers."""

from __future__ import annotations

import secrets
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import worker_records
from penstock.pipelines.custom_types import check_change, check_declaration
from penstock.pipelines.errors import ActionTypeNotFoundException, LimitExceededException, ValidationException
from penstock.pipelines.model import ActionTypeId
from penstock.pipelines.operations import operation, ours
from penstock.pipelines.operations.addressing import type_arn
from penstock.pipelines.plan import id_named
from penstock.pipelines.service import PipelineService
from penstock.pipelines.types import may_use, partner_row
from penstock.store.deciding import decide_alone
from penstock.wire.call import Input, Output

OWNER = "ThirdParty"
MOST = 50  # of an account and region, as of custom types, with those that were removed
_TOKEN_BYTES = 32


def _named_arn(call: Call, input: Input) -> str:
    return type_arn(call, id_named(input))


def _declared_arn(call: Call, input: Input) -> str:
    return type_arn(call, id_named(input["actionType"]["id"]))


def not_found(id: ActionTypeId) -> ActionTypeNotFoundException:
    """The error for a type that is not there, or not for this account."""
    return ActionTypeNotFoundException(**id.as_output())


@operation("GetActionType", resource=_named_arn)
async def get_action_type(service: PipelineService, call: Call, input: Input) -> Output:
    """A partner's action type, for accounts that may use it and for its own."""
    row = await call.app.store.read(_usable, call, id_named(input))
    return {"actionType": row.definition}


def _usable(conn: sa.Connection, call: Call, id: ActionTypeId) -> Any:
    row = partner_row(conn, call.region, id)
    if row is None or row.deleted is not None or not may_use(row, call.account):
        raise not_found(id)
    return row


@operation("UpdateActionType", resource=_declared_arn)
async def update_action_type(service: PipelineService, call: Call, input: Input) -> None:
    """Another declaration for a type of the caller's account. Jobs that are made from now on are for whom it names."""
    declared = input["actionType"]
    check_declaration(declared)
    await call.app.store.write(_update, call, id_named(declared["id"]), declared)


def _update(conn: sa.Connection, call: Call, id: ActionTypeId, declared: dict[str, Any]) -> None:
    row = worker_records.find_own(conn, call.account, call.region, id, lock=True)
    if row is None or row.deleted is not None:
        raise not_found(id)
    check_change(row.definition, declared)
    worker_records.put(conn, call.account, call.region, id, now=call.now, definition=declared)


@ours("RegisterActionType", resource=_declared_arn)
async def register_action_type(service: PipelineService, call: Call, input: Input) -> None:
    """A type of the caller's account, under a name that no other account has had in the region."""
    declared = input["actionType"]
    id = id_named(declared["id"])
    if id.owner != OWNER:
        raise ValidationException(f"Action types of the owner {id.owner} are Penstock's own. Use the owner {OWNER}.")
    check_declaration(declared)
    await call.app.store.write(_register, service, call, id, declared)


def _register(
    conn: sa.Connection, service: PipelineService, call: Call, id: ActionTypeId, declared: dict[str, Any]
) -> None:
    decide_alone(conn, "action types of partners", call.region)
    row = partner_row(conn, call.region, id)
    if service.providers.find(id) is not None or (row is not None and row.account != call.account):
        # Also after it was removed: pipelines that name it must not come to trust somebody else.
        raise ValidationException("The action type belongs to somebody else. Choose another provider or version.")
    if row is not None and row.deleted is None:
        raise ValidationException("The account has the action type already. Change it by UpdateActionType.")
    if row is not None:
        check_change(row.definition, declared)
    elif worker_records.count_others(conn, call.account, call.region) >= MOST:
        raise LimitExceededException(
            f"The account has registered {MOST} action types in the region, which is the limit."
        )
    worker_records.put(conn, call.account, call.region, id, now=call.now, definition=declared, deleted=None)


@ours("DeregisterActionType", resource=_named_arn)
async def deregister_action_type(service: PipelineService, call: Call, input: Input) -> None:
    """No further pipeline may name the type."""
    await call.app.store.write(_deregister, call, id_named(input))


def _deregister(conn: sa.Connection, call: Call, id: ActionTypeId) -> None:
    row = worker_records.find_own(conn, call.account, call.region, id, lock=True)
    if row is not None and row.deleted is None:
        worker_records.put(
            conn, call.account, call.region, id, now=call.now, definition=row.definition, deleted=call.now
        )


@ours("CreateActionTypeClient", resource=_named_arn)
async def create_action_type_client(service: PipelineService, call: Call, input: Input) -> Output:
    """The pair by which the type's provider knows the caller's jobs."""
    id, client = id_named(input), call.app.ids.uuid()
    await call.app.store.read(_usable, call, id)
    token = call.app.sealer.seal(secrets.token_urlsafe(_TOKEN_BYTES).encode(), worker_records.token_context(client))
    row = await call.app.store.write(
        worker_records.put_client, call.account, call.region, id, client=client, token=token, now=call.now
    )
    return {"clientId": row.id, "clientToken": token_of(call, row)}


def token_of(call: Call, client: Any) -> str:
    """The token of a client's row."""
    return call.app.sealer.open(client.token, worker_records.token_context(client.id)).decode()
