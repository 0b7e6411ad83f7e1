"""What tests of every package share: a clock, stores on both databases, and the components of the machine."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import gc
import hashlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis.internal.conjecture.providers
import psycopg
import pytest
import sqlalchemy as sa
from penstock_examples import EVERY
from penstock_ports import reserved_port
from psycopg import sql
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache

import penstock.store.records  # noqa: F401 - its tables are in every test's database
from penstock.store.clock import ManualClock
from penstock.store.database import Store
from penstock.store.ids import SeededIds
from penstock.store.schema import create_all, metadata

# Times belong to machines: one that is busy is no reason to call a property wrong.
hypothesis.settings.register_profile(
    "penstock", deadline=None, derandomize=not EVERY, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("penstock")
if not EVERY:
    # It would parse every module in each test process for numbers and texts to try, and draw other examples when any of them changes.
    hypothesis.internal.conjecture.providers._get_local_constants = hypothesis.internal.conjecture.providers.Constants


# --- components of the machine ----------------------------------------------------------------------------------------


def _postgresql_bin() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


def _on_path(program: str) -> str | None:
    return None if shutil.which(program) else f"{program} is not installed"


def _bubblewrap() -> str | None:
    if shutil.which("bwrap") is None:
        return "bwrap is not installed"
    run = subprocess.run(
        ["bwrap", "--ro-bind", "/", "/", "--unshare-pid", "--dev", "/dev", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if run.returncode == 0 else f"bwrap cannot make a sandbox here: {run.stderr.strip()}"


def _chromium() -> str | None:
    if any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        return None
    return "no Chromium is installed"


def _netns() -> str | None:
    run = subprocess.run(["unshare", "-Urn", "true"], capture_output=True, text=True, check=False)
    return None if run.returncode == 0 else f"no network namespaces here: {run.stderr.strip()}"


def _docker() -> str | None:
    if shutil.which("docker") is None and shutil.which("podman") is None:
        return "neither docker nor podman is installed"
    return None


def _corpus() -> str | None:
    from penstock_corpus import CORPUS

    return None if CORPUS.is_dir() else f"there are no public files in {CORPUS}; PENSTOCK_CORPUS names another folder"


_CHECKS: dict[str, Callable[[], str | None]] = {
    "postgresql": lambda: None if _postgresql_bin() else "PostgreSQL's server programs are not installed",
    "bubblewrap": _bubblewrap,
    "chromium": _chromium,
    "netns": _netns,
    "container": _docker,
    "corpus": _corpus,
}


@cache
def missing(component: str) -> str | None:
    """Why a component cannot be used here; None when it can. One that has no check of its own is a program on PATH."""
    check = _CHECKS.get(component)
    return check() if check else _on_path(component)


def require(component: str) -> None:
    """Skip with the reason when a component is missing; fail when PENSTOCK_REQUIRE names it."""
    reason = missing(component)
    if reason is None:
        return
    if component in os.environ.get("PENSTOCK_REQUIRE", "").replace(" ", "").split(","):
        pytest.fail(f"{component} is required: {reason}", pytrace=False)
    pytest.skip(f"{component}: {reason}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for component in mark.args:
            require(component)


@pytest.fixture(scope="session")
def needs() -> Callable[[str], None]:
    """`needs("haproxy")`: skip, or fail when it must be there. `@pytest.mark.needs("haproxy")` does the same."""
    return require


# --- where the time goes ----------------------------------------------------------------------------------------------


# A server in a test process forks for every program that it starts, and a fork copies the tables of all memory that the tests before
# have left: at the end of the alphabet, git took four times as much. The others are long: at the end one worker would run them alone.
_FIRST = ("tests/repositories/", "tests/wire/test_round_trips.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what grows dear or takes long; the list of the slowest modules at the end says when another one belongs to it."""
    items.sort(
        key=lambda item: next((at for at, name in enumerate(_FIRST) if item.nodeid.startswith(name)), len(_FIRST))
    )
    if EVERY:
        for item in items:
            if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
                item.add_marker("prove")


