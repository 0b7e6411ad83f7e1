"""Which pipeline, stage or action a call is about: ARNs for policies, keys for the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import records
from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.effects import Effect
from penstock.pipelines.errors import (
    PipelineNotFoundException,
    StageNotFoundException,
)
from penstock.pipelines.inputs import Input as Asked
from penstock.pipelines.model import ActionTypeId, Key
from penstock.pipelines.service import PipelineService
from penstock.wire.call import Input

PAGE = 100


def arn_of(call: Call, name: str, *parts: str) -> str:
    """The ARN of a pipeline, of a stage or of an action."""
    return call.arn("codepipeline", "/".join((name, *parts)))


def declared_arn(call: Call, input: Input) -> str:
    """Of the pipeline that a declaration is for."""
    return arn_of(call, input["pipeline"]["name"])


def pipeline_arn(call: Call, input: Input) -> str:
    """Of the pipeline that `name` or `pipelineName` means."""
    return arn_of(call, input.get("name") or input["pipelineName"])


def any_pipeline_arn(call: Call, input: Input) -> str:
    """Of the pipeline that `pipelineName` means; of a call that names none, of any."""
    return arn_of(call, input.get("pipelineName") or "*")


def stage_arn(call: Call, input: Input) -> str:
    """Of a stage."""
    return arn_of(call, input["pipelineName"], input["stageName"])


def action_arn(call: Call, input: Input) -> str:
    """Of an action."""
    return arn_of(call, input["pipelineName"], input["stageName"], input["actionName"])


def type_arn(call: Call, id: ActionTypeId) -> str:
    """The ARN of an action type. AWS: permissions-reference."""
    return call.arn("codepipeline", f"actionType:{id.owner}/{id.category}/{id.provider}/{id.version}")


def key_of(call: Call, name: str) -> Key:
    """The pipeline of that name in the call's account and region."""
    return Key(account=call.account, region=call.region, name=name)


def pipeline_row(conn: sa.Connection, key: Key, *, lock: bool = False) -> sa.Row[Any]:
    """The row of a pipeline. Raises PipelineNotFoundException."""
    row = records.pipeline(conn, key.account, key.region, key.name, lock=lock)
    if row is None:
        raise PipelineNotFoundException(account=key.account, name=key.name)
    return row


def declaration_of(
    service: PipelineService, conn: sa.Connection, key: Key, pipeline_id: str, version: int
) -> Mapping[str, Any]:
    """The declaration of a version that there was a moment ago. Raises PipelineNotFoundException when it was deleted."""
    declaration = service.versions.declaration(conn, pipeline_id, version)
    if declaration is None:
        raise PipelineNotFoundException(account=key.account, name=key.name)
    return declaration


def locked(service: PipelineService, conn: sa.Connection, key: Key) -> PipelineAggregate:
    """The pipeline, locked. Raises PipelineNotFoundException."""
    pipeline = PipelineAggregate.find(conn, service.versions, key)
    if pipeline is None:
        raise PipelineNotFoundException(account=key.account, name=key.name)
    return pipeline


def apply_asked(pipeline: PipelineAggregate, call: Call, asked: Asked, seed: int) -> Sequence[Effect]:
    """Take the decision that a call asks for; its effects."""
    with pipeline:
        return pipeline.apply(asked, now=call.now, seed=seed, actor=call.session.arn, cause=call.request_id)


def require_stage(pipeline: PipelineAggregate, stage: str) -> None:
    """Raises StageNotFoundException unless the current version has the stage."""
    if pipeline.plan.index(stage) is None:
        raise StageNotFoundException(name=pipeline.key.name, stage=stage)


def without_nones(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members that have a value."""
    return {name: value for name, value in members.items() if value is not None}
