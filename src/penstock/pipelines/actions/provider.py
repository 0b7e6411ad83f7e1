"""The contract of an action provider: one file in this folder, one page in docs/reference/actions.

A provider is a client of another service. It acts under the role that the action (or its pipeline) names, starts something
idempotently, and either answers at once or says how its end will be heard of.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from penstock.pipelines.model import ActionType, ActionTypeId, ArtifactLocation
from penstock.wire.call import Input, Output

DEFAULT_CHECK = 60_000  # ms between looks at something that should report by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """What a source action fetched."""

    id: str
    change_id: str = ""
    summary: str = ""
    created: int | None = None  # ms
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Started; it reports by an event, and is looked at every `check_after` ms in case that was missed."""

    external_id: str = ""
    url: str = ""
    summary: str = ""
    percent: int | None = None
    log_stream: str = ""  # ARN
    check_after: int = DEFAULT_CHECK


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """Done."""

    external_id: str = ""
    url: str = ""
    summary: str = ""
    log_stream: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[ArtifactLocation, ...] = ()
    revision: Revision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Not done. `code` is one of JobFailed, ConfigurationError, PermissionError, RevisionUnavailable, SystemUnavailable."""

    code: str
    message: str
    external_id: str = ""
    url: str = ""
    summary: str = ""
    log_stream: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing to do: someone has to answer (a manual approval)."""


Outcome = Running | Succeeded | Failed | Waiting


class Invoke:
    """Runs operations under the session of the action's role."""

    async def __call__(self, service: str, operation: str, input: Input) -> Output:
        """The operation's output; raises its ServiceError, or AccessDenied."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action execution as its provider sees it."""

    id: str  # action execution id
    account: str
    region: str
    partition: str
    pipeline: str
    execution: str
    stage: str
    name: str
    type: ActionTypeId
    configuration: Mapping[str, str]  # resolved
    inputs: tuple[ArtifactLocation, ...]
    outputs: tuple[ArtifactLocation, ...]  # where to put them
    store: Mapping[str, Any]  # the shape ArtifactStore
    invoke: Invoke
    external_id: str = ""  # of what was started; "" before `start`
    overrides: Mapping[str, str] = field(default_factory=dict)  # of a source: revision type → value

    @property
    def token(self) -> str:
        """The client token of what this action starts: the same however often the start runs."""
        return self.id

    @property
    def encryption_key(self) -> str:
        """The key id of the artifact store; "" for the store's own."""
        return self.store.get("encryptionKey", {}).get("id", "")

    def flag(self, key: str) -> bool:
        """A configuration value that is `true`."""
        return self.configuration.get(key, "false").lower() == "true"


class Provider(ABC):
    """What runs actions of one type or of several alike."""

    types: ClassVar[tuple[ActionType, ...]]
    # Event type → the external id that its payload is about. What is heard makes the action be looked at.
    hears: ClassVar[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {}

    acts: ClassVar[bool] = True  # False: needs no role, since it uses no other service

    @abstractmethod
    async def start(self, action: Action) -> Outcome:
        """Start the work. May be called again with the same `action.id` after a crash: it must not start it twice."""

    async def observe(self, action: Action) -> Outcome:
        """How the work stands. Only called after `start` answered Running."""
        raise NotImplementedError

    async def stop(self, action: Action) -> None:  # noqa: B027 - most actions end by themselves
        """Stop the work, as far as it can be; harmless when it has ended."""