def pytest_collection() -> None:
    """Nothing that is collected is garbage, and looking for some took a fifth of the time; afterwards, a tenth."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Spare the collector what was imported."""
    global _resident_mb
    gc.freeze()
    _resident_mb = _resident()


_SPARE_MB = 100  # what a process may grow by before garbage is looked for
_resident_mb = 0  # after the last time


@pytest.fixture(scope="module", autouse=True)
def _garbage_between_modules() -> Iterator[None]:
    """Look for garbage between modules, when there may be much: every fork of a test process copies the tables of all its memory."""
    gc.disable()  # again, after a test that ran a command
    yield
    if _resident() > _resident_mb + _SPARE_MB:
        _rid_of_garbage()


def _rid_of_garbage() -> None:
    """Give back what is in cycles. What remains is kept for long (models of services, compiled statements), and not looked at again."""
    global _resident_mb
    gc.collect()
    gc.freeze()
    ctypes.CDLL(None).malloc_trim(0)
    _resident_mb = _resident()


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_open() -> Iterator[None]:
    """What is still open in a cycle is an error of the last test of a process, and has its name."""
    yield
    gc.unfreeze()
    gc.collect()
    gc.freeze()  # or pytest looks through all of it five times more


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the ten modules that took longest, fixtures included: where a suite that grows slow is to be mended."""
    seconds: collections.Counter[str] = collections.Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    if len(seconds) < 2:
        return
    terminalreporter.section(f"slowest modules of {len(seconds)}, {sum(seconds.values()):.0f} s in all")
    for module, taken in seconds.most_common(10):
        terminalreporter.write_line(f"{taken:7.1f} s  {module}")


# --- a private PostgreSQL ---------------------------------------------------------------------------------------------


_PUBLIC = "'public'::regnamespace"


class PostgresqlServer:
    """A private cluster of this test run, fsync on, on a Unix socket and loopback, run by nobody of importance."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.programs = programs
        self.data = folder / "data"
        self._identity: dict[str, object] = {}
        if os.geteuid() == 0:
            user = _first_user("postgres", "nobody")
            self._identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(folder, user.pw_uid, user.pw_gid)
        self._run("initdb", "-D", self.data, "-U", "penstock", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
        self.port = reserved_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0
        self._templates: dict[str, str] = {}  # by schema
        self._shapes: dict[str, _Shape] = {}
        self._free: dict[str, list[str]] = {}
        self._looking: dict[str, psycopg.Connection] = {}  # into each database that is used again
        self.start()

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self.programs / program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, check=False, **self._identity)  # type: ignore[call-overload]
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed:\n{done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self.programs / "postgres"), "-D", str(self.data), "-p", str(self.port), "-k", str(self.folder),
                    "-c", "listen_addresses=127.0.0.1", "-c", "fsync=on", "-c", "max_connections=200",
                    "-c", "shared_buffers=64MB",
                    # For what lives longer than a test: a seventh of the processor time.
                    "-c", "autovacuum=off", "-c", "jit=off", "-c", "wal_level=minimal", "-c", "max_wal_senders=0",
                    "-c", "max_parallel_workers_per_gather=0",
                    # As a connection that repeats a statement has it planned: what needs a parameter's value fails in every test.
                    "-c", "plan_cache_mode=force_generic_plan",
                ],
                stdout=log, stderr=log, cwd=self.folder, **self._identity,  # type: ignore[call-overload]
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                self.sql("SELECT 1")
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Stop it at once, as a crash of the machine would, but leaving nothing behind."""
        assert self._process is not None
        for conn in self._looking.values():
            conn.close()
        self._looking.clear()
        self._process.send_signal(3)  # SIGQUIT: immediate shutdown
        self._process.wait(60)

    def sql(self, statement: str, *names: str) -> None:
        """Run a statement as the administrator; `{}` are identifiers."""
        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="penstock", dbname="postgres", autocommit=True, connect_timeout=10
        ) as conn:
            conn.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))  # type: ignore[arg-type]

    def url(self, database: str) -> str:
        """The address of one of its databases."""
        return f"postgresql://penstock@127.0.0.1:{self.port}/{database}"

    def create(self, template: str = "template0") -> str:
        """A new database; its name."""
        self._count += 1
        name = f"test_{self._count}"
        self.sql("CREATE DATABASE {} TEMPLATE {}", name, template)
        return name

    def drop(self, name: str) -> None:
        """Remove a database whoever is connected."""
        if conn := self._looking.pop(name, None):
            conn.close()
        self.sql("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    @contextlib.contextmanager
    def with_tables(self) -> Iterator[str]:
        """A database with every table that is declared by now, all empty; its name.

        Making one and removing it takes half a second of the disk, so one that a test leaves is emptied for the next, and tables of its own
        are dropped. One whose schema or settings the test has changed is removed.
        """
        schema = _schema_name()
        template = self._templates.get(schema)
        if template is None:
            template = self._templates[schema] = f"tables_{schema}"
            self.sql("CREATE DATABASE {} TEMPLATE template0", template)
            engine = sa.create_engine(self.url(template).replace("postgresql:", "postgresql+psycopg:"))
            create_all(engine)
            engine.dispose()
            with psycopg.connect(self.url(template)) as conn:
                self._shapes[schema] = _Shape(tuple(metadata.tables), _declared(conn))
        free = self._free.setdefault(schema, [])
        name = free.pop() if free else self.create(template)
        yield name
        if self._emptied(name, self._shapes[schema]):
            free.append(name)
        else:
            self.drop(name)

    def _alone_in(self, name: str) -> psycopg.Connection:
        """The connection into a database that is kept for this, when no other is left."""
        conn = self._looking.pop(name, None)
        if conn is None:
            conn = psycopg.connect(
                self.url(name), autocommit=True, connect_timeout=10, application_name="tests-emptying"
            )
            # Every table is emptied, so no foreign key has a say in the order.
            conn.execute("SET session_replication_role = replica")
        # Those that are closed are gone in a millisecond or two. The server's own way to wait for them takes a tenth of a second.
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        deadline = time.monotonic() + 60
        while conn.execute(f"SELECT pg_terminate_backend(pid) {others}").fetchall():  # type: ignore[arg-type]
            assert time.monotonic() < deadline, f"somebody stays connected to {name}"
            time.sleep(0.002)
        self._looking[name] = conn
        return conn

    def _emptied(self, name: str, shape: _Shape) -> bool:
        """Whether a database has the tables, indexes and settings of its template, and nothing is in it any more."""
        try:
            conn = self._alone_in(name)
        except psycopg.OperationalError:  # the test broke every connection, and this one with them
            conn = self._alone_in(name)
        tables = [name for (name,) in conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        own = [sql.Identifier(table) for table in tables if table not in shape.tables]
        if own:  # a fiftieth of another database
            conn.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.SQL(", ").join(own)))
        if _declared(conn) != shape.declared:
            return False
        rows = sql.SQL(", ").join(
            sql.SQL("EXISTS (SELECT FROM {})").format(sql.Identifier(table)) for table in shape.tables
        )
        filled = conn.execute(sql.SQL("SELECT {}").format(rows)).fetchone() or ()
        used = [sql.Identifier(table) for table, some in zip(shape.tables, filled, strict=True) if some]
        # TRUNCATE makes new files: a hundred times the cost of a few rows.
        if used:
            conn.execute(sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(table) for table in used))
        for (sequence,) in conn.execute(
            "SELECT sequencename FROM pg_sequences WHERE last_value IS NOT NULL"
        ).fetchall():
            conn.execute(sql.SQL("ALTER SEQUENCE {} RESTART").format(sql.Identifier(sequence)))
        return True


@dataclass(frozen=True)
class _Shape:
    """What a copy of a template has."""

    tables: tuple[str, ...]
    declared: object


def _declared(conn: psycopg.Connection) -> object:
    """What is declared in a database, and which transactions wrote it there. A copy of a database has both from it."""
    written = ", ".join(
        f"(SELECT (count(*), sum({catalog}.xmin::text::bigint))::text FROM {catalog} WHERE {where})"
        for catalog, where in (
            ("pg_attribute", f"attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = {_PUBLIC})"),
            ("pg_index", f"indexrelid IN (SELECT oid FROM pg_class WHERE relnamespace = {_PUBLIC})"),
            ("pg_constraint", f"connamespace = {_PUBLIC}"),
            ("pg_proc", f"pronamespace = {_PUBLIC}"),
            ("pg_trigger", "NOT tgisinternal"),
            ("pg_event_trigger", "true"),
        )
    )
    settings = (
        "SELECT array_agg(setconfig::text) FROM pg_db_role_setting JOIN pg_database ON setdatabase = pg_database.oid"
        " WHERE datname = current_database()"
    )
    return conn.execute(f"SELECT {written}, ({settings})").fetchone()  # type: ignore[arg-type]


def _first_user(*names: str) -> pwd.struct_passwd:
    for name in names:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError(f"none of the users {names} exists")


def _schema_name() -> str:
    return hashlib.sha256(" ".join(sorted(metadata.tables)).encode()).hexdigest()[:16]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """A private PostgreSQL server."""
    require("postgresql")
    programs = _postgresql_bin()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="penstock-pg-", dir="/tmp"))
    try:
        server = PostgresqlServer(folder, programs)
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql: PostgresqlServer) -> Iterator[str]:
    """The address of a database of this test's own, with every declared table."""
    with postgresql.with_tables() as name:
        yield postgresql.url(name)


