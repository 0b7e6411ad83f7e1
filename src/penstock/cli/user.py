"""`penstock user`: people who sign in to the console. Programs get users and keys from `aws iam`."""

from __future__ import annotations

import argparse
from typing import Any

from penstock.cli import arguments
from penstock.cli.clients import Clients, attempt
from penstock.cli.installation import NoServer
from penstock.cli.terminal import paint, say

_ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
_AT_ONCE = 100  # sessions that one request ends
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
    sessions = acts.add_parser("sessions", help="show who is signed in to the console and since when, or sign them out")
    sessions.add_argument(
        "name", metavar="NAME", nargs="?", help="only this user, or who is called so by single sign-on"
    )
    sessions.add_argument("--end", action="store_true", help="sign them out")
    factors = acts.add_parser("factors", help="show a user's second factors, or remove them")
    factors.add_argument("name", metavar="NAME", help="user name")
    factors.add_argument(
        "--remove", action="store_true", help="remove them and the recovery codes: the password alone signs the user in"
    )
    for act in (add, link, sessions, factors):
        arguments.add_data_dir(act)


def run(options: argparse.Namespace) -> int:
    """Do one act as the administrator of the data dir's server."""
    return attempt(f"user {options.act}", lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    clients = Clients.administrator(options.data_dir.absolute())
    if options.act == "sessions":
        _sessions(clients("penstock"), options.name, end=options.end)
        return
    if options.act == "factors":
        _factors(clients("iam"), options.name, remove=options.remove)
        return
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


def _sessions(penstock: Any, name: str | None, *, end: bool) -> None:
    pages = penstock.get_paginator("list_console_sessions").paginate(everybody=True)
    found = [
        one
        for page in pages
        for one in page["sessions"]
        if name is None or one.get("userName", "").lower() == name.lower()
    ]
    for one in found:
        say(f"{one.get('principalArn', 'somebody who is gone')}  {one['sourceAddress']}")
        say(
            f"  since {one['beginTime']:%Y-%m-%d %H:%M}, last used {one['lastRequestTime']:%Y-%m-%d %H:%M}  {one['userAgent']}"
        )
    whose = "Nobody is" if name is None else f"{name} is not"
    if not found:
        say(f"{whose} signed in.")
    elif end:
        ids = [one["sessionId"] for one in found]
        for start in range(0, len(ids), _AT_ONCE):
            penstock.end_console_sessions(everybody=True, sessionIds=ids[start : start + _AT_ONCE])
        say("Signed out." if len(found) == 1 else f"Signed out of all {len(found)}.")


def _factors(iam: Any, name: str, *, remove: bool) -> None:
    found = iam.list_mfa_devices(UserName=name)["MFADevices"]
    for one in found:
        say(f"{one['SerialNumber']}  since {one['EnableDate']:%Y-%m-%d}")
        if remove:
            iam.deactivate_mfa_device(UserName=name, SerialNumber=one["SerialNumber"])
    if not found:
        say(f"{name} has no second factor: the password alone signs in.")
    elif remove:
        say(
            f"Removed. The password alone signs {name} in now, the recovery codes are void, and the sessions in the console are over."
        )
