"""Starting an execution at most once per token."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.pipelines import records
from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.effects import ExecutionCreated
from penstock.pipelines.inputs import StartRequested
from penstock.pipelines.model import DAY
from penstock.store.statement import Statement

TOKEN_LIFE = DAY  # AWS keeps tokens about as long; what comes later starts anew

_TOKENS = records.start_tokens
_OF_PIPELINE = _TOKENS.c.pipeline_id == sa.bindparam("i")
_FORGET = Statement(_TOKENS.delete().where(_OF_PIPELINE, _TOKENS.c.expires <= sa.bindparam("now")))
_KNOWN = Statement(sa.select(_TOKENS.c.execution_id).where(_OF_PIPELINE, _TOKENS.c.token == sa.bindparam("t")))
_KEEP = Statement(_TOKENS.insert())


def start_idempotently(
    conn: sa.Connection,
    pipeline: PipelineAggregate,
    input: StartRequested,
    *,
    token: str | None,
    now: int,
    seed: int,
    actor: str,
    cause: str,
) -> str:
    """The id of the execution: a new one, or the one that `token` started before.

    What a repeated request says beside its token is not looked at.
    """
    id = pipeline.key.id
    if token is not None:
        _FORGET.later(conn, {"i": id, "now": now})
        known = _KNOWN.first(conn, {"i": id, "t": token})
        if known is not None:
            return known.execution_id
    with pipeline:
        effects = pipeline.apply(input, now=now, seed=seed, actor=actor, cause=cause)
    execution = next(effect.execution for effect in effects if isinstance(effect, ExecutionCreated))
    if token is not None:
        _KEEP.later(
            conn,
            {
                "pipeline_id": id,
                "token": token,
                "account": pipeline.account,
                "region": pipeline.region,
                "execution_id": execution,
                "expires": now + TOKEN_LIFE,
            },
        )
    return execution
