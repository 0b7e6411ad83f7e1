"""CreatePipeline, GetPipeline, UpdatePipeline, ListPipelines, DeletePipeline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from penstock.application import Call
from penstock.pipelines import records, worker_records
from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.approval_rules import person_of
from penstock.pipelines.declaration import Declaration, check, generation_of, normalise
from penstock.pipelines.errors import (
    PipelineNameInUseException,
    PipelineNotFoundException,
    PipelineVersionNotFoundException,
    ResourceNotFoundException,
)
from penstock.pipelines.inputs import PipelineCreated, PipelineDeleted, PipelineUpdated, StartRequested
from penstock.pipelines.model import Key, Plan, Trigger, TriggerType, aggregate_name
from penstock.pipelines.operations import PAGES, operation
from penstock.pipelines.operations.addressing import (
    apply_asked,
    arn_of,
    declared_arn,
    key_of,
    pipeline_arn,
)
from penstock.pipelines.operations.tags import pairs_of, tag_rules
from penstock.pipelines.plan import ActionTypes, plan_of
from penstock.pipelines.roles import Acting, check_roles, roles_within
from penstock.pipelines.secrets import Masked, keep, mask
from penstock.pipelines.service import PipelineService
from penstock.pipelines.triggers import watched
from penstock.store import journal
from penstock.store.failpoints import failpoint
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output


@operation("CreatePipeline", resource=declared_arn)
async def create_pipeline(service: PipelineService, call: Call, input: Input) -> Output:
    """A new pipeline, version 1; its first execution starts at once. AWS: pipelines-about-starting."""
    declared = input["pipeline"]
    tags = tag_rules(arn_of(call, declared["name"])).check(pairs_of(input.get("tags", [])))
    checked = await _checked(service, call, declared, 1)
    key = replace(key_of(call, declared["name"]), id=call.app.ids.uuid())
    await call.app.store.write(_create, service, call, key, checked, tags=tags, seed=call.app.ids.seed())
    return {"pipeline": checked.declaration, "tags": input.get("tags", [])}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """A declaration that may be put, without its secrets."""

    masked: Masked
    types: ActionTypes

    @property
    def declaration(self) -> Declaration:
        """As GetPipeline answers it."""
        return self.masked.declaration

    def at(self, version: int) -> _Checked:
        """The same as another version."""
        return replace(self, masked=replace(self.masked, declaration={**self.declaration, "version": version}))


async def _checked(service: PipelineService, call: Call, declared: Declaration, version: int) -> _Checked:
    types = await call.app.store.read(service.types.declarable, call.account, call.region, declared)
    check(declared, types, region=call.region, served=call.app.settings.all_regions())
    declaration = normalise(declared, version)
    acting = Acting(call.account, call.region, declared["name"])
    await call.app.identity.pass_role(call, declared["roleArn"], source_arn=acting.arn)
    # The pipeline's role assumes those of actions, so they may be another account's.
    for role in roles_within(declared):
        await call.app.identity.pass_role(call, role, source_arn=acting.arn, across=True)
    await check_roles(call.app, acting, declaration)
    return _Checked(masked=mask(declaration, types), types=types)


def _create(
    conn: sa.Connection,
    service: PipelineService,
    call: Call,
    key: Key,
    checked: _Checked,
    *,
    tags: dict[str, str],
    seed: int,
) -> None:
    if records.pipeline(conn, key.account, key.region, key.name) is not None:
        raise PipelineNameInUseException(name=key.name, account=key.account)
    declaration = checked.declaration
    plan = plan_of(declaration, 1, checked.types)
    columns = {
        "type": str(generation_of(declaration)),
        "mode": str(plan.mode),
        "created": call.now,
        "updated": call.now,
        "tags": tags,
    }
    first = StartRequested(
        trigger=Trigger(type=TriggerType.CREATE_PIPELINE, detail=call.session.arn), starter=person_of(call.session)
    )
    try:
        with PipelineAggregate.create(conn, service.versions, key, columns=columns) as pipeline:
            for asked in (PipelineCreated(plan=plan), first):
                pipeline.apply(asked, now=call.now, seed=seed, actor=call.session.arn, cause=call.request_id)
    except IntegrityError:  # PostgreSQL: another call made it after we looked
        raise PipelineNameInUseException(name=key.name, account=key.account) from None
    _insert_version(conn, service, key, declaration, plan, now=call.now)
    keep(conn, call.app.sealer, checked.masked, pipeline=key, version=1, before=None)
    failpoint("pipelines.before_create_commit")


def _insert_version(
    conn: sa.Connection, service: PipelineService, key: Key, declaration: Declaration, plan: Plan, *, now: int
) -> None:
    conn.execute(
        records.versions.insert(),
        {
            "pipeline_id": key.id,
            "version": plan.version,
            "account": key.account,
            "region": key.region,
            "created": now,
            "declaration": declaration,
            "plan": records.PLAN.dump(plan),
        },
    )
    conn.execute(records.sources.delete().where(records.sources.c.pipeline_id == key.id))
    for watch in watched(declaration, service.providers):
        conn.execute(
            records.sources.insert(),
            {
                "pipeline_id": key.id,
                "action": watch.action,
                "account": key.account,
                "region": key.region,
                "name": key.name,
                "subject": watch.subject,
            },
        )


@operation("UpdatePipeline", resource=declared_arn)
async def update_pipeline(service: PipelineService, call: Call, input: Input) -> Output:
    """Replace the declaration; the version counts up. What runs is cancelled, nothing is started."""
    checked = await _checked(service, call, input["pipeline"], 1)
    key = key_of(call, checked.declaration["name"])
    return {"pipeline": await call.app.store.write(_update, service, call, key, checked, seed=call.app.ids.seed())}


def _update(
    conn: sa.Connection, service: PipelineService, call: Call, key: Key, checked: _Checked, *, seed: int
) -> Declaration:
    pipeline = PipelineAggregate.find(conn, service.versions, key)
    if pipeline is None:
        raise ResourceNotFoundException(account=key.account, name=key.name)
    version = pipeline.state.version + 1
    checked = checked.at(version)
    declaration = checked.declaration
    plan = plan_of(declaration, version, checked.types)
    before = service.versions.declaration(conn, pipeline.key.id, version - 1)
    keep(conn, call.app.sealer, checked.masked, pipeline=pipeline.key, version=version, before=before)
    _insert_version(conn, service, pipeline.key, declaration, plan, now=call.now)
    conn.execute(
        records.pipelines.update()
        .where(records.pipelines.c.id == pipeline.key.id)
        .values(version=version, type=str(generation_of(declaration)), mode=str(plan.mode), updated=call.now)
    )
    apply_asked(pipeline, call, PipelineUpdated(plan=plan), seed)
    return declaration


@operation("GetPipeline", resource=pipeline_arn)
async def get_pipeline(service: PipelineService, call: Call, input: Input) -> Output:
    """The current declaration, or that of any earlier version."""
    key, version = key_of(call, input["name"]), input.get("version")
    store = call.app.store
    row = await store.lookup(records.API_PIPELINE, a=key.account, r=key.region, n=key.name)
    if row is None:
        raise PipelineNotFoundException(account=key.account, name=key.name)
    wanted = version or row.version
    declaration = service.versions.known_declaration(row.id, wanted)
    if declaration is None:
        declaration = await store.read(service.versions.declaration, row.id, wanted)
    if declaration is None and version is None:  # deleted a moment ago
        raise PipelineNotFoundException(account=key.account, name=key.name)
    if declaration is None:
        raise PipelineVersionNotFoundException(name=key.name, version=version)
    return {
        "pipeline": declaration,
        "metadata": {
            "pipelineArn": arn_of(call, key.name),
            "created": row.created,
            "updated": row.updated,
        },
    }


@operation("DeletePipeline", resource=pipeline_arn)
async def delete_pipeline(service: PipelineService, call: Call, input: Input) -> None:
    """Remove a pipeline and its history; one that does not exist is gone already."""
    await call.app.store.write(_delete, service, call, key_of(call, input["name"]), call.app.ids.seed())


def _delete(conn: sa.Connection, service: PipelineService, call: Call, key: Key, seed: int) -> None:
    pipeline = PipelineAggregate.find(conn, service.versions, key)
    if pipeline is None:
        return
    apply_asked(pipeline, call, PipelineDeleted(), seed)
    known = sa.select(records.executions.c.id).where(records.executions.c.pipeline_id == pipeline.key.id)
    journal.remember(
        conn, aggregate_name(pipeline.key.id), account=key.account, region=key.region, arn=arn_of(call, key.name),
        names=(key.name, pipeline.key.id), about=conn.execute(known).scalars(),
    )  # fmt: skip
    tables: list[Any] = [
        records.actions,
        records.executions,
        records.start_tokens,
        records.sources,
        records.versions,
        worker_records.secrets,
        worker_records.revisions,
    ]
    for table in tables:
        conn.execute(table.delete().where(table.c.pipeline_id == pipeline.key.id))
    conn.execute(records.pipelines.delete().where(records.pipelines.c.id == pipeline.key.id))


@operation("ListPipelines")
async def list_pipelines(service: PipelineService, call: Call, input: Input) -> Output:
    """Every pipeline of the account in the region, by name."""
    limit = input.get("maxResults", 1000)
    rows = await call.app.store.scan(_list, call.account, call.region, PAGES.after(call, input), limit + 1)
    page = PAGES.page(call, input, rows, limit=limit, keyset=lambda row: [row.name])
    return {
        "pipelines": [
            {
                "name": row.name,
                "version": row.version,
                "pipelineType": row.type,
                "executionMode": row.mode,
                "created": row.created,
                "updated": row.updated,
            }
            for row in page.rows
        ],
        **page.more,
    }


def _list(conn: sa.Connection, account: str, region: str, after: list[Any] | None, limit: int) -> list[Any]:
    table = records.pipelines
    query = sa.select(
        table.c.name, table.c.version, table.c.type, table.c.mode, table.c.created, table.c.updated
    ).where(table.c.account == account, table.c.region == region)
    return list(conn.execute(rows_behind(query, [table.c.name], after, limit=limit)))
