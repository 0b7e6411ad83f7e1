"""`penstock up`, `server` and `worker`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import uvloop

from penstock import __version__
from penstock.app import DataDirUnusable, PlainHttpRefused, PortTaken, RegionsUnusable, component_settings, running
from penstock.application import Settings
from penstock.cli import arguments
from penstock.cli.exits import Exit
from penstock.cli.logs import structured_logs
from penstock.cli.terminal import paint, program
from penstock.component import Option, Role, options_of
from penstock.sandbox.runtime import RuntimeRefused
from penstock.secrets.functions import CommandsMissing
from penstock.store.errors import StoreError
from penstock.store.masterkeys import MasterKeyError
from penstock.store.sealing import SealError
from penstock.wire.tls import TlsError

log = logging.getLogger("penstock.cli")
_DAY_MS = 86_400_000
_LEFT_S = 2.0  # for what is left to do when all is drained


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    """The options of one of the three commands."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data-dir",
        type=Path,
        default=Path("penstock-data"),
        metavar="DIR",
        help="where the installation keeps its files; default: ./penstock-data",
    )
    data.add_argument(
        "--database",
        default="",
        type=arguments.database,
        metavar="URL",
        help="postgresql://user@host/name; default: SQLite below the data dir"
        if command == "up"
        else "postgresql://user@host/name",
    )
    data.add_argument(
        "--master-key-file",
        type=Path,
        metavar="F",
        help="the key that seals secrets, kept outside the data dir; default: ~/.config/penstock/master.key",
    )
    data.add_argument(
        "--master-key-command",
        default="",
        metavar="C",
        help="a command that prints the key instead of a file, such as one that asks a vault, a cloud's KMS or an HSM",
    )
    data.add_argument(
        "--account",
        default="111111111111",
        type=arguments.account,
        help="the first account (12 digits); default: %(default)s",
    )
    data.add_argument(
        "--region", default="us-east-1", type=arguments.region, help="the first site; default: %(default)s"
    )
    data.add_argument(
        "--also-region",
        action="append",
        default=[],
        type=arguments.region,
        metavar="R",
        help="a further site; may be repeated",
    )
    if command != "worker":
        web = parser.add_argument_group("network")
        web.add_argument(
            "--host", default="127.0.0.1", metavar="H", help="the address to listen on; default: %(default)s"
        )
        web.add_argument(
            "--port",
            type=arguments.port,
            default=8470,
            metavar="P",
            help="the port to listen on, 0 for a free one; default: %(default)s",
        )
        web.add_argument(
            "--public-url",
            default="",
            type=arguments.public_url,
            metavar="URL",
            help="how clients and builds reach this server; required for a worker; default: made of --host and --port",
        )
        web.add_argument(
            "--tls", action="store_true", help="serve https with a certificate of the installation's own authority"
        )
        web.add_argument("--tls-cert", type=Path, metavar="F", help="serve https with this certificate chain (PEM)")
        web.add_argument("--tls-key", type=Path, metavar="F", help="the key of that certificate (PEM)")
        web.add_argument(
            "--allow-plain-http",
            action="store_true",
            help="serve plain http on an address that other machines reach, such as to a proxy that ends TLS",
        )
        web.add_argument(
            "--requests-per-second",
            type=arguments.count(0),
            default=500,
            metavar="N",
            help="requests of one access key, over time; ten seconds' worth may come at once; 0: no limit; default: %(default)s",
        )
    if command != "server":
        work = parser.add_argument_group("work")
        work.add_argument(
            "--workers", type=arguments.count(1), default=8, metavar="N", help="jobs at a time; default: %(default)s"
        )
        work.add_argument("--site", default="", metavar="REGION", help="take only this region's jobs")
        # Seconds that a dead process's jobs stay taken. Shorter is for proofs: a process that is slow for longer loses its jobs.
        work.add_argument("--lease", type=float, default=30, help=argparse.SUPPRESS)
        keep = parser.add_argument_group("retention")
        for name, days, what in (
            ("jobs", 1, "jobs, after they were done"),
            ("events", 7, "events, once they are delivered"),
            ("dead-letters", 14, "events and messages that could not be delivered"),
            ("history", 366, "executions, builds, deployments and the journal; the newest of each always stays"),
        ):
            keep.add_argument(
                f"--keep-{name}",
                type=arguments.count(1),
                default=days,
                metavar="DAYS",
                help=f"{what}; default: %(default)s",
            )
    if command == "worker":
        network = parser.add_argument_group("network")
        network.add_argument(
            "--metrics-port",
            dest="port",
            type=arguments.port,
            default=0,
            metavar="P",
            help="the port of 127.0.0.1 where a worker answers /metrics, /healthz and /readyz, 0 for a free one; default: %(default)s",
        )
        network.add_argument(
            "--public-url",
            default="",
            type=arguments.public_url,
            metavar="URL",
            required=True,
            help="the server's address, handed to builds",
        )
    sources = parser.add_argument_group("sources")
    sources.add_argument(
        "--source-entries",
        type=arguments.count(1),
        default=200_000,
        metavar="N",
        help="files, folders and links that one source of a build or pipeline may hold; default: %(default)s",
    )
    sources.add_argument(
        "--source-gib",
        type=arguments.count(1),
        default=16,
        metavar="N",
        help="GiB of one source; default: %(default)s",
    )
    sources.add_argument(
        "--source-ratio",
        type=arguments.count(1),
        default=400,
        metavar="N",
        help="how many times its size a source archive may unpack to; default: %(default)s",
    )
    for option in _options(command):
        _add_option(parser, option)
    parser.add_argument("--no-notify", action="store_true", help="do not use PostgreSQL NOTIFY; poll only")
    parser.add_argument("--verbose", action="store_true", help="log more")


