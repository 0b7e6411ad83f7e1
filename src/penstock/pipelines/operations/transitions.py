"""EnableStageTransition, DisableStageTransition."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.pipelines.aggregate import Aggregates
from penstock.pipelines.commit import Report
from penstock.pipelines.happenings import TransitionDisabled, TransitionEnabled
from penstock.pipelines.model import TransitionSide
from penstock.pipelines.operations.addressing import key_of, locked, require_stage, stage_arn
from penstock.room import Call
from penstock.wire.call import Input
from penstock.wire.registry import Operations


def declare(operations: Operations, aggregates: Aggregates) -> None:
    """Register the operations of this resource."""
    desk = Transitions(aggregates)
    operations.operation("DisableStageTransition", resource=stage_arn)(desk.disable)
    operations.operation("EnableStageTransition", resource=stage_arn)(desk.enable)


class Transitions:
    """The doors between stages."""

    def __init__(self, aggregates: Aggregates) -> None:
        self.aggregates = aggregates

    async def disable(self, call: Call, input: Input) -> None:
        """Shut a door; executions wait before it."""
        happening = TransitionDisabled(
            stage=input["stageName"],
            side=TransitionSide(input["transitionType"]),
            reason=input["reason"],
            by=call.session.arn,
        )
        await self._move(call, input, happening)

    async def enable(self, call: Call, input: Input) -> None:
        """Open a door; who waits first enters at once."""
        happening = TransitionEnabled(
            stage=input["stageName"], side=TransitionSide(input["transitionType"]), by=call.session.arn
        )
        await self._move(call, input, happening)

    async def _move(self, call: Call, input: Input, happening: TransitionDisabled | TransitionEnabled) -> None:
        await call.app.store.write(self._tell, call, input, happening, call.app.ids.seed())

    def _tell(
        self,
        conn: sa.Connection,
        call: Call,
        input: Input,
        happening: TransitionDisabled | TransitionEnabled,
        seed: int,
    ) -> None:
        loaded = locked(self.aggregates, conn, key_of(call, input["pipelineName"]))
        require_stage(loaded, input["stageName"])
        report = Report(actor=call.session.arn, cause=call.request_id)
        self.aggregates.decide_in(conn, loaded, happening, now=call.now, seed=seed, report=report)
