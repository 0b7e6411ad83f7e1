"""Value types of the pipeline domain: states, plan, triggers and actions.

Everything here is a value. Times are milliseconds since the epoch, UTC; durations are milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR

APPROVAL_TIMEOUT = 7 * DAY  # AWS: limits; `timeoutInMinutes` overrides it
CUSTOM_TIMEOUT = DAY  # AWS: limits; of custom actions
CONCURRENT_EXECUTIONS = 50  # AWS: limits; of QUEUED and PARALLEL pipelines
PARALLEL_ACTIONS = 5  # AWS: limits; of an execution in PARALLEL mode, at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Which pipeline. `id`, if set, must match too: names can be reused."""

    account: str
    region: str
    name: str
    id: str = ""

    @property
    def lock(self) -> str:
        """What transactions that begin by locking its row have in common; see `Store.write_together`."""
        return f"pipeline/{self.account}/{self.region}/{self.name}"


def aggregate_name(id: str) -> str:
    """The name of a pipeline in events and the journal."""
    return f"pipeline/{id}"


class ExecutionMode(StrEnum):
    """How executions of one pipeline share its stages."""

    SUPERSEDED = "SUPERSEDED"  # one waits before each stage; a newer one takes its place
    QUEUED = "QUEUED"  # all wait before each stage, first come first served
    PARALLEL = "PARALLEL"  # no locks: executions know nothing of each other


class PipelineType(StrEnum):
    """The generation of a declaration; V2 knows variables and the modes other than SUPERSEDED."""

    V1 = "V1"
    V2 = "V2"


class ExecutionType(StrEnum):
    """What an execution is for."""

    STANDARD = "STANDARD"  # goes through the stages
    ROLLBACK = "ROLLBACK"  # runs one stage again with what an earlier execution brought to it


class ExecutionStatus(StrEnum):
    """Where a pipeline execution stands. One that waits before a stage is InProgress."""

    IN_PROGRESS = "InProgress"  # runs in a stage or waits before one
    STOPPING = "Stopping"  # was asked to stop; its running actions finish first
    STOPPED = "Stopped"  # stopped by request
    SUCCEEDED = "Succeeded"  # left its last stage
    FAILED = "Failed"  # an action failed, or it could not start
    SUPERSEDED = "Superseded"  # a newer one took its waiting place
    CANCELLED = "Cancelled"  # the pipeline's declaration was updated meanwhile

    @property
    def ended(self) -> bool:
        """True when only a retry can move the execution again."""
        return self not in (ExecutionStatus.IN_PROGRESS, ExecutionStatus.STOPPING)


class StageStatus(StrEnum):
    """Where the latest execution of a stage stands."""

    IN_PROGRESS = "InProgress"  # its actions run
    STOPPING = "Stopping"  # waits for its running actions, starts no more
    STOPPED = "Stopped"  # its execution was stopped in it
    SUCCEEDED = "Succeeded"  # every action succeeded
    FAILED = "Failed"  # an action failed; siblings may still run
    CANCELLED = "Cancelled"  # the declaration was updated meanwhile
    SKIPPED = "Skipped"  # its entry condition failed, whose result is SKIP: none of its actions ran


class ConditionType(StrEnum):
    """When a condition of a stage is checked."""

    BEFORE_ENTRY = "BEFORE_ENTRY"  # before its actions
    ON_SUCCESS = "ON_SUCCESS"  # when they have succeeded
    ON_FAILURE = "ON_FAILURE"  # when one has failed, and none is in progress


class ConditionStatus(StrEnum):
    """Where a condition stands."""

    IN_PROGRESS = "InProgress"  # one of its rules is
    SUCCEEDED = "Succeeded"  # every rule succeeded
    FAILED = "Failed"  # a rule failed
    CANCELLED = "Cancelled"  # the execution was stopped, or the pipeline updated or deleted
    OVERRIDDEN = "Overridden"  # somebody had the execution continue all the same

    @property
    def passed(self) -> bool:
        """True when the execution continues."""
        return self in (ConditionStatus.SUCCEEDED, ConditionStatus.OVERRIDDEN)


class Result(StrEnum):
    """What a condition does: before entry and on success when it fails, on failure when it succeeds."""

    FAIL = "FAIL"  # the stage fails
    SKIP = "SKIP"  # the execution passes the stage by
    ROLLBACK = "ROLLBACK"  # the stage is rolled back


