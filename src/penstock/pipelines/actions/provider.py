"""The contract of an action provider: one file in this folder, one page in docs/reference/actions.

A provider is a client of another service. It acts under the role that the action (or its pipeline) names, starts something
idempotently, and either answers at once or says how its end will be reported. Everything that depends on the provider stands
in its file: what a source watches, which revisions a start may name, where links lead, what people are shown of an action.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar
from urllib.parse import quote

from penstock.pipelines.model import ActionType, ActionTypeId, ArtifactLocation, Revision
from penstock.wire.call import Input, Output

DEFAULT_CHECK = 60_000  # ms between checks of something that should report by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Started; it reports by an event, and is checked every `check_after` ms in case that was missed."""

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


@dataclass(frozen=True, slots=True)
class Offered:
    """A worker outside of this installation does it: a job for it is offered, whose result ends the action."""


Outcome = Running | Succeeded | Failed | Waiting | Offered


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
    approval: str = ""  # of one that somebody has to answer: the token that answers it
    ends: int = 0  # of such a one: when it has failed for want of an answer, in ms
    site: str = ""  # the address of this installation
    started: int = 0  # ms
    now: int = 0  # ms, when it is started or observed
    scratch: str = ""  # a folder for files without a name; "" is the system's
    report: Callable[[Running], Awaitable[None]] | None = None  # shows how far a start is that takes long
    brought: tuple[Revision, ...] = ()  # what its run brings to the stage, for a provider that `shows_revisions`

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


class Link(StrEnum):
    """A link of an action, by the API's name for it."""

    ENTITY = "entityUrl"  # what the action works on
    EXECUTION = "externalExecutionUrl"  # what an action execution started
    REVISION = "revisionUrl"  # the revision that a source fetched


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """What people are shown of a declared action."""

    line: str  # what it does and with what, for a list: "CodeBuild, shop-web"
    subject: str = ""  # what it works on, such as a repository
    part: str = ""  # which part of it, such as a branch
    question: str = ""  # what somebody who approves is asked
    needs: str = ""  # how many have to approve, and who may


@dataclass(frozen=True, slots=True)
class Targets:
    """Some of what a deploy action works on, as the shape DeployActionExecutionTarget."""

    targets: Sequence[Mapping[str, Any]] = ()
    listed: int = 0  # how many there are on the page of the service that they were cut from
    more: str = ""  # where the service's next page begins; "" when there is none


class Provider(ABC):
    """What runs actions of one type or of several alike."""

    types: ClassVar[tuple[ActionType, ...]]
    # Event type → the external id that its payload is about. Such an event makes the action be checked.
    reports: ClassVar[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {}
    shows_revisions: ClassVar[bool] = False  # people are shown what a run brings
    takes_long: ClassVar[bool] = False  # its start does the work itself, for minutes: few of them run at a time
    # Event type → the subject (see `watches`) that its payload is news of; None when nothing that is watched changed.
    news: ClassVar[Mapping[str, Callable[[Mapping[str, Any]], str | None]]] = {}

    def acts(self, configuration: Mapping[str, str]) -> bool:  # noqa: ARG002 - most actions always do
        """Whether it uses other services, for which it needs a role."""
        return True

    @abstractmethod
    async def start(self, action: Action) -> Outcome:
        """Start the work. May be called again with the same `action.id` after a crash: it must not start it twice."""

    async def observe(self, action: Action) -> Outcome:
        """How the work stands. Only called after `start` answered Running."""
        raise NotImplementedError

    async def stop(self, action: Action) -> None:  # noqa: B027 - most actions end by themselves
        """Stop the work, as far as it can be; harmless when it has ended."""

    async def targets(
        self,
        action: Action,  # noqa: ARG002 - most actions deploy to no hosts
        *,
        statuses: Sequence[str] | None,  # noqa: ARG002
        after: str,  # noqa: ARG002
        start: int,  # noqa: ARG002
        limit: int,  # noqa: ARG002
    ) -> Targets:
        """The hosts that an action which has begun works on.

        Of the service's page that begins at `after`, `limit` of them from the place `start` on; with `statuses`, of those in one of them.
        """
        return Targets()

    def watches(self, configuration: Mapping[str, str]) -> str | None:  # noqa: ARG002 - most actions watch nothing
        """The subject whose news start the pipeline of a source action; None when none do.

        Subjects begin with a name of the provider's own, such as `codecommit:`, since all providers share one table of them.
        """
        return None

    def refuse_revision(self, kind: str, action: Mapping[str, Any]) -> str | None:  # noqa: ARG002
        """Why a start may not give a declared source action a revision of a type that it takes; None when it may."""
        return None

    def link(self, link: Link, known: ActionType, configuration: Mapping[str, str], *, id: str = "") -> str:
        """Where a link of an action leads; "" without one. Fills the type's template.

        `id` is the external execution id or the revision id.
        """
        template = {
            Link.ENTITY: known.entity_url,
            Link.EXECUTION: known.execution_url,
            Link.REVISION: known.revision_url,
        }
        return fill(template[link], configuration, id)

    def shows(self, known: ActionType, configuration: Mapping[str, str]) -> Display:
        """What people are shown of a declared action: here, the values of its key properties."""
        names = [configuration.get(declared.name, "") for declared in known.properties if declared.key]
        last = names[-1] if names else ""
        return Display(
            line=f"{known.id.provider}, {last}" if last else known.id.provider,
            subject=names[0] if names else "",
            part=last if len(names) > 1 else "",
        )


_PLACE = re.compile(r"\{(?:Config:([^{}]+)|ExternalExecutionId|RevisionId)\}")


def fill(template: str, configuration: Mapping[str, str], id: str) -> str:
    """A template of a link with its places filled; "" when a value is missing or a variable without a value. AWS: ActionTypeSettings."""
    values = {
        match.group(): configuration.get(match.group(1), "") if match.group(1) else id
        for match in _PLACE.finditer(template)
    }
    if not all(value and "#{" not in value for value in values.values()):
        return ""
    return _PLACE.sub(lambda match: quote(values[match.group()], safe=":"), template)


def polls(configuration: Mapping[str, str]) -> bool:
    """Whether a source starts its pipeline by itself: `PollForSourceChanges`, which is true unless it says `false`."""
    return configuration.get("PollForSourceChanges", "true") != "false"
