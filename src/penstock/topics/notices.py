"""What people are shown of a message: what happened, to what, and where to look, from the forms in which services publish. Pure.

Links lead to this installation only, and are made here from names: whoever may publish must not be able to put a button of their own
under the name of Penstock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote

TITLE, TEXT, VALUE = 150, 2_000, 300  # characters; with ten facts they are less than every receiver takes
_FACTS, _CHANGES = 10, 5
_LARGEST = 262_144  # characters of a message that is looked into; a longer one is shown as text


class Tone(StrEnum):
    """How good the news is."""

    GOOD = "good"
    BAD = "bad"
    WAITS = "waits"  # somebody has to do something
    PLAIN = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A message for people. Everything is bounded, and has no control characters but line ends in `text`."""

    title: str
    tone: Tone = Tone.PLAIN
    text: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()  # label and address
    known: bool = False  # a form of ours was recognised


class _Site:
    """Addresses of the console; without an address of the installation there are no links."""

    def __init__(self, public_url: str) -> None:
        self._base = f"{public_url}/console" if public_url else ""

    def link(self, label: str, *path: str) -> tuple[tuple[str, str], ...]:
        """A link, unless a name is missing."""
        if not self._base or not all(path):
            return ()
        return ((label, "/".join([self._base, *(quote(one[:256], safe="") for one in path)])),)


def notice_of(text: str, subject: str, public_url: str) -> Notice:
    """What people are shown of a message with its subject ("" without)."""
    found = _parsed(text)
    if found is not None:
        for recognised, make in _FORMS:
            if recognised(found):
                return _bounded(make(found, _Site(public_url)))
    return _bounded(
        Notice(title=subject or _line(text.partition("\n")[0]), text=text if subject or "\n" in text else "")
    )


def _parsed(text: str) -> dict[str, Any] | None:
    if len(text) > _LARGEST or not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _bounded(notice: Notice) -> Notice:
    return Notice(
        title=_cut(_line(notice.title), TITLE) or "Notification",
        tone=notice.tone,
        text=_cut(_lines(notice.text), TEXT),
        facts=tuple((name, _cut(_line(value), VALUE)) for name, value in notice.facts if _line(value))[:_FACTS],
        links=notice.links,
        known=notice.known,
    )


def _line(text: str) -> str:
    """A text as one line, without characters that only steer its display (bidirectional overrides too)."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _lines(text: str) -> str:
    return "\n".join(
        "".join(one if one.isprintable() else " " for one in line).rstrip() for line in text[: TEXT * 4].split("\n")
    ).strip("\n")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _json(value: Any) -> Mapping[str, Any]:
    """A text of JSON within JSON, as CodeDeploy sends it."""
    return _map(_parsed(value)) if isinstance(value, str) else _map(value)


def _name(value: Any, otherwise: str = "?") -> str:
    return _line(_text(value))[:100] or otherwise


def _changes(value: Any) -> str:
    """The commits that somebody sent along, one a line."""
    listed = [_map(one) for one in _list(value)]
    shown = [f"{_name(one.get('id'), '')[:10]} {_line(_text(one.get('summary')))[:120]}".strip() for one in listed]
    lines = [f"• {one}" for one in shown[:_CHANGES] if one]
    if len(shown) > _CHANGES:
        lines.append(f"and {len(shown) - _CHANGES} more")
    return "\n".join(lines)


# --- Approvals (AWS: CodePipeline User Guide, "JSON data format for manual approval notifications")


def _approval(found: Mapping[str, Any], site: _Site) -> Notice:
    asked = _map(found["approval"])
    pipeline, stage, action = (_name(asked.get(name)) for name in ("pipelineName", "stageName", "actionName"))
    changes = _changes(asked.get("changes"))
    question = _text(asked.get("customData")) or f"{pipeline} waits for somebody to approve {action}."
    return Notice(
        title=f"Approval needed: {pipeline}, {stage}",
        tone=Tone.WAITS,
        text=f"{question}\n\nWhat it brings:\n{changes}" if changes else question,
        facts=(
            ("Pipeline", pipeline),
            ("Action", f"{stage}, {action}"),
            ("To review", _text(asked.get("externalEntityLink"))),
            ("Approvals", _approvers(asked)),
            ("Until", _text(asked.get("expires")).replace("T", " ").replace("Z", " UTC")),
        ),
        links=site.link("Approve or reject", "pipelines", pipeline, "approvals", stage, action)
        + site.link("See the pipeline", "pipelines", pipeline),
        known=True,
    )


def _approvers(asked: Mapping[str, Any]) -> str:
    """How many approvals are missing and from whom; "" where one of anybody's will do."""
    required, named = asked.get("requiredApprovals"), [_name(one) for one in _list(asked.get("approvers"))[:50]]
    several = isinstance(required, int) and 1 < required <= 100
    if not several and not named and asked.get("selfApproval") is not False:
        return ""
    says = f"{required if several else 1} missing" + (f", from {', '.join(named)}" if named else "")
    return says + (", not from whoever started the run" if asked.get("selfApproval") is False else "")


