"""The operations of Parameter Store, by what they are about; what they share."""

from __future__ import annotations

from typing import Any

from penstock.application import App, Call
from penstock.component import operations_of
from penstock.parameters import records
from penstock.parameters.errors import InvalidNextToken, ParameterNotFound
from penstock.parameters.names import PUBLIC, Named, named, path_of
from penstock.wire.call import Input, Output
from penstock.wire.pages import Pages

ssm = operations_of("ssm")
ours = operations_of("penstock")
PAGES = Pages(lambda _token: InvalidNextToken(), member="NextToken")


def place(call: Call) -> records.Place:
    """Where the call's parameters lie."""
    return call.account, call.region


def arn_of(call: Call, path: str) -> str:
    """The ARN of a parameter by its path, or by its name."""
    path = path_of(path)
    account = "" if f"{path}/".startswith(PUBLIC) else call.account
    return f"arn:{call.partition}:ssm:{call.region}:{account}:parameter/{path}"


def arn_asked(call: Call, text: str) -> str:
    """The ARN that policies are asked about for what a request calls a parameter, without its version."""
    try:
        found = named(text, call.account, call.region, selects=True)
    except ParameterNotFound:
        return arn_of(call, text)  # there is none; policies say whether the caller may learn that
    return f"arn:{call.partition}:ssm:{found.region}:{found.account}:parameter/{found.path}"


def of_name(call: Call, input: Input) -> str:
    """The resource of an operation on one parameter."""
    return arn_asked(call, input["Name"])


def of_names(call: Call, input: Input) -> list[str]:
    """The resources of one on several."""
    return [arn_asked(call, name) for name in input["Names"]]


def own(call: Call, text: str) -> Named:
    """What a request calls a parameter of the caller's account, which it may change. Raises ParameterNotFound."""
    found = named(text, call.account, call.region)
    if found.place != place(call):
        raise ParameterNotFound
    return found


def readable(call: Call, text: str, *, selects: bool = False) -> Named:
    """What a request calls a parameter of the caller's account, or a public one. Raises ParameterNotFound."""
    found = named(text, call.account, call.region, selects=selects)
    if found.place not in (place(call), ("", call.region)):
        raise ParameterNotFound
    return found


async def found(app: App, asked: Named) -> Any:
    """The row of a parameter. Raises ParameterNotFound."""
    row = await app.store.read(records.parameter, asked.place, asked.path)
    if row is None or not asked.stands_for(row.name):
        raise ParameterNotFound
    return row


def described(call: Call, row: Any) -> Output:
    """What answers say of a parameter, or of one of its versions, beside its value."""
    said: Output = {
        "Type": row.type,
        "LastModifiedDate": row.modified,
        "LastModifiedUser": row.by,
        "Version": row.version,
        "Tier": row.tier,
        "Policies": [],
        "DataType": "text",
    }
    more = {"Description": row.description, "KeyId": row.key, "AllowedPattern": row.pattern}
    return said | {name: value for name, value in more.items() if value}
