"""The operations of CodeStar Notifications, by what they are about; what they share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from penstock.application import Call
from penstock.component import operations_of
from penstock.notifications import rule_rows
from penstock.notifications.errors import (
    ConfigurationException,
    InvalidNextTokenException,
    LimitExceededException,
    ResourceNotFoundException,
    ValidationException,
)
from penstock.notifications.rule_rows import KIND, SERVICE, Place
from penstock.wire.arns import authorised_arn, parse_arn
from penstock.wire.call import Input
from penstock.wire.pages import Pages
from penstock.wire.tags import TagRules

notifications = operations_of("codestar-notifications")
PAGES = Pages(lambda _token: InvalidNextTokenException(), member="NextToken")
TARGETS = 10  # of a rule (AWS: the shape Targets)
_ALL_TARGETS = 1_000  # of an account in a region
_TOKEN_MS = 86_400_000
_CHATBOTS = ("AWSChatbotSlack", "AWSChatbotMicrosoftTeams")

TAGS = TagRules(
    too_many=lambda: LimitExceededException(limit=50, what="tags of a notification rule"),
    reserved=lambda key: ValidationException(why=f"Tag keys that begin with aws: are reserved: {key}."),
    duplicate=lambda key: ValidationException(why=f"The tag {key} is there twice."),
    malformed=lambda key, _value: ValidationException(why=f"The tag {key[:128]} is not valid."),
)


def place(call: Call) -> Place:
    """Where the caller is."""
    return call.account, call.region


def rule_arn(call: Call, input: Input) -> str:
    """What policies are asked about: the rule of an ARN."""
    return authorised_arn(call, input["Arn"], SERVICE)


def find(conn: sa.Connection, call: Call, arn: str, *, locked: bool = False) -> Any:
    """The caller's rule of an ARN, or None. What is no ARN of the caller's was authorised as nothing, and finds nothing."""
    named = parse_arn(arn, SERVICE)
    here = named is not None and named.is_here(call) and named.resource.startswith(KIND)
    return rule_rows.by_arn(conn, arn, locked=locked) if here else None


def existing(conn: sa.Connection, call: Call, arn: str, *, locked: bool = False) -> Any:
    """The caller's rule of an ARN. Raises ResourceNotFoundException."""
    row = find(conn, call, arn, locked=locked)
    if row is None:
        raise ResourceNotFoundException(arn=arn)
    return row


def checked_target(call: Call, target: Mapping[str, Any]) -> tuple[str, str]:
    """Type and address of a target. Raises ValidationException or ConfigurationException."""
    type, address = target.get("TargetType", ""), target.get("TargetAddress", "")
    if type in _CHATBOTS:
        raise ConfigurationException
    if type != "SNS":
        raise ValidationException(why=f"The target type {type or 'is missing: it'} is SNS for the ARN of a topic.")
    topic = parse_arn(address, "sns")
    if topic is None or topic.region != call.region or ":" in topic.resource or topic.resource.endswith(".fifo"):
        raise ValidationException(why="A target's address is the ARN of a standard topic of SNS in the rule's region.")
    return type, address


def check_number(conn: sa.Connection, call: Call) -> None:
    """Raise LimitExceededException when the account has more targets than it may."""
    if len(rule_rows.targets_in(conn, place(call))) > _ALL_TARGETS:
        raise LimitExceededException(
            limit=_ALL_TARGETS, what="targets. DeleteTarget removes those that no rule notifies"
        )


def by_token(conn: sa.Connection, call: Call, input: Input) -> str:
    """The id of the rule that the same request with the same token made or changed; "" for a new one.

    Raises ValidationException for a token that came with another request.
    """
    token = input.get("ClientRequestToken")
    known = rule_rows.token(conn, place(call), _digest(token), call.now) if token else None
    if known is None:
        return ""
    if known.request != _request(call, input):
        raise ValidationException(why="The ClientRequestToken was used with other parameters.")
    return known.rule


def keep_token(conn: sa.Connection, call: Call, input: Input, rule: str) -> None:
    """Remember what a token was used for, for a day."""
    token = input.get("ClientRequestToken")
    if token:
        until = call.now + _TOKEN_MS
        rule_rows.keep_token(conn, place(call), _digest(token), request=_request(call, input), rule=rule, until=until)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _request(call: Call, input: Input) -> str:
    asked = {
        "operation": call.operation,
        **{name: value for name, value in input.items() if name != "ClientRequestToken"},
    }
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()