class ActionStatus(StrEnum):
    """Where an action execution stands. An action that has not started has none."""

    IN_PROGRESS = "InProgress"  # started, or waits for an approval
    SUCCEEDED = "Succeeded"  # done
    FAILED = "Failed"  # failed, was rejected or timed out
    ABANDONED = "Abandoned"  # given up: the execution was stopped or its pipeline updated or deleted


class TriggerType(StrEnum):
    """What started an execution."""

    CREATE_PIPELINE = "CreatePipeline"  # the first one, by creating the pipeline
    START = "StartPipelineExecution"  # a call
    POLL = "PollForSourceChanges"  # a source changed
    CLOUDWATCH_EVENT = "CloudWatchEvent"  # a rule
    WEBHOOK = "Webhook"  # a webhook's or a connection's push
    PUT_REVISION = "PutActionRevision"  # a call that names a new revision of a source
    MANUAL_ROLLBACK = "ManualRollback"  # a call that rolls a stage back
    AUTOMATED_ROLLBACK = "AutomatedRollback"  # a stage failed that is declared to be rolled back


class RetryMode(StrEnum):
    """What a retry of a stage runs again."""

    FAILED_ACTIONS = "FAILED_ACTIONS"  # what failed or was abandoned
    ALL_ACTIONS = "ALL_ACTIONS"  # everything


class TransitionSide(StrEnum):
    """Which side of a stage a transition is on."""

    INBOUND = "Inbound"
    OUTBOUND = "Outbound"


