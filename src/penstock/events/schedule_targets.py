"""What a schedule asks when its time has come: one operation of a service, under the role of its target. Pure.

A templated target is the ARN of what is started or gets something; a universal one names an operation, whose input is the target's. AWS:
"Using templated targets in EventBridge Scheduler", "Using universal targets", "Adding context attributes".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from penstock.wire.arns import parse_arn
from penstock.wire.codec_json import read_json
from penstock.wire.errors import MalformedBody
from penstock.wire.scalars import milliseconds_of, parse_blob, parse_timestamp
from penstock.wire.shapes import Shape

_UNIVERSAL = re.compile(r"arn:aws[a-z-]*:scheduler:::aws-sdk:([a-z0-9-]{1,64}):([A-Za-z0-9]{1,128})", re.ASCII)
# AWS: "EventBridge Scheduler does not support read-only API actions … that begin with the following list of prefixes".
_READS = (
    "get", "describe", "list", "poll", "receive", "search", "scan", "query", "select", "read", "lookup", "discover",
    "validate", "batchget", "batchdescribe", "batchread", "transactget", "adminget", "adminlist", "testmigration",
    "retrieve", "testconnection", "translatedocument", "isauthorized", "invokemodel",
)  # fmt: skip
# Services by the names that AWS's SDKs have for them, where these are others than the models'.
_SDK_NAMES = {
    "eventbridge": "events",
    "cloudwatchlogs": "logs",
    "codestarnotifications": "codestar-notifications",
}


class TargetError(ValueError):
    """The target cannot be one; a sentence."""


class Asked(NamedTuple):
    """A call."""

    service: str
    operation: str
    input: dict[str, Any]


class Moment(NamedTuple):
    """What the words in angle brackets in an input stand for."""

    schedule: str  # ARN
    time: str
    execution: str
    attempt: int


SOME_MOMENT = Moment("arn", "2027-01-15T08:00:00Z", "id", 1)  # for checks of an input before its time


def filled(text: str, moment: Moment) -> str:
    """An input with its context attributes replaced."""
    values = {
        "schedule-arn": moment.schedule,
        "scheduled-time": moment.time,
        "execution-id": moment.execution,
        "attempt-number": str(moment.attempt),
    }
    return re.sub(
        r"<aws\.scheduler\.([a-z-]{1,20})>", lambda found: values.get(found[1], found[0]), text, flags=re.ASCII
    )


def universal(arn: str) -> tuple[str, str] | None:
    """Service and operation that the ARN of a universal target names, as they are written there; None for another ARN."""
    found = _UNIVERSAL.fullmatch(arn)
    return None if found is None else (_SDK_NAMES.get(found[1], found[1]), found[2])


def reads(operation: str) -> bool:
    """Whether an operation is one of those that only read, which are no targets."""
    return operation.lower().startswith(_READS)


def kind_of(arn: str, account: str, region: str) -> str:
    """The service of a templated target. Raises TargetError."""
    for service, beginning in (("sns", ""), ("codepipeline", ""), ("codebuild", "project/"), ("events", "event-bus/")):
        found = parse_arn(arn, service)
        if found is not None and found.resource.startswith(beginning) and found.resource != beginning:
            if (found.account, found.region) != (account, region):
                raise TargetError(f"The target {arn} lies in another account or region than its schedule.")
            return service
    raise TargetError(
        f"{arn} is not a target that Penstock has. Targets are SNS topics, pipelines, build projects, event buses, and operations as "
        "arn:aws:scheduler:::aws-sdk:SERVICE:operation."
    )


def check_parameters(target: Mapping[str, Any], service: str) -> None:
    """Raise TargetError for parameters that the kind of target lacks or does not take."""
    if service == "events":
        if "EventBridgeParameters" not in target:
            raise TargetError("EventBridgeParameters, with DetailType and Source, are required for an event bus.")
        if "Input" in target:
            members_of(filled(target["Input"], SOME_MOMENT))
    elif "EventBridgeParameters" in target:
        raise TargetError("EventBridgeParameters are for targets that are event buses.")


def templated(service: str, target: Mapping[str, Any], text: str, *, given: bool, token: str) -> Asked:
    """The call of a templated target. `text` is its input, or the usual one where none was given; `token` is the same at each attempt.

    Raises TargetError.
    """
    arn = target["Arn"]
    resource = arn.split(":", 5)[5]
    match service:
        case "sns":
            return Asked("sns", "Publish", {"TopicArn": arn, "Message": text})
        case "codepipeline":
            asked = {"name": resource, "clientRequestToken": token}
            if given:
                more = members_of(text)
                asked |= {name: more[name] for name in ("variables", "sourceRevisions") if name in more}
            return Asked("codepipeline", "StartPipelineExecution", asked)
        case "codebuild":
            asked = members_of(text) if given else {}
            asked |= {"projectName": resource.removeprefix("project/"), "idempotencyToken": token}
            return Asked("codebuild", "StartBuild", asked)
    parameters = target["EventBridgeParameters"]
    entry = {
        "Source": parameters["Source"],
        "DetailType": parameters["DetailType"],
        "Detail": text,
        "EventBusName": arn,
    }
    return Asked("events", "PutEvents", {"Entries": [entry]})


def members_of(text: str) -> dict[str, Any]:
    """An input that has the members of an operation's. Raises TargetError."""
    try:
        found = read_json(text.encode(), check_depth=True)
    except MalformedBody as error:
        raise TargetError(f"The target's Input cannot be read: {error.message}") from None
    if not isinstance(found, dict):
        raise TargetError("The target's Input is not a JSON object.")
    return found


