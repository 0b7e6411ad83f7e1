"""`penstock dead-letters`: events that rules could not deliver, and how they are delivered again or forgotten."""

from __future__ import annotations

import argparse
import json
from typing import Any

from penstock.cli.clients import Clients, add_data_dir, attempt
from penstock.cli.exits import Exit
from penstock.cli.installation import said
from penstock.cli.terminal import complain, say


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `dead-letters`."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")
    for name, help in (
        ("list", "what could not be delivered, the newest first"),
        ("show", "one of them, with the event"),
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
        try:
            _do(client, options, id_)
        except client.exceptions.EventDeadLetterNotFoundException as error:
            complain(f"penstock dead-letters: {said(error)}")
            worst = Exit.FAILED
    return worst


def _do(client: Any, options: argparse.Namespace, id_: str) -> None:
    if options.what == "redrive":
        client.redrive_event_dead_letter(deadLetterId=id_)
        say(f"{id_} is delivered again")
    elif options.what == "delete":
        client.delete_event_dead_letter(deadLetterId=id_)
        say(f"{id_} is forgotten")
    else:
        found = client.get_event_dead_letter(deadLetterId=id_)
        event = json.loads(found["event"])
        if options.json:
            say(json.dumps({**found["deadLetter"], "event": event}, default=str, indent=2))
        else:
            _say(found["deadLetter"])
            say(json.dumps(event, indent=2))


def _list(client: Any, *, as_json: bool) -> int:
    pages = client.get_paginator("list_event_dead_letters").paginate()
    found = [one for page in pages for one in page.get("deadLetters", [])]
    if as_json:
        say(json.dumps(found, default=str, indent=2))
        return Exit.DONE
    for one in found:
        _say(one)
    say("`penstock dead-letters redrive ID` delivers one again." if found else "Every event was delivered.")
    return Exit.DONE


def _say(letter: dict[str, Any]) -> None:
    tries = letter["retryAttempts"] + 1
    say(
        f"{letter['deadLetterId']}  given up {letter['time']:%Y-%m-%d %H:%M:%S} at attempt {tries}: {letter['errorCode']}"
    )
    say(f"  event {letter['eventId']} of {letter.get('ruleArn') or letter['scheduleArn']} to {letter['targetArn']}")
    say(f"  {letter['errorMessage']}")
