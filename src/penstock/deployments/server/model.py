"""What an in-place deployment is made of: values that the pure modules pass around, and none changes.

Hosts and their lifecycle events are not frozen: a fleet makes thousands a second, which would take three times as long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class DeploymentStatus(StrEnum):
    """Status of a deployment, as the API spells it."""

    CREATED = "Created"  # accepted; its start is due
    QUEUED = "Queued"  # waits for another deployment of its group
    IN_PROGRESS = "InProgress"  # hosts are being worked on, or the last running ones are awaited
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    STOPPED = "Stopped"  # by request

    @property
    def final(self) -> bool:
        """Whether nothing can happen any more."""
        return self in (DeploymentStatus.SUCCEEDED, DeploymentStatus.FAILED, DeploymentStatus.STOPPED)


class HostStatus(StrEnum):
    """Status of one host in a deployment (an `InstanceTarget`)."""

    PENDING = "Pending"  # not yet taken up
    IN_PROGRESS = "InProgress"  # its lifecycle events run
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"  # the deployment ended before this host's turn


class EventStatus(StrEnum):
    """Status of one lifecycle event of one host."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"  # the agent acknowledged the command
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"


class ErrorCode(StrEnum):
    """Codes of `errorInformation` that an in-place deployment can end with."""

    HEALTH_CONSTRAINTS = "HEALTH_CONSTRAINTS"  # too many hosts failed
    HEALTH_CONSTRAINTS_INVALID = "HEALTH_CONSTRAINTS_INVALID"  # the minimum leaves no host to begin with
    NO_INSTANCES = "NO_INSTANCES"  # the group matches no host
    TIMEOUT = "TIMEOUT"  # the whole deployment took too long
    MANUAL_STOP = "MANUAL_STOP"  # StopDeployment
    ALARM_ACTIVE = "ALARM_ACTIVE"  # an alarm of the group, or one that cannot be read
    IAM_ROLE_MISSING = "IAM_ROLE_MISSING"  # the service role cannot be assumed at the start
    DEPLOYMENT_GROUP_MISSING = "DEPLOYMENT_GROUP_MISSING"  # deleted between creation and start


class MinimumKind(StrEnum):
    """How a deployment configuration states its minimum of healthy hosts."""

    HOST_COUNT = "HOST_COUNT"
    FLEET_PERCENT = "FLEET_PERCENT"
    MOST_CONCURRENCY = "MOST_CONCURRENCY"  # "at most `value` at a time"; only returned by the API, never accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimum:
    """The minimum of healthy hosts of a deployment configuration."""

    kind: MinimumKind
    value: int
    predefined: bool = False  # one of AWS's own: always leaves room for one host


class RevisionHealth(IntEnum):
    """What a host runs, seen from its group; in the order in which hosts are taken (AWS: instances-health)."""

    UNKNOWN = 0  # nothing was ever installed successfully
    OLD = 1  # another revision than the group's
    CURRENT = 2  # the revision of the group's last successful deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetHost:
    """A host as the deployment finds it."""

    name: str
    healthy: bool  # the last deployment to it succeeded
    revision: RevisionHealth
    seen: bool = True  # its agent polled lately


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    """Why a lifecycle event ended as it did, in the API's terms."""

    code: str  # LifecycleErrorCode
    script: str = ""
    message: str = ""
    log: str = ""  # tail of the script's output, at most 4 KiB


@dataclass(slots=True, kw_only=True)
class LifecycleEvent:
    """One lifecycle event of one host. Times are ms since the epoch."""

    name: str
    status: EventStatus = EventStatus.PENDING
    started: int | None = None
    ended: int | None = None
    diagnostics: Diagnostics | None = None
    noop: bool = False  # the agent said that its revision has nothing to run for it
    repeats: int = 0  # how often its command was offered again after the agent had lost it


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEvents:
    """The lifecycle events of one host, as its row stores them."""

    events: tuple[LifecycleEvent, ...]


@dataclass(slots=True, kw_only=True)
class Host:
    """One host's row of a deployment."""

    name: str
    position: int  # 0…; hosts are taken in this order
    healthy: bool  # when the deployment began
    seen: bool  # its agent polled lately when the deployment began
    status: HostStatus = HostStatus.PENDING
    events: tuple[LifecycleEvent, ...] = ()
    current: int | None = None  # index of the event whose command is out
    acknowledged: bool = False  # the agent took that command
    deadline: int | None = None  # ms; when that command fails by itself
    updated: int | None = None  # ms

    @property
    def touched(self) -> bool:
        """Whether the host's agent took or reported any lifecycle event."""
        return any(event.started is not None for event in self.events)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long is waited, in milliseconds. AWS: limits, troubleshooting-deployments."""

    pickup: int = 300_000  # until an agent that is there acknowledges an event (AWS: 5 minutes)
    absent: int = 60_000  # the same, for an agent that has not polled lately (AWS waits up to an hour)
    event: int = 3_660_000  # until an acknowledged event completes (AWS: 3600 s; plus a margin for the agent's report)
    noop: int = 60_000  # the same, for an event that the agent has nothing to run for
    silent: int = 300_000  # without a poll, until the event that runs on a host has failed (AWS: 5 minutes)
    gone: int = 90_000  # the same, once StopDeployment was called
    stop: int = 300_000  # after StopDeployment, until an event that still runs is not waited for any longer
    # After an outage, until an agent that forgets its reports has lost the one of an event before it.
    lost: int = 900_000
    deployment: int = 43_200_000  # the whole deployment (AWS: 12 hours)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a deployment will end once the running hosts are done."""

    status: DeploymentStatus
    code: ErrorCode | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A deployment's counters: all that a host's event needs beside that host's row and the next candidates."""

    id: str
    status: DeploymentStatus = DeploymentStatus.CREATED
    events: tuple[str, ...]  # lifecycle events of each host, in order
    minimum: Minimum
    timeouts: Timeouts = field(default_factory=Timeouts)
    ignore_stop_failures: bool = False
    is_rollback: bool = False  # its minimum always leaves room for one host
    idle_is_success: bool = False  # only outdated hosts were asked for: none is fine
    rolls_back_on_failure: bool = False
    rolls_back_on_stop: bool = False
    needed: int = 0  # healthy hosts that must remain; of the whole group
    bystanders: int = 0  # healthy hosts of the group that this deployment leaves alone
    available: int = 0  # healthy hosts that nothing is done to, bystanders included
    pending: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    touched: int = 0  # hosts on which an event was started
    ending: Ending | None = None  # decided; only the running hosts are awaited
    started: int | None = None  # ms
    completed: int | None = None  # ms
    stop_rolls_back: bool | None = None  # what StopDeployment asked for

    @property
    def stopping(self) -> bool:
        """Whether it was stopped: only the running hosts are awaited."""
        return self.ending is not None and self.ending.status is DeploymentStatus.STOPPED

    @property
    def targets(self) -> int:
        """How many hosts it started with."""
        return self.pending + self.running + self.succeeded + self.failed + self.skipped


BLANK = Deployment(id="", events=(), minimum=Minimum(kind=MinimumKind.HOST_COUNT, value=0))
"""A deployment before it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What was loaded for one decision: the counters and only the rows that the event can touch."""

    deployment: Deployment
    hosts: tuple[Host, ...] = ()