# --- passwords --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> Iterator[None]:
    """A thousandth of the real cost, which is a third of a second for each comparison; tests/identity/test_signin.py states that one."""
    from penstock.identity import passwords

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "COST", passwords.Cost(8, 1, 1))
        yield


# --- keys -------------------------------------------------------------------------------------------------------------


_SIGNERS = {
    "penstock.deployments.hostcommands.signer",
    "penstock.topics.signing",
}  # whose key each installation makes for itself


@pytest.fixture(scope="session", autouse=True)
def _keys_of_signers_made_once() -> Iterator[None]:
    """Installations of a test process have the same RSA keys: a new one takes a third of a second, and most tests with a host need one.

    A key that a test or a caller asks for is its own, and so is every key of a server in a process of its own.
    """
    from cryptography.hazmat.primitives.asymmetric import rsa

    make = rsa.generate_private_key
    kept = cache(make)

    def generate(public_exponent: int, key_size: int, backend: Any = None) -> rsa.RSAPrivateKey:
        asks = sys._getframe(1).f_globals["__name__"]
        return (kept if asks in _SIGNERS else make)(public_exponent, key_size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rsa, "generate_private_key", generate)
        yield


# --- sandboxes --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _sandboxes_probed_once() -> Iterator[None]:
    """Servers of a test process ask this machine the same question, a tenth of a second each time.

    tests/builds/test_runtimes.py and test_layout.py ask for themselves, and every `penstock up` of a process of its own does.
    """
    from penstock.application import Settings
    from penstock.builds import work
    from penstock.builds.settings import BuildSettings
    from penstock.sandbox.registry import Choice

    asked, choose = {}, work.choose_for

    def once(settings: Settings) -> Choice:
        wanted = settings.of(BuildSettings)
        if wanted not in asked:
            asked[wanted] = choose(settings)
        return asked[wanted]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "choose_for", once)
        yield


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _refusals_have_sentences() -> Iterator[None]:
    """Whichever test a refusal comes up in, one whose sentence is empty is a fault."""
    from penstock.wire.errors import Refused, ServiceError

    def checked(make: Callable[..., None]) -> Callable[..., None]:
        def refuse(self: Exception, *message: str | None, **values: Any) -> None:
            meant = type(self).__init__ is not refuse  # a class that is raised without a text, as AWS does it
            assert meant or message != ("",), f"{type(self).__name__} says nothing"
            make(self, *message, **values)

        return refuse

    with pytest.MonkeyPatch.context() as patch:
        for kind in (ServiceError, Refused):
            patch.setattr(kind, "__init__", checked(kind.__init__))
        yield