class Category(StrEnum):
    """What kind of work an action type does."""

    SOURCE = "Source"
    BUILD = "Build"
    TEST = "Test"
    DEPLOY = "Deploy"
    APPROVAL = "Approval"
    INVOKE = "Invoke"
    COMPUTE = "Compute"
    RULE = "Rule"  # of a condition; no action has it


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTypeId:
    """The four names by which a declaration refers to an action type."""

    category: str
    owner: str
    provider: str
    version: str = "1"

    def as_output(self) -> dict[str, str]:
        """The shape `ActionTypeId`."""
        return {
            "category": self.category,
            "owner": self.owner,
            "provider": self.provider,
            "version": self.version,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """One configuration key of an action type. Every value in a declaration is a string."""

    name: str
    description: str
    required: bool = False
    key: bool = False  # names the resource that the action works on
    values: tuple[str, ...] = ()  # the allowed ones; () = any
    secret: bool = False  # no record shows its value
    masked: bool = (
        False  # no answer shows it either: it is sealed beside the declaration, and only whoever does the work gets it
    )
    queryable: bool = False  # job workers ask for jobs by its value
    kind: str = ""  # String, Number or Boolean, as its owner says


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRule:
    """Who has to answer an approval."""

    required: int = 1  # people who approve
    approvers: tuple[str, ...] = ()  # users, groups and roles: names, `user/NAME` or ARNs; () = whoever policies let
    self_approval: bool = True  # whether whoever started the run may approve it


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One person's answer to an approval."""

    by: str  # ARN of the session
    person: str  # what stands for the person behind it
    at: int  # ms
    approved: bool
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionType:
    """What a declaration may say about actions of one type."""

    id: ActionTypeId
    properties: tuple[Property, ...]
    inputs: tuple[int, int]  # least and most input artifacts
    outputs: tuple[int, int]
    timeout: int = HOUR  # ms that an action may take. AWS: limits
    time_for: Callable[[Mapping[str, str]], int] | None = None  # the same, where it depends on the configuration
    v2_only: bool = False
    skips: bool = False  # of a rule: a condition with the result SKIP may have it
    # Templates with {Config:Key}, {ExternalExecutionId}, {RevisionId}. One that starts with a slash is a page of this installation.
    entity_url: str = ""
    execution_url: str = ""
    revision_url: str = ""
    # What its actions work on and what each execution starts, as `service:resource-type`; "" for what no page or command knows.
    works_on: str = ""
    starts: str = ""
    revision_types: tuple[str, ...] = ()  # those of a start's `sourceRevisions` that a source takes
    refuse: Callable[[Mapping[str, Any]], str | None] | None = None  # why a declared action cannot be; None = it can
    answered_by: Callable[[Mapping[str, str]], ApprovalRule] | None = (
        None  # of approvals: what a configuration says of it
    )
    # Members of a declared action besides those that all have; `files` is that of its output artifacts.
    members: tuple[str, ...] = ()
    # Of one that job workers outside run.
    configuration_url: str = ""
    of_partner: bool = False  # its jobs are for workers of whoever has registered it, not for the pipeline's account
    job_timeout: int | None = None  # ms that one of its jobs may take; None: as long as the action
    job_lease: int | None = None  # ms after which a worker that says nothing loses its job; None: it keeps it
    deleted: bool = False  # no further pipeline may name it

    def property(self, name: str) -> Property | None:
        """The configuration key of that name."""
        return next((p for p in self.properties if p.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionPlan:
    """What the engine knows of one action of a declaration."""

    name: str
    type: ActionTypeId
    run_order: int = 1
    timeout: int = HOUR
    answered_by: ApprovalRule = field(default_factory=ApprovalRule)  # of an approval
    region: str = ""  # where it runs; "" is the pipeline's

    @property
    def approval(self) -> bool:
        """True for a manual approval: it is answered, not run."""
        return self.type.category == Category.APPROVAL

    @property
    def rule(self) -> bool:
        """True for a rule of a condition."""
        return self.type.category == Category.RULE


def rule_run(condition: ConditionType, rule: str) -> str:
    """The name that a rule has among the actions of its stage, whose own names have no slash."""
    return f"{condition}/{rule}"


def rule_named(run: str) -> tuple[str, str]:
    """The type of the condition and the rule that a name among the actions means; "" and the name for an action."""
    condition, _, rule = run.rpartition("/")
    return condition, rule


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionPlan:
    """A condition of a stage."""

    result: Result
    rules: tuple[ActionPlan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage: its actions grouped by run order, ascending."""

    name: str
    groups: tuple[tuple[ActionPlan, ...], ...]
    automatic_retry: RetryMode | None = None  # once per entry. AWS: stage-retry
    rolls_back: bool = False  # by itself, when it fails. AWS: stage-rollback-auto
    conditions: Mapping[str, ConditionPlan] = field(default_factory=dict)  # by `ConditionType`

    def action(self, name: str) -> ActionPlan | None:
        """The action of that name, or the rule (see `rule_run`)."""
        condition, rule = rule_named(name)
        if condition:
            found = self.conditions.get(ConditionType(condition))
            return None if found is None else next((r for r in found.rules if r.name == rule), None)
        return next((a for group in self.groups for a in group if a.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One version of a pipeline as the engine runs it."""

    version: int
    mode: ExecutionMode
    stages: tuple[StagePlan, ...]
    required: tuple[str, ...] = ()  # variables that have no default
    defaults: Mapping[str, str] = field(default_factory=dict)

    def index(self, stage: str) -> int | None:
        """The position of a stage, from 0."""
        return next((i for i, s in enumerate(self.stages) if s.name == stage), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What started an execution, as the read operations answer it."""

    type: TriggerType
    detail: str = ""  # a caller's ARN, a source action's name, a rule's ARN


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactLocation:
    """Where an artifact lies in the pipeline's store."""

    name: str
    bucket: str
    key: str
    # What the object was when it was written, from the answer of that very write.
    version_id: str = ""  # "" in a bucket without versions
    etag: str = ""
    sha256: str = ""  # hexadecimal
    revision: str = ""  # of the source it was made from, when known

    @property
    def immutable(self) -> bool:
        """Whether its version id names these bytes for good: the null version of a bucket is overwritten in place."""
        return self.version_id not in ("", "null")

    def as_output(self) -> dict[str, object]:
        """The shape `ArtifactDetail`."""
        return {"name": self.name, "s3location": {"bucket": self.bucket, "key": self.key}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """What a source action fetched."""

    id: str
    change_id: str = ""
    summary: str = ""
    created: int | None = None  # ms
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What is shown of an action execution, in the columns of these names; None leaves a column as it is."""

    external_id: str | None = None  # of what the provider started
    external_url: str | None = None
    summary: str | None = None
    percent: int | None = None
    log_stream: str | None = None  # ARN
    resolved: Mapping[str, str] | None = None  # configuration as it ran
    inputs: tuple[ArtifactLocation, ...] | None = None
    outputs: tuple[ArtifactLocation, ...] | None = None
    variables: Mapping[str, str] | None = None
    revision: Revision | None = None


NO_DETAILS = Details()
"""Nothing new."""
