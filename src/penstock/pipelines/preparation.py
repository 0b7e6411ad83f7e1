"""What starting or checking an action needs to know, gathered from its row, its declaration and earlier actions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from penstock.pipelines import records
from penstock.pipelines.actions.provider import Action, Invoke
from penstock.pipelines.artifacts import object_key
from penstock.pipelines.declaration import declared_action, store_of
from penstock.pipelines.gates import declared_rule
from penstock.pipelines.model import APPROVAL_TIMEOUT, MINUTE, ActionStatus, ArtifactLocation, Key, Revision
from penstock.pipelines.records import type_of
from penstock.pipelines.variables import PIPELINE, RESERVED, references, texts_of
from penstock.pipelines.versions import Versions
from penstock.store.statement import Statement
from penstock.wire.call import partition_of

_BROUGHT = 50  # revisions that are looked at

_a = records.actions.c
_MADE = Statement(
    sa.select(_a.stage, _a.action, _a.outputs, _a.variables)
    .where(_a.execution_id == sa.bindparam("x"), _a.status == ActionStatus.SUCCEEDED.value, _a.condition.is_(None))
    .order_by(_a.ordinal)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What starting or checking an action needs to know."""

    key: Key
    row: Any  # of the action execution
    declared: Mapping[str, Any]  # the action as declared
    role: str  # of the pipeline
    region: str  # where it runs
    store: Mapping[str, Any]  # the shape ArtifactStore, of that region
    replicates: bool  # whether its inputs may lie in the store of another region
    inputs: tuple[ArtifactLocation, ...]
    outputs: tuple[ArtifactLocation, ...]
    scope: Mapping[str, Mapping[str, str]]  # namespace → variables
    overrides: Mapping[str, str]


def prepare(conn: sa.Connection, versions: Versions, action: str, *, ended: bool = False) -> Prepared | None:
    """What is known of an action execution; None when it is over (unless `ended`) or gone."""
    row = records.ACTION.first(conn, {"x": action})
    if row is None or (row.status != ActionStatus.IN_PROGRESS and not ended):
        return None
    return prepare_row(conn, versions, row)


def prepare_row(conn: sa.Connection, versions: Versions, row: Any) -> Prepared | None:
    """What is known of an action execution whose row is at hand; None when its pipeline is gone."""
    declaration = versions.declaration(conn, row.pipeline_id, row.version)
    if declaration is None:
        return None
    declared = declared_as(declaration, row)
    names, texts, source = _asks(declared)
    made, scope = _at_hand(conn, row, declaration, names, texts) if names or texts else ({}, {})
    overrides: Mapping[str, str] = {}
    if source or texts:
        execution = records.EXECUTION.first(conn, {"x": row.execution_id, "i": row.pipeline_id})
        if execution is None:  # the pipeline was deleted meanwhile
            return None
        overrides = execution.overrides.get(row.action, {}) if source else {}
        if declaration.get("variables"):
            scope[PIPELINE] = execution.variables
        scope[RESERVED] = {"PipelineExecutionId": row.execution_id}
    # What was written down is what it started with: copies of them, where it runs in another region.
    found = row.inputs if row.inputs is not None else [made[name] for name in names if name in made]
    inputs = tuple(ArtifactLocation(**artifact) for artifact in found)
    return _put_together(row, declaration, declared, inputs=inputs, scope=scope, overrides=overrides)


def prepare_unread(versions: Versions, row: Any) -> Prepared | None:
    """`prepare_row` for an action that needs nothing of the database; None when it does."""
    declaration = versions.known_declaration(row.pipeline_id, row.version)
    if declaration is None:
        return None
    declared = declared_as(declaration, row)
    return (
        None if any(_asks(declared)) else _put_together(row, declaration, declared, inputs=(), scope={}, overrides={})
    )


def declared_as(declaration: Mapping[str, Any], row: Any) -> Mapping[str, Any]:
    """What an execution's row is of, an action or a rule, as it is declared; empty when it is not."""
    if row.condition is not None:
        return declared_rule(declaration, row.stage, row.condition, row.action)
    return declared_action(declaration, row.stage, row.action)


def _asks(declared: Mapping[str, Any]) -> tuple[list[str], list[str], bool]:
    """What an action needs of its execution: input artifacts, references to variables, and, a source, what overrides its revision."""
    texts = [text for _, value in texts_of(declared) for text in references(value)]
    names = [artifact["name"] for artifact in declared.get("inputArtifacts", ())]
    return names, texts, declared["actionTypeId"]["category"] == "Source"


