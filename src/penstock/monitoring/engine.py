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
    Released,
    SuppressedBy,
    Suppressing,
    Transitioned,
)

INITIAL = "Unchecked: Initial alarm creation"


def decide(state: AlarmState, input: Input, now: int, seed: int) -> tuple[AlarmState, tuple[Effect, ...]]:  # noqa: ARG001 - of every engine
    """The alarm after an input and what is to be done about it. Nothing is done when it stays in its state. `now` is in ms."""
    match input:
        case Configured(config=config):
            changed = replace(state, config=config, configured=now)
            if state.config.get("ActionsSuppressor") != config.get("ActionsSuppressor"):
                # AWS: another suppressor discards a period that runs, and with it the actions that waited for its end.
                changed = replace(changed, suppressed_by="", suppressed_until=0, held=None)
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
        case Suppressing(active=active):
            return _suppression(state, now, active=active)


def _found(state: AlarmState, input: Found, now: int, *, transitions: bool) -> tuple[AlarmState, tuple[Effect, ...]]:
    if not transitions and not input.by_hand:
        return state, ()
    after = replace(state, value=input.value, reason=input.reason, reason_data=input.reason_data, updated=now)
    if not transitions:
        return after, ()
    before = Transitioned(value=state.value, reason=state.reason, reason_data=state.reason_data, updated=state.updated)
    after = replace(after, transitioned=now)
    wait = state.config.get("ActionsSuppressorWaitPeriod", 0) * 1000
    if "ActionsSuppressor" not in state.config or not (input.suppressing or wait):
        return replace(after, suppressed_by="", suppressed_until=0, held=None), (before,)
    held = replace(before, held=True)
    by, until = (SuppressedBy.ALARM, 0) if input.suppressing else (SuppressedBy.WAIT, now + wait)
    return replace(after, suppressed_by=by.value, suppressed_until=until, held=held), (held,)


def _suppression(state: AlarmState, now: int, *, active: bool) -> tuple[AlarmState, tuple[Effect, ...]]:
    """AWS: CloudWatch User Guide, "Composite alarm action suppression"."""
    if active:
        if state.suppressed_by == SuppressedBy.ALARM:
            return state, ()
        return replace(state, suppressed_by=SuppressedBy.ALARM.value, suppressed_until=0), ()
    if state.suppressed_by == SuppressedBy.ALARM and state.held is not None:
        extension = state.config.get("ActionsSuppressorExtensionPeriod", 0) * 1000
        if extension:
            return replace(state, suppressed_by=SuppressedBy.EXTENSION.value, suppressed_until=now + extension), ()
    elif not state.suppressed_by or now < state.suppressed_until:
        return state, ()
    free = replace(state, suppressed_by="", suppressed_until=0, held=None)
    return free, (() if state.held is None else (Released(before=state.held),))
