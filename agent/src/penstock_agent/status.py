"""`status` and `stop`: what the state directory says about the agent and its last deployments, and how it is ended."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any, Dict, List

from penstock_agent.config import DEFAULT_ROOT, read_config
from penstock_agent.failures import reason
from penstock_agent.layout import read_text
from penstock_agent.spool import Spool

IN_TOUCH_S = 180.0  # two held polls and a half
LISTED = 10


def collect(root: str, now: float) -> Dict[str, Any]:
    """The state as a document; times are epoch seconds."""
    try:
        state = json.loads(read_text(os.path.join(root, "state.json")) or "{}")
    except ValueError:
        state = {}
    running = _is_locked(root)
    last_poll = state.get("last_poll")
    error_at = state.get("error_at")
    in_touch = (
        running
        and last_poll is not None
        and now - last_poll < IN_TOUCH_S
        and (error_at is None or error_at < last_poll)
    )
    spool = Spool(root)
    pending = spool.pending()
    deployments: Dict[str, Dict[str, Any]] = {}
    for record in [*spool.history(), *pending]:
        name = record.get("deployment", "unknown")
        entry = deployments.setdefault(
            name,
            {
                "deploymentId": name,
                "applicationName": record.get("application", ""),
                "deploymentGroupName": record.get("group", ""),
                "events": [],
            },
        )
        entry["events"].append(
            {
                "event": record["event"],
                "status": record.get("status", "InProgress"),
                "errorCode": record.get("code", 0),
                "started": record.get("taken"),
                "finished": record.get("finished"),
                "delivered": record not in pending,
            }
        )
    return {
        "running": running,
        "inTouch": in_touch,
        "refused": running and bool(state.get("refused")),
        "pid": state.get("pid") if running else None,
        "version": state.get("version"),
        "started": state.get("started"),
        "lastPoll": last_poll,
        "lastError": state.get("error") or None,
        "lastErrorAt": error_at,
        "current": [
            {
                "deploymentId": record.get("deployment", "unknown"),
                "event": record["event"],
                "started": record.get("taken"),
            }
            for record in pending
            if running and record.get("state") in ("acknowledging", "running")
        ],
        "owedResults": sum(1 for record in pending if record.get("state") == "completed"),
        "deployments": list(deployments.values())[-LISTED:],
    }


def _is_locked(root: str) -> bool:
    import fcntl

    try:
        descriptor = os.open(os.path.join(root, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _root_of(options: Any, default_config: str) -> str:
    if options.root_dir:
        return options.root_dir
    path = options.config or default_config
    return read_config(path).root_dir if options.config or os.path.exists(path) else DEFAULT_ROOT


def stop(options: Any, default_config: str) -> int:
    """End the agent and wait for it; 0 when it does not run any more, 1 when it still does."""
    root = _root_of(options, default_config)
    if not _is_locked(root):
        sys.stdout.write("The agent is not running.\n")
        return 0
    pid = collect(root, time.time())["pid"]
    try:
        os.kill(int(pid), signal.SIGTERM)
    except (ProcessLookupError, PermissionError) as error:
        sys.stderr.write("penstock-agent: process %s could not be ended: %s\n" % (pid, reason(error)))
        return 1
    until = time.monotonic() + options.timeout
    while _is_locked(root):
        if time.monotonic() > until:
            sys.stderr.write("penstock-agent: process %s still runs after %d s.\n" % (pid, options.timeout))
            return 1
        time.sleep(0.02)
    sys.stdout.write("The agent has ended.\n")
    return 0


def show(options: Any, default_config: str) -> int:
    """Print the state; 0 running and in touch, 1 running but not in touch, 2 running but refused, 3 not running."""
    root = _root_of(options, default_config)
    now = time.time()
    state = collect(root, now)
    if options.json:
        sys.stdout.write(json.dumps(state, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(state, now)) + "\n")
    if not state["running"]:
        return 3
    return 2 if state["refused"] else 0 if state["inTouch"] else 1


def _lines(state: Dict[str, Any], now: float) -> List[str]:
    if not state["running"]:
        lines = ["The agent is not running."]
    else:
        lines = ["The agent is running (pid %s, version %s)." % (state["pid"], state["version"])]
        if state["refused"]:
            lines.append(
                "The command service refuses this host, and gives it no deployments until that is mended: see the last error."
            )
        elif state["lastPoll"] is None:
            lines.append("The command service has not answered yet (an idle poll is held up to a minute).")
        else:
            lines.append("Last answer of the command service: %d s ago." % (now - state["lastPoll"]))
    for current in state["current"]:
        lines.append(
            "Current: %s of deployment %s, for %d s."
            % (current["event"], current["deploymentId"], now - (current["started"] or now))
        )
    if state["running"] and not state["current"]:
        lines.append("Current: no deployment.")
    if state["lastError"]:
        lines.append("Last error, %d s ago: %s" % (now - (state["lastErrorAt"] or now), state["lastError"]))
    if state["owedResults"]:
        lines.append("Results that wait for delivery: %d." % state["owedResults"])
    for deployment in state["deployments"]:
        lines.append(
            "%s  %s / %s"
            % (deployment["deploymentId"], deployment["applicationName"], deployment["deploymentGroupName"])
        )
        for event in deployment["events"]:
            code = " (error code %s)" % event["errorCode"] if event["errorCode"] else ""
            lines.append(
                "    %-22s %s%s%s"
                % (event["event"], event["status"], code, "" if event["delivered"] else ", not delivered")
            )
    return lines
