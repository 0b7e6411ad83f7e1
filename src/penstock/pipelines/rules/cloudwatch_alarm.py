"""CloudWatchAlarm: fails while an alarm is in a state that it should not be in. AWS: rule-reference-CloudWatchAlarm."""

from __future__ import annotations

from penstock.pipelines.actions.provider import Action, Failed, Outcome, Provider, Running, Succeeded
from penstock.pipelines.model import DAY, MINUTE, ActionType, ActionTypeId, Property
from penstock.pipelines.rules.reading import refusing

_STATES = ("ALARM", "OK", "INSUFFICIENT_DATA")
_CHECK = 10_000  # ms
_LONGEST = 86_400  # minutes


def _states(text: str) -> set[str]:
    """Raises ValueError."""
    found = {part.strip() for part in text.strip("[]").replace('"', "").split(",")}
    if not found <= set(_STATES):
        raise ValueError(f"the states are {', '.join(_STATES)}, with commas between them")
    return found


def _minutes(text: str) -> int:
    """Raises ValueError."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= _LONGEST):
        raise ValueError(f"it is a number of minutes up to {_LONGEST}")
    return int(text)


class CloudWatchAlarm(Provider):
    """Asks for the alarm's state until it is another one, or its time is over."""

    types = (
        ActionType(
            id=ActionTypeId(category="Rule", owner="AWS", provider="CloudWatchAlarm"),
            properties=(
                Property(name="AlarmName", description="The alarm", required=True, key=True),
                Property(name="AlarmStates", description="The states in which the rule fails; ALARM without any"),
                Property(name="WaitTime", description="Minutes to wait for another state before the rule fails"),
            ),
            inputs=(0, 0),
            outputs=(0, 0),
            timeout=7 * DAY,
            works_on="cloudwatch:alarm",
            refuse=refusing({"AlarmStates": _states, "WaitTime": _minutes}),
        ),
    )

    async def start(self, action: Action) -> Outcome:
        """DescribeAlarms."""
        name = action.configuration["AlarmName"]
        try:
            bad = _states(action.configuration.get("AlarmStates", "ALARM"))
            wait = _minutes(action.configuration.get("WaitTime", "0")) * MINUTE
        except ValueError as error:
            return Failed(code="ConfigurationError", message=f"The rule cannot be read: {error}.")
        asked = {"AlarmNames": [name], "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]}
        found = await action.invoke("cloudwatch", "DescribeAlarms", asked)
        alarm = next(iter([*found.get("MetricAlarms", ()), *found.get("CompositeAlarms", ())]), None)
        if alarm is None:
            return Failed(code="ConfigurationError", message=f"The alarm {name} does not exist.")
        state = alarm["StateValue"]
        said = f"The alarm {name} is {state}."
        if state not in bad:
            return Succeeded(external_id=name, summary=said)
        left = action.started + wait - action.now
        if left > 0:
            return Running(external_id=name, summary=said, check_after=min(_CHECK, left))
        return Failed(code="JobFailed", message=said, external_id=name)

    async def observe(self, action: Action) -> Outcome:
        """The same question, later."""
        return await self.start(action)


PROVIDER = CloudWatchAlarm()
