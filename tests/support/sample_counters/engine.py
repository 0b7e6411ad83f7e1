"""The decisions of a counter. Nothing here uses the clock, randomness or a database."""

from __future__ import annotations

from dataclasses import dataclass, replace

IDLE_MS = 60_000  # after its last change a counter is reset


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """The state of a counter."""

    value: int = 0
    changed: int = 0  # ms UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """A caller adds an amount."""

    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePassed:
    """The timer of a counter has run out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTimer:
    """Look again at a time."""

    due: int  # ms UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """The value is another one."""

    value: int


Input = Add | TimePassed
Effect = SetTimer | Changed


def decide(state: Count, input: Input, now: int, seed: int) -> tuple[Count, tuple[Effect, ...]]:  # noqa: ARG001 - the signature of every engine
    """The next state and the effects. A counter that is not used for `IDLE_MS` is zero again."""
    match input:
        case Add(amount=amount):
            after = replace(state, value=state.value + amount, changed=now)
            return after, (Changed(value=after.value), SetTimer(due=now + IDLE_MS))
        case TimePassed():
            due = state.changed + IDLE_MS
            if state.value and now < due:
                return state, (SetTimer(due=due),)
            return (replace(state, value=0), (Changed(value=0),)) if state.value else (state, ())