# --- Triggers of deployment groups (AWS: CodeDeploy User Guide, "JSON data formats for CodeDeploy triggers")

_DEPLOYMENT = {
    "CREATED": ("was created", Tone.PLAIN),
    "IN_PROGRESS": ("has begun", Tone.PLAIN),
    "SUCCEEDED": ("succeeded", Tone.GOOD),
    "FAILED": ("failed", Tone.BAD),
    "STOPPED": ("was stopped", Tone.BAD),
    "READY": ("is ready", Tone.WAITS),
}


def _trigger(found: Mapping[str, Any], site: _Site) -> Notice:
    id = _name(found.get("deploymentId"))
    links = site.link("See the deployment", "deployments", id)
    if "instanceId" in found:
        host = _name(found.get("instanceId")).rpartition("/")[2]
        status = _name(found.get("instanceStatus"))
        tone = {"Succeeded": Tone.GOOD, "Failed": Tone.BAD}.get(status, Tone.PLAIN)
        facts = (("Deployment", id), ("Host", host))
        return Notice(title=f"Host {host}: {status}", tone=tone, facts=facts, links=links, known=True)
    application, group = _name(found.get("applicationName")), _name(found.get("deploymentGroupName"))
    says, tone = _DEPLOYMENT.get(_text(found.get("status")), (_name(found.get("status")), Tone.PLAIN))
    counts = _json(found.get("deploymentOverview"))
    hosts = ", ".join(
        f"{counts[name]} {name.lower()}" for name in ("Succeeded", "Failed", "Skipped") if counts.get(name)
    )
    return Notice(
        title=f"Deployment of {application} to {group} {says}",
        tone=tone,
        text="\n".join(
            one
            for one in (
                _text(_json(found.get("errorInformation")).get("ErrorMessage")),
                _text(_json(found.get("rollbackInformation")).get("RollbackMessage")),
            )
            if one
        ),
        facts=(("Application", application), ("Group", group), ("Deployment", id), ("Hosts", hosts)),
        links=links,
        known=True,
    )


# --- Alarms (AWS: CloudWatch, what alarms publish)


def _alarm(found: Mapping[str, Any], site: _Site) -> Notice:  # noqa: ARG001 - as those of other forms
    name, state = _name(found.get("AlarmName")), _name(found.get("NewStateValue"))
    trigger = _map(found.get("Trigger"))
    tones = {"ALARM": Tone.BAD, "OK": Tone.GOOD}
    says = {"ALARM": "is in alarm", "OK": "is well again", "INSUFFICIENT_DATA": "has too few data"}
    return Notice(
        title=f"Alarm {name} {says.get(state, state)}",
        tone=tones.get(state, Tone.PLAIN),
        text="\n".join(
            one for one in (_text(found.get("AlarmDescription")), _text(found.get("NewStateReason"))) if one
        ),
        facts=(
            ("Metric", " ".join(_text(trigger.get(part)) for part in ("Namespace", "MetricName"))),
            ("Since", _text(found.get("StateChangeTime"))),
        ),
        known=True,
    )


