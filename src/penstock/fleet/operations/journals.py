"""GetJournal: what an aggregate was given to decide on, and what it decided."""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa

from penstock.application import Call
from penstock.fleet import errors
from penstock.fleet.health import Health
from penstock.fleet.operations import PAGES, operation
from penstock.store import journal
from penstock.store.journal import Entry, Found
from penstock.wire.call import Input, Output

_WITHHELD = "***"
_PAGE = 100
_READ = 500  # entries at a time, while those of one execution are looked for
_LOOKED = 10 * _READ  # entries of a pipeline that one page looks through for those of an execution


async def _resource(call: Call, input: Input) -> str:
    """The ARN of what the id names, so that a policy can allow the journals of one project or pipeline.

    An id that names nothing has an ARN of its own: callers without a right to it must not learn what is there.
    """
    found = call.memo["journal"] = await call.app.store.read(_find, call, input["id"])
    return call.arn("penstock", f"journal/{input['id']}") if found is None else found.arn


def _find(conn: sa.Connection, call: Call, id: str) -> Found | None:
    found = (find(conn, call.account, call.region, id) for find in call.app.journals)
    return next((one for one in found if one is not None), None)


@operation("GetJournal", resource=_resource)
async def get_journal(health: Health, call: Call, input: Input) -> Output:
    """An aggregate's entries in order; for an execution, those of its pipeline that name it. Those of a deleted one are there as long as any.

    A page of an execution may be short, or empty, and have a next one: it looks through a part of its pipeline's journal only.
    """
    found: Found | None = call.memo["journal"]
    if found is None:
        raise errors.JournalNotFoundException(id=input["id"])
    limit = input.get("maxResults", _PAGE)
    (after,) = PAGES.after(call, input) or (0,)
    entries, more = await call.app.store.scan(_page, call, found, after=after, limit=limit)
    output: Output = {"aggregate": found.aggregate, "entries": [_to_api(entry, found.secrets) for entry in entries]}
    if found.deleted is not None:
        output["deleted"] = found.deleted
    if more is not None:
        output["nextToken"] = PAGES.token(call, input, [more])
    return output


def _page(conn: sa.Connection, call: Call, found: Found, *, after: int, limit: int) -> tuple[list[Entry], int | None]:
    """Entries, and the sequence that the next page follows; None at the end."""
    where = {"account": call.account, "region": call.region}
    entries: list[Entry] = []
    looked = 0
    while looked < _LOOKED:
        size = _READ if found.about else limit + 1
        read = journal.read(conn, found.aggregate, **where, after=after, limit=size)
        for entry in read:
            if not found.about or journal.names(entry, found.about):
                if len(entries) == limit:
                    return entries, after
                entries.append(entry)
            after = entry.sequence
        if len(read) < size:
            return entries, None
        looked += len(read)
    return entries, after


def _to_api(entry: Entry, secrets: frozenset[str]) -> dict[str, Any]:
    documents = [entry.input, *entry.effects]
    readable = [
        {name: _WITHHELD if value and name in secrets else value for name, value in each.items()} for each in documents
    ]
    return {
        "sequence": entry.sequence,
        "time": entry.at,
        # Ids come from the seed: it would give away what is withheld.
        "seed": entry.seed if readable == documents else None,
        "input": orjson.dumps(readable[0]).decode(),
        "effects": [orjson.dumps(effect).decode() for effect in readable[1:]],
        "actor": entry.actor or None,
        "cause": entry.cause or None,
    }
