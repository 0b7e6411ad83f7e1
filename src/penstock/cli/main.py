"""`penstock`: starts the server and tells what goes on. Everything else is the AWS CLI's."""

from __future__ import annotations

import argparse
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
    "follow": ("follow", "follow a pipeline run to its end"),
    "demo": ("demo", "show the whole way: a commit becomes a release on three local hosts"),
    "docs": ("docs", "regenerate the reference pages that come from the code"),
    "jobs": ("jobs", "list jobs that were given up, and let them run again"),
    "doctor": ("doctor", "check store, keys, TLS, clocks and the journal"),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(Exit.USAGE, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _Parser(
        prog="penstock",
        description="Self-hosted continuous delivery that speaks AWS's delivery APIs.",
        epilog="Exit codes: 0 done, 1 usage or network, 2 failed, 3 stopped or rolled back, 4 timed out, 5 waits for an approval.",
    )
    parser.add_argument("--version", action="version", version=f"penstock {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = arguments[0] if arguments else ""
    for name, (module, text) in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name == chosen:
            importlib.import_module(f"penstock.cli.{module}").add_arguments(sub, name)
    options = parser.parse_args(arguments)
    module = importlib.import_module(f"penstock.cli.{COMMANDS[options.command][0]}")
    try:
        return int(module.run(options))
    except KeyboardInterrupt:
        return Exit.STOPPED
    except BrokenPipeError:  # who read our output has seen enough; nothing is left to be told at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.STOPPED


if __name__ == "__main__":
    sys.exit(main())
