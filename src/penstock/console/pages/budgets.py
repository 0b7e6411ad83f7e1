"""What a deployment says about its hosts: the sentence, the bar and what may still happen. Pure: all of it follows from the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.webpages.wording import lasted, plural

_GOING = ("Created", "Queued", "InProgress", "Baking", "Ready")


def lede(info: dict[str, Any], revision: str, previous: str) -> str:
    """What the deployment does, or did."""
    counts = info.get("deploymentOverview") or {}
    total, done, failed = sum(counts.values()), counts.get("Succeeded", 0), counts.get("Failed", 0)
    replaces = previous if previous != revision else ""
    automatic = info.get("creator") == "codeDeployRollback"
    if info["status"] in ("Created", "Queued"):
        return f"Will put {revision} on the hosts of {info['deploymentGroupName']}{f', where it replaces {replaces}' if replaces else ''}."
    if info["status"] in _GOING:
        who = "An automatic rollback is putting" if automatic else "Putting"
        return f"{who} {revision} on {plural(total, 'host')}{f', where it replaces {replaces}' if replaces else ''}."
    began, ended = info.get("startTime"), info.get("completeTime")
    took = f" in {lasted(ended - began)}" if began and ended else ""
    who = "An automatic rollback put" if automatic else "Put"
    said = f"{who} {revision} on {done:,} of {plural(total, 'host')}{took}"
    said += f"; {failed:,} failed." if failed else "."
    return f"{said} It replaced {replaces}." if replaces and done else said


def budget(info: dict[str, Any], *, silent: Mapping[str, int]) -> dict[str, Any] | None:
    """The sentence and the bar; None before hosts are chosen. Places and widths are percent, for SVG.

    `silent` counts the hosts that do not respond, by their status, `Pending` or `InProgress`. Healthy means as in the API: the last deployment to the host
    succeeded, and nothing is being done to it.
    """
    counts = info.get("deploymentOverview") or {}
    total = sum(counts.values())
    if not total:
        return None
    going = info["status"] in _GOING
    health = info.get("healthOverview") or {}
    required, healthy, hosts = (health.get(name, 0) for name in ("required", "healthy", "hosts"))
    parts = _parts(counts, healthy=healthy, bystanders=max(hosts - total, 0), silent=silent)
    segments: list[dict[str, Any]] = []
    at = 0.0
    for count, tone, text in parts:
        if count:
            width = 100 * count / total
            x, drawn = round(at, 2), round(max(width - 0.3, 0.2), 2)
            segments.append({"tone": tone, "text": f"{count:,} {text}", "x": x, "width": drawn})
            at += width
    return {
        "segments": segments,
        "floor": round(100 * min(required / hosts, 1), 2) if hosts and required else None,
        "required": required,
        "sentence": sentence(required, healthy, hosts or total, going=going),
        "more": _more(required, healthy, counts, going=going, silent=silent),
        "label": ", ".join(segment["text"] for segment in segments)
        + (f"; at least {required} must stay healthy" if required and going else ""),
    }


def _parts(
    counts: dict[str, int], *, healthy: int, bystanders: int, silent: Mapping[str, int]
) -> list[tuple[int, str, str]]:
    """Count, tone and label of each part of the bar. Together they are the hosts of the deployment."""
    done, running, failed = (counts.get(name, 0) for name in ("Succeeded", "InProgress", "Failed"))
    untouched = counts.get("Pending", 0) + counts.get("Skipped", 0)
    kept = min(max(healthy - done - bystanders, 0), untouched)
    rest = untouched - kept
    # No host is counted twice: the silent ones that are pending were healthy before, or were not.
    quiet_running = min(silent.get("InProgress", 0), running)
    quiet_pending = min(silent.get("Pending", 0), untouched)
    quiet_rest = min(quiet_pending, rest)
    quiet_kept = quiet_pending - quiet_rest
    return [
        (done, "good", "on the new version"),
        (kept - quiet_kept, "old", "healthy, not changed"),
        (running - quiet_running, "run", "changing"),
        (rest - quiet_rest, "idle", "not healthy, not changed"),
        (quiet_running + quiet_rest + quiet_kept, "idle", "silent"),
        (failed, "bad", "failed"),
    ]


def sentence(required: int, healthy: int, hosts: int, *, going: bool) -> str:
    """How many hosts must stay healthy, and how many are."""
    if going and required:
        return f"{required:,} of {hosts:,} must stay healthy; {healthy:,} {'is' if healthy == 1 else 'are'}."
    if going:
        allowed = "The only host may be out." if hosts == 1 else f"All {hosts:,} hosts may be out at once."
        ready = "None is ready yet." if not healthy else f"{healthy:,} {'is' if healthy == 1 else 'are'} ready."
        return f"{allowed} {ready}"
    at_end = f"{healthy:,} {'was' if healthy == 1 else 'were'} healthy at the end."
    if required:
        return f"{required:,} of {hosts:,} had to stay healthy; {at_end}"
    return f"No host had to stay healthy; {at_end}"


def _more(required: int, healthy: int, counts: dict[str, int], *, going: bool, silent: Mapping[str, int]) -> str:
    said: list[str] = []
    changing = max(counts.get("InProgress", 0) - silent.get("InProgress", 0), 0)
    if going and changing:
        said.append(f"{plural(changing, 'host is', 'hosts are')} being changed.")
    unheard = sum(silent.values())
    if going and unheard:
        said.append(f"{plural(unheard, 'host is', 'hosts are')} silent.")
    if going and required and healthy > required:
        said.append(f"{healthy - required:,} more may go down before it stops.")
    if going and required and healthy == required and counts.get("Pending", 0) and changing:
        said.append("The next host starts when one is healthy again.")
    if counts.get("Failed"):
        said.append(f"{plural(counts['Failed'], 'host has', 'hosts have')} failed.")
    skipped = counts.get("Skipped", 0)
    if not going and skipped:
        said.append(f"{plural(skipped, 'host was', 'hosts were')} not changed.")
    return " ".join(said)
