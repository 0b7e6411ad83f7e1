"""What an alarm becomes: `decide(state, input, now, seed) -> (state', effects)`, pure."""

from __future__ import annotations

from dataclasses import replace

from penstock.monitoring.model import (
    ActionsSwitched,
    AlarmState,
    ConfigurationChanged,
    Configured,
    Effect,
    Found,
    Input,
    Transitioned,
)

INITIAL = "Unchecked: Initial alarm creation"


def decide(state: AlarmState, input: Input, now: int, seed: int) -> tuple[AlarmState, tuple[Effect, ...]]:  # noqa: ARG001 - of every engine
    """The alarm after an input and what is to be done about it. Nothing is done when it stays in its state. `now` is in ms."""
    match input:
        case Configured(config=config):
            changed = replace(state, config=config, configured=now)
            if not state.configured:
                changed = replace(changed, reason=INITIAL, updated=now, transitioned=now)
            return changed, (ConfigurationChanged(previous=state.config),)
        case ActionsSwitched(enabled=enabled):
            if state.config["ActionsEnabled"] == enabled:
                return state, ()
            config = {**state.config, "ActionsEnabled": enabled}
            return replace(state, config=config, configured=now), (ConfigurationChanged(previous=state.config),)
        case Found(value=value):
            return _found(state, input, now, transitions=value != state.value)


def _found(state: AlarmState, input: Found, now: int, *, transitions: bool) -> tuple[AlarmState, tuple[Effect, ...]]:
    if not transitions and not input.by_hand:
        return state, ()
    after = replace(state, value=input.value, reason=input.reason, reason_data=input.reason_data, updated=now)
    if not transitions:
        return after, ()
    before = Transitioned(value=state.value, reason=state.reason, reason_data=state.reason_data, updated=state.updated)
    return replace(after, transitioned=now), (before,)
