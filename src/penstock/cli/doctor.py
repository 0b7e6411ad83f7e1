"""`penstock doctor`: looks at an installation without touching it, and says what is wrong and what mends it.

It reads the database beside a running server (SQLite: read-only), so it can be asked at any time.
"""

from __future__ import annotations

import argparse
import datetime as dt
import email.utils
import shutil
import ssl
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import orjson
import sqlalchemy as sa
import sqlalchemy.exc
from cryptography import x509

from penstock.builds.runtimes import RuntimeRefused
from penstock.builds.supervisor import groups
from penstock.builds.work import choose_for
from penstock.cli import arguments
from penstock.cli.exits import Exit
from penstock.cli.installation import NoServer, server_facts
from penstock.cli.terminal import paint, say
from penstock.identity.accounts import secret_context
from penstock.identity.records import access_keys
from penstock.room import Settings
from penstock.store import migrate
from penstock.store.records import jobs, journal
from penstock.store.sealing import MasterKeyError, Sealer, SealError, default_path

_SKEW_SECONDS = 60  # signatures allow five minutes; a clock that is off by one will soon be off by five
_LATE_MS = 5 * 60_000
_LOW_BYTES = 1 << 30
_CERTIFICATE_DAYS = 14


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"  # works today
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; `mend` says what to do."""

    verdict: Verdict
    what: str
    words: str
    mend: str = ""


Check = Callable[["Patient"], Iterator[Finding]]


@dataclass(slots=True)
class Patient:
    """The installation that is looked at."""

    data_dir: Path
    database: str
    master_key_file: Path
    engine: sa.Engine


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `doctor`."""
    parser.add_argument(
        "--data-dir", type=Path, default=Path("penstock-data"), metavar="DIR", help="default: ./penstock-data"
    )
    parser.add_argument(
        "--database",
        default="",
        type=arguments.database,
        metavar="URL",
        help="postgresql://…; default: SQLite below the data dir",
    )
    parser.add_argument("--master-key-file", type=Path, metavar="F", help=f"default: {default_path()}")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the findings; 0 when nothing fails, 2 when something does, 1 when there is nothing to look at."""
    data_dir = options.data_dir.absolute()
    if not options.database and (missing := _missing(data_dir)):
        print(f"penstock doctor: {missing}", file=sys.stderr)
        return Exit.USAGE
    patient = Patient(
        data_dir=data_dir,
        database=options.database,
        master_key_file=options.master_key_file or default_path(),
        engine=_engine(data_dir, options.database),
    )
    findings = [finding for check in CHECKS for finding in _guarded(check, patient)]
    patient.engine.dispose()
    if options.json:
        say(orjson.dumps([asdict(finding) for finding in findings], option=orjson.OPT_INDENT_2).decode())
    else:
        for finding in findings:
            _print(finding)
    return Exit.FAILED if any(finding.verdict is Verdict.FAIL for finding in findings) else Exit.DONE


def _missing(data_dir: Path) -> str:
    """Why there is no database to look at; "" when there is one."""
    try:
        (data_dir / "penstock.db").stat()
    except (FileNotFoundError, NotADirectoryError):
        return f"no server has started on {data_dir}; start one: penstock up --data-dir {data_dir}"
    except OSError as error:
        return f"cannot look into {data_dir}: {error.strerror}"
    return ""


def data_dir(patient: Patient) -> Iterator[Finding]:
    """Is the folder private, and is there room?"""
    if not patient.data_dir.exists():
        yield Finding(Verdict.WARN, "data dir", f"{patient.data_dir} is not on this machine")
        return
    mode = stat.S_IMODE(patient.data_dir.stat().st_mode)
    if mode & 0o077:
        yield Finding(
            Verdict.FAIL,
            "data dir",
            f"others may enter {patient.data_dir} (mode {mode:o})",
            f"chmod 700 {patient.data_dir}",
        )
    free = shutil.disk_usage(patient.data_dir).free
    verdict = Verdict.WARN if free < _LOW_BYTES else Verdict.OK
    yield Finding(
        verdict,
        "data dir",
        f"{free / (1 << 30):.1f} GiB free",
        "make room: writes fail when the disk is full" if verdict is Verdict.WARN else "",
    )


def keys(patient: Patient) -> Iterator[Finding]:
    """Is the master key here, private, and the one that the secrets were sealed with?"""
    try:
        sealer = Sealer.from_file(patient.master_key_file, create=False)
    except FileNotFoundError:
        yield Finding(
            Verdict.FAIL,
            "keys",
            f"there is no master key at {patient.master_key_file}",
            "restore it from where you keep it: without it no secret opens",
        )
        return
    except MasterKeyError as error:
        yield Finding(Verdict.FAIL, "keys", str(error))
        return
    with patient.engine.connect() as conn:
        rows = conn.execute(sa.select(access_keys.c.id, access_keys.c.secret)).all()
    closed = 0
    for row in rows:
        try:
            sealer.open(row.secret, secret_context(row.id))
        except SealError:
            closed += 1
    if closed:
        yield Finding(
            Verdict.FAIL,
            "keys",
            f"{closed} of {len(rows)} access keys cannot be opened with {patient.master_key_file}",
            "give --master-key-file the key of this installation",
        )
    else:
        yield Finding(Verdict.OK, "keys", f"the master key opens all {len(rows)} access keys")


def database(patient: Patient) -> Iterator[Finding]:
    """Is the database whole, and has it this release's schema?"""
    with patient.engine.connect() as conn:
        if conn.dialect.name == "sqlite":
            said = conn.execute(sa.text("PRAGMA quick_check(5)")).scalars().all()
            if said != ["ok"]:
                yield Finding(
                    Verdict.FAIL,
                    "store",
                    f"SQLite finds damage: {'; '.join(map(str, said))}",
                    "stop the server and restore the last backup",
                )
                return
        have, want = migrate.installed(conn), migrate.head()
        if have != want:
            yield Finding(
                Verdict.FAIL,
                "store",
                f"the schema is {have}, this release works with {want}",
                "start `penstock up` of this release once",
            )
            return
        if conn.dialect.name == "postgresql":
            there = conn.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
            yield from _clock("the database server", float(there))
    yield Finding(Verdict.OK, "store", f"{patient.engine.dialect.name}, schema {want}")


