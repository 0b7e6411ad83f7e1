"""What a component is given when the application is composed.

Each service package exports `component(app)` (`penstock.component`), and keeps nothing global. Service packages never import each other:
one uses another by `app.invoke` or subscribes to its events.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from penstock.wire import call as wire_call
from penstock.wire.identity import Identity
from penstock.wire.registry import Registry

if TYPE_CHECKING:
    from penstock.component import Guard, LinkedRole
    from penstock.egress import Egress
    from penstock.metrics import Reading
    from penstock.store.clock import Clock
    from penstock.store.database import Store
    from penstock.store.events import Events
    from penstock.store.ids import Ids
    from penstock.store.journal import Finder
    from penstock.store.retention import Expiring
    from penstock.store.sealing import Sealer
    from penstock.store.work import Work
    from penstock.tracing import Tracer
    from penstock.webpages.page import Page
    from penstock.wire.message import RequestHead
    from penstock.wire.pages import PageTokens
    from penstock.wire.recording import Records
    from penstock.wire.requestlog import RequestLog
    from penstock.wire.services import Services

T = TypeVar("T")

Asgi = Callable[[dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be chosen; built by `penstock.cli` (or a test) and never read from the environment."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8470  # 0 takes a free one
    public_url: str = ""  # the address for clients and builds; derived from host and port when empty
    database: str = ""  # SQLAlchemy URL; SQLite below data_dir when empty
    region: str = "us-east-1"  # of the installation's first site
    regions: tuple[str, ...] = ()  # further configured regions
    account: str = "111111111111"
    master_key_file: Path | None = None  # default: the user's config folder
    master_key_command: str = ""  # prints the keys instead of the file
    tls: bool = False  # with the installation's own authority
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_plain_http: bool = False  # on an address that other machines reach
    requests_per_second: int = 500  # of one access key, over time; 0: no limit
    workers: int = 8  # jobs at a time in this process
    site: str = ""  # region whose jobs this worker takes; "" = any
    source_entries: int = 200_000  # files, folders and links of one source: an archive or a commit
    source_gib: int = 16  # of one source, unpacked
    source_ratio: int = 400  # unpacked to packed, of an archive that unpacks to more than 10 MiB
    serves: bool = True  # answers HTTP
    works: bool = True  # runs jobs
    notify: bool = True  # use PostgreSQL NOTIFY for wake-ups
    lease_ms: int = 30_000  # of a job in a worker's hands
    keep_jobs_ms: int = 86_400_000  # after they were done
    keep_events_ms: int = 7 * 86_400_000  # once they are delivered
    keep_dead_letters_ms: int = 14 * 86_400_000  # events and messages that were given up
    keep_history_ms: int = 366 * 86_400_000  # executions, builds, deployments and the journal, after their end
    poll_ms: int = 2_000  # the slow query behind the wake-ups
    components: tuple[Any, ...] = ()  # settings of components that are not their defaults

    def of(self, kind: type[T]) -> T:
        """The settings of a component, by their class."""
        return next((found for found in self.components if isinstance(found, kind)), None) or kind()

    @property
    def poll_seconds(self) -> float:
        """`poll_ms` as asyncio wants it."""
        return self.poll_ms / 1000

    def all_regions(self) -> tuple[str, ...]:
        """Every configured region, the first site's first."""
        return (self.region, *(r for r in self.regions if r != self.region))


@dataclass(slots=True, kw_only=True)
class App:
    """The composed application. Components read from it and add themselves to it; only `penstock.app` makes one."""

    settings: Settings
    clock: Clock
    ids: Ids
    store: Store
    sealer: Sealer
    egress: Egress  # the way to addresses that users name
    requests: RequestLog  # a line for every call, over HTTP or in process
    records: Records  # who did what, for years
    registry: Registry
    services: Services  # models, patches, error profiles
    page_tokens: PageTokens
    work: Work  # job handlers: @app.work.handler("kind")
    events: Events  # durable subscriptions and live taps
    identity: Identity = field(init=False)  # set by the component that knows who calls
    invoke: wire_call.Invoke = field(init=False)  # set by penstock.app
    public_url: str = ""  # known once the port is bound
    mounts: dict[str, Asgi] = field(default_factory=dict)  # reserved path prefix → ASGI application
    signposts: list[Callable[[RequestHead], str]] = field(default_factory=list)  # see penstock.component.Component
    pages: list[Page] = field(default_factory=list)  # of the console
    templates: dict[str, Path] = field(default_factory=dict)  # component → folder of its pages' templates
    # Service in ARNs → its guard, and the state for it.
    guards: dict[str, tuple[Guard[Any], Any]] = field(default_factory=dict)
    linked_roles: dict[str, LinkedRole] = field(default_factory=dict)  # by the service's principal
    journals: list[Finder] = field(default_factory=list)
    expiring: list[Expiring] = field(default_factory=list)  # what is removed when its time is over, in this order
    readings: list[Reading] = field(default_factory=list)  # gauges of the metrics that are read from the database
    tracers: list[Tracer] = field(default_factory=list)  # what components tell of runs in traces
    starts: list[Callable[[], Awaitable[None]]] = field(default_factory=list)  # before the first request and job
    stops: list[Callable[[], Awaitable[None]]] = field(default_factory=list)  # while the process drains, the last first
    started: int = field(init=False)  # when this process began to serve, in ms

    def __post_init__(self) -> None:
        self.started = self.clock.now()


Call = wire_call.Call[App]
