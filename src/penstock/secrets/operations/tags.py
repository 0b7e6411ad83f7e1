"""Tags of secrets."""

from __future__ import annotations

from typing import Any

from penstock.application import App, Call
from penstock.secrets.errors import InvalidParameterException
from penstock.secrets.operations import change, keys_of, secret_arn, secretsmanager
from penstock.wire.call import Input
from penstock.wire.tags import TagRules, pairs_of

_TAGS = TagRules(  # AWS: TagResource of Secrets Manager
    too_many=lambda: InvalidParameterException("A secret can have no more than 50 tags. Remove one that nothing uses."),
    reserved=lambda key: InvalidParameterException(f"Tag keys that begin with aws: are reserved: {key}"),
    duplicate=lambda key: InvalidParameterException(f"The tag key {key} is given twice."),
    malformed=lambda key, _value: InvalidParameterException(f"The tag {key} is not valid."),
)


def checked_tags(given: Any) -> dict[str, str]:
    """Tags of an input. Raises InvalidParameterException."""
    return _TAGS.check(pairs_of(given))


@secretsmanager("TagResource", resource=secret_arn, keys=keys_of)
async def tag_resource(app: App, call: Call, input: Input) -> None:
    """Add or replace tags."""
    new = checked_tags(input["Tags"])
    await change(app, call, lambda row: {"tags": _TAGS.add(row.tags or {}, new.items())})


@secretsmanager("UntagResource", resource=secret_arn, keys=keys_of)
async def untag_resource(app: App, call: Call, input: Input) -> None:
    """Remove tags by key."""
    await change(app, call, lambda row: {"tags": _TAGS.remove(row.tags or {}, input["TagKeys"])})
