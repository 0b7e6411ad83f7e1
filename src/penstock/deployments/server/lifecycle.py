"""The lifecycle events of a server deployment and the words in which a host reports on them. AWS: reference-appspec-file-structure-hooks."""

from __future__ import annotations

import json
from typing import Any, Final

from penstock.deployments.server.model import Diagnostics

IN_PLACE: Final = (
    "ApplicationStop",
    "DownloadBundle",
    "BeforeInstall",
    "Install",
    "AfterInstall",
    "ApplicationStart",
    "ValidateService",
)

IN_PLACE_WITH_TRAFFIC: Final = (
    "BeforeBlockTraffic",
    "BlockTraffic",
    "AfterBlockTraffic",
    *IN_PLACE,
    "BeforeAllowTraffic",
    "AllowTraffic",
    "AfterAllowTraffic",
)

# Their scripts come from the last successful revision on the host, so that a broken old script could block every later
# deployment; `ignoreApplicationStopFailures` lets the deployment pass over their failure.
FROM_LAST_REVISION: Final = frozenset({"ApplicationStop", "BeforeBlockTraffic", "AfterBlockTraffic"})

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


def tolerated(event: str, *, ignore_stop_failures: bool) -> bool:
    """Whether the host goes on with its next event although this one failed."""
    return ignore_stop_failures and event in FROM_LAST_REVISION


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
    """What the agent's `Diagnostics` payload says, in the API's words. Anything unreadable is kept as the message.

    `payload` is `{"error_code", "script_name", "message", "log"}` as JSON; agents after a crash send less.
    """
    report = _object(payload)
    if succeeded:
        return Diagnostics(
            code="Success",
            script=_text(report.get("script_name"))[:MESSAGE_CHARS],
            message=(_text(report.get("message")) or "Succeeded")[:MESSAGE_CHARS],
            log=tail(_text(report.get("log"))),
        )
    number = report.get("error_code")
    code = _CODES.get(number, "UnknownError") if isinstance(number, int) else "UnknownError"
    message = _text(report.get("message")) if report else _storable(payload)
    if number == 7:
        message = message or AFTER_RESTART
    return Diagnostics(
        code="UnknownError" if code == "Success" else code,
        script=_text(report.get("script_name"))[:MESSAGE_CHARS],
        message=message[:MESSAGE_CHARS],
        log=tail(_text(report.get("log"))),
    )


def _object(payload: str) -> dict[str, Any]:
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
