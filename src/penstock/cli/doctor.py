"""`penstock doctor`: looks at an installation without touching it, and says what is wrong and what mends it.

It reads the database beside a running server (SQLite: read-only), so it can be asked at any time. What it looks at lies in
`penstock.cli.checks`, by domain.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import orjson
import sqlalchemy as sa
import sqlalchemy.exc

from penstock.cli import arguments
from penstock.cli.checks import activity, ends, histories, machine, people, server, stores
from penstock.cli.checks.findings import Check, Finding, Installation, Verdict
from penstock.cli.exits import Exit
from penstock.cli.installation import never_started
from penstock.cli.terminal import complain, paint, say
from penstock.secrets.settings import command_of_option
from penstock.store.masterkeys import default_path

CHECKS: tuple[Check, ...] = (
    machine.data_dir,
    machine.file_modes,
    machine.secrets,
    stores.keys,
    stores.database,
    stores.postgresql,
    stores.journal_order,
    activity.work,
    activity.hosts,
    activity.stuck_deployments,
    activity.metric_sources,
    people.second_factors,
    ends.keys_pending,
    ends.rotations,
    machine.rotation_commands,
    ends.trust_anchors,
    ends.hosts_that_renew,
    server.server,
    machine.certificate,
    machine.programs,
    machine.builds,
)


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `doctor`."""
    arguments.add_data_dir(parser)
    arguments.add_database(parser)
    arguments.add_master_key(parser)
    parser.add_argument(
        "--rotation-command",
        action="append",
        default=[],
        type=arguments.of_setting(command_of_option),
        metavar="[ACCOUNT:]NAME=COMMAND",
        help="a command that rotates secrets, as the server has it; may be repeated",
    )
    parser.add_argument(
        "--histories",
        action="store_true",
        help="instead of the other checks, replay the journal of every pipeline: no run lost or run twice, one in a stage, first come "
        "first served, no condition skipped, and what is stored follows from it",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the findings; 0 when nothing fails, 2 when something does, 1 when there is nothing to look at."""
    data_dir = options.data_dir.absolute()
    if not options.database and (why := missing(data_dir)):
        complain(f"penstock doctor: {why}")
        return Exit.USAGE
    examined = Installation(
        data_dir=data_dir,
        database=options.database,
        master_key_file=options.master_key_file or default_path(),
        master_key_command=options.master_key_command,
        engine=database_of(data_dir, options.database),
        rotation_commands=tuple(options.rotation_command),
    )
    # A database that does not answer is the same finding to every check that asks it.
    checks = (histories.histories,) if options.histories else CHECKS
    findings = list(dict.fromkeys(finding for check in checks for finding in _guarded(check, examined)))
    examined.engine.dispose()
    if options.json:
        say(orjson.dumps([asdict(finding) for finding in findings], option=orjson.OPT_INDENT_2).decode())
    else:
        for finding in findings:
            _print(finding)
    return Exit.FAILED if any(finding.verdict is Verdict.FAIL for finding in findings) else Exit.DONE


def missing(data_dir: Path) -> str:
    """Why there is no database to look at; "" when there is one."""
    try:
        (data_dir / "penstock.db").stat()
    except (FileNotFoundError, NotADirectoryError):
        return never_started(data_dir)
    except OSError as error:
        return f"cannot look into {data_dir}: {error.strerror}"
    return ""


def _guarded(check: Check, examined: Installation) -> Iterator[Finding]:
    try:
        yield from check(examined)
    except sqlalchemy.exc.SQLAlchemyError as error:
        why = str(getattr(error, "orig", None) or error).partition("\n")[0]
        yield Finding(
            Verdict.FAIL,
            "store",
            f"the database cannot be read: {why}",
            "see that it runs, and that --database is the one of the server",
        )


def database_of(folder: Path, url: str) -> sa.Engine:
    """The database of an installation, to be read."""
    if not url:
        return sa.create_engine(f"sqlite:///file:{folder / 'penstock.db'}?mode=ro&uri=true")
    made = sa.make_url(url)
    if made.get_backend_name() == "postgresql":
        made = made.set(drivername="postgresql+psycopg")
    return sa.create_engine(made)


def _print(finding: Finding) -> None:
    colour = {Verdict.OK: "green", Verdict.WARN: "amber", Verdict.FAIL: "red"}[finding.verdict]
    say(f"{paint(f'{finding.verdict:<4}', colour)}  {finding.what:<9} {finding.message}")
    if finding.mend:
        say(f"                {paint('→', 'dim')} {finding.mend}")
