"""`penstock why`: what is behind a denial, for whoever may know it."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from typing import Any

from penstock.cli.clients import Clients, add_data_dir, attempt
from penstock.cli.installation import NoServer
from penstock.cli.terminal import harmless, paint, say

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOT_ALLOWED = {
    "identity-based policy": "No identity-based policy allows it. A policy of the caller that would, or of one of the user's groups:",
    "permissions boundary": "The caller's permissions boundary does not allow it, whatever other policies do. What the boundary would need:",
    "session policy": "The session was given a policy when it was made, and that does not allow it. What it would need:",
    "resource-based policy": "The policy of the resource does not allow it, which it has to. What it would need, with a Principal:",
    "": "The resource belongs to another account. It takes a policy of the caller's, and one of the resource, which its owner sees. The caller's:",
}


def add_arguments(parser: argparse.ArgumentParser, _command: str) -> None:
    """The options of `why`."""
    parser.add_argument(
        "message",
        metavar="MESSAGE",
        help="the answer's header x-penstock-authorization-message, or the id of the request or of its event",
    )
    parser.add_argument("--json", action="store_true", help="print the decoded message as it is")
    add_data_dir(parser)


def run(options: argparse.Namespace) -> int:
    """Tell it."""
    return attempt("why", lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    clients = Clients.found(options.data_dir.absolute())
    message = "".join(options.message.split())  # terminals break long lines
    if _ID.fullmatch(message):
        message = _recorded(clients, message)
    told = json.loads(clients("sts").decode_authorization_message(EncodedMessage=message)["DecodedMessage"])
    for line in [json.dumps(told, indent=2)] if options.json else _lines(told):
        say(line)


def _recorded(clients: Clients, id_: str) -> str:
    """The message of a call on record, by the id of its event or its request. Raises NoServer with a reason."""
    # The id of an event is that of its request in another order.
    for known in (id_, id_[28:] + id_[8:28] + id_[:8]):
        asked = [{"AttributeKey": "EventId", "AttributeValue": known}]
        for event in clients("cloudtrail").lookup_events(LookupAttributes=asked)["Events"]:
            record = json.loads(event["CloudTrailEvent"])
            message = (record.get("additionalEventData") or {}).get("encodedAuthorizationMessage")
            if message:
                return message
            ended = (
                f"{record['errorCode']}: {record.get('errorMessage', '')}" if "errorCode" in record else "it was done"
            )
            raise NoServer(f"no policy has denied {record['eventName']} ({ended})")
    raise NoServer(
        f"no call with this id is on record in {clients.region}. Records are there a second after a call, for 90 days; reads and writes of"
        " objects are not among them, so give the header of their answer"
    )


def _lines(told: dict[str, Any]) -> Iterator[str]:
    context = told["context"]
    who, action, resource = context["principal"]["arn"], context["action"], context["resource"]
    yield harmless(f"{who} was denied {action} on {resource}.")
    statements = told["matchedStatements"]["items"]
    if told["explicitDeny"]:
        for statement in statements:
            yield from _denying(told["deniedBy"], statement)
    else:
        yield _NOT_ALLOWED.get(told["deniedBy"], _NOT_ALLOWED[""])
        yield harmless(f"  {json.dumps({'Effect': 'Allow', 'Action': action, 'Resource': resource})}")
    yield from _conditions(context["conditions"]["items"], told["conditionsLeftOut"])


def _denying(kind: str, statement: dict[str, Any]) -> Iterator[str]:
    number = statement["statementNumber"]
    if "sourcePolicyId" not in statement:
        why = (
            "Session policies are kept by nobody but whoever made the session."
            if kind == "session policy"
            else "That policy has been changed or taken away since."
        )
        yield f"Statement {number} of the {kind} denies it. {why}"
        return
    named = f" ({statement['statementId']})" if statement["statementId"] else ""
    yield harmless(f"Statement {number}{named} of the {kind} {statement['sourcePolicyId']} denies it:")
    actions, resources = _element(statement, "actions"), _element(statement, "resources")
    yield paint(harmless(f"  Deny {actions} on {resources}"), "red")
    for one in statement["conditions"]["items"]:
        yield harmless(f"  where {one['operator']} {one['key']}: {_values(one)}")
    yield "Only a change of this statement allows it: no Allow outweighs a Deny."


def _element(statement: dict[str, Any], name: str) -> str:
    if name in statement:
        return _listed(statement[name])
    return f"all but {_listed(statement[f'not{name.capitalize()}'])}"


def _conditions(items: list[dict[str, Any]], left_out: int) -> Iterator[str]:
    yield "What the call had:"
    for one in items:
        yield harmless(f"  {one['key']}: {_values(one) or '(nothing)'}")
    if left_out:
        yield f"  and {left_out} more of the condition keys that policies ask for, for which there was no room"


def _values(one: dict[str, Any]) -> str:
    return _listed(one["values"])


def _listed(items: dict[str, Any]) -> str:
    return ", ".join(str(one["value"]) for one in items["items"])