def journal_order(patient: Patient) -> Iterator[Finding]:
    """Does each aggregate's journal count without gaps, and do its times not run backwards?"""
    counted = (
        sa.select(
            journal.c.account,
            journal.c.region,
            journal.c.aggregate,
            sa.func.count().label("entries"),
            (sa.func.max(journal.c.sequence) - sa.func.min(journal.c.sequence) + 1).label("span"),
        )
        .group_by(journal.c.account, journal.c.region, journal.c.aggregate)
        .subquery()
    )
    earlier = journal.alias()
    backwards = (
        sa.select(journal.c.aggregate)
        .join(
            earlier,
            (earlier.c.account == journal.c.account)
            & (earlier.c.region == journal.c.region)
            & (earlier.c.aggregate == journal.c.aggregate)
            & (earlier.c.sequence == journal.c.sequence - 1),
        )
        .where(earlier.c.at > journal.c.at)
        .distinct()
        .limit(5)
    )
    with patient.engine.connect() as conn:
        gaps = (
            conn.execute(sa.select(counted.c.aggregate).where(counted.c.entries != counted.c.span).limit(5))
            .scalars()
            .all()
        )
        late = conn.execute(backwards).scalars().all()
        total = conn.execute(sa.select(sa.func.count()).select_from(counted)).scalar_one()
    if gaps:
        yield Finding(
            Verdict.FAIL,
            "journal",
            f"entries are missing in {', '.join(gaps)}",
            "report it with `penstock doctor --json`: decisions were lost or changed by hand",
        )
    if late:
        yield Finding(
            Verdict.WARN,
            "journal",
            f"times run backwards in {', '.join(late)}",
            "check this machine's clock and its time service",
        )
    if not gaps and not late:
        yield Finding(Verdict.OK, "journal", f"{total} aggregates count without gaps")


def work(patient: Patient) -> Iterator[Finding]:
    """Is anything stuck?"""
    from penstock.builds.work import ELSEWHERE, RUN  # noqa: PLC0415 - loads all of builds

    now = int(time.time() * 1000)
    with patient.engine.connect() as conn:
        dead = conn.execute(
            sa.select(jobs.c.kind, sa.func.count()).where(jobs.c.state == "dead").group_by(jobs.c.kind)
        ).all()
        overdue = conn.execute(
            sa.select(jobs.c.kind, sa.func.count())
            .where(jobs.c.state == "ready", jobs.c.topic == "", jobs.c.due < now - _LATE_MS)
            .group_by(jobs.c.kind)
        ).all()
        elsewhere = conn.execute(
            sa.select(sa.func.count()).where(jobs.c.kind == RUN, jobs.c.state == "ready", jobs.c.error == ELSEWHERE)
        ).scalar_one()
    if elsewhere:
        yield Finding(
            Verdict.WARN,
            "work",
            f"{elsewhere} builds wait: the run is on another worker's disk",
            "start that worker again; without it they end as FAULT when their time is up",
        )
    for kind, count in dead:
        yield Finding(
            Verdict.FAIL,
            "work",
            f"{count} jobs of kind {kind} were given up",
            "`penstock jobs` says why, and lets them run again",
        )
    for kind, count in overdue:
        yield Finding(
            Verdict.WARN, "work", f"{count} jobs of kind {kind} wait for more than 5 min", "is a worker running?"
        )
    if not (dead or overdue or elsewhere):
        yield Finding(Verdict.OK, "work", "nothing is stuck")