def _put_together(
    row: Any,
    declaration: Mapping[str, Any],
    declared: Mapping[str, Any],
    *,
    inputs: tuple[ArtifactLocation, ...],
    scope: Mapping[str, Mapping[str, str]],
    overrides: Mapping[str, str],
) -> Prepared:
    region = declared.get("region", row.region)
    store = store_of(declaration, region)
    return Prepared(
        key=Key(account=row.account, region=row.region, name=row.pipeline, id=row.pipeline_id),
        row=row,
        declared=declared,
        role=declaration["roleArn"],
        region=region,
        store=store,
        replicates=len(declaration.get("artifactStores", ())) > 1,
        inputs=inputs,
        outputs=tuple(
            ArtifactLocation(
                name=output["name"],
                bucket=store["location"],
                key=object_key(row.pipeline, output["name"], row.id),
            )
            for output in declared.get("outputArtifacts", ())
        ),
        scope=scope,
        overrides=overrides,
    )


_Made = tuple[dict[str, dict[str, str]], dict[str, Mapping[str, str]]]  # artifacts by name, variables by namespace


def _at_hand(
    conn: sa.Connection, row: Any, declaration: Mapping[str, Any], names: list[str], texts: list[str]
) -> _Made:
    """What the execution of an action has made; what a rollback has not made itself is its target's."""
    made, scope = _earlier(conn, row.execution_id, declaration)
    asked = {text.partition(".")[0] for text in texts} - {PIPELINE, RESERVED}
    if made.keys() >= set(names) and scope.keys() >= asked:
        return made, scope
    execution = records.EXECUTION.first(conn, {"x": row.execution_id, "i": row.pipeline_id})
    target = None if execution is None else records.EXECUTION_STATE.load(execution.state).target
    if target is None:
        return made, scope
    before = _earlier(conn, target, declaration)
    return before[0] | made, before[1] | scope


def _earlier(conn: sa.Connection, execution: str, declaration: Mapping[str, Any]) -> _Made:
    return _collected(_MADE.all(conn, {"x": execution}), declaration)


def _collected(rows: Iterable[Any], declaration: Mapping[str, Any]) -> _Made:
    """What actions have made, in the order of their starts; later attempts win."""
    artifacts: dict[str, dict[str, str]] = {}
    scope: dict[str, Mapping[str, str]] = {}
    for earlier in rows:
        artifacts |= {artifact["name"]: artifact for artifact in earlier.outputs or ()}
        namespace = declared_action(declaration, earlier.stage, earlier.action).get("namespace")
        if namespace is not None:
            scope[namespace] = earlier.variables or {}
    return artifacts, scope


def brought(conn: sa.Connection, row: Any) -> tuple[Revision, ...]:
    """The revisions that an action's run brings to its stage, newest first: its own, and those of the runs since the last that passed it."""
    e, a = records.executions.c, records.actions.c
    run = conn.execute(sa.select(e.number, e.state).where(e.id == row.execution_id)).first()
    if run is None:
        return ()
    number, target = run.number, records.EXECUTION_STATE.load(run.state).target
    if target is not None:
        back = sa.select(a.revision).where(a.execution_id == target, a.revision.is_not(None)).order_by(a.ordinal.desc())
        return tuple(Revision(**revision) for revision in conn.execute(back.limit(_BROUGHT)).scalars())
    passed = (
        e.pipeline_id == row.pipeline_id,
        e.number < number,
        e.succeeded.contains(f"/{row.stage}/", autoescape=True),
    )
    last = conn.execute(sa.select(e.number).where(*passed).order_by(e.number.desc()).limit(1)).scalar() or 0
    found = (
        sa.select(e.number, a.revision)
        .join(records.executions, e.id == a.execution_id)
        .where(e.pipeline_id == row.pipeline_id, e.number.between(last, number), a.revision.is_not(None))
        .order_by(e.number.desc(), a.ordinal.desc())
        .limit(_BROUGHT)
    )
    revisions = [(one.number, Revision(**one.revision)) for one in conn.execute(found)]
    there = {revision.id for at, revision in revisions if at == last}
    return tuple({one.id: one for at, one in revisions if at > last and one.id not in there}.values())


def action_of(
    prepared: Prepared,
    configuration: Mapping[str, str],
    invoke: Invoke | None = None,
    *,
    now: int = 0,
    site: str = "",
    scratch: str = "",
) -> Action:
    """What a provider is given; without `invoke`, it may not use other services."""
    row = prepared.row
    minutes = prepared.declared.get("timeoutInMinutes")
    return Action(
        id=row.id,
        account=row.account,
        region=prepared.region,
        partition=partition_of(prepared.region),
        pipeline=row.pipeline,
        execution=row.execution_id,
        stage=row.stage,
        name=row.action,
        type=type_of(row),
        configuration=configuration,
        inputs=prepared.inputs,
        outputs=prepared.outputs,
        store=prepared.store,
        invoke=invoke or Invoke(),
        external_id=row.external_id or "",
        overrides=prepared.overrides,
        approval=row.token or "",
        ends=row.started + (APPROVAL_TIMEOUT if minutes is None else minutes * MINUTE),
        started=row.started,
        now=now,
        site=site,
        scratch=scratch,
    )
