"""Replaying a journal: the same happenings, times and seeds give the same states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from penstock.pipelines.effects import Effect
from penstock.pipelines.engine import decide
from penstock.pipelines.happenings import Happening, RetryRequested
from penstock.pipelines.model import Plan
from penstock.pipelines.state import Execution, Pipeline


def with_execution(pipeline: Pipeline, execution: Execution, plan: Plan) -> Pipeline:
    """The aggregate with an ended execution brought back, and the plan that it ran: for a retry."""
    if execution.id in pipeline.executions:
        return pipeline
    return replace(
        pipeline,
        executions={**pipeline.executions, execution.id: execution},
        plans={**pipeline.plans, plan.version: plan},
    )


def replay(
    first: Pipeline, journal: Iterable[tuple[int, int, Happening]]
) -> Iterator[tuple[Happening, Pipeline, tuple[Effect, ...]]]:
    """Every step of a journal of `(now, seed, happening)`: the happening, the state after it and its effects."""
    state = first
    plans: dict[int, Plan] = dict(first.plans)
    ended: dict[str, Execution] = {}
    for now, seed, happening in journal:
        if isinstance(happening, RetryRequested) and happening.execution in ended:
            execution = ended[happening.execution]
            state = with_execution(state, execution, plans[execution.version])
        state, effects = decide(state, happening, now, seed)
        plans |= state.plans
        ended |= {id_: execution for id_, execution in state.executions.items() if not execution.live}
        yield happening, state, effects
