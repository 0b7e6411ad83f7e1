"""The operations of CodePipeline, by resource."""

from __future__ import annotations

from penstock.pipelines.aggregate import Aggregates
from penstock.pipelines.operations import (
    action_executions,
    action_types,
    approvals,
    executions,
    pipelines,
    state,
    tags,
    transitions,
)
from penstock.wire.registry import Operations


def table(aggregates: Aggregates) -> Operations:
    """Every operation that is served."""
    operations = Operations("codepipeline")
    for resource in (pipelines, executions, action_executions, state, approvals, transitions, tags, action_types):
        resource.declare(operations, aggregates)
    return operations
