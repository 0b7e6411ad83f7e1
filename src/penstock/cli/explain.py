"""`penstock explain`: why a pipeline run waits, or how it ended."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from typing import Any

from penstock.cli.clients import Clients, add_data_dir, attempt
from penstock.cli.exits import Exit
from penstock.cli.runs import explained
from penstock.cli.terminal import lasted, paint, say

_DEEP = 3  # runs that wait for each other
_COLOURS = {"Succeeded": "green", "Failed": "red", "InProgress": "blue"}
_WORDS = {"InProgress": "in progress"}
_EXAMPLES = "examples: penstock explain shop       the newest run of the pipeline shop\n          penstock explain 0b0c6f0e-0000-4000-8000-000000000002"


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `explain`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{_EXAMPLES}\n\n{parser.epilog}"
    parser.add_argument("run", metavar="EXECUTION|PIPELINE", help="id of a run, or the pipeline whose newest is meant")
    parser.add_argument("--json", action="store_true", help="what ExplainExecution answers")
    add_data_dir(parser)


def run(options: argparse.Namespace) -> int:
    """Print the reasons, the most important first."""
    return attempt("explain", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    clients = Clients.found(options.data_dir.absolute())
    found = explained(clients, options.run)
    if options.json:
        say(json.dumps(found, ensure_ascii=False, indent=2, default=_time))
        return Exit.DONE
    status: str = found["status"]
    word = paint(_WORDS.get(status) or status.lower(), _COLOURS.get(status, "amber"))
    say(f"{found['pipelineName']}, run {found['executionNumber']} ({found['pipelineExecutionId']}): {word}")
    for reason in found["reasons"]:
        _print(clients, reason, deep=0)
    return Exit.DONE


def _print(clients: Clients, reason: dict[str, Any], *, deep: int) -> None:
    indent = "  " * (deep + 1)
    say(f"{indent}{reason['text']}{_times(reason)}")
    if reason.get("url"):
        say(f"{indent}  look at {reason['url']}")
    if reason.get("command"):
        say(f"{indent}  {paint(reason['command'], 'dim')}")
    other = reason.get("pipelineExecutionId")
    if other and reason["kind"] == "Lock" and deep < _DEEP:
        found = explained(clients, other)
        for behind in found["reasons"]:
            _print(clients, behind, deep=deep + 1)


def _times(reason: dict[str, Any]) -> str:
    parts: list[str] = []
    if since := reason.get("since"):
        ago = lasted((dt.datetime.now(dt.UTC) - since).total_seconds())
        parts.append(f"since {since.astimezone():%Y-%m-%d %H:%M:%S}, {ago}" if reason["kind"] != "Ended" else f"{since.astimezone():%Y-%m-%d %H:%M:%S}, {ago} ago")  # fmt: skip
    if until := reason.get("until"):
        parts.append(f"until {until.astimezone():%Y-%m-%d %H:%M:%S} at the latest")
    return paint(f" ({'; '.join(parts)})", "dim") if parts else ""


def _time(value: object) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else str(value)
