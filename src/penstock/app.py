"""Composition: imports every component, opens those that this process needs, and runs them."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import hashlib
import importlib
import ipaddress
import logging
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import orjson

from penstock import durable
from penstock.application import App, Settings
from penstock.component import Component
from penstock.egress import Egress, EgressSettings
from penstock.identity import accounts
from penstock.pools import FILES
from penstock.store import leases, migrate
from penstock.store.clock import Clock, SystemClock
from penstock.store.database import Store
from penstock.store.errors import StoreError
from penstock.store.events import Events
from penstock.store.ids import Ids
from penstock.store.masterkeys import default_path, source_of
from penstock.store.resealing import Resealer, SealedFile
from penstock.store.retention import Retention, Sweeper
from penstock.store.sealing import Sealer
from penstock.store.work import Work
from penstock.trail import Trail
from penstock.wire import tls
from penstock.wire.endpoint import Endpoint
from penstock.wire.http import HttpServer
from penstock.wire.invoke import bind_invoke
from penstock.wire.pages import PageTokens
from penstock.wire.recording import Records
from penstock.wire.regions import one_partition
from penstock.wire.registry import Registry
from penstock.wire.requestlog import RequestLog
from penstock.wire.services import Services

log = logging.getLogger("penstock.app")

# Packages in the order in which they start: identity first, since the others ask it. This is the one place that names a component.
COMPONENTS = (
    "penstock.identity",
    "penstock.keys",
    "penstock.parameters",
    "penstock.certificates",
    "penstock.secrets",
    "penstock.objects",
    "penstock.repositories",
    "penstock.events",
    "penstock.logs",
    "penstock.topics",
    "penstock.monitoring",
    "penstock.notifications",
    "penstock.audit",
    "penstock.builds",
    "penstock.deployments",
    "penstock.pipelines",
    "penstock.fleet",
    "penstock.console",
)


@dataclass(slots=True)
class Running:
    """An application that answers requests."""

    app: App
    url: str
    ca_file: Path | None
    credentials_file: Path


def _packages() -> Iterator[ModuleType]:
    for name in COMPONENTS:
        yield importlib.import_module(name)


ComponentOf = Callable[[App], Component[Any]]
"""`component` of a package."""


def every_component() -> tuple[ComponentOf, ...]:
    """Those of the product, in the order in which they start."""
    return tuple(package.component for package in _packages())


def component_settings() -> list[type[Any]]:
    """The classes of settings that components have, each one or several, and what serves several of them."""
    found: list[type[Any]] = [EgressSettings]
    for package in _packages():
        own = getattr(package, "SETTINGS", ())
        found += own if isinstance(own, tuple) else [own]
    return found


def database_url(settings: Settings) -> str:
    """The SQLAlchemy URL of the settings."""
    return settings.database or f"sqlite:///{settings.data_dir / 'penstock.db'}"


@contextlib.asynccontextmanager
async def compose(
    settings: Settings,
    *,
    components: Sequence[ComponentOf] | None = None,
    clock: Clock | None = None,
    ids: Ids | None = None,
    store: Store | None = None,
) -> AsyncIterator[App]:
    """The application with its components, neither serving nor working yet.

    Without `components` it has all of the product. Without `store` the one that the settings name is opened, its schema brought up to
    date or checked, and closed in the end; a store that is given has its tables and stays open.
    """
    if not one_partition(settings.all_regions()):
        raise RegionsUnusable(
            f"the regions {', '.join(settings.all_regions())} are of several partitions; an installation has one, so that "
            "everything has one ARN. Run one installation for each partition."
        )
    _private_folder(settings.data_dir)
    clock, ids = clock or SystemClock(), ids or Ids()
    async with contextlib.AsyncExitStack() as stack:
        if store is None:
            store = await _open_store(settings, clock)
            stack.push_async_callback(store.close)
        # A mistyped path must not create a new key for secrets that another key has sealed.
        sealer = await FILES.run(_sealer, settings, create=not await store.read(accounts.exist))
        requests = RequestLog(settings.data_dir / "logs" / "requests.jsonl")
        await stack.enter_async_context(requests.writing())
        records = Records(Trail(settings.data_dir / "audit"), clock, ids)
        await stack.enter_async_context(records.writing())
        work = Work(
            store,
            slots=settings.workers,
            lease_ms=settings.lease_ms,
            poll_ms=settings.poll_ms,
            regions=(settings.site,) if settings.site else (),
        )
        app = App(
            settings=settings,
            clock=clock,
            ids=ids,
            store=store,
            sealer=sealer,
            egress=Egress(settings.of(EgressSettings)),
            requests=requests,
            records=records,
            registry=Registry(),
            services=Services(),
            page_tokens=PageTokens(lambda: sealer.derived("page-tokens")),
            work=work,
            events=Events(store, work, poll_ms=settings.poll_ms),
        )
        bind_invoke(app)
        for component_of in every_component() if components is None else components:
            component_of(app).add_to(app)
        store.subscribers.catalogue.complete = True
        yield app


def _sealer(settings: Settings, *, create: bool) -> Sealer:
    return Sealer.from_source(source_of(settings.master_key_file, settings.master_key_command, create=create))


async def _open_store(settings: Settings, clock: Clock) -> Store:
    store = await Store.open(database_url(settings), clock=clock, notify=settings.notify)
    try:
        if settings.serves and settings.works:
            await migrate.migrate(store)
        else:
            await migrate.check_schema(store)
    except BaseException:
        await store.close()
        raise
    return store


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    *,
    components: Sequence[ComponentOf] | None = None,
    clock: Clock | None = None,
    ids: Ids | None = None,
) -> AsyncIterator[Running]:
    """The application with its port open and its workers running; leaving the block drains it."""
    async with contextlib.AsyncExitStack() as stack:
        app = await stack.enter_async_context(compose(settings, components=components, clock=clock, ids=ids))
        listening = _listen(settings.host, settings.port)
        stack.callback(listening.close)
        address, port = listening.getsockname()[:2]
        scheme = "https" if settings.tls or settings.tls_cert else "http"
        if scheme == "http" and not settings.allow_plain_http and not _is_loopback(address):
            raise PlainHttpRefused(
                f"plain http on {settings.host} would send passwords, keys and artifacts readably over the network. Serve "
                "https: --tls makes a certificate, --tls-cert and --tls-key take yours. Where a proxy ends TLS, or nobody else "
                "reaches the address, add --allow-plain-http."
            )
        own_url = f"{scheme}://{settings.host}:{port}"
        app.public_url = (settings.public_url or own_url).rstrip("/")
        ca_file, context = _tls(app)
        credentials_file = settings.data_dir / "credentials"
        if settings.serves:
            _write_outside(credentials_file, settings.master_key_file, await app.identity.bootstrap())
            known = {"url": app.public_url, "region": settings.region, "ca_file": str(ca_file) if ca_file else ""}
            _write_changed(settings.data_dir / "server.json", orjson.dumps(known).decode())
        for start in app.starts:
            await start()
        endpoint = Endpoint(app, passing=(StoreError,))
        await app.events.start()
        authority = SealedFile(settings.data_dir / "tls" / "ca.key", tls.AUTHORITY_CONTEXT)
        resealer = Resealer(app.store, app.sealer, works=settings.works, files=(authority,))
        await resealer.start()
        stack.push_async_callback(resealer.stop)
        if settings.works:
            await _begin_work(app, stack)
        stack.push_async_callback(app.events.stop)
        server = HttpServer(endpoint, listening, context, loops=app.store.loops)
        await stack.enter_async_context(server.serving())
        try:
            yield Running(app=app, url=app.public_url, ca_file=ca_file, credentials_file=credentials_file)
        finally:
            endpoint.drain()
            app.store.hurry()
            for stop in reversed(app.stops):
                try:
                    await stop()
                except Exception:  # a component that cannot stop must not prevent the others from stopping
                    log.exception("app.stop_failed")


async def _begin_work(app: App, stack: contextlib.AsyncExitStack) -> None:
    if app.store.dialect == "sqlite":
        taken = await app.store.write(leases.take_back_all)
        if taken:
            log.info("work.taken_back", extra={"jobs": taken})
    await app.work.start(app)
    stack.push_async_callback(app.work.stop)
    sweeper = Sweeper(
        app.store,
        Retention(
            jobs=app.settings.keep_jobs_ms, events=app.settings.keep_events_ms, journal=app.settings.keep_history_ms
        ),
        app.expiring,
    )
    await sweeper.start()
    stack.push_async_callback(sweeper.stop)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named asyncio switches Nagle off; otherwise each answer waits 40 ms for the client's delayed ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if port:  # of a free port two could get the same with it, and the second to listen fails
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        # What is left of its connections inherits this: it must not keep the port from the next server.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            way = "Choose another port with --port, or stop what listens there; `make demo-stop` ends a demo."
        elif error.errno == errno.EACCES:
            way = "Ports below 1024 need root or CAP_NET_BIND_SERVICE; choose another with --port."
        else:
            way = "--host takes a name or address of this machine, 0.0.0.0 and :: take all of them."
        raise PortTaken(f"cannot listen on {host}:{port}: {error.strerror}. {way}") from error
    listening.setblocking(False)
    return listening


def _is_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


class PlainHttpRefused(Exception):
    """Other machines would talk to this server without TLS."""


class PortTaken(Exception):
    """The address cannot be listened on."""


class RegionsUnusable(Exception):
    """The configured regions do not go together."""


class DataDirUnusable(Exception):
    """The data dir cannot be created or written to."""


def _tls(app: App) -> tuple[Path | None, ssl.SSLContext | None]:
    settings = app.settings
    if settings.tls_cert and settings.tls_key:
        return None, tls.server_context(settings.tls_cert, settings.tls_key)
    if not settings.tls:
        return None, None
    public_host = urlsplit(app.public_url).hostname or settings.host
    # Buckets stand as a label before a host name. OpenSSL takes no wildcard directly below a single label, nor below an address.
    wildcards = ["*.s3.localhost"]
    if "." in public_host and not public_host.replace(".", "").isdigit():
        wildcards += [f"*.{public_host}", f"*.s3.{public_host}"]
    names = tuple(dict.fromkeys((public_host, settings.host, "localhost", "127.0.0.1", *wildcards)))
    now = dt.datetime.fromtimestamp(app.clock.now() / 1000, tz=dt.UTC)
    ca, cert, key = tls.own_authority(settings.data_dir / "tls", names, app.sealer, now=now)
    return ca, tls.server_context(cert, key, app.sealer.derive(tls.KEY_LABEL))


def _private_folder(path: Path) -> None:
    try:
        durable.make_folder(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise DataDirUnusable(f"cannot use {path} as the data dir: {error.strerror}") from error


def _write_outside(link: Path, key_file: Path | None, content: str) -> None:
    """Write a secret beside the master key, and a link to it where scripts expect it: a copy of the data dir must not contain it."""
    folder = (key_file or default_path()).absolute().parent  # a link's target is relative to the link's own folder
    target = folder / f"credentials-{hashlib.sha256(bytes(link.parent.resolve())).hexdigest()[:16]}"
    try:
        _write_changed(target, content)
        if not link.is_symlink() or link.readlink() != target:
            temporary = link.with_name(link.name + ".new")
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(target)
            temporary.replace(link)
    except OSError as error:
        raise DataDirUnusable(
            f"cannot keep the administrator's credentials in {folder}, beside the master key: {error.strerror}. "
            "Give --master-key-file a folder that the server may write to."
        ) from error


def _write_changed(path: Path, content: str) -> None:
    if not path.exists() or path.read_text() != content:
        durable.write(path, content.encode())
