"""A pipeline's journal, read back and replayed decision by decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from penstock.pipelines import records
from penstock.pipelines.effects import Effect
from penstock.pipelines.happenings import Happening, from_payload
from penstock.pipelines.plan import plan_from_payload
from penstock.pipelines.replay import replay
from penstock.pipelines.state import Pipeline, new_pipeline
from penstock.store.journal import Entry, Found
from penstock.wire.call import partition_of


def replayed(entries: Sequence[Entry]) -> Iterator[tuple[Happening, Pipeline, tuple[Effect, ...]]]:
    """Every decision after the pipeline was made: what happened, the state after it, and its effects.

    `entries` is the whole journal of a pipeline; its first entry made it.
    """
    first = new_pipeline(plan_from_payload(entries[0].input["plan"]))
    return replay(first, ((entry.at, entry.seed, from_payload(entry.input)) for entry in entries[1:]))


def find_journal(conn: sa.Connection, account: str, region: str, id: str) -> Found | None:
    """The journal of a pipeline by its name, or of one of its executions."""
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
        return None
    arn = f"arn:{partition_of(region)}:codepipeline:{region}:{account}:{row.name}"
    return Found(aggregate=f"pipeline/{row.id}", arn=arn, about=id if execution is not None else "")
