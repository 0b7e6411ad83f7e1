"""The host that a deployment's page shows: its lifecycle events and the output of one of its hooks."""

from __future__ import annotations

from typing import Any

from penstock.webpages.plaintext import painted
from penstock.webpages.view import View
from penstock.webpages.wording import state
from penstock.wire.errors import ServiceError

_MOST_LINES = 2_000
NO_HOST: dict[str, Any] = {
    "name": "", "state": "", "arn": "", "updated": None, "events": [], "shown": "", "hook": None, "going": False, "silent": False, "warnings": [],
}  # fmt: skip


async def host_model(view: View, deployment: str, name: str, asked: str, *, silent: bool) -> dict[str, Any]:
    """The host with its events; `asked` is the event whose output is shown, else the one that matters most. `NO_HOST` when it is not there."""
    try:
        answer = await view.call("codedeploy", "GetDeploymentTarget", deploymentId=deployment, targetId=name)
    except ServiceError:
        return NO_HOST
    target = answer["deploymentTarget"].get("instanceTarget", {})
    now = view.app.clock.now()
    events = [_event(event, now) for event in target.get("lifecycleEvents", [])]
    selected = _select(events, asked)
    hook = await _hook(view, deployment, name, selected) if selected else None
    return {
        "name": name,
        "state": "Unknown" if silent else target.get("status", ""),
        "silent": silent,
        "arn": target.get("targetArn", ""),
        "updated": target.get("lastUpdatedAt"),
        "events": events,
        "shown": selected["name"] if selected else "",
        "hook": hook,
        "warnings": warnings_of(events),
        # Not whether one of its events runs: none does until the agent has taken the first, nor between two.
        "going": target.get("status") == "InProgress",
    }


def warnings_of(events: list[dict[str, Any]]) -> list[str]:
    """What the agent warns of, such as a hook that no lifecycle event has: its messages say so also where the event succeeded."""
    found = [event["message"].partition("Warning:")[2].strip() for event in events if event["state"] == "Succeeded"]
    return [warning for warning in found if warning]


def host_state(api: str) -> str:
    """The word for a host's status."""
    return state(api).word


def _event(event: dict[str, Any], now: int) -> dict[str, Any]:
    began, ended = event.get("startTime"), event.get("endTime")
    going = event.get("status") == "InProgress"
    diagnostics = event.get("diagnostics") or {}
    return {
        "name": event["lifecycleEventName"],
        "state": event.get("status", ""),
        "since": now - began if going and began else None,
        "took": ended - began if began and ended else None,
        "script": diagnostics.get("scriptName", ""),
        "code": diagnostics.get("errorCode", ""),
        "message": diagnostics.get("message", ""),
        "tail": diagnostics.get("logTail", ""),
    }


def _select(events: list[dict[str, Any]], asked: str) -> dict[str, Any] | None:
    """The event asked for; else what failed, what runs, or the last that said something or was done."""
    for event in events:
        if event["name"] == asked:
            return event
    for wanted in ("Failed", "InProgress"):
        found = next((event for event in events if event["state"] == wanted), None)
        if found is not None:
            return found
    said = [event for event in events if event["tail"]]
    done = [event for event in events if event["state"] == "Succeeded"]
    return (said or done or [None])[-1]


async def _hook(view: View, deployment: str, name: str, event: dict[str, Any]) -> dict[str, Any]:
    try:
        found = await view.allowed(
            "penstock", "GetHookLog", deploymentId=deployment, targetId=name, lifecycleEventName=event["name"]
        )
    except ServiceError:
        found = None
    text = (found or {}).get("log", "") or event["tail"]
    lines = text.rstrip("\n").split("\n") if text else []
    left_out = max(len(lines) - _MOST_LINES, 0)
    return {
        "lines": [(number, painted(line)) for number, line in enumerate(lines[left_out:], left_out + 1)],
        "left_out": left_out,
        "verdict": _verdict(event),
        "over": event["state"] not in ("InProgress", "Pending"),
    }


def _verdict(event: dict[str, Any]) -> str:
    if event["state"] != "Failed":
        return ""
    where = f"{event['script']}: " if event["script"] else ""
    code = f"{event['code']}: " if event["code"] and event["code"] != "Success" else ""
    return f"{code}{where}{event['message'] or 'it failed without a message'}"
