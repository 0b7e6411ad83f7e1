"""The types of events that a rule may name, and which of the platform's events are of one. Pure.

(AWS: Developer Tools Console User Guide, "Understanding notification contents and events"; of CodeCommit those that Penstock has.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PIPELINE, STAGE, ACTION = (f"codepipeline.{one}.state_changed" for one in ("execution", "stage", "action"))
BUILD, PHASE = "codebuild.build.state_changed", "codebuild.build.phase_changed"
DEPLOYMENT, REFERENCE = "codedeploy.deployment.state_changed", "codecommit.reference.updated"
EMITTED = (PIPELINE, STAGE, ACTION, BUILD, PHASE, DEPLOYMENT, REFERENCE)
"""What rules subscribe to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A type of events. An event of the platform (`emitted`) is of it when its payload has `value` as its `member`."""

    id: str
    service: str  # as ListEventTypes has it
    name: str
    resource_type: str
    emitted: str
    member: str
    values: frozenset[str]
    approval: bool = False  # only an action that somebody answers

    def takes(self, emitted: str, payload: Mapping[str, Any]) -> bool:
        """Whether an event is of this type."""
        if emitted != self.emitted or payload.get(self.member) not in self.values:
            return False
        return not self.approval or (payload.get("type") or {}).get("category") == "Approval"

    def to_api(self) -> dict[str, str]:
        """An `EventTypeSummary`."""
        return {
            "EventTypeId": self.id,
            "ServiceName": self.service,
            "EventTypeName": self.name,
            "ResourceType": self.resource_type,
        }


_SERVICES = {
    "CodePipeline": ("codepipeline-pipeline", "Pipeline"),
    "CodeBuild": ("codebuild-project", "Project"),
    "CodeDeploy": ("codedeploy-application", "Application"),
    "CodeCommit": ("codecommit-repository", "Repository"),
}
_STATES = {"failed": "FAILED", "canceled": "CANCELED", "started": "STARTED", "resumed": "RESUMED", "succeeded": "SUCCEEDED", "superseded": "SUPERSEDED"}  # fmt: skip
# service, the middle of the id, what the name begins with, what is emitted, the member that is compared, {end of the id: values}
_GROUPS: tuple[tuple[str, str, str, str, str, Mapping[str, str | tuple[str, ...]]], ...] = (
    ("CodePipeline", "action-execution", "Action execution", ACTION, "state", {one: _STATES[one] for one in ("succeeded", "failed", "canceled", "started")}),
    ("CodePipeline", "stage-execution", "Stage execution", STAGE, "state", {one: _STATES[one] for one in ("started", "succeeded", "resumed", "canceled", "failed")}),
    ("CodePipeline", "pipeline-execution", "Pipeline execution", PIPELINE, "state", _STATES),
    ("CodePipeline", "manual-approval", "Manual approval", ACTION, "state", {"failed": "FAILED", "needed": "STARTED", "succeeded": "SUCCEEDED"}),
    ("CodeBuild", "build-state", "Build state", BUILD, "build-status", {"failed": ("FAILED", "FAULT", "TIMED_OUT"), "succeeded": "SUCCEEDED", "in-progress": "IN_PROGRESS", "stopped": "STOPPED"}),
    ("CodeBuild", "build-phase", "Build phase", PHASE, "completed-phase-status", {"failure": ("FAILED", "FAULT", "TIMED_OUT", "CLIENT_ERROR"), "success": "SUCCEEDED"}),
    ("CodeDeploy", "deployment", "Deployment", DEPLOYMENT, "state", {"failed": "FAILURE", "succeeded": "SUCCESS", "started": "START"}),
    ("CodeCommit", "branches-and-tags", "Branches and tags", REFERENCE, "event", {"created": "referenceCreated", "deleted": "referenceDeleted", "updated": "referenceUpdated"}),
)  # fmt: skip


def _made() -> Iterator[Kind]:
    for service, middle, name, emitted, member, ends in _GROUPS:
        prefix, resource_type = _SERVICES[service]
        for end, value in ends.items():
            yield Kind(
                id=f"{prefix}-{middle}-{end}",
                service=service,
                name=f"{name}: {end.replace('-', ' ').capitalize()}",
                resource_type=resource_type,
                emitted=emitted,
                member=member,
                values=frozenset((value,) if isinstance(value, str) else value),
                approval=middle == "manual-approval",
            )


KINDS: Mapping[str, Kind] = {kind.id: kind for kind in sorted(_made(), key=lambda kind: kind.id)}
"""By their ids, in order."""

# What AWS has and nothing here could be of: a rule that named it would be silent.
_WITHOUT_EVENTS = "codecommit-repository-"


def ids_of(emitted: str, payload: Mapping[str, Any]) -> frozenset[str]:
    """The types that an event is of."""
    return frozenset(kind.id for kind in KINDS.values() if kind.takes(emitted, payload))


def why_unknown(id: str) -> str:
    """What to say of an id that is not among the types."""
    if id.startswith(_WITHOUT_EVENTS):
        return f"The event type {id} is not served: of repositories there are events of branches and tags."
    return f"There is no event type {id[:200]}. ListEventTypes has those that there are."


def resource_arns(emitted: str, resources: list[str], payload: Mapping[str, Any]) -> list[str]:
    """The ARNs by which rules may name what an event is about: of a build its project, of a deployment its application."""
    if emitted in (BUILD, PHASE):
        return [f"{arn.rpartition(':build/')[0]}:project/{payload['project-name']}" for arn in resources]
    return resources[:1]


def service_of(resource: str) -> str:
    """The beginning of the ids of a resource's event types, by its ARN; "" for what no rule is about."""
    _arn, _partition, service, _region, _account, name = resource.split(":", 5)
    kinds = {"codebuild": "project/", "codedeploy": "application:"}
    begins = kinds.get(service, "")
    if service not in ("codepipeline", "codebuild", "codedeploy", "codecommit") or not name.startswith(begins):
        return ""
    rest = name.removeprefix(begins)
    return f"{service}-" if rest and ":" not in rest and "/" not in rest else ""
