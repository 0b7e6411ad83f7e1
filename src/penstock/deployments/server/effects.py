"""What is to be done about a decision of `engine.decide`, in its order and in its transaction."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class SendCommand:
    """Offer the command of lifecycle event `index` to the host's agent."""

    host: str
    position: int
    index: int
    event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawCommand:
    """Take back a command that is out: a later acknowledgement is answered with an order to drop it."""

    position: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndCommand:
    """A command that was reported on is over."""

    position: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferAgain:
    """Offer a command once more that the host's agent had and lost."""

    position: int
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipPending:
    """Every row that is still pending becomes skipped, at once and unseen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Continue:
    """Feed Proceed soon: more hosts may start."""


class Mark(StrEnum):
    """What EventBridge calls a state change."""

    START = "START"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    STOP = "STOP"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostChanged:
    """A host was taken up or is done."""

    host: str
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentChanged:
    """The deployment started or ended."""

    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The deployment is over: the next of the group may start. `rolls_back` asks for an automatic rollback."""

    rolls_back: bool


Effect = (
    SendCommand
    | WithdrawCommand
    | EndCommand
    | OfferAgain
    | SkipPending
    | Continue
    | HostChanged
    | DeploymentChanged
    | Finished
)
