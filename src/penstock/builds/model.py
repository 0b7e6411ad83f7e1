"""What a build is: its key, and its state."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.builds.phases import PhaseType, Status
from penstock.wire.call import partition_of


@dataclass(frozen=True, slots=True)
class Key:
    """Which build."""

    account: str
    region: str
    id: str  # project:uuid

    @property
    def uuid(self) -> str:
        """The part behind the project's name."""
        return self.id.rpartition(":")[2]

    @property
    def project_arn(self) -> str:
        """The ARN of its project, which trust policies know as aws:SourceArn."""
        project = self.id.rpartition(":")[0]
        return f"arn:{partition_of(self.region)}:codebuild:{self.region}:{self.account}:project/{project}"

    @property
    def topic(self) -> str:
        """What is woken when its run is to be looked after."""
        return f"build/{self.account}/{self.region}/{self.id}"

    @property
    def aggregate(self) -> str:
        """Its name in events and the journal."""
        return f"build/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One phase as it was gone through."""

    type: PhaseType
    status: Status = Status.NONE
    start: int = 0  # ms UTC
    end: int | None = None
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildState:
    """Where a build is."""

    status: Status = Status.IN_PROGRESS
    phases: tuple[Phase, ...] = ()
    complete: bool = False
    ending: Status | None = None  # STOPPED or TIMED_OUT: its run is to end with that
    timeout_ms: int = 0
    queued_until: int = 0  # ms UTC
    runs_until: int | None = None  # ms UTC; None before PROVISIONING
    ended: int | None = None
    node: str = ""  # whose disk its run is on; "" before a worker has taken it
    retries: int = 0  # how often it may be started again by itself

    @property
    def started(self) -> int:
        """When it was submitted, ms UTC; 0 before that."""
        return self.phases[0].start if self.phases else 0

    @property
    def phase(self) -> PhaseType:
        """The present phase; SUBMITTED before there is any."""
        return self.phases[-1].type if self.phases else PhaseType.SUBMITTED