def deployments(patient: Patient) -> Iterator[Finding]:
    """Does a deployment wait for hosts that do not answer, or a queue for a deployment?"""
    from penstock.deployments.stuck import stuck  # noqa: PLC0415 - loads all of deployments

    with patient.engine.connect() as conn:
        found = stuck(conn, int(time.time() * 1000))
    for one in found:
        yield Finding(Verdict.FAIL if one.for_good else Verdict.WARN, "deployments", one.reason, one.mend)
    if not found:
        yield Finding(Verdict.OK, "deployments", "none waits for a host or holds up a queue")


def server(patient: Patient) -> Iterator[Finding]:
    """Does the server answer, and with the right time?"""
    if not (patient.data_dir / "server.json").exists():
        return
    try:
        facts = server_facts(patient.data_dir)
    except NoServer as error:
        yield Finding(Verdict.WARN, "server", str(error))
        return
    try:
        context = (
            ssl.create_default_context(cafile=facts["ca_file"] or None) if facts["url"].startswith("https") else None
        )
        with urllib.request.urlopen(facts["url"] + "/readyz", timeout=5, context=context) as answer:  # noqa: S310
            date = answer.headers.get("date", "")
    except (urllib.error.URLError, OSError, ValueError) as error:
        yield Finding(
            Verdict.WARN,
            "server",
            f"{facts['url']} does not answer: {getattr(error, 'reason', error)}",
            "start it: penstock up",
        )
    else:
        yield Finding(Verdict.OK, "server", f"{facts['url']} answers")
        if date:
            yield from _clock("the server", email.utils.parsedate_to_datetime(date).timestamp())


def certificate(patient: Patient) -> Iterator[Finding]:
    """Does the installation's own certificate last?"""
    path = patient.data_dir / "tls" / "server.pem"
    if path.exists():
        ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        days = (ends - dt.datetime.now(tz=dt.UTC)).days
        verdict = Verdict.OK if days > _CERTIFICATE_DAYS else Verdict.FAIL if days < 0 else Verdict.WARN
        yield Finding(
            verdict,
            "TLS",
            f"the server's certificate lasts {days} more days",
            "" if verdict is Verdict.OK else "restart the server: it renews its own certificate",
        )


def programs(_patient: Patient) -> Iterator[Finding]:
    """Is what the server calls here?"""
    git = shutil.which("git")
    if git is None:
        yield Finding(
            Verdict.FAIL, "programs", "git is not installed", "install it: repositories cannot be served without it"
        )
    else:
        said = subprocess.run(
            [git, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout.strip()
        yield Finding(Verdict.OK, "programs", said)


def builds(patient: Patient) -> Iterator[Finding]:
    """Can builds run here, apart from the server's files, and within limits? As the user who asks."""
    settings = Settings(data_dir=patient.data_dir, master_key_file=patient.master_key_file)
    try:
        choice = choose_for(settings)
    except RuntimeRefused as refused:
        yield Finding(Verdict.FAIL, "builds", str(refused), "a server does not start like this")
        return
    if choice.name != "bubblewrap":
        why = f"builds run with the runtime {choice.name}: {choice.words}" if choice.name else choice.words
        yield Finding(
            Verdict.WARN, "builds", why, "install bubblewrap: without it builds are hardly isolated, or cannot run"
        )
        return
    yield Finding(Verdict.OK, "builds", f"bubblewrap: {choice.words}")
    for controller, reason in groups.missing().items():
        yield Finding(
            Verdict.WARN,
            "builds",
            f"no control group limits the {controller} of builds: {reason}",
            "run the server as root, or by systemd with Delegate=yes and DelegateSubgroup=server",
        )


CHECKS: tuple[Check, ...] = (
    data_dir,
    keys,
    database,
    journal_order,
    work,
    deployments,
    server,
    certificate,
    programs,
    builds,
)


def _guarded(check: Check, patient: Patient) -> Iterator[Finding]:
    try:
        yield from check(patient)
    except sqlalchemy.exc.SQLAlchemyError as error:
        yield Finding(Verdict.FAIL, "store", f"the database cannot be read: {error}")


def _clock(whose: str, there: float) -> Iterator[Finding]:
    off = there - time.time()
    if abs(off) > _SKEW_SECONDS:
        yield Finding(
            Verdict.FAIL,
            "clock",
            f"{whose}'s clock is off by {off:.0f} s",
            "let a time service keep both clocks: signatures of requests expire",
        )
    else:
        yield Finding(Verdict.OK, "clock", f"{whose}'s clock agrees with this machine's")


def _engine(folder: Path, url: str) -> sa.Engine:
    if not url:
        return sa.create_engine(f"sqlite:///file:{folder / 'penstock.db'}?mode=ro&uri=true")
    made = sa.make_url(url)
    if made.get_backend_name() == "postgresql":
        made = made.set(drivername="postgresql+psycopg")
    return sa.create_engine(made)


def _print(finding: Finding) -> None:
    colour = {Verdict.OK: "green", Verdict.WARN: "amber", Verdict.FAIL: "red"}[finding.verdict]
    say(f"{paint(f'{finding.verdict:<4}', colour)}  {finding.what:<9} {finding.words}")
    if finding.mend:
        say(f"                {paint('→', 'dim')} {finding.mend}")
