"""`penstock accounts`: the accounts of an installation. Only its first one makes and sees them."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Iterator
from typing import Any

from penstock.cli import arguments
from penstock.cli.clients import Clients, add_data_dir, attempt
from penstock.cli.installation import NoServer
from penstock.cli.terminal import complain, say


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `accounts`."""
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    create = acts.add_parser("create", help="make an account, and print the key of its administrator this once")
    create.add_argument("name", metavar="NAME", help="what people call it")
    create.add_argument(
        "--number", type=arguments.account, metavar="N", help="its 12 digits; default: some that no account has"
    )
    listing = acts.add_parser("list", help="show all of them")
    for act in (create, listing):
        add_data_dir(act)


def run(options: argparse.Namespace) -> int:
    """Do one act."""
    return attempt(f"accounts {options.act}", lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    clients = Clients.found(options.data_dir.absolute())
    if options.act == "create":
        _create(clients, options.name, options.number)
    else:
        _list(clients)


def _create(clients: Clients, name: str, number: str | None) -> None:
    # An account is never closed, so a command that is typed twice should not make two. Who chooses a number means it.
    known = [] if number else [one["Id"] for one in _every(clients) if one["Name"] == name]
    if known:
        raise NoServer(
            f"the name {name} belongs to account {known[0]} already. Choose another name, or a number for another account of this"
            " name: --number N"
        )
    # Two draws of the same number are refused, not mixed up: there are 900 billion.
    chosen = number or str(10**11 + secrets.randbelow(9 * 10**11))
    made = clients("penstock").create_account(accountId=chosen, accountName=name)
    complain(
        f"The account {made['accountId']} is there. Keep these lines in ~/.aws/credentials: the key is not shown again."
    )
    # The profile alone goes to standard output, so that it can be appended to a file.
    say(f"[{made['accountId']}]")
    say(f"aws_access_key_id = {made['accessKeyId']}")
    say(f"aws_secret_access_key = {made['secretAccessKey']}")
    say(f"region = {clients.region}")


def _list(clients: Clients) -> None:
    for one in _every(clients):
        say(f"{one['Id']}  {one['JoinedTimestamp']:%Y-%m-%d}  {one['Name']}")


def _every(clients: Clients) -> Iterator[dict[str, Any]]:
    for page in clients("organizations").get_paginator("list_accounts").paginate():
        yield from page["Accounts"]
