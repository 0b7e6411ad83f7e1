"""`penstock accounts`: the accounts of an installation. Only its first one makes and sees them."""

from __future__ import annotations

import argparse
import secrets

from penstock.cli import arguments
from penstock.cli.clients import Clients, add_data_dir, attempt
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
    for page in clients("organizations").get_paginator("list_accounts").paginate():
        for one in page["Accounts"]:
            say(f"{one['Id']}  {one['JoinedTimestamp']:%Y-%m-%d}  {one['Name']}")
