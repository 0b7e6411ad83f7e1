"""Starting an execution at most once per token."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.pipelines import records
from penstock.pipelines.aggregate import Aggregates
from penstock.pipelines.commit import Key, Report
from penstock.pipelines.effects import ExecutionCreated
from penstock.pipelines.happenings import StartRequested
from penstock.pipelines.model import DAY

TOKEN_LIFE = DAY  # AWS keeps tokens about as long; what comes later starts anew


def start_once(
    conn: sa.Connection,
    aggregates: Aggregates,
    key: Key,
    happening: StartRequested,
    *,
    token: str | None,
    now: int,
    seed: int,
    report: Report | None = None,
) -> str | None:
    """The id of the execution: a new one, or the one that `token` started before. None without such a pipeline.

    What a repeated request says beside its token is not looked at.
    """
    loaded = aggregates.load(conn, key)
    if loaded is None:
        return None
    table = records.start_tokens
    if token is not None:
        conn.execute(table.delete().where(table.c.pipeline_id == loaded.row.id, table.c.expires <= now))
        known = conn.execute(
            sa.select(table.c.execution_id).where(table.c.pipeline_id == loaded.row.id, table.c.token == token)
        ).scalar()
        if known is not None:
            return known
    effects = aggregates.decide_in(conn, loaded, happening, now=now, seed=seed, report=report)
    execution = next(effect.execution for effect in effects if isinstance(effect, ExecutionCreated))
    if token is not None:
        conn.execute(
            table.insert(),
            {
                "pipeline_id": loaded.row.id,
                "token": token,
                "account": key.account,
                "region": key.region,
                "execution_id": execution,
                "expires": now + TOKEN_LIFE,
            },
        )
    return execution
