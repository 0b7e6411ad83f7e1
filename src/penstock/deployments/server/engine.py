"""What a deployment does next: `decide(state, input, now, seed) -> (state', effects)`, pure.

The state that is handed in holds the deployment's counters and only the rows that the input can touch: `needed.needs` names them.
A row that comes back as another object has changed and is to be written.
"""

from __future__ import annotations

from dataclasses import replace

from penstock.deployments.server.effects import Effect
from penstock.deployments.server.inputs import (
    Acknowledged,
    Began,
    Completed,
    Deregistered,
    Elapsed,
    Input,
    Lost,
    Proceed,
    Refused,
    Requested,
    StopRequested,
)
from penstock.deployments.server.model import DeploymentStatus, Ending, Host, State
from penstock.deployments.server.turn import Turn


def decide(state: State, event: Input, now: int, seed: int) -> tuple[State, tuple[Effect, ...]]:
    """The state after `event` and what is to be done about it. `now` is ms since the epoch; `seed` orders the hosts.

    Late, doubled or foreign reports change nothing and have no effects.
    """
    if isinstance(event, Requested):
        return _requested(state, event), ()
    if state.deployment.status.final:
        return state, ()
    turn = Turn(state, now)
    match event:
        case Began():
            turn.begin(event, seed)
        case Refused():
            turn.end(Ending(status=DeploymentStatus.FAILED, code=event.code, message=event.message))
        case Acknowledged():
            turn.acknowledged(event)
        case Completed():
            turn.completed(event)
        case Lost():
            turn.lost(event)
        case Deregistered():
            turn.deregistered(event)
        case Elapsed():
            turn.elapsed(event)
        case Proceed():
            turn.moved = turn.began
        case StopRequested():
            turn.stop(event)
    turn.settle()
    return turn.result()


def _requested(state: State, input: Requested) -> State:
    if state.deployment.events:
        return state
    return State(
        deployment=replace(
            state.deployment,
            status=DeploymentStatus.QUEUED if input.queued else DeploymentStatus.CREATED,
            events=input.events,
            minimum=input.minimum,
            ignore_stop_failures=input.ignore_stop_failures,
            is_rollback=input.is_rollback,
            idle_is_success=input.idle_is_success,
            rolls_back_on_failure=input.rolls_back_on_failure,
            rolls_back_on_stop=input.rolls_back_on_stop,
        )
    )


def changed(before: State, after: State) -> list[Host]:
    """The rows that a decision made or altered."""
    old = {host.name: host for host in before.hosts}
    return [host for host in after.hosts if old.get(host.name) is not host]
