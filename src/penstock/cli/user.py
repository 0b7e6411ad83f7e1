"""`penstock user`: people who sign in to the console. Programs get users and keys from `aws iam`."""

from __future__ import annotations

import argparse

from penstock.cli import arguments
from penstock.cli.clients import Clients, attempt
from penstock.cli.installation import NoServer
from penstock.cli.terminal import paint, say

_ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
_READER = "arn:aws:iam::aws:policy/AWSCodePipeline_ReadOnlyAccess"


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `user`."""
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    add = acts.add_parser("add", help="make a user, and print a link where the user chooses a password")
    add.add_argument("name", metavar="NAME", help="user name")
    add.add_argument(
        "--admin", action="store_true", help="let the user do everything; without it an administrator attaches policies"
    )
    link = acts.add_parser("link", help="print a new link for a user who has lost the password, or the first link")
    link.add_argument("name", metavar="NAME", help="user name")
    for act in (add, link):
        arguments.add_data_dir(act)


def run(options: argparse.Namespace) -> int:
    """Do one act as the administrator of the data dir's server."""
    return attempt(f"user {options.act}", lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    clients = Clients.administrator(options.data_dir.absolute())
    if options.act == "add":
        _add(clients, options.name, admin=options.admin)
    _print_link(clients, options.name)
    if options.act == "add" and not options.admin:
        say(f"{options.name} has no permissions yet. Attach policies, for example:")
        say(f"  aws iam attach-user-policy --user-name {options.name} --policy-arn {_READER}")


def _add(clients: Clients, name: str, *, admin: bool) -> None:
    iam = clients("iam")
    try:
        iam.create_user(UserName=name)
    except iam.exceptions.EntityAlreadyExistsException:
        raise NoServer(f"the user {name} exists already. For a new link: penstock user link {name}") from None
    if admin:
        iam.attach_user_policy(UserName=name, PolicyArn=_ADMINISTRATOR)


def _print_link(clients: Clients, name: str) -> None:
    link = clients("penstock").create_sign_in_link(userName=name)
    say(f"Open this link to choose a password for {name}. It works once, for 24 hours:")
    say(f"  {paint(link['url'], 'bold')}")
