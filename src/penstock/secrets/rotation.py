"""How the rotation of a secret continues: steps, tries and the next window. Pure. (AWS: Secrets Manager User Guide, "How rotation works".)"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from penstock.secrets import engine
from penstock.secrets.engine import CURRENT, DAY_MS, PENDING
from penstock.secrets.errors import InvalidRequestException
from penstock.secrets.schedule import Window, schedule_of

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
TEST = ("testSecret",)  # of a rotation that only tries the function
TRIES = 5
_FIRST_PAUSE_MS = 60_000
_REASON = 500  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """How a secret is rotated, and the rotation that is under way. Times are in ms, 0 for none."""

    function: str  # ARN
    rules: Mapping[str, Any] = field(default_factory=dict)  # RotationRules as they were given
    enabled: bool = True
    opens: int = 0  # the next window
    closes: int = 0
    days: int = 0  # to it, when it was planned
    rotated: int = 0
    run: int = 0  # how many there were: what was put for another one is void
    token: str = ""  # of the version that is being made
    test: bool = False
    step: int = 0  # how many were done
    failures: int = 0
    reason: str = ""  # of the last failure

    @property
    def steps(self) -> tuple[str, ...]:
        """What the rotation that is under way consists of."""
        return TEST if self.test else STEPS

    @property
    def rules_to_api(self) -> dict[str, Any]:
        """RotationRules as answers have them: with the days that a schedule amounts to."""
        days = {"AutomaticallyAfterDays": self.days} if self.days and "ScheduleExpression" in self.rules else {}
        return {**self.rules, **days}


def configured(before: Rotation | None, function: str, rules: Mapping[str, Any] | None, now: int) -> Rotation:
    """A rotation by a function, and by rules, or those that it had. Raises InvalidParameterException."""
    kept = before or Rotation(function=function)
    chosen = kept.rules if rules is None else rules
    unchanged = kept.enabled and kept.opens and chosen == kept.rules
    after = replace(kept, function=function, rules=chosen, enabled=True)
    return after if unchanged else planned(after, since=kept.rotated or now, now=now)


def planned(state: Rotation, *, since: int, now: int) -> Rotation:
    """With the next window of its schedule; see `Schedule.window`."""
    schedule = schedule_of(state.rules) if state.enabled else None
    if schedule is None:
        return replace(state, opens=0, closes=0, days=0)
    window = schedule.window(since, now)
    return replace(state, opens=window.opens, closes=window.closes, days=_days_between(now, window))


def _days_between(now: int, window: Window) -> int:
    return max(1, -((now - window.opens) // DAY_MS))


def changed_by_hand(state: Rotation, now: int) -> Rotation:
    """After somebody has put another current value, which counts as a rotation for schedules in days or hours."""
    by_cron = str(state.rules.get("ScheduleExpression", "")).startswith("cron")
    return state if state.token or by_cron or not state.opens else planned(state, since=now, now=now)


def check_free(state: Rotation | None, stages: engine.Stages, token: str) -> None:
    """Raises InvalidRequestException while another version than `token` is being made."""
    pending = engine.holder(stages, PENDING)
    elsewhere = pending not in ("", token) and CURRENT not in stages[pending]
    if elsewhere or (state is not None and state.token not in ("", token)):
        raise InvalidRequestException("Previous rotation request is still in progress.")


def started(state: Rotation, token: str, *, test: bool = False) -> Rotation:
    """With a rotation under way."""
    return replace(state, run=state.run + 1, token=token, test=test, step=0, failures=0, reason="")


def ended(state: Rotation) -> Rotation:
    """With no rotation under way."""
    return replace(state, token="", test=False, step=0)


def succeeded(state: Rotation, now: int) -> Rotation:
    """After the last step."""
    over = replace(ended(state), failures=0, reason="")
    return over if state.test else planned(replace(over, rotated=now), since=now, now=now)


def failed(state: Rotation, reason: str, *, last: bool = False) -> tuple[Rotation, int | None]:
    """After a step that failed, and after how many ms all steps are tried again; None: no more."""
    failures = state.failures + 1
    after = replace(state, failures=failures, step=0, reason=reason[:_REASON])
    if last or failures >= TRIES:
        return ended(after), None
    return after, _FIRST_PAUSE_MS << (failures - 1)


def cancelled(state: Rotation) -> Rotation:
    """Rotated no more, neither now nor by itself."""
    return replace(ended(state), enabled=False, opens=0, closes=0)


def why_lost(state: Rotation, stages: engine.Stages, *, done: bool) -> str:
    """Why the version of the rotation that is under way cannot become the current one, or is it not after the last step; "" when all is well."""
    of_it = stages.get(state.token)
    if of_it is None:
        return f"the version {state.token} is gone"
    if done and not state.test:
        return "" if CURRENT in of_it else f"finishSecret has not moved {CURRENT} to the version {state.token}"
    return "" if PENDING in of_it or CURRENT in of_it else f"the version {state.token} has lost the stage {PENDING}"