# --- Events of EventBridge, and what notification rules make of them

_STATES = {
    "STARTED": ("has begun", Tone.PLAIN),
    "RESUMED": ("continues", Tone.PLAIN),
    "SUCCEEDED": ("succeeded", Tone.GOOD),
    "FAILED": ("failed", Tone.BAD),
    "STOPPED": ("was stopped", Tone.BAD),
    "STOPPING": ("is being stopped", Tone.PLAIN),
    "CANCELED": ("was cancelled", Tone.PLAIN),
    "SUPERSEDED": ("was superseded by a newer run", Tone.PLAIN),
    "IN_PROGRESS": ("has begun", Tone.PLAIN),
    "START": ("has begun", Tone.PLAIN),
    "SUCCESS": ("succeeded", Tone.GOOD),
    "FAILURE": ("failed", Tone.BAD),
    "FAULT": ("failed", Tone.BAD),
    "TIMED_OUT": ("took too long", Tone.BAD),
    "STOP": ("was stopped", Tone.BAD),
}


def _event(found: Mapping[str, Any], site: _Site) -> Notice:
    source = _text(found.get("source"))
    make = _SOURCES.get(source, _any_event)
    return make(found, _map(found.get("detail")), site)


def _state(value: Any) -> tuple[str, Tone]:
    name = _name(value).upper().replace("-", "_")
    return _STATES.get(name, (f"is {name.lower()}", Tone.PLAIN))


def _pipeline_event(found: Mapping[str, Any], detail: Mapping[str, Any], site: _Site) -> Notice:
    pipeline, (says, tone) = _name(detail.get("pipeline")), _state(detail.get("state"))
    stage, action = _name(detail.get("stage"), ""), _name(detail.get("action"), "")
    more = _map(found.get("additionalAttributes"))
    result, trigger = _map(detail.get("execution-result")), _map(detail.get("execution-trigger"))
    links = site.link("See the pipeline", "pipelines", pipeline)
    asks = _map(detail.get("type")).get("category") == "Approval" and detail.get("state") == "STARTED"
    if asks:
        says, tone = "waits for an approval", Tone.WAITS
        links = site.link("Approve or reject", "pipelines", pipeline, "approvals", stage, action) + links
    failed = "\n".join(
        f"{_name(one.get('action'))}: {_text(one.get('additionalInformation'))}"
        for one in map(_map, _list(more.get("failedActions"))[:_CHANGES])
    )
    said = (
        _text(more.get("customData")), _text(more.get("additionalInformation")) or _text(result.get("external-execution-summary")), failed,
    )  # fmt: skip
    changes = _changes(more.get("changes"))
    text = "\n".join([*filter(None, said), *([f"What it brings:\n{changes}"] if changes else [])])
    what = ", ".join(one for one in (pipeline, stage, action) if one)
    by = _text(trigger.get("trigger-detail")) or _text(trigger.get("author-display-name"))
    return Notice(
        title=f"{what} {says}",
        tone=tone,
        text=text,
        facts=(
            ("Pipeline", pipeline),
            ("Run", _text(detail.get("execution-id"))),
            ("Started by", by.rpartition(":")[2]),
            ("Commit", _text(trigger.get("commit-id"))),
            ("To review", _text(more.get("externalEntityLink"))),
        ),
        links=links,
        known=True,
    )


