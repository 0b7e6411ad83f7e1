"""How the console formats states, times and durations. Pure."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

# API state → (data-state of the stylesheet, icon, word). A state that is not here is shown idle with its own name.
_STATES = {
    "Succeeded": ("Succeeded", "s-succeeded", "Succeeded"),
    "SUCCEEDED": ("Succeeded", "s-succeeded", "Succeeded"),
    "Failed": ("Failed", "s-failed", "Failed"),
    "FAILED": ("Failed", "s-failed", "Failed"),
    "FAULT": ("Failed", "s-failed", "Fault of the server"),
    "CLIENT_ERROR": ("Failed", "s-failed", "Client error"),
    "TIMED_OUT": ("Failed", "s-failed", "Timed out"),
    "InProgress": ("InProgress", "s-inprogress", "In progress"),
    "IN_PROGRESS": ("InProgress", "s-inprogress", "In progress"),
    "Baking": ("InProgress", "s-inprogress", "Baking"),
    "Ready": ("InProgress", "s-inprogress", "Ready"),
    "Waiting": ("Waiting", "s-waiting", "Waiting for a decision"),
    "Queued": ("Queued", "s-queued", "Queued"),
    "Created": ("Queued", "s-queued", "Created"),
    "Pending": ("None", "s-none", "Pending"),
    "Stopped": ("Stopped", "s-stopped", "Stopped"),
    "STOPPED": ("Stopped", "s-stopped", "Stopped"),
    "Stopping": ("Stopping", "s-stopping", "Stopping"),
    "Abandoned": ("Stopped", "s-abandoned", "Abandoned"),
    "Cancelled": ("Stopped", "s-cancelled", "Cancelled"),
    "Superseded": ("Superseded", "s-superseded", "Superseded"),
    "Skipped": ("Skipped", "s-skipped", "Skipped"),
    "Unknown": ("Unknown", "s-unknown", "Silent"),
    "OK": ("Succeeded", "s-succeeded", "OK"),
    "ALARM": ("Failed", "s-failed", "In alarm"),
    "INSUFFICIENT_DATA": ("None", "s-none", "Not enough data"),
    "ENABLED": ("Succeeded", "s-succeeded", "Enabled"),
    "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS": ("Succeeded", "s-succeeded", "Enabled, reads too"),
    "DISABLED": ("Skipped", "s-skipped", "Disabled"),
    "ACTIVE": ("Succeeded", "s-succeeded", "Active"),
    "INACTIVE": ("Skipped", "s-skipped", "Inactive"),
    "PENDING": ("None", "s-none", "Nothing sent yet"),
    "UNREACHABLE": ("Failed", "s-failed", "Unreachable"),
    "AUTHORIZED": ("Succeeded", "s-succeeded", "Authorised"),
    "AUTHORIZING": ("InProgress", "s-inprogress", "Asks for a token"),
    "DEAUTHORIZED": ("Failed", "s-failed", "Not authorised"),
    "STARTING": ("Queued", "s-queued", "Starting"),
    "RUNNING": ("InProgress", "s-inprogress", "Running"),
    "CANCELLING": ("Stopping", "s-stopping", "Being cancelled"),
    "CANCELLED": ("Stopped", "s-cancelled", "Cancelled"),
    "COMPLETED": ("Succeeded", "s-succeeded", "Completed"),
    "Scheduled": ("Queued", "s-queued", "Scheduled"),
    "Running": ("InProgress", "s-inprogress", "Running"),
    "Complete": ("Succeeded", "s-succeeded", "Complete"),
    "Timeout": ("Failed", "s-failed", "Timed out"),
    "": ("None", "s-none", "Not started"),
}
ENDED = frozenset(
    {
        "Succeeded",
        "Failed",
        "Stopped",
        "Superseded",
        "Cancelled",
        "SUCCEEDED",
        "FAILED",
        "FAULT",
        "TIMED_OUT",
        "STOPPED",
    }
)


class State(NamedTuple):
    """A state as the pages draw it."""

    name: str  # of data-state
    icon: str
    word: str


def state(api: str | None) -> State:
    """How an API state is shown."""
    found = _STATES.get(api or "")
    return State(*found) if found else State("None", "s-none", str(api))


def lasted(ms: int) -> str:
    """A time in ms: `0.4 s`, `12 s`, `2 min 32 s`, `3 h 5 min`: never seconds alone beyond a minute."""
    seconds = max(ms, 0) / 1000
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    full = int(seconds)
    if full < 60:
        return f"{full} s"
    if full < 3600:
        return f"{full // 60} min {full % 60} s"
    if full < 86_400:
        return f"{full // 3600} h {full % 3600 // 60} min"
    return f"{full // 86_400} d {full % 86_400 // 3600} h"


def ago(then: int, now: int) -> str:
    """`just now`, `6 min ago`, `yesterday`, `in 3 days`, and more than a week away the date. Both are in ms."""
    passed = (now - then) / 1000
    if passed < -60:
        return _ahead(then, -passed)
    if passed < 10:
        return "just now"
    if passed < 60:
        return f"{int(passed)} s ago"
    if passed < 3600:
        return f"{int(passed // 60)} min ago"
    if passed < 86_400:
        return f"{int(passed // 3600)} h ago"
    if passed < 2 * 86_400:
        return "yesterday"
    if passed < 7 * 86_400:
        return f"{int(passed // 86_400)} days ago"
    return _moment(then).strftime("%-d %B %Y")


def _ahead(then: int, left: float) -> str:
    """Of what comes after so many seconds."""
    if left < 3600:
        return f"in {int(left // 60)} min"
    if left < 2 * 86_400:
        return f"in {int(left // 3600)} h"
    if left < 7 * 86_400 + 3600:
        return f"in {int(left // 86_400)} days"
    return _moment(then).strftime("%-d %B %Y")


def iso(then: int) -> str:
    """The exact time, for `datetime`."""
    return _moment(then).isoformat(timespec="seconds")


def exact(then: int) -> str:
    """The exact time, for `title`."""
    return _moment(then).strftime("%Y-%m-%d %H:%M:%S UTC")


def _moment(then: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(then / 1000, tz=dt.UTC)


def initials(name: str) -> str:
    """Two letters for a person."""
    parts = [part for part in name.replace(".", " ").replace("-", " ").replace("_", " ").split() if part]
    return "".join(part[0] for part in parts[:2]).upper() or "?"


def plural(count: int, one: str, many: str = "") -> str:
    """`1 host`, `3 hosts`, `10,000 hosts`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def every(days: int) -> str:
    """`every day`, `every 90 days`."""
    return "every day" if days == 1 else f"every {plural(days, 'day')}"


def capital(text: str) -> str:
    """The first letter large, the rest as it is."""
    return text[:1].upper() + text[1:]


def person(arn: str) -> str:
    """Who an ARN is, in one word: the user, or the role that somebody had taken."""
    kind, _, rest = arn.rpartition(":")[2].partition("/")
    if not rest:
        return arn.rpartition(":")[2]
    return rest.split("/")[0] if kind == "assumed-role" else rest.rpartition("/")[2]


def first_line(text: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
