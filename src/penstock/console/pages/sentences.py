"""The sentences in which the pages say how a pipeline stands. Pure: each follows from the state alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.webpages.wording import plural


def newest(count: int, noun: str, where: str = "", *, running: int, failed: int) -> str:
    """How the things of a list stand: `The newest 3 builds of shop: 1 is running, none has failed.`"""
    if count == 1:
        how = "is running" if running else "has failed" if failed else "has not failed"
        return f"The newest {noun}{where} {how}."
    going = f"{plural(running, 'is', 'are')} running" if running else "none is running"
    ended = f"{plural(failed, 'has', 'have')} failed" if failed else "none has failed"
    return f"The newest {plural(count, noun)}{where}: {going}, {ended}."


def lede(stages: Sequence[Mapping[str, Any]], numbers: Sequence[int]) -> str:
    """How a pipeline stands. `numbers` are those of its runs, the newest first."""
    if not numbers:
        return "This pipeline has not run yet."
    said = [sentence for stage in stages for sentence in _of_stage(stage)]
    finished = {stage["last"].number for stage in stages if stage["last"]}
    if not said and len(finished) == 1 and all(stage["shown"] == "Succeeded" for stage in stages):
        said.append(f"All stages succeeded in run {finished.pop()}.")
    elif stages and stages[-1]["shown"] == "Succeeded" and stages[-1]["last"]:
        said.append(f"The last to finish all stages was run {stages[-1]['last'].number}.")
    return " ".join(said) or f"Run {numbers[0]} is the newest."


def _of_stage(stage: Mapping[str, Any]) -> list[str]:
    said: list[str] = []
    name, number = stage["name"], stage["last"].number if stage["last"] else None
    who = f"Run {number}" if number else "A run"
    asking = [one["run"].number for one in stage["inside"] if one["action"]]
    working = sorted({one["run"].number for one in stage["inside"] if not one["action"]})
    if stage["inside"]:
        if asking:
            said.append(f"{runs(asking)} {'waits' if len(set(asking)) == 1 else 'wait'} for a decision in {name}.")
        if working:
            said.append(f"{runs(working)} {'is' if len(working) == 1 else 'are'} in {name}.")
    elif stage["shown"] == "Waiting":
        said.append(f"{who} waits for a decision in {name}.")
    elif stage["shown"] == "Stopping":
        said.append(f"{who} is stopping in {name}.")
    elif stage["holder"]:
        said.append(f"{who} is in {name}.")
    elif stage["shown"] == "Failed":
        said.append(f"{who} failed in {name}.")
    elif stage["shown"] == "Stopped":
        said.append(f"{who} was stopped in {name}.")
    waiting = [run.number for run in stage["waiting"]]
    if waiting:
        said.append(f"{runs(waiting)} {'waits' if len(waiting) == 1 else 'wait'} before {name}.")
    return said


def runs(numbers: Sequence[int]) -> str:
    """`Run 3`, `Runs 3 and 5`, `Runs 1, 2, 3 and 6 more`."""
    ordered = sorted(set(numbers))
    if len(ordered) == 1:
        return f"Run {ordered[0]}"
    if len(ordered) > 4:
        return f"Runs {', '.join(map(str, ordered[:3]))} and {len(ordered) - 3} more"
    return f"Runs {', '.join(map(str, ordered[:-1]))} and {ordered[-1]}"


def enters(waiting: Sequence[int], *, enabled: bool, holder: int | None) -> str:
    """What the first of the waiting runs waits for."""
    if not waiting:
        return ""
    who = "It enters" if len(waiting) == 1 else f"Run {waiting[0]} enters first,"
    leaves = f"run {holder} leaves" if holder else ""
    opens = "" if enabled else "the transition is opened"
    causes = " and ".join(filter(None, (leaves, opens)))
    return f"{who} when {causes}." if causes else ""


def approving(others: Sequence[str], following: Mapping[str, Any] | None, *, number: int | None = None) -> str:
    """What an approval leads to.

    `others` are the stage's actions that have not succeeded yet; `following` is the next stage with its `name`, whether
    its transition is `enabled`, and what `holder` is in it ("" for nobody); None when the stage is the last.
    """
    run = f"run {number}" if number else "the run"
    if others:
        verb = "has" if len(others) == 1 else "have"
        return f"Approving passes this action only: {_listed(others)} {verb} to succeed before {run} leaves the stage."
    if following is None:
        return f"Once it is approved, {run} is complete: this is its last stage."
    name, holder = following["name"], following["holder"]
    if following["enabled"] and not holder:
        return f"Once it is approved, {run} continues to {name} at once."
    causes = " and ".join(
        filter(
            None, (f"{holder} holds it" if holder else "", "" if following["enabled"] else "its transition is closed")
        )
    )
    return f"After approval {run} waits before {name}, because {causes}."


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return f"{', '.join(names[:-1])} and {names[-1]}"


def checks(states: Sequence[str]) -> str:
    """How many actions of a run have passed, and how the others stand."""
    passed = states.count("Succeeded")
    running = states.count("InProgress")
    failed = states.count("Failed")
    rest = len(states) - passed - running - failed
    parts = [f"{passed} of {len(states)} passed"]
    parts += [
        f"{count} {word}" for count, word in ((running, "in progress"), (failed, "failed"), (rest, "stopped")) if count
    ]
    return ", ".join(parts)