def _options(command: str) -> Iterator[Option]:
    """The options of every component that are for this kind of process."""
    roles = {Role.ANY, *([Role.SERVES] if command != "worker" else []), *([Role.WORKS] if command != "server" else [])}
    for kind in component_settings():
        yield from (option for option in options_of(kind) if option.role in roles)


def _add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    # argparse keeps its groups to itself; asking for one of a title that is there would make a second.
    groups = {group.title: group for group in parser._action_groups}  # noqa: SLF001
    group = groups.get(option.group) or parser.add_argument_group(option.group)
    default_text = f"; default: {option.default}" if option.default and not isinstance(option.default, bool) else ""
    how: dict[str, Any] = {
        "dest": option.name,
        "default": argparse.SUPPRESS,  # the class of the settings has it
        "help": argparse.SUPPRESS if option.hidden else option.help + default_text,
    }
    if isinstance(option.default, bool):
        how["action"] = "store_true"
    else:
        how |= {
            "metavar": option.metavar,
            "choices": option.choices or None,
            "type": arguments.of_setting(option.parse or type(option.default)),
        }
        how |= {"action": "append"} if option.repeats else {}
    group.add_argument(option.spelling, **how)


def _chosen(kind: type[Any], given: Mapping[str, Any]) -> Any:
    """A component's settings: its defaults, and what the options say."""
    named = {option.name: option for option in options_of(kind)}
    return kind(
        **{
            name: tuple(given[name]) if option.repeats else given[name]
            for name, option in named.items()
            if name in given
        }
    )


