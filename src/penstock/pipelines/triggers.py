"""What starts a pipeline by itself: which subjects its sources watch, and which executions their news call for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.pipelines.actions import Providers
from penstock.pipelines.model import Trigger, TriggerType
from penstock.pipelines.plan import type_of

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


def watched(declaration: Mapping[str, Any], providers: Providers) -> list[Watch]:
    """What the source actions of a declaration watch."""
    watches = []
    for action in declaration["stages"][0]["actions"]:
        found = providers.find(type_of(action))
        subject = found[0].watches(action.get("configuration", {})) if found else None
        if subject is not None and len(subject.encode()) <= LONGEST_SUBJECT:
            watches.append(Watch(action=action["name"], subject=subject))
    return watches


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
