"""`penstock`: starts the server and shows what it does. Everything else is the AWS CLI's."""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from penstock import __version__
from penstock.cli.exits import Exit

# name → (module below penstock.cli, one line of help); a module is imported only when its command runs.
COMMANDS = {
    "up": ("serve", "start server, workers and console in one process"),
    "server": ("serve", "start the API and the console (needs PostgreSQL)"),
    "worker": ("serve", "start a worker (needs PostgreSQL)"),
    "env": ("env", "print shell lines that point the AWS CLI and SDKs here"),
    "user": ("user", "make users of the console, and see their sessions and second factors"),
    "accounts": ("accounts", "make and list accounts"),
    "hosts": ("hosts", "let hosts join by certificate, list and revoke them, and give their authority another key"),
    "parameters": ("parameters", "set public parameters, which all accounts read"),
    "status": ("status", "show the server, what waits for a person, and what failed"),
    "init": ("init", "write a pipeline for the project in a folder, and run it"),
    "validate": ("validate", "check files that declare pipelines, builds and deployments"),
    "plan": ("plan", "show what a pipeline's file would change, and which runs that touches"),
    "apply": ("plan", "create or update a pipeline from its file"),
    "follow": ("follow", "follow a pipeline run to its end"),
    "explain": ("explain", "tell why a pipeline run waits, or how it ended"),
    "logs": ("buildlogs", "print the log of a build or the hooks of a deployment"),
    "journal": ("journal", "show what a run was given to decide on, and what it decided"),
    "dora": ("dora", "show how often pipelines deploy to production, how fast, and how well"),
    "dead-letters": ("dead_letters", "list events and messages that could not be delivered, and deliver them again"),
    "jobs": ("jobs", "list jobs that were given up, and let them run again"),
    "why": ("why", "tell what is behind a denial: which statement of which policy, and what its conditions saw"),
    "audit": ("audit", "show who did what, export it, and check that nobody has changed it"),
    "doctor": ("doctor", "check store, keys, TLS, clocks and the journal"),
    "rekey": ("rekey", "change the master key while servers run"),
    "completion": ("completion", "print a completion script for bash, zsh or fish"),
    "demo": ("demo", "show the complete way: a commit becomes a release on three local hosts"),
    "docs": ("docs", "regenerate the reference pages that come from the code"),
}
_EXITS = (
    "Exit codes: 0 done, 1 usage or network, 2 failed, 3 stopped or rolled back, 4 timed out, 5 waits for an approval."
)


class Parser(argparse.ArgumentParser):
    """Answers a mistake in one line, with what was probably meant and where the help is."""

    def error(self, message: str) -> NoReturn:
        """Exit with USAGE."""
        parts = self.prog.split(" ")
        self.exit(Exit.USAGE, f"{self.prog}: {message}\nHelp: {parts[0]} help {' '.join(parts[1:])}".rstrip() + "\n")


def parsed(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    """What the arguments mean. An unknown option ends the process with the nearest known one."""
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        known = [name for action in parser._actions for name in action.option_strings]  # noqa: SLF001 - argparse has no list of its own
        parser.error(f"unrecognized argument: {unknown[0]}{meant(unknown[0].partition('=')[0], known)}")
    return options


def meant(given: str, known: Sequence[str]) -> str:
    """`. Did you mean X?` for the nearest known word, or "" when none is near."""
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
    return f". Did you mean {near[0]}?" if near else ""


def parser_of(command: str) -> Parser:
    """The parser of one command, with its options."""
    module, text = COMMANDS[command]
    parser = Parser(prog=f"penstock {command}", description=text[0].upper() + text[1:] + ".", epilog=_EXITS)
    parser.set_defaults(command=command)
    importlib.import_module(f"penstock.cli.{module}").add_arguments(parser, command)
    return parser


def _overview() -> Parser:
    width = max(map(len, COMMANDS)) + 2
    listed = "\n".join(f"  {name:<{width}}{text}" for name, (_module, text) in COMMANDS.items())
    parser = Parser(
        prog="penstock",
        usage="penstock COMMAND [options]",
        description="Self-hosted continuous delivery that speaks AWS's delivery APIs.",
        epilog=f"commands:\n{listed}\n\n`penstock help COMMAND` explains one of them. {_EXITS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"penstock {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    overview = _overview()
    if arguments[:1] == ["version"]:
        arguments = ["--version"]
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:2], "--help"]
    if not arguments:
        overview.print_help(sys.stderr)
        return Exit.USAGE
    command = arguments[0]
    if command not in COMMANDS:
        parsed(overview, arguments if command.startswith("-") else [])
        overview.error(f"there is no command {command!r}{meant(command, [*COMMANDS, 'help', 'version'])}")
    # What importing makes stays for good: searching it for what can be freed is a tenth of a server's start.
    gc.disable()
    options = parsed(parser_of(command), arguments[1:])
    module = importlib.import_module(f"penstock.cli.{COMMANDS[command][0]}")
    gc.freeze()
    gc.enable()
    try:
        return int(module.run(options))
    except KeyboardInterrupt:
        return Exit.STOPPED
    except BrokenPipeError:  # the reader closed stdout; without this Python reports a second error at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.STOPPED


if __name__ == "__main__":
    sys.exit(main())
