"""How requests name trails, and the tags that they give them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from penstock.application import Call
from penstock.audit.errors import (
    CloudTrailARNInvalidException,
    InvalidTagParameterException,
    TagsLimitExceededException,
)
from penstock.audit.trail_rules import check_name
from penstock.wire.call import Input
from penstock.wire.tags import TagRules, pairs_of

_ARN = re.compile(r"arn:(aws|aws-us-gov|aws-cn):cloudtrail:([a-z0-9-]{1,32}):([0-9]{12}):trail/(.+)")
tag_rules = TagRules(  # AWS: AddTags of CloudTrail
    too_many=TagsLimitExceededException,
    reserved=lambda key: InvalidTagParameterException(f"Tag keys that begin with aws: are reserved: {key}"),
    duplicate=lambda key: InvalidTagParameterException(f"The tag key {key} is given twice."),
    malformed=lambda key, _value: InvalidTagParameterException(f"The tag {key} is not valid."),
)


class Named(NamedTuple):
    """Where a trail is."""

    account: str
    region: str
    name: str


def named(call: Call, text: str) -> Named:
    """What a name or an ARN means. Raises InvalidTrailNameException or CloudTrailARNInvalidException."""
    if not text.startswith("arn:"):
        return Named(call.account, call.region, check_name(text))
    found = _ARN.fullmatch(text)
    if found is None or found[1] != call.partition:
        raise CloudTrailARNInvalidException(arn=text)
    return Named(found[3], found[2], check_name(found[4]))


def trail_arn(member: str) -> Callable[[Call, Input], str]:
    """The ARN of the trail that a member of an input names."""

    def resource(call: Call, input: Input) -> str:
        return _arn(call, input[member])

    return resource


def trail_arns(call: Call, input: Input) -> tuple[str, ...]:
    """Those of the trails that a request lists."""
    return tuple(_arn(call, text) for text in input["ResourceIdList"]) or ("*",)


def _arn(call: Call, text: str) -> str:
    place = named(call, text)
    return f"arn:{call.partition}:cloudtrail:{place.region}:{place.account}:trail/{place.name}"


def asked_tags(_call: Call, input: Input) -> Mapping[str, str | tuple[str, ...]]:
    """The condition keys of the tags in a request."""
    tags = dict(pairs_of(input.get("TagsList")))
    found: dict[str, str | tuple[str, ...]] = {f"aws:requesttag/{key.lower()}": value for key, value in tags.items()}
    return found | ({"aws:tagkeys": tuple(tags)} if tags else {})
