"""The lifecycle events of a server deployment and the terms in which a host reports on them. AWS: reference-appspec-file-structure-hooks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from penstock.deployments.server.model import Diagnostics, EventStatus, LifecycleEvent

IN_PLACE: Final = (
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
)

# Their scripts come from the last successful revision on the host, so that a broken old script could block every later
# deployment; `ignoreApplicationStopFailures` lets the deployment pass over their failure.
FROM_LAST_REVISION: Final = frozenset({"ApplicationStop", "BeforeBlockTraffic", "AfterBlockTraffic"})

# The agent's own steps: they run no script of the revision, and a second time they come to what the first time came to.
_REPEATABLE: Final = frozenset({"DownloadBundle", "Install"})
_MAX_REPEATS: Final = 5

LOG_TAIL_BYTES: Final = 4096  # AWS: Diagnostics.logTail
MESSAGE_CHARS: Final = 2048

SUCCESS: Final = Diagnostics(code="Success", message="Succeeded")

# Codes that agents send (`error_code`). 6 is a script that left its output open: the API has no name for it.
_CODES: Final = {
    0: "Success",
    1: "ScriptMissing",
    2: "ScriptNotExecutable",
    3: "ScriptTimedOut",
    4: "ScriptFailed",
    5: "UnknownError",
    6: "ScriptFailed",
    7: "UnknownError",
}

NOT_PICKED_UP: Final = Diagnostics(
    code="UnknownError",
    message="CodeDeploy agent was not able to receive the lifecycle event. Check the CodeDeploy agent logs on your host "
    "and make sure the agent is running and can connect to the CodeDeploy server.",
)

AFTER_RESTART: Final = "Failed: Failing in-progress lifecycle event after an agent restart."

DEREGISTERED: Final = Diagnostics(
    code="UnknownError",
    message="The instance was deregistered during the deployment, so that nothing more is sent to it. Register it again and deploy again.",
)

_CHECK_LOG: Final = "The script may have ended well: look into its log on the host before you deploy again."

LOST: Final = Diagnostics(
    code="UnknownError",
    message="The CodeDeploy agent polls again but no longer knows of the lifecycle event that it had acknowledged: the agent lost its state, "
    f"or its report was lost while the server could not be reached. {_CHECK_LOG}",
)

# What AWS's agents (Ruby's net/http, Rust's reqwest) say when a request of theirs found no server, or a server that could not answer.
_NETWORK: Final = re.compile(
    r"failed to open tcp connection|connection refused|connection reset|connection timed out|operation timed out|end of file reached"
    r"|execution expired|net::(?:open|read|write)timeout|broken pipe|stream closed|closed stream|getaddrinfo|name or service not known"
    r"|no route to host|network is (?:unreachable|down)|host is down|ssl_(?:connect|read|write)|too many connection resets"
    r"|error sending request|service ?unavailable|could not be reached",
    re.IGNORECASE,
)


def tolerated(event: str, *, ignore_stop_failures: bool) -> bool:
    """Whether the host continues with its next event although this one failed."""
    return ignore_stop_failures and event in FROM_LAST_REVISION


def skipped_events(events: Iterable[LifecycleEvent], now: int) -> tuple[LifecycleEvent, ...]:
    """Events that did not happen: skipped, with an end and no start (as AWS shows them)."""
    return tuple(
        replace(event, status=EventStatus.SKIPPED, ended=now) if event.status is EventStatus.PENDING else event
        for event in events
    )


def replaced(events: tuple[LifecycleEvent, ...], index: int, event: LifecycleEvent) -> tuple[LifecycleEvent, ...]:
    """The events of a host, of which one is another now."""
    return (*events[:index], event, *events[index + 1 :])


def network_failed(why: Diagnostics) -> bool:
    """Whether an agent reports not that a script failed but that it could not speak to the server. AWS: command_poller.rb."""
    return why.code == "UnknownError" and not why.script and _NETWORK.search(why.message) is not None


def repeatable(event: LifecycleEvent, *, acknowledged: bool) -> bool:
    """Whether the command can be offered again without any script running twice."""
    return event.repeats < _MAX_REPEATS and (not acknowledged or event.noop or event.name in _REPEATABLE)


def unreported(why: Diagnostics) -> Diagnostics:
    """The diagnostics of a script whose end the agent could not report."""
    reason = f"The CodeDeploy agent could not reach the server to report how the lifecycle event ended ({why.message[:1024]}). "
    return Diagnostics(code=why.code, message=f"{reason}{_CHECK_LOG}", log=why.log)


def gone(silent_ms: int) -> Diagnostics:
    """The diagnostics of an event that ran on a host that no longer responds."""
    return Diagnostics(
        code="UnknownError",
        message=f"The CodeDeploy agent has not polled for {silent_ms // 1000} seconds while the lifecycle event ran, and is not waited for any "
        "longer. Make sure that the host is up and the agent is running; what the script did on the host is not known.",
    )


def not_ended_after_stop(timeout_ms: int) -> Diagnostics:
    """The diagnostics of an event that was still running a while after StopDeployment."""
    return Diagnostics(
        code="UnknownError",
        message=f"The deployment was stopped, and the lifecycle event did not end within {timeout_ms // 1000} seconds of that. It is not waited "
        "for any longer; what it started on the host may still run.",
    )


def not_completed(timeout_ms: int) -> Diagnostics:
    """The diagnostics of an event whose agent acknowledged it and never reported its end."""
    return Diagnostics(
        code="ScriptTimedOut",
        message=f"The lifecycle event did not complete within {timeout_ms // 1000} seconds after the agent received it.",
    )


def tail(text: str, limit: int = LOG_TAIL_BYTES) -> str:
    """The end of `text` in at most `limit` bytes of UTF-8, never cutting a character."""
    data = _storable(text).encode("utf-8")
    if len(data) <= limit:
        return data.decode("utf-8")
    return data[-limit:].decode("utf-8", "ignore")


def diagnose(payload: str, *, succeeded: bool) -> Diagnostics:
    """What the agent's `Diagnostics` payload says, in the API's terms. Anything unreadable is kept as the message.

    `payload` is `{"error_code", "script_name", "message", "log"}` as JSON; agents after a crash send less.
    """
    found = report(payload)
    if succeeded:
        return Diagnostics(
            code="Success",
            script=_text(found.get("script_name"))[:MESSAGE_CHARS],
            message=(_text(found.get("message")) or "Succeeded")[:MESSAGE_CHARS],
            log=tail(_text(found.get("log"))),
        )
    number = found.get("error_code")
    code = _CODES.get(number, "UnknownError") if isinstance(number, int) else "UnknownError"
    message = _text(found.get("message")) if found else _storable(payload)
    if number == 7:
        message = message or AFTER_RESTART
    return Diagnostics(
        code="UnknownError" if code == "Success" else code,
        script=_text(found.get("script_name"))[:MESSAGE_CHARS],
        message=message[:MESSAGE_CHARS],
        log=tail(_text(found.get("log"))),
    )


def report(payload: str) -> dict[str, Any]:
    """The JSON object in an agent's payload; empty when it is not one."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return "" if value is None else _storable(str(value))


def _storable(text: str) -> str:
    """What escapes in the JSON of a report can smuggle in and no database takes (half characters, NUL) is replaced."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
