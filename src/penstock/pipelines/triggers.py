"""What starts a pipeline by itself: which sources it watches, and which events are news of them. Pure.

`PollForSourceChanges` absent or true is served by the source's own event, at once; false starts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.pipelines.model import Category, Trigger, TriggerType

LONGEST_SUBJECT = 1_200  # bytes; a configuration may have more, but no bucket and key or repository and branch has


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A source action and what it watches."""

    action: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """A pipeline that watches a subject."""

    pipeline_id: str
    name: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An execution that an event calls for."""

    pipeline_id: str
    name: str
    trigger: Trigger
    token: str  # the same for the same event: one change, one execution


def _codecommit(repository: str, branch: str) -> str:
    return f"codecommit:{repository}:{branch}"


def _s3(bucket: str, key: str) -> str:
    return f"s3:{bucket}/{key}"


def watched(declaration: Mapping[str, Any]) -> list[Watch]:
    """What the source actions of a declaration watch."""
    watches = []
    for action in declaration["stages"][0]["actions"]:
        kind, configuration = action["actionTypeId"], action.get("configuration", {})
        if kind["category"] != Category.SOURCE or configuration.get("PollForSourceChanges", "true") == "false":
            continue
        if kind["provider"] == "CodeCommit":
            subject = _codecommit(configuration["RepositoryName"], configuration["BranchName"])
        elif kind["provider"] == "S3":
            subject = _s3(configuration["S3Bucket"], configuration["S3ObjectKey"])
        else:
            continue
        if len(subject.encode()) <= LONGEST_SUBJECT:
            watches.append(Watch(action=action["name"], subject=subject))
    return watches


def subject_of(event_type: str, payload: Mapping[str, Any]) -> str | None:
    """What an event is news of; None when nothing that is watched changed."""
    if event_type == "codecommit.reference.updated":
        if payload["referenceType"] != "branch" or payload["event"] == "referenceDeleted":
            return None
        return _codecommit(payload["repositoryName"], payload["referenceName"])
    if event_type == "s3.object.created":
        return _s3(payload["bucket"], payload["key"])
    return None


def wanted(event_id: str, watchers: Sequence[Watcher]) -> list[Wanted]:
    """One execution per pipeline, whichever of its source actions saw the change."""
    first: dict[str, Watcher] = {}
    for watcher in sorted(watchers, key=lambda watcher: (watcher.name, watcher.action)):
        first.setdefault(watcher.pipeline_id, watcher)
    return [
        Wanted(
            pipeline_id=watcher.pipeline_id,
            name=watcher.name,
            trigger=Trigger(type=TriggerType.POLL, detail=watcher.action),
            token=f"event:{event_id}",
        )
        for watcher in first.values()
    ]