def default_input(*, id: str, account: str, region: str, moment: Moment) -> str:
    """What a target is given that has no input."""
    return orjson.dumps(
        {
            "version": "0",
            "id": id,
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": account,
            "time": moment.time,
            "region": region,
            "resources": [moment.schedule],
            "detail": "{}",
        }
    ).decode()


def converted(shape: Shape | None, given: Mapping[str, Any], *, token: str, named: str) -> dict[str, Any]:
    """The JSON members of a universal target as an operation takes them: names may begin in upper or lower case.

    Members that make a request idempotent are `token` unless given. Raises TargetError for a member that the operation does not have.
    """
    members = {} if shape is None else shape.members
    names = {_key(name): name for name in members}
    found: dict[str, Any] = {}
    for name, value in given.items():
        known = name if name in members else names.get(_key(name))
        if known is None:
            raise TargetError(f"The target's Input has a member {name[:128]} that {named} does not have.")
        found[known] = _value(members[known], value)
    for name, member in members.items():
        if member.traits.get("idempotencyToken"):
            found.setdefault(name, token)
    return found


def _key(name: str) -> str:
    return name[:1].lower() + name[1:]


def _value(shape: Shape, value: Any) -> Any:
    converters: dict[str, Callable[[Any], Any]] = {
        "structure": lambda value: _structure(shape, value),
        "list": lambda value: [_value(shape.member, one) for one in value] if isinstance(value, list) else value,
        "map": lambda value: (
            {key: _value(shape.value, one) for key, one in value.items()} if isinstance(value, dict) else value
        ),
        "blob": lambda value: parse_blob(value) if isinstance(value, str) else value,
        "timestamp": _time,
    }
    return converters[shape.type](value) if shape.type in converters else value


def _structure(shape: Shape, value: Any) -> Any:
    if not isinstance(value, dict) or shape.document:
        return value
    names = {_key(name): name for name in shape.members}
    return {
        names.get(_key(name), name): _value(shape.members[names[_key(name)]], one) if _key(name) in names else one
        for name, one in value.items()
    }


def _time(value: Any) -> Any:
    if isinstance(value, str):
        return parse_timestamp(value)
    return milliseconds_of(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
