"""Deployments to production as the tables of pipelines have them: what `dora` judges.

The production stage of a pipeline is the last stage that deploys, or the one that its tag `penstock:production-stage` names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from penstock.pipelines import records
from penstock.pipelines.dora import DAY_MS, Attempt, Revision
from penstock.pipelines.model import ActionStatus, TriggerType
from penstock.store.statement import listed

TAG = "penstock:production-stage"
BEFORE_MS = 90 * DAY_MS  # before a question's time: what was deployed then is known, is not new, and may be put back
MOST = 10_000  # executions that one question reads, the newest ones
_ROLLBACKS = (TriggerType.MANUAL_ROLLBACK, TriggerType.AUTOMATED_ROLLBACK)
_DEPLOY, _APPROVAL = "Deploy", "Approval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The production stage of a pipeline as it is declared now."""

    pipeline_id: str
    pipeline: str  # name
    stage: str
    deploys: bool  # it has a Deploy action


@dataclass(slots=True)
class Found:
    """What was read."""

    stages: dict[str, Stage] = field(default_factory=dict)  # by the pipeline's id
    attempts: dict[str, list[Attempt]] = field(default_factory=lambda: defaultdict(list))  # by the pipeline's id
    read_since: int | None = None  # ms: older executions were not read, since there are too many


def production_stage(declaration: Mapping[str, Any], tags: Mapping[str, str]) -> tuple[str, bool] | None:
    """The name of a pipeline's production stage and whether it has a Deploy action; None when it has no such stage."""
    stages = {stage["name"]: _deploys(stage) for stage in declaration["stages"]}
    chosen = tags.get(TAG)
    if chosen is not None and chosen in stages:
        return chosen, stages[chosen]
    last = next((name for name, deploys in reversed(stages.items()) if deploys), None)
    return None if last is None else (last, True)


def _deploys(stage: Mapping[str, Any]) -> bool:
    return any(action["actionTypeId"]["category"] == _DEPLOY for action in stage["actions"])


def read(
    conn: sa.Connection, *, since: int, owner: tuple[str, str] | None = None, pipeline: str | None = None
) -> Found:
    """Attempts that ended after `since` (ms): of all accounts, of an account and region, or of one pipeline's name in it."""
    found = Found()
    found.stages = {one.pipeline_id: one for one in _stages(conn, owner, pipeline)}
    if not found.stages:
        return found
    e = records.executions.c
    recent = sa.select(e.id, e.pipeline_id, e.started, e.succeeded, e.updated, e.trigger_type)
    # Both values are named, so that the index of live and ended executions by time serves.
    recent = recent.where(e.live.in_([sa.true(), sa.false()]), e.updated >= since)
    if pipeline is not None:
        recent = recent.where(e.pipeline_id == next(iter(found.stages)))
    elif owner is not None:
        recent = recent.where(e.account == owner[0], e.region == owner[1])
    newest = recent.order_by(e.updated.desc()).limit(MOST).subquery()
    a = records.actions.c
    names = sorted({one.stage for one in found.stages.values()})
    rows = conn.execute(
        sa.select(
            newest.c.id, newest.c.pipeline_id, newest.c.started.label("began"), newest.c.succeeded, newest.c.updated,
            newest.c.trigger_type,
            a.stage, a.action, a.provider, a.attempt, a.status, a.started, a.updated.label("ended"), a.revision,
        )
        .select_from(newest)
        .outerjoin(
            records.actions,
            (a.execution_id == newest.c.id)
            & (a.revision.is_not(None) | a.stage.in_(sa.select(listed(conn.dialect.name, a.stage, "names")))),
        )
        .order_by(newest.c.id, a.ordinal),
        {"names": names},
    ).all()  # fmt: skip
    runs = [list(actions) for _, actions in groupby(rows, key=lambda row: row.id)]
    put_back = _put_back(conn, [run[0].id for run in runs if run[0].trigger_type in _ROLLBACKS])
    for run in runs:
        stage = found.stages.get(run[0].pipeline_id)
        if stage is not None and run[0].action is not None:  # else nothing of it was fetched
            found.attempts[stage.pipeline_id] += _attempts(stage, run, put_back.get(run[0].id, {}))
    if len(runs) == MOST:
        found.read_since = min(row.updated for row in rows)
    return found


def _stages(conn: sa.Connection, owner: tuple[str, str] | None, pipeline: str | None) -> Iterator[Stage]:
    p, v = records.pipelines.c, records.versions.c
    asked = sa.select(p.id, p.name, p.tags, v.declaration).join(
        records.versions, (v.pipeline_id == p.id) & (v.version == p.version)
    )
    if owner is not None:
        asked = asked.where(p.account == owner[0], p.region == owner[1])
    if pipeline is not None:
        asked = asked.where(p.name == pipeline)
    for row in conn.execute(asked.order_by(p.name)):
        found = production_stage(row.declaration, row.tags)
        if found is not None:
            yield Stage(pipeline_id=row.id, pipeline=row.name, stage=found[0], deploys=found[1])


def _put_back(conn: sa.Connection, rollbacks: Sequence[str]) -> dict[str, dict[Revision, int]]:
    """What rollbacks brought back, by their ids: the revisions of their targets, with the time when each was made."""
    if not rollbacks:
        return {}
    e, a = records.executions.c, records.actions.c
    states = sa.select(e.id, e.state).where(e.id.in_(sa.select(listed(conn.dialect.name, e.id, "ids"))))
    targets = {row.id: row.state["target"] for row in conn.execute(states, {"ids": list(rollbacks)})}
    fetched = sa.select(a.execution_id, a.action, a.revision, a.started).where(
        a.execution_id.in_(sa.select(listed(conn.dialect.name, a.execution_id, "ids"))), a.revision.is_not(None)
    )
    made: dict[str, dict[Revision, int]] = defaultdict(dict)
    for row in conn.execute(fetched, {"ids": sorted(set(targets.values()))}):
        made[row.execution_id][Revision(row.action, row.revision["id"])] = row.revision.get("created") or row.started
    return {id: made[target] for id, target in targets.items()}


def _attempts(stage: Stage, rows: Sequence[Any], put_back: Mapping[Revision, int]) -> Iterator[Attempt]:
    """Those of one execution. `rows` are its actions in the order of their start; `put_back` are revisions that it did not fetch itself."""
    revisions = dict(put_back) | {
        Revision(row.action, row.revision["id"]): row.revision.get("created") or row.began
        for row in rows
        if row.revision is not None
    }
    runs: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        if row.stage == stage.stage and _category(row) != _APPROVAL:
            runs[row.attempt].append(row)
    deployed = not stage.deploys
    last = max(runs, default=0)
    for number, actions in sorted(runs.items()):
        deployed = deployed or any(_category(row) == _DEPLOY for row in actions)
        succeeded = number == last and f"/{stage.stage}/" in rows[0].succeeded
        over = all(row.status != ActionStatus.IN_PROGRESS for row in actions)
        failed = over and any(row.status == ActionStatus.FAILED for row in actions)
        if deployed and (succeeded or failed):
            yield Attempt(ended=max(row.ended for row in actions), succeeded=succeeded, revisions=revisions)


def _category(row: Any) -> str:
    return row.provider.partition("/")[0]
