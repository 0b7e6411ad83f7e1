"""CreateCustomActionType and DeleteCustomActionType. AWS: actions-create-custom-action."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import worker_records
from penstock.pipelines.custom_types import CUSTOM, check_custom, check_lease
from penstock.pipelines.errors import LimitExceededException, ValidationException
from penstock.pipelines.model import ActionTypeId
from penstock.pipelines.operations import operation
from penstock.pipelines.operations.action_types import answer_of
from penstock.pipelines.operations.addressing import type_arn
from penstock.pipelines.operations.tags import pairs_of, tag_rules
from penstock.pipelines.service import PipelineService
from penstock.pipelines.types import type_of_row
from penstock.store.deciding import decide_alone
from penstock.wire.call import Input, Output

MOST = 50  # custom action types of an account and region. AWS: limits
MOST_DELETED = 1_000  # that pipelines may still name
_DEFINITION = ("settings", "configurationProperties", "inputArtifactDetails", "outputArtifactDetails")


def _id(input: Input) -> ActionTypeId:
    return ActionTypeId(category=input["category"], owner=CUSTOM, provider=input["provider"], version=input["version"])


def _arn(call: Call, input: Input) -> str:
    return type_arn(call, _id(input))


@operation("CreateCustomActionType", resource=_arn)
async def create_custom_action_type(service: PipelineService, call: Call, input: Input) -> Output:
    """A type whose actions job workers do. A deleted one comes back with the definition that it had."""
    id, definition = _id(input), {name: input[name] for name in _DEFINITION if name in input}
    check_custom({"category": id.category, **definition})
    tags = tag_rules(type_arn(call, id)).check(pairs_of(input.get("tags", [])))
    check_lease(tags)
    row = await call.app.store.write(_create, call, id, definition, tags)
    answer: Output = {"actionType": answer_of(service.links, type_of_row(row))}
    return answer | {"tags": input["tags"]} if input.get("tags") else answer


def _create(conn: sa.Connection, call: Call, id: ActionTypeId, definition: dict[str, Any], tags: dict[str, str]) -> Any:
    decide_alone(conn, "custom action types", call.account, call.region)
    row = worker_records.find_own(conn, call.account, call.region, id, lock=True)
    if row is not None and row.deleted is None:
        raise ValidationException(
            f"The account already has a custom action type {_named(id)}. Delete it, or create it with another version."
        )
    if row is not None and row.definition != definition:
        raise ValidationException(
            f"The custom action type {_named(id)} was deleted and had another definition, which pipelines may still use. "
            "Create it as it was, or with another version."
        )
    there, deleted = worker_records.count_custom(conn, call.account, call.region)
    if there >= MOST:
        raise LimitExceededException(f"The account has {MOST} custom action types in the region, which is the limit.")
    if row is None and deleted >= MOST_DELETED:
        raise LimitExceededException(
            f"The account has deleted {MOST_DELETED} custom action types in the region, which pipelines may still use. Create one of "
            "these again as it was."
        )
    worker_records.put(
        conn, call.account, call.region, id, now=call.now, definition=definition, tags=tags, deleted=None
    )
    return worker_records.find_own(conn, call.account, call.region, id)


def _named(id: ActionTypeId) -> str:
    return f"(Category: '{id.category}', Provider: '{id.provider}', Version: '{id.version}')"


@operation("DeleteCustomActionType", resource=_arn)
async def delete_custom_action_type(service: PipelineService, call: Call, input: Input) -> None:
    """No further pipeline may name the type, and no worker gets a job of it. One that does not exist is gone already."""
    await call.app.store.write(_delete, call, _id(input))


def _delete(conn: sa.Connection, call: Call, id: ActionTypeId) -> None:
    row = worker_records.find_own(conn, call.account, call.region, id, lock=True)
    if row is not None and row.deleted is None:
        worker_records.put(conn, call.account, call.region, id, now=call.now, deleted=call.now, **_kept(row))


def _kept(row: Any) -> dict[str, Any]:
    return {"definition": row.definition, "tags": {}}
