"""Lists of parameters: below a path, and by what they are.

A page reads a bounded number of rows, so one may be empty and have a next one, as on AWS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.parameters import records
from penstock.parameters.errors import (
    InvalidFilterKey,
    InvalidFilterOption,
    InvalidFilterValue,
    ValidationException,
)
from penstock.parameters.names import PUBLIC, path_of
from penstock.parameters.operations import PAGES, arn_of, described, place, ssm
from penstock.parameters.operations.reading import to_api
from penstock.wire.call import Input, Output

_SCANNED = 500  # rows that a page reads at most
_BY_PATH = 10  # rows of a page that says no MaxResults
_DESCRIBED = 50
_EQUALS, _BEGINS, _CONTAINS = "Equals", "BeginsWith", "Contains"
_ONE_LEVEL, _RECURSIVE = "OneLevel", "Recursive"
_OPTIONS = {"Name": (_EQUALS, _BEGINS, _CONTAINS), "Path": (_ONE_LEVEL, _RECURSIVE), "Label": (_EQUALS,)}
_FIELDS = {"Type": "type", "KeyId": "key", "Tier": "tier"}  # column of a filter's key

Test = Callable[[Any], bool]
"""Whether a row is listed."""


def _path(call: Call, input: Input) -> str:
    return arn_of(call, input["Path"].rstrip("/"))


def _keys(_call: Call, input: Input) -> Mapping[str, str]:
    return {"ssm:recursive": "true" if input.get("Recursive") else "false"}


@ssm("GetParametersByPath", resource=_path, keys=_keys)
async def get_parameters_by_path(app: App, call: Call, input: Input) -> Output:
    """Values of the parameters below a path."""
    path = input["Path"]
    if not path.startswith("/"):
        raise ValidationException("The parameter path must begin with a slash (/), such as /prod/web.")
    given = input.get("ParameterFilters", ())
    level = _below((path,), recursive=input.get("Recursive", False))
    tests = [level, *_tests([one for one in given if one["Key"] != "Label"], ("Type", "KeyId", "Label"))]
    wanted = [value for one in given if one["Key"] == "Label" for value in _values(one)]
    for one in given:
        _option(one)
    prefix = path_of(path.rstrip("/") + "/")
    where = ("", call.region) if prefix.startswith(PUBLIC) else place(call)

    def read(conn: sa.Connection) -> tuple[list[tuple[Any, Any, str]], str]:
        limit = input.get("MaxResults", _BY_PATH)
        rows, last = _page(conn, call, input, tests, where=where, limit=limit, prefix=prefix)
        chosen = [_chosen(conn, where, row, wanted) for row in rows]
        return [one for one in chosen if one is not None], last

    found, last = await app.store.read(read)
    decrypt = input.get("WithDecryption", False)
    listed = [await to_api(call, row, version, selector=label, decrypt=decrypt) for row, version, label in found]
    return {"Parameters": listed, **_more(call, input, last)}


def _chosen(conn: sa.Connection, where: records.Place, row: Any, wanted: Sequence[str]) -> tuple[Any, Any, str] | None:
    """A row with the version that is listed: the latest, or the one with a label."""
    number, label = row.version, ""
    if wanted:
        labels = records.labels(conn, where, row.path).items()
        number, label = next(((n, one) for n, of_it in labels for one in of_it if one in wanted), (0, ""))
    version = records.version(conn, where, row.path, number) if number else None
    return None if version is None else (row, version, label)


@ssm("DescribeParameters")
async def describe_parameters(app: App, call: Call, input: Input) -> Output:
    """The account's parameters without their values."""
    if input.get("Filters") and input.get("ParameterFilters"):
        raise ValidationException("You can use either Filters or ParameterFilters in a single request.")
    if input.get("Shared"):
        return {"Parameters": []}  # no account shares parameters with another
    # The former filters.
    old = [{**one, "Option": _BEGINS if one["Key"] == "Name" else _EQUALS} for one in input.get("Filters", ())]
    given = [*old, *input.get("ParameterFilters", ())]
    tests = _tests(given, ("Name", "Path", "Type", "KeyId", "Tier", "DataType"), tagged=True)
    names = next((_values(one) for one in given if one["Key"] == "Name" and _option(one) == _EQUALS), None)
    paths = None if names is None else [path_of(name) for name in names]
    limit = input.get("MaxResults", _DESCRIBED)
    rows, last = await app.store.read(_page, call, input, tests, where=place(call), limit=limit, paths=paths)
    listed = [{"Name": row.name, "ARN": arn_of(call, row.path), **described(call, row)} for row in rows]
    return {"Parameters": listed, **_more(call, input, last)}


