"""Events in archives: one block for each as it comes, which is packed together with others an hour later.

Alone an event takes a third of its JSON, since it is packed against what events have in common; together with others less.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson

from penstock.events import archive_rows as rows
from penstock.pools import FILES
from penstock.store import jobs
from penstock.store.packing import pack, unpack
from penstock.store.work import Retry

if TYPE_CHECKING:
    import sqlalchemy as sa

    from penstock.events.interest import RuleBook
    from penstock.events.records import Place
    from penstock.store.jobs import Job

PACK = "rules.pack_archive"
_AT_ONCE = 256  # blocks that become one
_FEWEST = 16  # blocks for which it is worth while
_LARGEST = 4 << 20  # bytes of the events of a block
_LATER_MS = 3_600_000


def moment(event: dict[str, Any]) -> int:
    """When an event happened, in ms."""
    return int(datetime.fromisoformat(event["time"]).timestamp() * 1000)


def archive(conn: sa.Connection, place: Place, ids: Sequence[str], event: dict[str, Any], now: int) -> None:
    """Keep an event in archives."""
    at, content, size = moment(event), pack([event]), len(orjson.dumps(event))
    for id in ids:
        block = {"archive": id, "id": event["id"], "first": at, "last": at, "came": now}
        rows.keep(conn, {**block, "events": 1, "size": size, "content": content})
        account, region = place
        due, payload = now + _LATER_MS, {"archive": id}
        jobs.enqueue(conn, kind=PACK, payload=payload, account=account, region=region, due=due, dedup=id)


def events_of(block: Any) -> list[dict[str, Any]]:
    """The events of a block, by their times."""
    return sorted(unpack(block.content), key=lambda event: event["time"])


async def pack_together(book: RuleBook, job: Job) -> None:
    """Make few blocks of many. While the archive is replayed its blocks stay as they are: the replay goes by them."""
    store, id = book.app.store, job.payload["archive"]
    while True:
        found = await store.read(rows.small_blocks, id, _AT_ONCE)
        total = 0
        chosen = [one for one in found if (total := total + one.size) <= _LARGEST or one is found[0]]
        if len(chosen) < _FEWEST:
            return
        block = await FILES.run(_together, chosen)
        if not await store.write(_replace, id, chosen, block):
            raise Retry(_LATER_MS, counts=False)


def _together(found: Sequence[Any]) -> dict[str, Any]:
    return {
        "archive": found[0].archive,
        "id": found[0].id,
        "first": min(one.first for one in found),
        "last": max(one.last for one in found),
        "came": max(one.came for one in found),
        "events": sum(one.events for one in found),
        "size": sum(one.size for one in found),
        "content": pack([event for one in found for event in unpack(one.content)]),
    }


def _replace(conn: sa.Connection, id: str, found: Sequence[Any], block: dict[str, Any]) -> bool:
    """Put one block in the place of others, unless the archive is replayed at present."""
    if rows.by_id(conn, id, lock=True) is None:
        return True  # the sweeper removes what it had
    if rows.is_replayed(conn, id):
        return False
    if rows.drop(conn, id, [one.id for one in found]) != len(found):
        # The sweeper has removed some of them at this moment: what is left is put back by the error, and tried again.
        raise Retry(_LATER_MS, counts=False)
    rows.keep(conn, block)
    return True
