"""ListActionExecutions and ListRuleExecutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import records
from penstock.pipelines.declaration import declared_action
from penstock.pipelines.errors import PipelineExecutionNotFoundException, ValidationException
from penstock.pipelines.gates import declared_rule
from penstock.pipelines.links import Links
from penstock.pipelines.model import Key
from penstock.pipelines.operations import PAGES, operation
from penstock.pipelines.operations.addressing import (
    PAGE,
    key_of,
    pipeline_arn,
    pipeline_row,
    without_nones,
)
from penstock.pipelines.service import PipelineService
from penstock.pipelines.types import Find
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output


@operation("ListActionExecutions", resource=pipeline_arn)
async def list_action_executions(service: PipelineService, call: Call, input: Input) -> Output:
    """The action executions of a pipeline or of one execution, latest start first."""
    details, more = await _page(service, call, input, rules=False)
    return {"actionExecutionDetails": details, **more}


@operation("ListRuleExecutions", resource=pipeline_arn)
async def list_rule_executions(service: PipelineService, call: Call, input: Input) -> Output:
    """The executions of the rules of conditions, as those of actions are listed."""
    details, more = await _page(service, call, input, rules=True)
    return {"ruleExecutionDetails": details, **more}


async def _page(
    service: PipelineService, call: Call, input: Input, *, rules: bool
) -> tuple[Sequence[Output], dict[str, str]]:
    chosen = input.get("filter", {})
    latest = chosen.get("latestInPipelineExecution")
    if latest is not None and "pipelineExecutionId" in chosen:
        raise ValidationException(
            "The filter may have one of pipelineExecutionId and latestInPipelineExecution, not both"
        )
    execution = latest["pipelineExecutionId"] if latest else chosen.get("pipelineExecutionId")
    only_latest = latest is not None and latest["startTimeRange"] == "Latest"
    limit = input.get("maxResults", PAGE)
    key = key_of(call, input["pipelineName"])
    details, rows = await call.app.store.scan(
        _list,
        service,
        key,
        execution,
        rules=rules,
        only_latest=only_latest,
        after=PAGES.after(call, input),
        limit=limit,
    )
    page = PAGES.page(call, input, rows, limit=limit, keyset=lambda row: [row.ordinal])
    return details, page.more


def _list(
    conn: sa.Connection,
    service: PipelineService,
    key: Key,
    execution: str | None,
    *,
    rules: bool,
    only_latest: bool,
    after: list[Any] | None,
    limit: int,
) -> tuple[Sequence[Output], Sequence[Any]]:
    """What a page shows, and its rows with one more."""
    pipeline = pipeline_row(conn, key)
    table = records.actions
    kind = table.c.condition.is_not(None) if rules else table.c.condition.is_(None)
    query = sa.select(table).where(table.c.pipeline_id == pipeline.id, kind)
    if execution is not None:
        if records.EXECUTION.first(conn, {"x": execution, "i": pipeline.id}) is None:
            raise PipelineExecutionNotFoundException(name=key.name, execution=execution)
        query = query.where(table.c.execution_id == execution)
    if only_latest:
        newer = table.alias()
        query = query.where(
            ~sa.exists().where(
                newer.c.execution_id == table.c.execution_id,
                newer.c.stage == table.c.stage,
                newer.c.action == table.c.action,
                sa.func.coalesce(newer.c.condition, "") == sa.func.coalesce(table.c.condition, ""),
                newer.c.ordinal > table.c.ordinal,
            )
        )
    rows = conn.execute(rows_behind(query, [table.c.ordinal], after, limit=limit + 1, descending=True)).all()
    find = service.types.at(conn, key.account, key.region)
    detail = _rule_detail if rules else _detail
    return [detail(service, conn, find, row) for row in rows[:limit]], rows


def _rule_detail(service: PipelineService, conn: sa.Connection, find: Find, row: Any) -> Output:
    declaration = service.versions.declaration(conn, row.pipeline_id, row.version) or {}
    declared = declared_rule(declaration, row.stage, row.condition, row.action)
    configuration = declared.get("configuration", {})
    given = {
        "ruleTypeId": declared.get("actionTypeId"),
        "configuration": configuration,
        "resolvedConfiguration": configuration if row.resolved is None else row.resolved,
        "roleArn": declared.get("roleArn"),
        "region": declared.get("region", row.region),
        "inputArtifacts": [_artifact(artifact) for artifact in row.inputs or ()],
    }
    result = {
        name: value for name, value in _result(service.links, find, row, declared).items() if name != "logStreamARN"
    }
    return without_nones(
        {
            "pipelineExecutionId": row.execution_id,
            "ruleExecutionId": row.id,
            "pipelineVersion": row.version,
            "stageName": row.stage,
            "ruleName": row.action,
            "startTime": row.started,
            "lastUpdateTime": row.updated,
            "updatedBy": row.updated_by,
            "status": row.status,
            "input": without_nones(given),
            "output": {"executionResult": result},
        }
    )


def _detail(service: PipelineService, conn: sa.Connection, find: Find, row: Any) -> Output:
    declared = declared_action(
        service.versions.declaration(conn, row.pipeline_id, row.version) or {}, row.stage, row.action
    )
    return without_nones(
        {
            "pipelineExecutionId": row.execution_id,
            "actionExecutionId": row.id,
            "pipelineVersion": row.version,
            "stageName": row.stage,
            "actionName": row.action,
            "startTime": row.started,
            "lastUpdateTime": row.updated,
            "updatedBy": row.updated_by,
            "status": row.status,
            "input": _input(row, declared),
            "output": _output(service.links, find, row, declared),
        }
    )


def _result(links: Links, find: Find, row: Any, declared: Mapping[str, Any]) -> Output:
    error = None
    if row.error_code:
        error = {"code": row.error_code, "message": row.error_message}
    return without_nones(
        {
            "externalExecutionId": row.external_id,
            "externalExecutionSummary": row.summary,
            "externalExecutionUrl": links.execution(find, row, region=declared.get("region", "")),
            "errorDetails": error,
            "logStreamARN": row.log_stream,
        }
    )


def _output(links: Links, find: Find, row: Any, declared: Mapping[str, Any]) -> Output:
    return {
        "outputArtifacts": [_artifact(artifact) for artifact in row.outputs or ()],
        "executionResult": _result(links, find, row, declared),
        "outputVariables": row.variables or {},
    }


def _input(row: Any, declared: Mapping[str, Any]) -> Output:
    configuration = declared.get("configuration", {})
    return without_nones(
        {
            "actionTypeId": declared.get("actionTypeId"),
            "configuration": configuration,
            "resolvedConfiguration": configuration if row.resolved is None else row.resolved,
            "roleArn": declared.get("roleArn"),
            "region": declared.get("region", row.region),
            "inputArtifacts": [_artifact(artifact) for artifact in row.inputs or ()],
            "namespace": declared.get("namespace"),
        }
    )


def _artifact(artifact: Mapping[str, str]) -> Output:
    return {"name": artifact["name"], "s3location": {"bucket": artifact["bucket"], "key": artifact["key"]}}
