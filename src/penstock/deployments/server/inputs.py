"""What a deployment is given to decide on by `engine.decide`. The journal keeps these."""

from __future__ import annotations

from dataclasses import dataclass, field

from penstock.deployments.server.model import Diagnostics, ErrorCode, FleetHost, Minimum, Timeouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """It was asked for. `queued`: another deployment has its group."""

    events: tuple[str, ...]  # lifecycle events of each host, in order
    minimum: Minimum
    queued: bool = False
    ignore_stop_failures: bool = False
    is_rollback: bool = False
    idle_is_success: bool = False
    rolls_back_on_failure: bool = False
    rolls_back_on_stop: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """The hosts are known. `hosts` are deployed to; `bystanders` of the `fleet` are healthy and left alone."""

    hosts: tuple[FleetHost, ...]
    bystanders: int
    fleet: int
    timeouts: Timeouts = field(default_factory=Timeouts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The deployment cannot begin."""

    code: ErrorCode
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """A host's agent took the command of lifecycle event `index`. `noop`: its revision has nothing to run for it."""

    host: str
    index: int
    noop: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A host's agent reports the end of lifecycle event `index`. May come without an acknowledgement."""

    host: str
    index: int
    succeeded: bool
    diagnostics: Diagnostics


@dataclass(frozen=True, slots=True, kw_only=True)
class Elapsed:
    """Time has passed; deadlines before now are over.

    `unheard` are running hosts whose agents have not polled lately, with the time of their last sign of life in ms. `forgotten` are
    hosts whose agent polls again after an outage, and cannot be expected to report an event of before it any more.
    """

    unheard: tuple[tuple[str, int], ...] = ()
    forgotten: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A host's agent polls, and no longer has the command of lifecycle event `index` that it acknowledged."""

    host: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deregistered:
    """A host was deregistered: nothing more can be sent to it or received from it."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """StopDeployment, or an `alarm`: what it says. `rolls_back` overrides the group's rule when not None; `unheard` as in `Elapsed`."""

    rolls_back: bool | None = None
    unheard: tuple[tuple[str, int], ...] = ()
    alarm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proceed:
    """More hosts may start than the last decision took up."""


Input = Requested | Began | Proceed | Refused | Acknowledged | Completed | Lost | Deregistered | Elapsed | StopRequested
