"""Values: of one parameter, of several, of each version."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.parameters import records, values
from penstock.parameters.errors import ParameterNotFound, ParameterVersionNotFound
from penstock.parameters.names import Named
from penstock.parameters.operations import PAGES, arn_of, described, found, of_name, of_names, readable, ssm
from penstock.parameters.secret_references import PREFIX, secret_parameter
from penstock.wire.call import Input, Output

_LIMIT = 50  # versions of a page that says no MaxResults
_LONGEST = 18  # digits of a version that a column can hold


@ssm("GetParameter", resource=of_name)
async def get_parameter(app: App, call: Call, input: Input) -> Output:
    """A parameter's value: the latest, or that of a version or label (`NAME:3`, `NAME:prod`)."""
    return {"Parameter": await _parameter(app, call, input["Name"], decrypt=input.get("WithDecryption", False))}


@ssm("GetParameters", resource=of_names)
async def get_parameters(app: App, call: Call, input: Input) -> Output:
    """Up to ten; those that there are not are named."""
    answer: Output = {"Parameters": [], "InvalidParameters": []}
    for name in dict.fromkeys(input["Names"]):
        try:
            shown = await _parameter(app, call, name, decrypt=input.get("WithDecryption", False))
            answer["Parameters"].append(shown)
        except (ParameterNotFound, ParameterVersionNotFound):
            answer["InvalidParameters"].append(name)
    return answer


@ssm("GetParameterHistory", resource=of_name)
async def get_parameter_history(app: App, call: Call, input: Input) -> Output:
    """Every version that is kept, the oldest first."""
    asked = readable(call, input["Name"])
    row = await found(app, asked)
    (after,) = PAGES.after(call, input) or (0,)
    limit = input.get("MaxResults", _LIMIT)
    read = await app.store.read(records.history, asked.place, asked.path, after=after, limit=limit + 1)
    page = PAGES.page(call, input, read, limit=limit, keyset=lambda one: [one.version])
    arn, decrypt = arn_of(call, asked.path), input.get("WithDecryption", False)
    listed = [
        {
            "Name": row.name,
            **described(call, one),
            "Value": await values.to_api(call, one, arn=arn, decrypt=decrypt),
            "Labels": one.labels,
        }
        for one in page.rows
    ]
    return {"Parameters": listed, **page.more}


async def _parameter(app: App, call: Call, text: str, *, decrypt: bool) -> Output:
    asked = readable(call, text, selects=True)
    if asked.name.startswith(PREFIX):
        return await secret_parameter(call, asked, arn=arn_of(call, asked.path), decrypt=decrypt)

    def read(conn: sa.Connection) -> tuple[Any, Any]:
        row = records.parameter(conn, asked.place, asked.path)
        if row is None or not asked.stands_for(row.name):
            raise ParameterNotFound
        return row, _selected(conn, asked, row)

    row, version = await app.store.read(read)
    return await to_api(call, row, version, selector=asked.selector, decrypt=decrypt)


def _selected(conn: sa.Connection, asked: Named, row: Any) -> Any:
    """The version that a selector means. Raises ParameterVersionNotFound."""
    selector = asked.selector
    if not selector:
        number = row.version
    elif selector.isascii() and selector.isdecimal():
        number = int(selector) if len(selector) <= _LONGEST else 0
    else:
        labels = records.labels(conn, asked.place, row.path)
        number = next((number for number, of_it in labels.items() if selector in of_it), 0)
    found = records.version(conn, asked.place, row.path, number) if 0 < number <= row.version else None
    if found is None:
        raise ParameterVersionNotFound(version=selector, name=row.name)
    return found


async def to_api(call: Call, row: Any, version: Any, *, selector: str, decrypt: bool) -> Output:
    """The `Parameter` shape."""
    arn = arn_of(call, row.path)
    answer: Output = {
        "Name": row.name,
        "Type": version.type,
        "Value": await values.to_api(call, version, arn=arn, decrypt=decrypt),
        "Version": version.version,
        "LastModifiedDate": version.modified,
        "ARN": arn,
        "DataType": "text",
    }
    return answer | ({"Selector": f":{selector}"} if selector else {})
