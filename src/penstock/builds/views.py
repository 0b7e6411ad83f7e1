"""What the API shows of a build, and what its events say."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from penstock.builds.model import BuildState, Phase
from penstock.builds.phases import PhaseType, Status


def phase_to_api(phase: Phase) -> dict[str, Any]:
    """A phase as BatchGetBuilds shows it."""
    answer: dict[str, Any] = {"phaseType": phase.type, "startTime": phase.start}
    if phase.type == PhaseType.COMPLETED:
        return answer
    if phase.end is None:
        return answer | {"phaseStatus": Status.IN_PROGRESS}
    return answer | {
        "phaseStatus": phase.status,
        "endTime": phase.end,
        "durationInSeconds": (phase.end - phase.start) // 1000,
        "contexts": [{"statusCode": phase.code, "message": phase.message}],
    }


def to_api(document: Mapping[str, Any], state: BuildState) -> dict[str, Any]:
    """A build as BatchGetBuilds shows it."""
    answer = dict(document) | {
        "startTime": state.started,
        "buildStatus": state.status,
        "currentPhase": state.phase,
        "buildComplete": state.complete,
        "phases": [phase_to_api(phase) for phase in state.phases],
    }
    if state.ended is not None:
        answer["endTime"] = state.ended
    return answer


def _event_time(ms: int) -> str:
    """A time as CodeBuild's events write it: `Sep 1, 2017 4:12:29 PM`."""
    at = dt.datetime.fromtimestamp(ms / 1000, tz=dt.UTC)
    return f"{at:%b} {at.day}, {at.year} {at.hour % 12 or 12}:{at:%M:%S} {'AM' if at.hour < 12 else 'PM'}"


def _event_phase(phase: Phase) -> dict[str, Any]:
    """A phase as the events' `additional-information` lists it."""
    members: dict[str, Any] = {"phase-type": phase.type, "start-time": _event_time(phase.start)}
    if phase.end is not None:
        members |= {
            "phase-context": [f"{phase.code}: {phase.message}".strip() if phase.code or phase.message else ": "],
            "phase-status": phase.status,
            "end-time": _event_time(phase.end),
            "duration-in-seconds": (phase.end - phase.start) // 1000,
        }
    return members


def event_detail(document: Mapping[str, Any], state: BuildState) -> dict[str, Any]:
    """The detail of `CodeBuild Build State Change` (AWS: "Build notifications input format reference")."""
    logs = document.get("logs", {})
    source = document["source"]
    artifacts = document.get("artifacts", {})
    environment = document["environment"]
    return {
        "build-status": state.status,
        "project-name": document["projectName"],
        "build-id": document["arn"],
        "current-phase": state.phase,
        "current-phase-context": "[]",
        "version": "1",
        "initiator": document["initiator"],
        "additional-information": {
            "artifact": {key: artifacts[name] for key, name in _ARTIFACT if name in artifacts},
            "environment": {
                "image": environment["image"],
                "privileged-mode": environment.get("privilegedMode", False),
                "compute-type": environment["computeType"],
                "type": environment["type"],
                "environment-variables": [
                    {"name": v["name"], "type": v.get("type", "PLAINTEXT"), "value": v["value"]}
                    for v in environment.get("environmentVariables", ())
                ],
            },
            "timeout-in-minutes": document["timeoutInMinutes"],
            "build-complete": state.complete,
            "build-number": float(document["buildNumber"]),
            "initiator": document["initiator"],
            "build-start-time": _event_time(state.started),
            "source": {"type": source["type"]} | ({"location": source["location"]} if "location" in source else {}),
            "source-version": document.get("sourceVersion", ""),
            "logs": {
                "group-name": logs.get("groupName"),
                "stream-name": logs.get("streamName"),
                "deep-link": logs.get("deepLink"),
            },
            "phases": [_event_phase(phase) for phase in state.phases],
        },
    }


_ARTIFACT = (("location", "location"), ("sha256sum", "sha256sum"), ("md5sum", "md5sum"))


def phase_detail(document: Mapping[str, Any], state: BuildState, phase: Phase) -> dict[str, Any]:
    """The detail of `CodeBuild Build Phase Change`."""
    detail = event_detail(document, state)
    detail.pop("build-status")
    detail.pop("current-phase")
    detail.pop("current-phase-context")
    status = {"completed-phase-status": phase.status} if phase.status else {}
    end = phase.start if phase.end is None else phase.end
    return (
        detail
        | status
        | {
            "completed-phase": phase.type,
            "completed-phase-context": f"[{phase.code}: {phase.message}]",
            "completed-phase-duration-seconds": (end - phase.start) // 1000,
            "completed-phase-start": _event_time(phase.start),
            "completed-phase-end": _event_time(end),
        }
    )
