"""What options take: each function parses one from its text, or explains why it cannot. And the options that several commands have."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
import sqlalchemy.exc

from penstock.store.masterkeys import default_path

_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,31}\Z")


def account(text: str) -> str:
    """An account's id: 12 digits."""
    if not re.fullmatch(r"[0-9]{12}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no account: it is 12 digits")
    return text


def region(text: str) -> str:
    """A region's name, which is a part of ARNs and host names."""
    if not _REGION.match(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no region: it is lower-case letters, digits and hyphens")
    return text


def count(least: int) -> Callable[[str], int]:
    """A whole number of at least `least`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {least}")
        return int(text)

    return read


def port(text: str) -> int:
    """A TCP port; 0 takes a free one."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: a number from 0 to 65535")
    return int(text)


def public_url(text: str) -> str:
    """The address of a server: a scheme and a host, perhaps a port. "" leaves it to the server."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # not a port number
        good = False
    if text and not good:
        raise argparse.ArgumentTypeError(f"{text!r} is no address of a server, such as https://penstock.example.com")
    return text


def database(text: str) -> str:
    """The URL of a database. "" is SQLite below the data dir."""
    try:
        known = not text or sa.make_url(text).get_backend_name() in ("postgresql", "postgres", "sqlite")
    except (sqlalchemy.exc.ArgumentError, ValueError):
        known = False
    if not known:
        # Not shown: what was given can hold a password.
        raise argparse.ArgumentTypeError("this is no postgresql://user@host/name")
    return text


def of_setting(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A component's setting, whose parser raises ValueError."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def add_data_dir(parser: argparse.ArgumentParser, *, help: str = "default: ./penstock-data") -> None:
    """The option that says which installation is meant."""
    parser.add_argument("--data-dir", type=Path, default=Path("penstock-data"), metavar="DIR", help=help)


def add_database(parser: argparse.ArgumentParser) -> None:
    """The option of a command that works on the database itself."""
    parser.add_argument(
        "--database",
        default="",
        type=database,
        metavar="URL",
        help="postgresql://…; default: SQLite below the data dir",
    )


def add_master_key(parser: argparse.ArgumentParser) -> None:
    """The options that say where the master keys are."""
    parser.add_argument("--master-key-file", type=Path, metavar="F", help=f"default: {default_path()}")
    parser.add_argument(
        "--master-key-command", default="", metavar="C", help="the command that servers get the master keys from"
    )
