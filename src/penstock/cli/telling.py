"""How `penstock follow` tells what happens: lines and a bar for people, or a JSON document in a line for programs."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import sys
from typing import Any

from penstock.cli.terminal import harmless, lasted, paint, say, step

_CELLS = 20


class Lines:
    """For people. On a terminal the last line is a bar that is drawn again and again; a pipe gets none."""

    def __init__(self) -> None:
        self._bars = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._drawn = False

    def tell(self, kind: str, text: str, *, at: dt.datetime | None = None, now: bool = False, **_fields: Any) -> None:  # noqa: ARG002
        """A line with the time `at`, or of this moment (`now`), or without one."""
        self.idle()
        if at is not None or now:
            step(text, at)
        else:
            say(text)

    def detail(self, kind: str, text: str, *, at: dt.datetime | None = None, **_fields: Any) -> None:  # noqa: ARG002
        """Lines that belong to the action before them."""
        self.idle()
        bar = paint("│", "dim")
        when = f"{at.astimezone():%H:%M:%S}" if at else " " * 8
        first, *rest = text.split("\n")
        say(f"{paint(when, 'dim')}  {bar} {first}" + "".join(f"\n{' ' * 8}  {bar} {line}" for line in rest))

    def progress(self, state: dict[str, Any], actions: list[dict[str, Any]]) -> None:
        """Draw how far the run is: stages that are over, and what is at work."""
        if self._bars:
            line = harmless(bar_of(state, actions, dt.datetime.now(dt.UTC)))
            width = shutil.get_terminal_size().columns - 1
            sys.stdout.write(f"\r\033[K{line[:width]}")
            sys.stdout.flush()
            self._drawn = True

    def idle(self) -> None:
        """Take the bar away."""
        if self._drawn:
            sys.stdout.write("\r\033[K")
            sys.stdout.flush()
            self._drawn = False


def bar_of(state: dict[str, Any], actions: list[dict[str, Any]], now: dt.datetime) -> str:
    """`██████░░░░ Build, 2 of 4: Make 12 s, 50%`. Stages count in their order; an action adds its own share."""
    stages = [one["stageName"] for one in state["stageStates"]]
    if not stages:
        return ""
    stage = actions[-1]["stageName"] if actions else stages[0]
    at = stages.index(stage) if stage in stages else 0
    inside = [one for one in actions if one["stageName"] == stage]
    working = [one for one in inside if one["status"] == "InProgress"]
    shown = {
        one["latestExecution"].get("actionExecutionId"): one["latestExecution"].get("percentComplete")
        for one in state["stageStates"][at].get("actionStates", ())
        if "latestExecution" in one
    }
    share = 0.0 if working or not inside else 1.0
    said: list[str] = []
    for one in working:
        percent = shown.get(one["actionExecutionId"])
        share += (percent or 0) / 100 / len(working)
        took = lasted((now - one["startTime"]).total_seconds())
        said.append(f"{one['actionName']} {took}{'' if percent is None else f', {percent}%'}")
    full = round(_CELLS * (at + share) / len(stages))
    doing = "; ".join(said) or "waits"
    return f"{'█' * full}{'░' * (_CELLS - full)} {stage}, {at + 1} of {len(stages)}: {doing}"


class Documents:
    """For programs: `kind`, `at`, and what the kind has. docs/how-to/follow.md lists them."""

    def tell(self, kind: str, text: str, *, at: dt.datetime | None = None, now: bool = False, **fields: Any) -> None:  # noqa: ARG002
        """One document."""
        moment = (at or dt.datetime.now(dt.UTC)).astimezone(dt.UTC)
        document = {"kind": kind, "at": moment.isoformat(timespec="milliseconds")}
        given = {name: value for name, value in fields.items() if value not in ("", None)}
        say(json.dumps(document | given, ensure_ascii=False))

    detail = tell

    def progress(self, state: dict[str, Any], actions: list[dict[str, Any]]) -> None:
        """Nothing: programs count by themselves."""

    def idle(self) -> None:
        """Nothing is drawn."""
