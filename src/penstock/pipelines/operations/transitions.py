"""EnableStageTransition, DisableStageTransition."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines.inputs import TransitionDisabled, TransitionEnabled
from penstock.pipelines.model import TransitionSide
from penstock.pipelines.operations import operation
from penstock.pipelines.operations.addressing import apply_asked, key_of, locked, require_stage, stage_arn
from penstock.pipelines.service import PipelineService
from penstock.wire.call import Input


@operation("DisableStageTransition", resource=stage_arn)
async def disable_stage_transition(service: PipelineService, call: Call, input: Input) -> None:
    """Disable a transition; executions wait before it."""
    asked = TransitionDisabled(
        stage=input["stageName"],
        side=TransitionSide(input["transitionType"]),
        reason=input["reason"],
        by=call.session.arn,
    )
    await _move(service, call, input, asked)


@operation("EnableStageTransition", resource=stage_arn)
async def enable_stage_transition(service: PipelineService, call: Call, input: Input) -> None:
    """Enable a transition; the execution that waits first enters at once."""
    asked = TransitionEnabled(
        stage=input["stageName"], side=TransitionSide(input["transitionType"]), by=call.session.arn
    )
    await _move(service, call, input, asked)


async def _move(
    service: PipelineService, call: Call, input: Input, asked: TransitionDisabled | TransitionEnabled
) -> None:
    await call.app.store.write(_apply, service, call, input, asked, seed=call.app.ids.seed())


def _apply(
    conn: sa.Connection,
    service: PipelineService,
    call: Call,
    input: Input,
    asked: TransitionDisabled | TransitionEnabled,
    *,
    seed: int,
) -> None:
    pipeline = locked(service, conn, key_of(call, input["pipelineName"]))
    require_stage(pipeline, input["stageName"])
    apply_asked(pipeline, call, asked, seed)
