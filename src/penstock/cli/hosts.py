"""`penstock hosts`: hosts that join with a certificate, so that no access key lies on them."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shlex
from typing import Any

from penstock.cli.clients import Clients, add_data_dir, attempt
from penstock.cli.installation import NoServer
from penstock.cli.terminal import paint, say
from penstock.webpages.wording import plural

_ROLE = "penstock-hosts"
_ACTIONS = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
_READS = {
    "Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjectVersion"], "Resource": "*"},
}


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `hosts`."""
    acts = parser.add_subparsers(dest="act", metavar="ACT", required=True)
    join = acts.add_parser(
        "join", help="register a host and print the command with which it joins, once within 24 hours"
    )
    join.add_argument("name", metavar="NAME", help="of the host: its on-premises instance, and its sessions")
    join.add_argument(
        "--role",
        default="",
        metavar="NAME",
        help=f"role that the host takes; default: {_ROLE}, which may read the objects of buckets",
    )
    join.add_argument(
        "--tag",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="tag by which deployment groups find it; may be repeated",
    )
    revoke = acts.add_parser("revoke", help="trust the certificates of a host no more, and deregister it")
    revoke.add_argument("name", metavar="NAME", help="of the host")
    forget = acts.add_parser("forget", help="leave no trace of a host that was revoked, so that its name is free again")
    forget.add_argument("name", metavar="NAME", help="of the host")
    rotate = acts.add_parser("rotate", help="give the authority of the hosts another key; they renew by themselves")
    rotate.add_argument(
        "--distrust-former",
        action="store_true",
        help="somebody else may have its key: every host has to join again, and sessions of hosts end now",
    )
    listed = acts.add_parser("list", help="list hosts that were invited or have joined")
    for act in (join, revoke, forget, rotate, listed):
        add_data_dir(act)


def run(options: argparse.Namespace) -> int:
    """Do one act."""
    return attempt(f"hosts {options.act}", lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    clients = Clients.found(options.data_dir.absolute())
    if options.act == "join":
        _join(clients, options)
    elif options.act == "revoke":
        clients("penstock").revoke_host(name=options.name)
        say(f"{options.name} is no longer trusted: it gets no commands, and its sessions are over.")
    elif options.act == "forget":
        clients("penstock").forget_host(name=options.name)
        say(f"{options.name} is forgotten, and its name is free.")
    elif options.act == "rotate":
        _rotate(clients, distrusts=options.distrust_former)
    else:
        _list(clients)


def _rotate(clients: Clients, *, distrusts: bool) -> None:
    made = clients("penstock").rotate_host_authority(trustFormer=not distrusts)
    if distrusts:
        say(
            "The authority has another key, and the former one counts no more: invite every host again, and let it join."
        )
    elif made["hosts"]:
        say(
            f"The authority has another key. {plural(made['hosts'], 'host')} will renew by themselves, and the former key is trusted until"
            " they have or their certificates have ended."
        )
    else:
        say("The authority has another key. No host has a certificate of the former one.")


def _join(clients: Clients, options: argparse.Namespace) -> None:
    tags = []
    for text in options.tag:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise NoServer(f"--tag {text} is not KEY=VALUE")
        tags.append({"Key": key, "Value": value})
    role = _role(clients, options.role)
    invited = clients("penstock").invite_host(name=options.name, roleArn=role, tags=tags)
    until = dt.datetime.fromtimestamp(invited["expires"].timestamp(), dt.UTC)
    trusting = ["--ca-file", "ca.pem"] if clients.ca_file and clients.url.startswith("https:") else []
    command = [
        "penstock-agent",
        "join",
        "--endpoint",
        clients.url,
        "--region",
        clients.region,
        *trusting,
        invited["token"],
    ]
    say(
        f"{options.name} is registered for {invited['sessionArn']}. On the host, as root, before {until:%Y-%m-%d %H:%M} UTC:"
    )
    say(f"  {paint(shlex.join(command), 'bold')}")
    if trusting:
        say(f"ca.pem is a copy of {clients.ca_file}.")


def _role(clients: Clients, name: str) -> str:
    """The ARN of a role, which is made when no other is asked for and it is not there yet."""
    iam = clients("iam")
    if name.startswith("arn:"):
        return name
    try:
        return iam.get_role(RoleName=name or _ROLE)["Role"]["Arn"]
    except iam.exceptions.NoSuchEntityException:
        if name:
            raise
    anchor = clients("penstock").create_host_authority()["trustAnchorArn"]
    made = iam.create_role(
        RoleName=_ROLE,
        Description="Hosts that have joined by penstock hosts join",
        AssumeRolePolicyDocument=json.dumps(_trust(anchor)),
    )
    iam.put_role_policy(RoleName=_ROLE, PolicyName="bundles", PolicyDocument=json.dumps(_READS))
    return made["Role"]["Arn"]


def _trust(anchor: str) -> dict[str, Any]:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "rolesanywhere.amazonaws.com"},
        "Action": _ACTIONS,
        "Condition": {"ArnEquals": {"aws:SourceArn": anchor}},
    }
    return {"Version": "2012-10-17", "Statement": statement}


def _list(clients: Clients) -> None:
    rows = [
        found
        for page in clients("penstock").get_paginator("list_host_certificates").paginate()
        for found in page["hosts"]
    ]
    if not rows:
        say("No host was invited yet: penstock hosts join NAME")
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        ends = f"certificate until {row['expires']:%Y-%m-%d %H:%M}" if row["state"] in ("Joined", "Expired") else ""
        say(f"{row['name']:<{width}}  {row['state']:<8}  {row['roleArn'].rpartition('/')[2]}  {ends}".rstrip())