# --- statements -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _statements_compiled_once() -> Iterator[None]:
    """Every test has a store of its own, and compiling each statement again for it took a sixth of the processor time."""
    caches: dict[type, LRUCache] = collections.defaultdict(lambda: LRUCache(5000))

    def alike(one: DefaultDialect, other: object) -> bool:
        return type(one) is type(other)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DefaultDialect, "__eq__", alike, raising=False)
        patch.setattr(DefaultDialect, "__hash__", lambda dialect: hash(type(dialect)), raising=False)
        shared = property(lambda engine: caches[type(engine.dialect)], lambda engine, own: None)
        patch.setattr(sa.Engine, "_compiled_cache", shared, raising=False)
        yield


# --- models -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _models_compiled_once() -> Iterator[None]:
    """Services that are declared alike are one, as in a process with one application: models, codecs and checks are compiled once."""
    from penstock.wire.services import Service

    declare = Service.__init__
    known: dict[str, Service] = {}

    def share(self: Service, *arguments: Any, **more: Any) -> None:
        declare(self, *arguments, **more)
        first = known.setdefault(repr(sorted(vars(self).items())), self)
        if first is not self:
            self.__dict__ = first.__dict__

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Service, "__init__", share)
        yield


# --- stores -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _sqlite_templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sqlite-templates")


