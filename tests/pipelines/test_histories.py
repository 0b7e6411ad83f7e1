"""What holds in every history: thousands of random ones keep to it, and one that does not is found."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from penstock_histories import Life

from penstock.pipelines import histories
from penstock.pipelines.effects import (
    ActionEnded,
    ActionStarted,
    EventState,
    ExecutionChanged,
    ExecutionCreated,
    StageChanged,
)
from penstock.pipelines.inputs import ActionTimedOut
from penstock.pipelines.model import ActionStatus

_EACH = 2_500


@pytest.mark.parametrize("part", range(4))
def test_ten_thousand_random_histories_keep_to_every_rule(part):
    steps = 0
    for seed in range(part * _EACH, (part + 1) * _EACH):
        life = Life(seed).live(steps=25)
        assert not life.broken, (seed, life.broken[0])
        assert not life.open
        assert all(life.replay.executions[run].status.ended for run in life.runs), seed
        steps += len(life.entries)
    assert steps > 20 * _EACH


def _without(kind, **values):
    """Effects of this kind with these values are not shown to the checker."""

    def tamper(_input, effects):
        return [one for one in effects if not (isinstance(one, kind) and _has(one, values))]

    return tamper


def _changed(kind, new, **values):
    def tamper(_input, effects):
        return [replace(one, **new) if isinstance(one, kind) and _has(one, values) else one for one in effects]

    return tamper


def _twice(kind, **values):
    def tamper(_input, effects):
        return [
            again for one in effects for again in ([one, one] if isinstance(one, kind) and _has(one, values) else [one])
        ]

    return tamper


def _has(effect, values):
    return all(str(getattr(effect, name)) == value for name, value in values.items())


def _for_late_reports(input, effects):
    return effects or ([ExecutionChanged(execution=input.execution, state=EventState.STARTED)] if isinstance(input, ActionTimedOut) else [])  # fmt: skip


def _the_second_before_the_first():
    """What became of the first two runs is shown of each other."""
    runs = []

    def tamper(_input, effects):
        runs.extend(one.execution for one in effects if isinstance(one, ExecutionCreated))
        other = dict(zip(runs[:2], runs[1::-1], strict=True)) if len(runs) > 1 else {}
        return [
            replace(one, execution=other[one.execution])
            if not isinstance(one, ExecutionCreated) and getattr(one, "execution", "") in other
            else one
            for one in effects
        ]

    return tamper


TAMPERED = {
    "one-run-in-a-stage": lambda: _without(StageChanged, state="SUCCEEDED"),
    "no-action-twice": lambda: _twice(ActionStarted),
    "an-action-ends-once": lambda: _twice(ActionEnded),
    "no-run-twice": lambda: _twice(ExecutionCreated),
    "no-unknown-run": lambda: _without(ExecutionCreated),
    "an-end-is-an-end": lambda: _changed(ExecutionChanged, {"state": EventState.FAILED}, state="STARTED"),
    "superseded-between-stages-only": lambda: _changed(ExecutionChanged, {"state": EventState.SUPERSEDED}, state="FAILED"),
    "a-run-succeeds-in-all-its-stages": lambda: _without(StageChanged, stage="S1", state="SUCCEEDED"),
    "a-stage-succeeds-by-its-actions": lambda: _changed(ActionEnded, {"status": ActionStatus.FAILED}, name="a00", status="Succeeded"),
    "a-stage-ends-with-its-actions": lambda: _without(ActionEnded, name="a00"),
    "conditions-are-never-skipped": lambda: _changed(ActionEnded, {"status": ActionStatus.FAILED}, name="ON_SUCCESS/r", status="Succeeded"),
    "run-order": lambda: _changed(ActionEnded, {"status": ActionStatus.FAILED}, name="a00", status="Succeeded"),
    "stages-in-order": lambda: _without(StageChanged, stage="S0", state="SUCCEEDED"),
    "first-come-first-served": _the_second_before_the_first,
    "late-input-changes-nothing": lambda: _for_late_reports,
    "no-run-is-lost": lambda: _without(ActionStarted),
    "rollbacks-bring-back-what-succeeded": lambda: _changed(ExecutionCreated, {"target": "nobody"}),
    "rollbacks-keep-their-inputs": lambda: _changed(ExecutionCreated, {"overrides": {"a": {"b": "c"}}}),
    "runs-are-asked-for": lambda: _changed(ExecutionCreated, {"target": None}),
}  # fmt: skip


@pytest.mark.parametrize("rule", TAMPERED)
def test_a_history_that_breaks_a_rule_is_found(rule):
    found = set()
    for seed in range(400):
        found |= {one.rule for one in Life(seed, TAMPERED[rule]()).live(steps=25).broken}
        if rule in found:
            return
    raise AssertionError(f"only {sorted(found)}")


def test_each_rule_has_such_a_history():
    rules = set(re.findall(r'rule="([a-z-]+)"', Path(histories.__file__).read_text()))
    assert rules - TAMPERED.keys() == {"runs-have-a-plan"}  # a journal that begins in the middle