def _build_event(found: Mapping[str, Any], detail: Mapping[str, Any], site: _Site) -> Notice:  # noqa: ARG001 - as those of other forms
    project = _name(detail.get("project-name"))
    phase = _name(detail.get("completed-phase"), "")
    says, tone = _state(detail.get("completed-phase-status") if phase else detail.get("build-status"))
    id = _text(detail.get("build-id")).rpartition("build/")[2]
    more = _map(detail.get("additional-information"))
    return Notice(
        title=f"Phase {phase} of a build of {project} {says}" if phase else f"Build of {project} {says}",
        tone=tone,
        text=_text(detail.get("completed-phase-context")).strip("[] "),
        facts=(
            ("Project", project),
            ("Build", id),
            ("Started by", _text(more.get("initiator"))),
            ("Commit", _text(more.get("source-version"))),
        ),
        links=site.link("See the log", "builds", id),
        known=True,
    )


def _deployment_event(found: Mapping[str, Any], detail: Mapping[str, Any], site: _Site) -> Notice:  # noqa: ARG001 - as those of other forms
    application, group = _name(detail.get("application")), _name(detail.get("deploymentGroup"))
    says, tone = _state(detail.get("state"))
    id, host = _name(detail.get("deploymentId")), _name(detail.get("instanceId"), "").rpartition("/")[2]
    what = f"Host {host} in the deployment of" if host else "Deployment of"
    return Notice(
        title=f"{what} {application} to {group} {says}",
        tone=tone,
        text=_text(_map(detail.get("errorInformation")).get("message")),
        facts=(("Application", application), ("Group", group), ("Deployment", id), ("Host", host)),
        links=site.link("See the deployment", "deployments", id),
        known=True,
    )


def _repository_event(found: Mapping[str, Any], detail: Mapping[str, Any], site: _Site) -> Notice:  # noqa: ARG001 - as those of other forms
    repository = _name(detail.get("repositoryName"))
    kind, name = _name(detail.get("referenceType"), ""), _name(detail.get("referenceName"), "")
    says = {"referenceCreated": "was created", "referenceUpdated": "was updated", "referenceDeleted": "was deleted"}
    what = f"{kind} {name} of {repository}".strip().capitalize() if kind == "tag" else f"Branch {name} of {repository}"
    event = _text(detail.get("event"))
    return Notice(
        title=f"{what} {says[event]}" if event in says else f"{repository}: {_name(found.get('detail-type') or event)}",
        facts=(
            ("Repository", repository),
            ("Commit", _text(detail.get("commitId"))),
            ("By", _text(detail.get("callerUserArn")).rpartition(":")[2]),
        ),
        known=True,
    )


def _alarm_event(found: Mapping[str, Any], detail: Mapping[str, Any], site: _Site) -> Notice:  # noqa: ARG001 - as those of other forms
    state = _map(detail.get("state"))
    return _alarm(
        {
            "AlarmName": detail.get("alarmName"),
            "NewStateValue": state.get("value"),
            "NewStateReason": state.get("reason"),
            "StateChangeTime": state.get("timestamp"),
        },
        site,
    )


def _any_event(found: Mapping[str, Any], detail: Mapping[str, Any], site: _Site) -> Notice:  # noqa: ARG001 - as those of known sources
    facts = tuple((name, str(value)) for name, value in list(detail.items())[:_FACTS] if isinstance(value, str | int))
    title = _name(found.get("detail-type") or found.get("detailType"), "Event")
    return Notice(title=title, facts=(("Source", _text(found.get("source"))), *facts), known=True)


_SOURCES: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any], _Site], Notice]] = {
    "aws.codepipeline": _pipeline_event,
    "aws.codebuild": _build_event,
    "aws.codedeploy": _deployment_event,
    "aws.codecommit": _repository_event,
    "aws.cloudwatch": _alarm_event,
}
_FORMS: Sequence[tuple[Callable[[Mapping[str, Any]], bool], Callable[[Mapping[str, Any], _Site], Notice]]] = (
    (lambda found: isinstance(found.get("approval"), dict), _approval),
    (lambda found: "eventTriggerName" in found and "deploymentId" in found, _trigger),
    (lambda found: "AlarmName" in found and "NewStateValue" in found, _alarm),
    (
        lambda found: isinstance(found.get("detail"), dict) and ("detail-type" in found or "detailType" in found),
        _event,
    ),
)