@pytest.fixture
def sqlite_url(tmp_path: Path, _sqlite_templates: Path) -> str:
    """The address of an SQLite file of this test's own, with every declared table."""
    template = _sqlite_templates / f"{_schema_name()}.db"
    if not template.exists():
        engine = sa.create_engine(f"sqlite:///{template}")
        with engine.connect() as conn:
            conn.exec_driver_sql("PRAGMA synchronous = OFF")  # otherwise each of its tables waits for the disk
            create_all(conn)
            conn.commit()
        engine.dispose()
    path = tmp_path / "penstock.db"
    shutil.copy(template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def clock() -> ManualClock:
    """A clock that only moves when a test moves it."""
    return ManualClock()


@pytest.fixture
def ids() -> SeededIds:
    """The same ids in every run."""
    return SeededIds(1)


@pytest.fixture
async def store(sqlite_url: str, clock: ManualClock) -> AsyncIterator[Store]:
    """A store on SQLite, on the manual clock."""
    store = await Store.open(sqlite_url, clock=clock)
    yield store
    await store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest) -> str:
    """The address of a database of this test's own, on either database in turn."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
async def any_store(any_url: str, clock: ManualClock) -> AsyncIterator[Store]:
    """A store on either database in turn, on the manual clock."""
    store = await Store.open(any_url, clock=clock)
    yield store
    await store.close()


# --- calls in process -------------------------------------------------------------------------------------------------


def unknown_members(shape: Any, value: Any, above: str = "") -> Iterator[str]:
    """Paths of what a value has and its shape does not."""
    if shape.type == "structure" and isinstance(value, dict) and not shape.document:
        for name, member in value.items():
            if name not in shape.members:
                yield f"{above}{name}"
            else:
                yield from unknown_members(shape.members[name], member, f"{above}{name}.")
    elif shape.type == "list" and isinstance(value, list):
        for member in value:
            yield from unknown_members(shape.member, member, above)
    elif shape.type == "map" and isinstance(value, dict):
        for member in value.values():
            yield from unknown_members(shape.value, member, above)


@pytest.fixture(scope="session", autouse=True)
def _calls_in_process_could_go_over_the_wire() -> Iterator[None]:
    """Components ask each other nothing that a client could not, and every answer is one that each protocol can send."""
    from penstock.wire import invoke
    from penstock.wire.call import PrincipalKind

    run = invoke._run

    async def run_and_write(operation: Any, call: Any, input: Any) -> Any:
        service = call.app.services.get(call.service)
        asked = service.operation(call.operation).input
        if call.session.kind in (PrincipalKind.ROLE, PrincipalKind.SERVICE) and asked is not None:
            unknown = list(unknown_members(asked, input))
            assert not unknown, f"{call.service}:{call.operation} has no {unknown}"
        output = await run(operation, call, input)
        for protocol in service.protocols:
            service.codec_of(protocol).serialize(service.operation(call.operation), output, call.request_id)
        return output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(invoke, "_run", run_and_write)
        yield
