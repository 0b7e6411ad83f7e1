"""Lists of secrets. A page reads a bounded number of rows, so one may be short and have a next one, as on AWS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock.application import App, Call
from penstock.secrets import records
from penstock.secrets.filters import Test, tests_of
from penstock.secrets.operations import PAGES, described, secretsmanager
from penstock.wire.call import Input, Output

_SCANNED = 500  # rows that a page reads at most
_LIMIT = 100
_ORDERS = {
    "created-date": "created",
    "last-changed-date": "changed",
    "last-accessed-date": "accessed",
    "name": "name",
}


@secretsmanager("ListSecrets")
async def list_secrets(app: App, call: Call, input: Input) -> Output:
    """The secrets of the account and region, the latest first, without their values."""
    order = _ORDERS[input.get("SortBy", "created-date")]
    tests = tests_of(input.get("Filters", ()))
    rows, more = await page_of(
        app, call, input, tests, order=order, limit=input.get("MaxResults", _LIMIT),
        descending=input.get("SortOrder", "desc") == "desc", deleted=input.get("IncludePlannedDeletion", False),
    )  # fmt: skip
    stages = await app.store.read(records.stages, rows)
    listed = [
        described(row) | ({"SecretVersionsToStages": of_it} if (of_it := stages[row.name]) else {}) for row in rows
    ]
    return {"SecretList": listed, **more}


async def page_of(
    app: App,
    call: Call,
    input: Input,
    tests: Sequence[Test],
    *,
    order: str,
    limit: int,
    descending: bool = True,
    deleted: bool = False,
) -> tuple[list[Any], Output]:
    """Rows of a page, and the member with the token of the next one."""
    after = PAGES.after(call, input)
    read = await app.store.read(
        records.page, (call.account, call.region), order, after=after, limit=_SCANNED + 1, descending=descending
    )
    listed: list[Any] = []
    last: Any = None
    for number, row in enumerate(read[:_SCANNED], start=1):
        if (deleted or row.deletion is None) and all(test(row) for test in tests):
            listed.append(row)
        if (len(listed) == limit or number == _SCANNED) and number < len(read):
            last = row
            break
    if last is None:
        return listed, {}
    keyset = [last.name] if order == "name" else [getattr(last, order), last.name]
    return listed, {"NextToken": PAGES.token(call, input, keyset)}
