"""CreatePipeline, GetPipeline, UpdatePipeline, ListPipelines, DeletePipeline."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from penstock.pipelines import records
from penstock.pipelines.aggregate import Aggregates
from penstock.pipelines.commit import Key, Report
from penstock.pipelines.declaration import Declaration, check, generation_of, normalise
from penstock.pipelines.errors import (
    PipelineNameInUseException,
    PipelineNotFoundException,
    PipelineVersionNotFoundException,
    ResourceNotFoundException,
)
from penstock.pipelines.happenings import PipelineDeleted, PipelineUpdated, StartRequested
from penstock.pipelines.model import Plan, Trigger, TriggerType
from penstock.pipelines.operations.addressing import (
    arn_of,
    declared_arn,
    key_of,
    opened,
    pipeline_arn,
    seconds,
)
from penstock.pipelines.operations.tags import checked_tags
from penstock.pipelines.plan import plan_of, plan_to_payload
from penstock.pipelines.roles import Acting, check_roles
from penstock.pipelines.state import new_pipeline, slots_to_payload
from penstock.pipelines.triggers import watched
from penstock.room import Call
from penstock.store import journal
from penstock.store.crash import point
from penstock.wire.call import Input, Output
from penstock.wire.registry import Operations


def declare(operations: Operations, aggregates: Aggregates) -> None:
    """Register the operations of this resource."""
    desk = Pipelines(aggregates)
    operations.operation("CreatePipeline", resource=declared_arn)(desk.create)
    operations.operation("GetPipeline", resource=pipeline_arn)(desk.get)
    operations.operation("UpdatePipeline", resource=declared_arn)(desk.update)
    operations.operation("DeletePipeline", resource=pipeline_arn)(desk.delete)
    operations.operation("ListPipelines")(desk.list)


class Pipelines:
    """Declarations and their versions."""

    def __init__(self, aggregates: Aggregates) -> None:
        self.aggregates = aggregates

    async def create(self, call: Call, input: Input) -> Output:
        """A new pipeline, version 1; its first execution starts at once. AWS: pipelines-about-starting."""
        declared = input["pipeline"]
        tags = checked_tags(input.get("tags", []), arn_of(call, declared["name"]))
        declaration = await self._checked(call, declared, 1)
        key = key_of(call, declared["name"])
        pipeline_id, seed = call.app.ids.uuid(), call.app.ids.seed()
        await call.app.store.write(self._create, call, key, declaration, pipeline_id=pipeline_id, tags=tags, seed=seed)
        return {"pipeline": declaration, "tags": input.get("tags", [])}

    async def _checked(self, call: Call, declared: Declaration, version: int) -> Declaration:
        types = self.aggregates.providers.type
        check(declared, types, region=call.region)
        declaration = normalise(declared, version)
        acting = Acting(call.account, call.region, declared["name"])
        await call.app.identity.pass_role(call, declared["roleArn"], source_arn=acting.arn)
        # The pipeline's role assumes those of actions, so they may be another account's.
        for role in dict.fromkeys(a["roleArn"] for s in declared["stages"] for a in s["actions"] if "roleArn" in a):
            await call.app.identity.pass_role(call, role, source_arn=acting.arn, across=True)
        await check_roles(call.app, acting, declaration)
        return declaration

    def _create(
        self,
        conn: sa.Connection,
        call: Call,
        key: Key,
        declaration: Declaration,
        *,
        pipeline_id: str,
        tags: dict[str, str],
        seed: int,
    ) -> None:
        if records.pipeline(conn, key.account, key.region, key.name) is not None:
            raise PipelineNameInUseException(name=key.name, account=key.account)
        plan = plan_of(declaration, 1, self.aggregates.providers.type)
        try:
            self._insert(conn, call, key, declaration, plan, pipeline_id=pipeline_id, tags=tags)
        except IntegrityError:  # PostgreSQL: another call made it after we looked
            raise PipelineNameInUseException(name=key.name, account=key.account) from None
        self._insert_version(conn, key, declaration, plan, pipeline_id=pipeline_id, now=call.now)
        journal.append(
            conn,
            journal.Entry(
                aggregate=f"pipeline/{pipeline_id}",
                account=key.account,
                region=key.region,
                sequence=1,
                at=call.now,
                seed=0,
                input={"happening": "PipelineCreated", "plan": plan_to_payload(plan)},
            ),
        )
        trigger = Trigger(type=TriggerType.CREATE_PIPELINE, detail=call.session.arn)
        report = Report(actor=call.session.arn, cause=call.request_id)
        self.aggregates.tell_in(conn, key, StartRequested(trigger=trigger), now=call.now, seed=seed, report=report)
        point("pipelines.before_create_commit")

    def _insert(
        self,
        conn: sa.Connection,
        call: Call,
        key: Key,
        declaration: Declaration,
        plan: Plan,
        *,
        pipeline_id: str,
        tags: dict[str, str],
    ) -> None:
        conn.execute(
            records.pipelines.insert(),
            {
                "account": key.account,
                "region": key.region,
                "name": key.name,
                "id": pipeline_id,
                "version": 1,
                "type": str(generation_of(declaration)),
                "mode": str(plan.mode),
                "created": call.now,
                "updated": call.now,
                "sequence": 1,
                "state": slots_to_payload(new_pipeline(plan)),
                "latest": {},
                "tags": tags,
            },
        )

    def _insert_version(
        self, conn: sa.Connection, key: Key, declaration: Declaration, plan: Plan, *, pipeline_id: str, now: int
    ) -> None:
        conn.execute(
            records.versions.insert(),
            {
                "pipeline_id": pipeline_id,
                "version": plan.version,
                "account": key.account,
                "region": key.region,
                "created": now,
                "declaration": declaration,
                "plan": plan_to_payload(plan),
            },
        )
        conn.execute(records.sources.delete().where(records.sources.c.pipeline_id == pipeline_id))
        for watch in watched(declaration, self.aggregates.providers):
            conn.execute(
                records.sources.insert(),
                {
                    "pipeline_id": pipeline_id,
                    "action": watch.action,
                    "account": key.account,
                    "region": key.region,
                    "name": key.name,
                    "subject": watch.subject,
                },
            )

    async def update(self, call: Call, input: Input) -> Output:
        """Replace the declaration; the version counts up. What runs is cancelled, nothing is started."""
        declaration = await self._checked(call, input["pipeline"], 1)
        key = key_of(call, declaration["name"])
        return {"pipeline": await call.app.store.write(self._update, call, key, declaration, call.app.ids.seed())}

    def _update(self, conn: sa.Connection, call: Call, key: Key, declaration: Declaration, seed: int) -> Declaration:
        loaded = self.aggregates.load(conn, key)
        if loaded is None:
            raise ResourceNotFoundException(account=key.account, name=key.name)
        version = loaded.state.version + 1
        declaration = {**declaration, "version": version}
        plan = plan_of(declaration, version, self.aggregates.providers.type)
        self._insert_version(conn, key, declaration, plan, pipeline_id=loaded.row.id, now=call.now)
        conn.execute(
            records.pipelines.update()
            .where(records.pipelines.c.id == loaded.row.id)
            .values(version=version, type=str(generation_of(declaration)), mode=str(plan.mode), updated=call.now)
        )
        report = Report(actor=call.session.arn, cause=call.request_id)
        self.aggregates.decide_in(conn, loaded, PipelineUpdated(plan=plan), now=call.now, seed=seed, report=report)
        return declaration

    async def get(self, call: Call, input: Input) -> Output:
        """The current declaration, or that of any earlier version."""
        key, version = key_of(call, input["name"]), input.get("version")
        store = call.app.store
        row = await store.lookup(records.SHOWN_PIPELINE, a=key.account, r=key.region, n=key.name)
        if row is None:
            raise PipelineNotFoundException(account=key.account, name=key.name)
        wanted = version or row.version
        declaration = self.aggregates.known_declaration(row.id, wanted)
        if declaration is None:
            declaration = await store.read(self.aggregates.declaration, row.id, wanted)
        if declaration is None and version is None:  # deleted a moment ago
            raise PipelineNotFoundException(account=key.account, name=key.name)
        if declaration is None:
            raise PipelineVersionNotFoundException(name=key.name, version=version)
        return {
            "pipeline": declaration,
            "metadata": {
                "pipelineArn": arn_of(call, key.name),
                "created": seconds(row.created),
                "updated": seconds(row.updated),
            },
        }

    async def delete(self, call: Call, input: Input) -> None:
        """Remove a pipeline and its history; one that does not exist is gone already."""
        await call.app.store.write(self._delete, call, key_of(call, input["name"]), call.app.ids.seed())

    def _delete(self, conn: sa.Connection, call: Call, key: Key, seed: int) -> None:
        loaded = self.aggregates.load(conn, key)
        if loaded is None:
            return
        report = Report(actor=call.session.arn, cause=call.request_id)
        self.aggregates.decide_in(conn, loaded, PipelineDeleted(), now=call.now, seed=seed, report=report)
        tables: list[Any] = [
            records.actions,
            records.executions,
            records.start_tokens,
            records.sources,
            records.versions,
        ]
        for table in tables:
            conn.execute(table.delete().where(table.c.pipeline_id == loaded.row.id))
        conn.execute(records.pipelines.delete().where(records.pipelines.c.id == loaded.row.id))

    async def list(self, call: Call, input: Input) -> Output:
        """Every pipeline of the account in the region, by name."""
        keyset = opened(call, input)
        limit = input.get("maxResults", 1000)
        rows = await call.app.store.scan(_list, call.account, call.region, keyset[0] if keyset else "", limit + 1)
        answer: Output = {
            "pipelines": [
                {
                    "name": row.name,
                    "version": row.version,
                    "pipelineType": row.type,
                    "executionMode": row.mode,
                    "created": seconds(row.created),
                    "updated": seconds(row.updated),
                }
                for row in rows[:limit]
            ]
        }
        if len(rows) > limit:
            answer["nextToken"] = call.app.page_tokens.seal(call, input, [rows[limit - 1].name])
        return answer


def _list(conn: sa.Connection, account: str, region: str, after: str, limit: int) -> list[Any]:
    table = records.pipelines
    return list(
        conn.execute(
            sa.select(table.c.name, table.c.version, table.c.type, table.c.mode, table.c.created, table.c.updated)
            .where(table.c.account == account, table.c.region == region, table.c.name > after)
            .order_by(table.c.name)
            .limit(limit)
        )
    )
