"""ListActionTypes: the action types that this installation runs, the account's own ones, and partners' that it may use."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import worker_records
from penstock.pipelines.links import Links
from penstock.pipelines.model import ActionType
from penstock.pipelines.operations import PAGES, operation
from penstock.pipelines.operations.addressing import without_nones
from penstock.pipelines.service import PipelineService
from penstock.pipelines.types import may_use, type_of_row
from penstock.wire.call import Input, Output


@operation("ListActionTypes")
async def list_action_types(service: PipelineService, call: Call, input: Input) -> Output:
    """Every type in one page, by its names; none in a region that is not configured."""
    PAGES.after(call, input)
    region = input.get("regionFilter", call.region)
    if region not in call.app.settings.all_regions():
        return {"actionTypes": []}
    owner = input.get("actionOwnerFilter")
    own = await call.app.store.read(_of_account, call.account, region)
    types = sorted([*service.providers.types(), *own], key=_order)
    return {"actionTypes": [answer_of(service.links, known) for known in types if owner in (None, known.id.owner)]}


def _of_account(conn: sa.Connection, account: str, region: str) -> list[ActionType]:
    rows: list[Any] = worker_records.all_here(conn, account, region)
    return [type_of_row(row) for row in rows if row.account == account or may_use(row, account)]


def _order(known: ActionType) -> tuple[str, ...]:
    return known.id.category, known.id.owner, known.id.provider, known.id.version


def answer_of(links: Links, known: ActionType) -> Output:
    """The shape `ActionType`."""
    answer: Output = {
        "id": known.id.as_output(),
        "actionConfigurationProperties": [
            without_nones(
                {
                    "name": declared.name,
                    "required": declared.required,
                    "key": declared.key,
                    "secret": declared.masked,
                    "queryable": declared.queryable,
                    "description": declared.description or None,
                    "type": declared.kind or None,
                }
            )
            for declared in known.properties
        ],
        "inputArtifactDetails": {"minimumCount": known.inputs[0], "maximumCount": known.inputs[1]},
        "outputArtifactDetails": {"minimumCount": known.outputs[0], "maximumCount": known.outputs[1]},
    }
    settings = without_nones(
        {
            "thirdPartyConfigurationUrl": known.configuration_url or None,
            "entityUrlTemplate": links.absolute(known.entity_url),
            "executionUrlTemplate": links.absolute(known.execution_url),
            "revisionUrlTemplate": links.absolute(known.revision_url),
        }
    )
    if settings:
        answer["settings"] = settings
    return answer
