"""`penstock parameters`: public parameters, which builds and applications of all accounts read. Those of an account are `aws ssm`'s."""

from __future__ import annotations

import argparse

from penstock.cli.clients import Clients, add_data_dir, attempt
from penstock.cli.terminal import say


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `parameters`."""
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    put = acts.add_parser("put", help="make a public parameter, or its next version")
    put.add_argument("name", metavar="NAME", help="begins with /aws/service/")
    put.add_argument("value", metavar="VALUE", help="up to 8 KB")
    put.add_argument("--description", metavar="TEXT", help="what it is for")
    delete = acts.add_parser("delete", help="forget a public parameter with all its versions")
    delete.add_argument("name", metavar="NAME", help="begins with /aws/service/")
    listing = acts.add_parser("list", help="show all of them")
    for act in (put, delete, listing):
        add_data_dir(act)


def run(options: argparse.Namespace) -> int:
    """Do one act."""
    return attempt(f"parameters {options.act}", lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    clients = Clients.found(options.data_dir.absolute())
    match options.act:
        case "put":
            _put(clients, options.name, options.value, options.description)
        case "delete":
            clients("penstock").delete_public_parameter(name=options.name)
            say(f"{options.name} is gone")
        case _:
            _list(clients)


def _put(clients: Clients, name: str, value: str, description: str | None) -> None:
    more = {} if description is None else {"description": description}
    made = clients("penstock").put_public_parameter(name=name, value=value, **more)
    say(f"{made['arn']} has version {made['version']}")


def _list(clients: Clients) -> None:
    pages = clients("ssm").get_paginator("get_parameters_by_path").paginate(Path="/aws/service", Recursive=True)
    found = [one for page in pages for one in page["Parameters"]]
    for one in found:
        say(f"{one['Name']}  version {one['Version']}  {one['Value']}")
    if not found:
        say("There is no public parameter. `penstock parameters put /aws/service/NAME VALUE` makes one.")
