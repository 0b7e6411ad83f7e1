"""ListDeployActionExecutionTargets: the hosts that an execution of a deploy action works on."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import records
from penstock.pipelines.errors import ActionExecutionNotFoundException
from penstock.pipelines.operations import PAGES, operation
from penstock.pipelines.operations.addressing import PAGE, any_pipeline_arn, key_of, pipeline_row
from penstock.pipelines.roles import RoleRefused
from penstock.pipelines.service import PipelineService
from penstock.pipelines.work import targets_of
from penstock.wire.call import Input, Output
from penstock.wire.errors import AccessDenied


@operation("ListDeployActionExecutionTargets", resource=any_pipeline_arn)
async def list_deploy_action_execution_targets(service: PipelineService, call: Call, input: Input) -> Output:
    """A page of the targets; none of an action that deploys to no hosts, or has not begun to."""
    row = await call.app.store.read(_execution, call, input)
    limit, statuses = input.get("maxResults", PAGE), _statuses(input)
    # The provider's own pages may be longer than the one that is asked for.
    theirs, at = PAGES.after(call, input) or ("", 0)
    try:
        found = await targets_of(service, row.id, statuses=statuses, after=theirs, start=at, limit=limit)
    except RoleRefused as refused:
        raise AccessDenied(str(refused)) from None
    answer: Output = {"targets": list(found.targets)}
    if at + limit < found.listed:
        answer["nextToken"] = PAGES.token(call, input, [theirs, at + limit])
    elif found.more:
        answer["nextToken"] = PAGES.token(call, input, [found.more, 0])
    return answer


def _execution(conn: sa.Connection, call: Call, input: Input) -> Any:
    """The row of the action execution. Raises PipelineNotFoundException and ActionExecutionNotFoundException."""
    named = input.get("pipelineName")
    pipeline = None if named is None else pipeline_row(conn, key_of(call, named)).id
    row = records.ACTION.first(conn, {"x": input["actionExecutionId"]})
    if (
        row is None
        or (row.account, row.region) != (call.account, call.region)
        or row.condition is not None
        or pipeline not in (None, row.pipeline_id)
    ):
        raise ActionExecutionNotFoundException(action=input["actionExecutionId"])
    return row


def _statuses(input: Input) -> list[str] | None:
    """Those of the filters; None without any."""
    filters = [one.get("values", []) for one in input.get("filters", ()) if one.get("name") == "TARGET_STATUS"]
    return [status for values in filters for status in values] if filters else None
