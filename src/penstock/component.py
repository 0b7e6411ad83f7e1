"""One shape for every component: what a service package hands over to the application that is composed of it.

A component package exports `component(app) -> Component`, and `SETTINGS` when something of it can be chosen. Its operations, job handlers
and event handlers are functions that take the component's state first, so that nothing of it is global and nothing is found by importing:

    operation = operations_of("logs")

    @operation("CreateLogGroup", resource=group_arn)
    async def create_log_group(logs: LogStore, call: Call, input: Input) -> Output: ...

Components never import each other: one uses another by `app.invoke`, or subscribes to its events.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from penstock.wire.errors import AccessDenied
from penstock.wire.registry import Operations

if TYPE_CHECKING:
    import sqlalchemy as sa

    from penstock.application import App, Asgi
    from penstock.metrics import Reading
    from penstock.store.aggregate import RowAggregate
    from penstock.store.catalogue import EventType
    from penstock.store.events import Event
    from penstock.store.fanout import Concerns
    from penstock.store.jobs import Job
    from penstock.store.journal import Finder
    from penstock.store.retention import Expiring
    from penstock.tracing import Tracer
    from penstock.webpages.page import Page
    from penstock.wire.call import Call
    from penstock.wire.identity import Identity, ResourcePolicy
    from penstock.wire.message import RequestHead
    from penstock.wire.services import Service

S = TypeVar("S")
F = TypeVar("F", bound=Callable[..., Awaitable[Any]])

_DECLARED = "penstock_operation"
_SECRET = 4_096  # characters of a secret in a file


@dataclass(frozen=True, slots=True)
class _Declared:
    service: str
    action_prefix: str | None
    name: str
    options: Mapping[str, Any]


def operations_of(service: str, *, action_prefix: str | None = None) -> Callable[..., Callable[[F], F]]:
    """The decorator that declares `async def f(state, call, input)` as an operation of a service.

    It takes the operation's name in the model and the options of `penstock.wire.registry.Operations.operation`. A function may be
    declared several times: as operations that are alike but for their names.
    """

    def operation(name: str, **options: Any) -> Callable[[F], F]:
        def declare(handler: F) -> F:
            declared = _Declared(service, action_prefix, name, options)
            setattr(handler, _DECLARED, (declared, *getattr(handler, _DECLARED, ())))
            return handler

        return declare

    return operation


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind(Generic[S]):
    """A kind of jobs and its handler. See `penstock.store.work.Work.handler` for the options."""

    kind: str
    run: Callable[[S, Job], Awaitable[None]]
    max_attempts: int = 20
    concurrency: int | None = None
    on_dead: Callable[[S, Job, str], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription(Generic[S]):
    """Events that a component handles. See `penstock.store.events.Events.subscribe`."""

    name: str  # its identity for ever: what was emitted while no process was up is delivered later
    types: Sequence[str]  # exact, or "prefix.*"
    handle: Callable[[S, Event], Awaitable[None]]
    concerns: Concerns | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard(Generic[S]):
    """What policies may ask of the resources whose ARNs name a service."""

    service: str  # as it stands in ARNs, such as "s3"
    root: Callable[[str], str] = lambda arn: arn  # the ARN of what has the policy for one, such as an object's bucket
    # The policy of a root, or None where there is no such resource. It is remembered until identity changes: policies and what they
    # hang on are written in `Identity.change`.
    policy: Callable[[S, str], Awaitable[ResourcePolicy | None]] | None = None
    # Beginning of condition keys, such as "aws:resourcetag/" → what reads them of a resource. Read only where a policy asks for one.
    keys: Mapping[str, Callable[[S, str], Awaitable[Mapping[str, str | tuple[str, ...]]]]] = field(default_factory=dict)
    # What else lets whoever makes a call take an action on a resource, asked where policies do not allow it: each as a policy of the root.
    grants: Callable[[S, Call[Any], str, str], Awaitable[Sequence[ResourcePolicy]]] | None = None
    # What callers of other accounts are answered (call, action) instead of a sentence that names the resource.
    to_strangers: Callable[[Call[Any], str], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedRole:
    """The role that an account makes for a service by IAM's CreateServiceLinkedRole."""

    service: str  # whom it trusts, such as rolesanywhere.amazonaws.com
    name: str  # AWSServiceRoleFor…
    policy: str  # of AWS's managed policies below /aws-service-role/, the name of the one that it has
    # ARNs of an account's resources that need it, by region, some of them where there are many: while there are any, it is not deleted.
    uses: Callable[[sa.Connection, str], Mapping[str, Sequence[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Component(Generic[S]):
    """What one component serves, does and shows. `state` is handed to each of its functions."""

    name: str  # of its package, such as "builds"
    state: S
    services: Sequence[Service] = ()  # models, patches and error profiles
    operations: Sequence[ModuleType] = ()  # modules with functions that `operations_of` has declared
    jobs: Sequence[JobKind[S]] = ()
    events: Sequence[EventType] = ()  # every type that it emits
    subscriptions: Sequence[Subscription[S]] = ()
    guards: Sequence[Guard[S]] = ()  # of its resources
    linked_roles: Sequence[LinkedRole] = ()  # of its services
    aggregates: Sequence[type[RowAggregate[Any, Any, Any]]] = ()  # those that are one row: their journals and timers
    journals: Sequence[Finder] = ()  # finds its other aggregates for `penstock journal`
    expiring: Sequence[Expiring] = ()  # rows that are removed when their time is over, in this order
    readings: Sequence[Reading] = ()  # gauges of its metrics that are read from the database
    tracers: Sequence[Tracer] = ()  # what it tells of runs in traces
    pages: Sequence[Page] = ()  # of the console
    templates: Path | None = None  # folder of what its pages name as NAME/file.html
    mounts: Mapping[str, Asgi] = field(default_factory=dict)  # reserved path prefix → ASGI application
    start: Sequence[Callable[[], Awaitable[None]]] = ()  # before the first request and the first job
    stop: Sequence[Callable[[], Awaitable[None]]] = ()  # while the process drains
    # What an unsigned request that was refused should have asked instead, in a sentence for its sender; "" for those of others.
    signposts: Sequence[Callable[[RequestHead], str]] = ()
    identity: Identity | None = None  # of the one component that knows who calls

    def add_to(self, app: App) -> None:
        """Register everything with the application."""
        for service in self.services:
            app.services.add(service)
        for table in self._tables():
            app.registry.add(table)
        for job in self.jobs:
            self._add_job(app, job)
        for event in self.events:
            app.events.declare(event)
        for subscription in self.subscriptions:
            app.events.subscribe(
                subscription.name,
                subscription.types,
                functools.partial(_handle, subscription.handle, self.state),
                concerns=subscription.concerns,
            )
        for guard in self.guards:
            app.guards[guard.service] = (guard, self.state)
        app.linked_roles.update({linked.service: linked for linked in self.linked_roles})
        for kind in self.aggregates:
            self._add_aggregate(app, kind)
        app.journals += self.journals
        app.expiring += self.expiring
        app.readings += self.readings
        app.tracers += self.tracers
        taken = {page.path for page in app.pages} & {page.path for page in self.pages}
        if taken:
            raise ValueError(f"{self.name}: the console has a page {taken.pop()!r} already")
        app.pages += self.pages
        if self.templates is not None:
            app.templates[self.name] = self.templates
        app.mounts.update(self.mounts)
        app.signposts += self.signposts
        app.starts += self.start
        app.stops += self.stop
        if self.identity is not None:
            app.identity = self.identity

    def _tables(self) -> Iterator[Operations]:
        """The operations of its modules, one table for each service."""
        tables: dict[str, Operations] = {}
        for module in self.operations:
            # A module also holds what it imports from its neighbours.
            own = [found for found in vars(module).values() if getattr(found, "__module__", "") == module.__name__]
            declared = [(found, one) for found in own for one in getattr(found, _DECLARED, ())]
            if not declared:
                raise ValueError(f"{self.name}: the module {module.__name__} declares no operation")
            for handler, one in declared:
                table = tables.setdefault(one.service, Operations(one.service, action_prefix=one.action_prefix))
                table.operation(one.name, **one.options)(functools.partial(handler, self.state))
        yield from tables.values()

    def _add_aggregate(self, app: App, kind: type[RowAggregate[Any, Any, Any]]) -> None:
        app.journals += (kind.find_journal,)
        if kind.timer is not None:
            app.work.handler(kind.timer_kind())(kind.run_timer)

    def _add_job(self, app: App, job: JobKind[S]) -> None:
        async def run(_app: Any, taken: Job) -> None:
            await job.run(self.state, taken)

        async def dead(_app: Any, taken: Job, error: str) -> None:
            assert job.on_dead is not None
            await job.on_dead(self.state, taken, error)

        on_dead = None if job.on_dead is None else dead
        app.work.handler(job.kind, max_attempts=job.max_attempts, concurrency=job.concurrency, on_dead=on_dead)(run)


async def _handle(handle: Callable[[S, Event], Awaitable[None]], state: S, _app: Any, event: Event) -> None:
    await handle(state, event)


# --- settings ---------------------------------------------------------------------------------------------------------


def only_first_account(call: Call, what: str) -> None:
    """Raises AccessDenied for every account but the installation's first one, by which alone `what` ("accounts are kept")."""
    first = call.app.settings.account
    if call.account != first:
        raise AccessDenied(
            f"User: {call.session.arn} is not authorized to perform: penstock:{call.operation} because {what} by account {first}"
        )


class Role(StrEnum):
    """Which processes an option is for."""

    ANY = "any"
    SERVES = "serves"  # those that answer HTTP: `penstock up` and `penstock server`
    WORKS = "works"  # those that run jobs: `penstock up` and `penstock worker`


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """How a setting is given on the command line, and what `--help` and the documentation say of it."""

    name: str  # of the field of the settings
    default: Any
    help: str
    group: str
    role: Role = Role.ANY
    metavar: str | None = None
    choices: Sequence[str] = ()
    parse: Callable[[str], Any] | None = None  # raises ValueError with a sentence for the user
    flag: str = ""  # --name-of-the-field, unless said
    hidden: bool = False  # for proofs: not in --help
    needs: str = ""  # the field of another option of the same settings, without which this one would do nothing

    @property
    def spelling(self) -> str:
        """How it is written on the command line."""
        return self.flag or f"--{self.name.replace('_', '-')}"

    @property
    def repeats(self) -> bool:
        """Whether it may be given several times."""
        return isinstance(self.default, tuple)


def option(default: Any, help: str | Callable[[], str], *, secret: bool = False, **how: Any) -> Any:
    """A field of a component's settings that can be chosen. `how` are members of `Option`; a secret is never printed.

    `help` and `choices` may be functions, for what depends on plug-ins.
    """
    return field(default=default, repr=not secret, metadata={"option": {"help": help, **how}})


def ip_network(text: str) -> str:
    """A block of addresses, as an option takes it. Raises ValueError."""
    return str(ipaddress.ip_network(text))


def read_secret(path: str, what: str) -> str:
    """The text of a file without the ends of lines around it, as an option of a secret takes it; `what` it is, for people. Raises ValueError."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            found = file.read(_SECRET + 1)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"cannot read {what} in {path}: {why}") from None
    if len(found) > _SECRET:
        raise ValueError(f"cannot read {what} in {path}: it has more than {_SECRET:,} characters")
    return found.strip("\r\n")


def number_to(most: int, unit: str = "") -> Callable[[str], int]:
    """What reads a number from 1 to `most` (less than 1,000,000), as an option takes it. It raises ValueError."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= most:
            raise ValueError(f"{text!r} is not a number{unit and f' of {unit}'} from 1 to {most}")
        return int(text)

    return parse


def options_of(settings: type[Any]) -> list[Option]:
    """The options of a settings class, in its order."""
    return [
        Option(name=found.name, default=found.default, **_known_now(found.metadata["option"]))
        for found in dataclasses.fields(settings)
        if "option" in found.metadata
    ]


def _known_now(how: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value() if name in ("help", "choices") and callable(value) else value for name, value in how.items()}
