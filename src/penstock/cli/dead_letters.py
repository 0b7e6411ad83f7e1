"""`penstock dead-letters`: events and messages that could not be delivered, and how they are delivered again or forgotten."""

from __future__ import annotations

import argparse
import json
from typing import Any, NamedTuple

from penstock.cli.clients import Clients, add_data_dir, attempt
from penstock.cli.exits import Exit
from penstock.cli.terminal import complain, say


class _Kind(NamedTuple):
    """A kind of dead letters: what its operations are named by, the member that names one, and the one that bears what was not delivered."""

    name: str
    id: str
    body: str

    @property
    def missing(self) -> str:
        return f"{self.name.title().replace('_', '')}DeadLetterNotFoundException"


_KINDS = (_Kind("event", "deadLetterId", "event"), _Kind("message", "messageDeadLetterId", "notification"))


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `dead-letters`."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")
    for name, help in (
        ("list", "what could not be delivered, the newest first"),
        ("show", "one of them, with the event or message"),
        ("redrive", "deliver them again"),
        ("delete", "forget them"),
    ):
        command = commands.add_parser(name, help=help, description=help)
        if name == "show":
            command.add_argument("ids", nargs=1, metavar="ID")
        elif name != "list":
            command.add_argument("ids", nargs="+", metavar="ID")
        if name in ("list", "show"):
            command.add_argument("--json", action="store_true", help="for machines")
        add_data_dir(command)


def run(options: argparse.Namespace) -> int:
    """List, show, redrive or delete. 2 when one of the ids is not there."""
    return attempt("dead-letters", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    client = Clients.found(options.data_dir.absolute())("penstock")
    if options.what == "list":
        return _list(client, as_json=options.json)
    worst = Exit.DONE
    for id_ in options.ids:
        if not any(_done(client, options, id_, kind) for kind in _KINDS):
            complain(
                f"penstock dead-letters: There is no dead letter {id_} in this account and region. `penstock dead-letters list` shows those "
                "that there are."
            )
            worst = Exit.FAILED
    return worst


def _done(client: Any, options: argparse.Namespace, id_: str, kind: _Kind) -> bool:
    """Do it; False where there is no dead letter of this kind and id."""
    try:
        _do(client, options, id_, kind)
    except client.exceptions.from_code(kind.missing):
        return False
    return True


def _do(client: Any, options: argparse.Namespace, id_: str, kind: _Kind) -> None:
    if options.what == "redrive":
        getattr(client, f"redrive_{kind.name}_dead_letter")(**{kind.id: id_})
        say(f"{id_} is delivered again")
    elif options.what == "delete":
        getattr(client, f"delete_{kind.name}_dead_letter")(**{kind.id: id_})
        say(f"{id_} is forgotten")
    else:
        found = getattr(client, f"get_{kind.name}_dead_letter")(**{kind.id: id_})
        body = json.loads(found[kind.body])
        if options.json:
            say(json.dumps({**found["deadLetter"], kind.body: body}, default=str, indent=2))
        else:
            _say(found["deadLetter"])
            say(json.dumps(body, indent=2))


def _list(client: Any, *, as_json: bool) -> int:
    found = [
        one
        for kind in _KINDS
        for page in client.get_paginator(f"list_{kind.name}_dead_letters").paginate()
        for one in page.get("deadLetters", [])
    ]
    found.sort(key=lambda one: one["time"], reverse=True)
    if as_json:
        say(json.dumps(found, default=str, indent=2))
        return Exit.DONE
    for one in found:
        _say(one)
    say(
        "`penstock dead-letters redrive ID` delivers one again."
        if found
        else "Every event and every message was delivered."
    )
    return Exit.DONE


def _say(letter: dict[str, Any]) -> None:
    tries = letter["retryAttempts"] + 1
    say(
        f"{letter['deadLetterId']}  given up {letter['time']:%Y-%m-%d %H:%M:%S} at attempt {tries}: {letter['errorCode']}"
    )
    if "eventId" in letter:
        say(f"  event {letter['eventId']} of {letter.get('ruleArn') or letter['scheduleArn']} to {letter['targetArn']}")
    else:
        say(f"  message {letter['messageId']} of {letter['subscriptionArn']} to {letter['endpoint']}")
    say(f"  {letter['errorMessage']}")
