"""Replaying a journal: the same inputs, times and seeds give the same states and effects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from penstock.pipelines.effects import ActionDescribed, ActionEnded, Effect
from penstock.pipelines.engine import decide, needs
from penstock.pipelines.inputs import ActionAccepted, ActionFailed, ActionReported, ActionSucceeded, Input
from penstock.pipelines.model import NO_DETAILS, Plan
from penstock.pipelines.state import BLANK, Execution, Pipeline, with_executions


def journalled(effect: Effect, input: Input) -> Effect:
    """An effect as the journal keeps it: the details that a provider answered stand in the input beside it, once.

    Journals of earlier releases have them in both.
    """
    if isinstance(effect, ActionDescribed | ActionEnded) and isinstance(
        input, ActionAccepted | ActionReported | ActionSucceeded | ActionFailed
    ):
        return replace(effect, details=NO_DETAILS) if effect.details is input.details else effect
    return effect


class Replay:
    """A pipeline with all of its executions and plans, as they stand after the decisions so far."""

    def __init__(self) -> None:
        self.state: Pipeline = BLANK
        self.executions: dict[str, Execution] = {}
        self._plans: dict[int, Plan] = {}

    def step(self, input: Input, now: int, seed: int) -> tuple[Effect, ...]:
        """Take one decision; its effects. One that is refused leaves nothing behind."""
        state = self.state
        missing = [self.executions[id] for id in needs(input).executions if id in self.executions]
        if missing:
            plans = {execution.version: self._plans[execution.version] for execution in missing}
            state = with_executions(state, missing, plans)
        self.state, effects = decide(state, input, now, seed)
        self._plans |= self.state.plans
        self.executions |= self.state.executions
        return effects


def replayed(entries: Iterable[tuple[Input, int, int]]) -> Iterator[tuple[Input, tuple[Effect, ...], Replay]]:
    """Each input of a journal with its effects and what stands after it; `entries` are (input, now, seed) in order."""
    pipeline = Replay()
    for input, now, seed in entries:
        yield input, pipeline.step(input, now, seed), pipeline
