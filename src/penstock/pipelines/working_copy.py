"""The working copy of the aggregate inside one decision."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from uuid import UUID

from penstock.pipelines.effects import Effect
from penstock.pipelines.model import Plan, StagePlan
from penstock.pipelines.state import Execution, Pipeline, Slot


class WorkingCopy:
    """A pipeline being decided upon: copies on first write, collects effects in order."""

    __slots__ = (
        "_executions",
        "_random",
        "_seed",
        "_slots",
        "before",
        "effects",
        "next_number",
        "now",
        "plan",
        "plans",
    )

    def __init__(self, pipeline: Pipeline, now: int, seed: int) -> None:
        self.before = pipeline
        self.now = now
        self.effects: list[Effect] = []
        self.plan = pipeline.plan
        self.plans = pipeline.plans
        self.next_number = pipeline.next_number
        self._seed = seed
        self._random: Random | None = None
        self._executions: dict[str, Execution] = dict(pipeline.executions)
        self._slots: dict[str, Slot] = dict(pipeline.slots)

    def new_id(self) -> str:
        """The next identifier (UUID v4 form) of this decision's seed."""
        if self._random is None:
            self._random = Random(self._seed)  # noqa: S311 - ids of a replayable decision, no secrets
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def execution(self, execution_id: str) -> Execution | None:
        """An execution that this decision knows of."""
        return self._executions.get(execution_id)

    def executions(self) -> list[Execution]:
        """All of them, as they are now, oldest first."""
        return sorted(self._executions.values(), key=lambda execution: execution.number)

    def put(self, execution: Execution) -> Execution:
        """Take over an execution's new state."""
        self._executions[execution.id] = execution
        return execution

    def slot(self, stage: str) -> Slot | None:
        """The stage's slot; None when the current plan has no such stage."""
        return self._slots.get(stage)

    def put_slot(self, stage: str, slot: Slot) -> None:
        """Take over a slot's new state."""
        self._slots[stage] = slot

    def replace_slots(self, slots: dict[str, Slot]) -> None:
        """Take over the slots of a new plan."""
        self._slots = slots

    def stage_plan(self, execution: Execution) -> StagePlan:
        """The stage that an execution is in or before, in the version that it runs."""
        plan = self.plans[execution.version]
        index = plan.index(execution.stage)
        assert index is not None
        return plan.stages[index]

    def adopt(self, plan: Plan) -> None:
        """Make `plan` the current one."""
        self.plan = plan
        self.plans = {**self.plans, plan.version: plan}

    def emit(self, *effects: Effect) -> None:
        """Want effects done, in this order."""
        self.effects.extend(effects)

    def finish(self) -> Pipeline:
        """The new state. What ended in an earlier decision leaves now; what ended in this one is still shown."""
        before = self.before.executions
        executions = {
            execution.id: execution
            for execution in self._executions.values()
            if execution.live or before.get(execution.id) is not execution
        }
        versions = {execution.version for execution in executions.values()} | {self.plan.version}
        return replace(
            self.before,
            version=self.plan.version,
            plans={version: self.plans[version] for version in sorted(versions)},
            slots=self._slots,
            executions=executions,
            next_number=self.next_number,
        )