def _useless(given: Mapping[str, Any]) -> str:
    """Why an option that was given would do nothing; "" when all of them count."""
    for kind in component_settings():
        named = {option.name: option for option in options_of(kind)}
        for option in named.values():
            if option.needs and option.name in given and option.needs not in given:
                return f"{option.spelling} does nothing without {named[option.needs].spelling}; give both, or neither"
    return ""


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean drain."""
    if options.command == "up" and options.site and options.site not in (options.region, *options.also_region):
        print(f"penstock up: --site {options.site} is none of the regions served here", file=sys.stderr)
        return Exit.USAGE
    # The event loop asks for the interpreter many times in a request, and a thread that computes keeps it for this long each time.
    sys.setswitchinterval(0.0005)
    # Nearly all that a request makes is freed by its references. With the usual thresholds a server with thousands of requests under way
    # would look through all of them again and again, for what is not there: a seventh of its time.
    gc.set_threshold(20_000, 20, 20)
    os.umask(0o077)  # whatever the server writes is its own: database, logs, objects, what a build leaves
    structured_logs(verbose=options.verbose)
    if options.command != "up" and not options.database:
        print(
            f"penstock {options.command}: needs --database postgresql://…; SQLite means exactly one process: penstock up",
            file=sys.stderr,
        )
        return Exit.USAGE
    for one, other in (("tls_cert", "tls_key"), ("sign_in_issuer", "sign_in_client")):
        if bool(getattr(options, one, None)) != bool(getattr(options, other, None)):
            pair = " and ".join("--" + name.replace("_", "-") for name in (one, other))
            print(f"penstock: {pair} go together", file=sys.stderr)
            return Exit.USAGE
    if useless := _useless(vars(options)):
        print(f"penstock: {useless}", file=sys.stderr)
        return Exit.USAGE
    try:
        settings = settings_of(options)
    except argparse.ArgumentTypeError as error:
        print(f"penstock {options.command}: {error}", file=sys.stderr)
        return Exit.USAGE
    try:
        return uvloop.run(_to_the_end(settings))
    except SealError as error:
        keys = settings.master_key_command or settings.master_key_file
        print(
            f"penstock: the data dir's secrets cannot be read with the master key of {keys}: {error}", file=sys.stderr
        )
        return Exit.USAGE
    except (
        StoreError,
        MasterKeyError,
        DataDirUnusable,
        PlainHttpRefused,
        PortTaken,
        RegionsUnusable,
        RuntimeRefused,
        TlsError,
        CommandsMissing,
    ) as error:
        print(f"penstock: {error}", file=sys.stderr)
        return Exit.USAGE


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that the options mean."""
    chosen = vars(options)
    command = options.command
    return Settings(
        data_dir=options.data_dir.absolute(),
        host=chosen.get("host", "127.0.0.1"),
        port=chosen.get("port", 0),
        public_url=options.public_url,
        database=options.database,
        master_key_command=options.master_key_command,
        master_key_file=options.master_key_file or Path.home() / ".config" / "penstock" / "master.key",
        account=options.account,
        region=options.region,
        regions=tuple(options.also_region),
        tls=chosen.get("tls", False),
        tls_cert=chosen.get("tls_cert"),
        tls_key=chosen.get("tls_key"),
        allow_plain_http=chosen.get("allow_plain_http", False),
        requests_per_second=chosen.get("requests_per_second", 500),
        workers=chosen.get("workers", 8),
        site=chosen.get("site", ""),
        source_entries=options.source_entries,
        source_gib=options.source_gib,
        source_ratio=options.source_ratio,
        serves=command != "worker",
        works=command != "server",
        keep_jobs_ms=chosen.get("keep_jobs", 1) * _DAY_MS,
        keep_events_ms=chosen.get("keep_events", 7) * _DAY_MS,
        keep_dead_letters_ms=chosen.get("keep_dead_letters", 14) * _DAY_MS,
        keep_history_ms=chosen.get("keep_history", 366) * _DAY_MS,
        notify=not options.no_notify,
        lease_ms=int(chosen.get("lease", 30) * 1000),
        components=tuple(_chosen(kind, chosen) for kind in component_settings()),
    )


async def _serve(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as server:
        if sys.stdout.isatty() and settings.serves:
            print(_banner(server.url, settings.data_dir), flush=True)
        print(f"penstock ready {server.url}", flush=True)
        await stop.wait()
        log.info("server.draining")
    return Exit.DONE


async def _to_the_end(settings: Settings) -> int:
    code = await _serve(settings)
    _end_within(_LEFT_S, code)
    return code


def _end_within(seconds: float, code: int) -> None:
    """End the process, though threads still wait for what does not answer: a name server, a disk. Nobody waits for them any more."""
    ends = threading.Timer(seconds, os._exit, (code,))
    ends.daemon = True
    ends.start()


def _banner(url: str, data_dir: Path) -> str:
    # The lines are pasted into another terminal, which stands in another folder and may lack our PATH.
    penstock, where = program("penstock"), f"--data-dir {shlex.quote(str(data_dir))}"
    return "\n".join(
        (
            "",
            f"  {paint('Penstock', 'bold')} {__version__}",
            f"  console   {paint(url + '/console/', 'bold')}",
            f"  sign in   {penstock} user add NAME --admin {where}",
            "            prints a link where NAME chooses a password",
            f'  AWS CLI   eval "$({penstock} env {where})"',
            "  stop      Ctrl+C",
            "",
        )
    )
