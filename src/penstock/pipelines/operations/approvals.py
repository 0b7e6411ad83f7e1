"""PutApprovalResult."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.pipelines import records
from penstock.pipelines.aggregate import Aggregates
from penstock.pipelines.commit import Report
from penstock.pipelines.errors import (
    ActionNotFoundException,
    ApprovalAlreadyCompletedException,
    InvalidApprovalTokenException,
)
from penstock.pipelines.happenings import ApprovalAnswered
from penstock.pipelines.operations.addressing import action_arn, key_of, locked, require_stage, seconds
from penstock.room import Call
from penstock.wire.call import Input, Output
from penstock.wire.registry import Operations


def declare(operations: Operations, aggregates: Aggregates) -> None:
    """Register the operations of this resource."""
    operations.operation("PutApprovalResult", resource=action_arn)(Approvals(aggregates).put_result)


class Approvals:
    """Answers to manual approvals."""

    def __init__(self, aggregates: Aggregates) -> None:
        self.aggregates = aggregates

    async def put_result(self, call: Call, input: Input) -> Output:
        """Approve or reject; the token says which request is meant."""
        await call.app.store.write(self._put, call, input, call.app.ids.seed())
        return {"approvedAt": seconds(call.now)}

    def _put(self, conn: sa.Connection, call: Call, input: Input, seed: int) -> None:
        loaded = locked(self.aggregates, conn, key_of(call, input["pipelineName"]))
        stage, name = input["stageName"], input["actionName"]
        table = records.actions
        row = conn.execute(
            sa.select(table).where(
                table.c.pipeline_id == loaded.row.id,
                table.c.token == input["token"],
                table.c.stage == stage,
                table.c.action == name,
            )
        ).first()
        if row is None:
            require_stage(loaded, stage)
            plan = loaded.state.plan
            if all(s.action(name) is None for s in plan.stages if s.name == stage):
                raise ActionNotFoundException(name=loaded.row.name, stage=stage, action=name)
            raise InvalidApprovalTokenException
        if row.status == "InProgress" and row.resolved is None:
            raise InvalidApprovalTokenException(
                f"The approval request of action {name} is not made yet: its configuration is still being resolved."
            )
        if row.status != "InProgress":
            if row.updated_by is not None:
                raise ApprovalAlreadyCompletedException
            if row.version != loaded.state.version:
                raise InvalidApprovalTokenException(
                    f"The pipeline {loaded.row.name} has been updated, and the approval request you responded to is now "
                    "out of date."
                )
            raise InvalidApprovalTokenException
        happening = ApprovalAnswered(
            execution=row.execution_id,
            action=row.id,
            token=input["token"],
            approved=input["result"]["status"] == "Approved",
            summary=input["result"]["summary"],
            by=call.session.arn,
        )
        report = Report(actor=call.session.arn, cause=call.request_id)
        self.aggregates.decide_in(conn, loaded, happening, now=call.now, seed=seed, report=report)