def _page(
    conn: sa.Connection,
    call: Call,
    input: Input,
    tests: Sequence[Test],
    *,
    where: records.Place,
    limit: int,
    prefix: str = "",
    paths: Sequence[str] | None = None,
) -> tuple[list[Any], str]:
    """Rows of a page, and the path behind which the next one begins: "" when there is none."""
    (after,) = PAGES.after(call, input) or ("",)
    read = records.page(conn, where, after=after, limit=_SCANNED + 1, prefix=prefix, paths=paths)
    listed: list[Any] = []
    for number, row in enumerate(read[:_SCANNED], start=1):
        if all(test(row) for test in tests):
            listed.append(row)
            if len(listed) == limit:
                return listed, row.path if number < len(read) else ""
    return listed, read[_SCANNED - 1].path if len(read) > _SCANNED else ""


def _more(call: Call, input: Input, last: str) -> Output:
    return {"NextToken": PAGES.token(call, input, [last])} if last else {}


# --- filters ----------------------------------------------------------------------------------------------------------


def _tests(given: Sequence[Mapping[str, Any]], allowed: Sequence[str], *, tagged: bool = False) -> list[Test]:
    """What the filters of an input ask of a row. Raises InvalidFilterKey, InvalidFilterOption or InvalidFilterValue."""
    return [_test(one, allowed, tagged=tagged) for one in given]


def _test(one: Mapping[str, Any], allowed: Sequence[str], *, tagged: bool) -> Test:
    key, option = one["Key"], _option(one)
    if tagged and key.startswith("tag:"):
        name, values = key[4:], one.get("Values")
        return lambda row: name in row.tags and (not values or row.tags[name] in values)
    if key not in allowed:
        raise InvalidFilterKey(key=key, keys=", ".join(allowed))
    values = _values(one)
    match key:
        case "Path":
            return _below(values, recursive=option == _RECURSIVE)
        case "DataType":
            return lambda _row: "text" in values
        case "Name":
            return _named(values, option)
    column = _FIELDS[key]
    return lambda row: getattr(row, column) in values


def _values(one: Mapping[str, Any]) -> list[str]:
    if not one.get("Values"):
        raise InvalidFilterValue(key=one["Key"])
    return one["Values"]


def _option(one: Mapping[str, Any]) -> str:
    options = _OPTIONS.get(one["Key"], (_EQUALS,))
    option = one.get("Option", options[0])
    if option not in options:
        raise InvalidFilterOption(option=option, options=", ".join(options))
    return option


def _named(values: Sequence[str], option: str) -> Test:
    if option == _EQUALS:
        return lambda row: row.name in values
    if option == _BEGINS:
        return lambda row: row.name.startswith(tuple(values))
    return lambda row: any(value in row.name for value in values)


def _below(paths: Sequence[str], *, recursive: bool) -> Test:
    """Whether a name lies below one of several paths: at the next level, or at any."""
    heads = [path.rstrip("/") + "/" for path in paths]

    def test(row: Any) -> bool:
        return any(row.name.startswith(head) and (recursive or "/" not in row.name[len(head) :]) for head in heads)

    return test
