"""ListActionExecutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import records
from penstock.pipelines.declaration import declared_action
from penstock.pipelines.errors import PipelineExecutionNotFoundException, ValidationException
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
        only_latest=only_latest,
        after=PAGES.after(call, input),
        limit=limit,
    )
    page = PAGES.page(call, input, rows, limit=limit, keyset=lambda row: [row.ordinal])
    return {"actionExecutionDetails": details, **page.more}


def _list(
    conn: sa.Connection,
    service: PipelineService,
    key: Key,
    execution: str | None,
    *,
    only_latest: bool,
    after: list[Any] | None,
    limit: int,
) -> tuple[Sequence[Output], Sequence[Any]]:
    """What a page shows, and its rows with one more."""
    pipeline = pipeline_row(conn, key)
    table = records.actions
    query = sa.select(table).where(table.c.pipeline_id == pipeline.id)
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
                newer.c.ordinal > table.c.ordinal,
            )
        )
    rows = conn.execute(rows_behind(query, [table.c.ordinal], after, limit=limit + 1, descending=True)).all()
    find = service.types.at(conn, key.account, key.region)
    return [_detail(service, conn, find, row) for row in rows[:limit]], rows


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
            "output": _output(service.links, find, row),
        }
    )


def _output(links: Links, find: Find, row: Any) -> Output:
    error = None
    if row.error_code:
        error = {"code": row.error_code, "message": row.error_message}
    return without_nones(
        {
            "outputArtifacts": [_artifact(artifact) for artifact in row.outputs or ()],
            "executionResult": without_nones(
                {
                    "externalExecutionId": row.external_id,
                    "externalExecutionSummary": row.summary,
                    "externalExecutionUrl": links.execution(find, row),
                    "errorDetails": error,
                    "logStreamARN": row.log_stream,
                }
            ),
            "outputVariables": row.variables or {},
        }
    )


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
