"""DeploymentWindow: succeeds while a window of time is open, and waits for it until then. AWS: rule-reference-DeploymentWindow."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping

from penstock.pipelines.actions.provider import Action, Failed, Outcome, Provider, Running, Succeeded
from penstock.pipelines.model import DAY, HOUR, MINUTE, ActionType, ActionTypeId, Property
from penstock.pipelines.rules.reading import refusing
from penstock.timetables import Cron, ExpressionError, following, parsed
from penstock.zones import zone_of

_OFFSET = re.compile(r"UTC([+-])([0-9]{1,2})(?::([0-9]{2}))?", re.ASCII)
# AWS: "time zone abbreviations". Those of two places are left out: nobody can tell which is meant.
_ABBREVIATIONS = {
    "GMT": "UTC", "PST": "America/Los_Angeles", "PDT": "America/Los_Angeles", "MST": "America/Denver",
    "MDT": "America/Denver", "EST": "America/New_York", "EDT": "America/New_York", "CET": "Europe/Paris",
    "CEST": "Europe/Paris", "EET": "Europe/Athens", "EEST": "Europe/Athens", "BST": "Europe/London", "JST": "Asia/Tokyo",
    "KST": "Asia/Seoul", "AEST": "Australia/Sydney", "AEDT": "Australia/Sydney",
}  # fmt: skip
_LONGEST_ZONE = 64  # characters


def _cron(text: str) -> Cron:
    """A Quartz expression: seconds, which say nothing here, five fields, and a year that may be left out. Raises ValueError."""
    seconds, *fields = text.split() or [""]
    if len(fields) not in (5, 6):
        raise ValueError(
            "it has six fields (seconds, minutes, hours, day of the month, month, day of the week) and perhaps a year"
        )
    if seconds != "*" and not (seconds.isascii() and seconds.isdecimal()):
        raise ValueError("the seconds are a number or *")
    try:
        found = parsed(f"cron({' '.join(fields if len(fields) == 6 else [*fields, '*'])})")
    except ExpressionError as error:
        raise ValueError(f"the field {error} is not valid" if str(error) else "one of the two days is ?") from None
    assert isinstance(found, Cron)
    return found


def _zone(text: str) -> dt.tzinfo:
    """Raises ValueError."""
    if offset := _OFFSET.fullmatch(text):
        sign, hours, minutes = -1 if offset[1] == "-" else 1, int(offset[2]), int(offset[3] or 0)
        if hours > 14 or minutes > 59:
            raise ValueError("an offset is at most 14 hours")
        return dt.timezone(sign * dt.timedelta(hours=hours, minutes=minutes))
    zone = zone_of(_ABBREVIATIONS.get(text, text)) if len(text) <= _LONGEST_ZONE else None
    if zone is None:
        raise ValueError("the time zone is not known: name one as Europe/Berlin, UTC or UTC+02:00")
    return zone


class DeploymentWindow(Provider):
    """Looks at the clock, and asks nobody."""

    types = (
        ActionType(
            id=ActionTypeId(category="Rule", owner="AWS", provider="DeploymentWindow"),
            properties=(
                Property(
                    name="Cron", description="When the window is open, such as 0 * 9-17 ? * MON-FRI *", required=True
                ),
                Property(name="TimeZone", description="The time zone of the expression; UTC without one"),
            ),
            inputs=(0, 0),
            outputs=(0, 0),
            timeout=7 * DAY,
            refuse=refusing({"Cron": _cron, "TimeZone": _zone}),
        ),
    )

    def acts(self, configuration: Mapping[str, str]) -> bool:  # noqa: ARG002
        """Never."""
        return False

    async def start(self, action: Action) -> Outcome:
        """The window is open, or opens at a time that is waited for."""
        try:
            cron, zone = _cron(action.configuration["Cron"]), _zone(action.configuration.get("TimeZone", "UTC"))
        except ValueError as error:
            return Failed(code="ConfigurationError", message=f"The window cannot be read: {error}.")
        minute = action.now - action.now % MINUTE
        opens = following(cron, minute - 1, zone=zone)
        if opens is None:
            return Failed(code="JobFailed", message="The window does not open any more.")
        if opens == minute:
            return Succeeded(summary="The window is open.")
        at = dt.datetime.fromtimestamp(opens / 1000, zone).strftime("%Y-%m-%d %H:%M %Z")
        return Running(summary=f"The window opens at {at}.", check_after=min(opens - action.now, HOUR))

    async def observe(self, action: Action) -> Outcome:
        """The same question, later."""
        return await self.start(action)


PROVIDER = DeploymentWindow()
