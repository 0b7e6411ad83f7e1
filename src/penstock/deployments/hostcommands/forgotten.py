"""Commands that a host's agent acknowledged and no longer has: its poll says which ones it still carries out.

Only our agent says that. It keeps a command until its result has been answered, so one that a poll leaves out was lost with the
host's disk, or by an agent that was killed before it wrote anything down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import sqlalchemy as sa

from penstock.application import Call
from penstock.deployments import aggregates, commands, records
from penstock.deployments.records import Row
from penstock.deployments.server import inputs

# A poll that its agent has given up may be read after a later one, when the server was busy. It ends within this time, since its
# connection is closed; the newest poll does not.
CERTAIN_SECONDS = 3.0


async def give_up(call: Call, host: str, running: Collection[str]) -> None:
    """Wait no longer for the acknowledged commands of a host that are not among `running`, the identifiers that its poll gave."""
    kept = {identifier.rpartition(".")[0] for identifier in running}
    store = call.app.store
    if not await store.read(_missing, call.account, call.region, host, kept):
        return
    await asyncio.sleep(CERTAIN_SECONDS)
    seed = call.app.ids.seed()

    def lose(conn: sa.Connection) -> None:
        for row in _missing(conn, call.account, call.region, host, kept):
            lost = inputs.Lost(host=host, index=row.current)
            aggregates.apply(conn, row.deployment, lost, now=call.app.clock.now(), seed=seed)

    await store.write(lose)


def _missing(conn: sa.Connection, account: str, region: str, host: str, kept: Collection[str]) -> Sequence[Row]:
    rows = records.ACKNOWLEDGED.all(conn, {"name": host, "account": account, "region": region})
    return [row for row in rows if commands.command_id(row.deployment, row.position, row.current) not in kept]
