"""The journal of a pipeline, as a reader asks for it."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from penstock.pipelines import records
from penstock.pipelines.model import aggregate_name
from penstock.store.journal import Found, former
from penstock.wire.call import partition_of

_SECRETS = frozenset({"token"})  # of an approval: who has it may approve


def find_journal(conn: sa.Connection, account: str, region: str, id: str) -> Found | None:
    """The journal of a pipeline by its name, or of one of its executions; of a deleted one by its id too."""
    table = records.executions
    execution = conn.execute(
        sa.select(table.c.pipeline_id).where(table.c.id == id, table.c.account == account, table.c.region == region)
    ).first()
    pipelines = records.pipelines
    row = (
        records.pipeline(conn, account, region, id)
        if execution is None
        else conn.execute(sa.select(pipelines).where(pipelines.c.id == execution.pipeline_id)).first()
    )
    if row is None:
        found = former(conn, account, region, id, kind="pipeline")
        return None if found is None else replace(found, secrets=_SECRETS)
    arn = f"arn:{partition_of(region)}:codepipeline:{region}:{account}:{row.name}"
    return Found(aggregate=aggregate_name(row.id), arn=arn, about=id if execution is not None else "", secrets=_SECRETS)
