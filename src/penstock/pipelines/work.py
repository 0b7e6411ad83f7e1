"""The jobs and events of pipelines: starting, looking at, timing out and stopping actions; sources that changed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from penstock.pipelines import records
from penstock.pipelines.actions.provider import (
    Action,
    Failed,
    Invoke,
    Outcome,
    Provider,
    Running,
    Succeeded,
    Waiting,
)
from penstock.pipelines.aggregate import Aggregates
from penstock.pipelines.commit import OBSERVE_JOB, START_JOB, STOP_JOB, TIMEOUT_JOB, Key, Report
from penstock.pipelines.errors import ConcurrentPipelineExecutionsLimitExceededException
from penstock.pipelines.happenings import (
    ActionAccepted,
    ActionFailed,
    ActionSucceeded,
    ActionTimedOut,
    Happening,
    StartRequested,
)
from penstock.pipelines.pinning import changed_input
from penstock.pipelines.preparation import Prepared, action_of, prepare, type_of
from penstock.pipelines.roles import SERVICE, Acting, RoleRefused, action_session
from penstock.pipelines.starts import start_once
from penstock.pipelines.triggers import Watcher, wanted
from penstock.pipelines.variables import Unresolved, resolve_all
from penstock.room import App
from penstock.store import jobs
from penstock.store.crash import point
from penstock.store.events import Event
from penstock.store.jobs import Job
from penstock.store.work import Retry
from penstock.wire.call import Input, Origin, Output, Session
from penstock.wire.errors import Refused, ServiceError

log = logging.getLogger("penstock.pipelines")

FIRST_CHECK = 1_000  # ms: a report that came before the start was written down is made up for soon
START_ATTEMPTS = 8  # about a minute with the back-off of jobs
RESOLVED_LIMIT = 100 * 1024  # bytes of an action's configuration. AWS: limits
VARIABLES_LIMIT = 122_880  # bytes of an action's output variables. AWS: limits

_OURS = Origin(via="invoke", service=SERVICE)


class _AsRole(Invoke):
    """Invokes under a session, in the action's region."""

    def __init__(self, app: App, session: Session, region: str) -> None:
        self._app = app
        self._session = session
        self._region = region

    async def __call__(self, service: str, operation: str, input: Input) -> Output:
        """See Invoke."""
        return await self._app.invoke(self._session, service, operation, input, region=self._region, origin=_OURS)


class ActionWork:
    """Handlers of the jobs about actions."""

    def __init__(self, aggregates: Aggregates) -> None:
        self.aggregates = aggregates
        self.app = aggregates.app

    # --- jobs ---------------------------------------------------------------------------------------------------------

    async def start(self, app: App, job: Job) -> None:
        """Start what the action is about, once, and write down what came of it."""
        prepared = await app.store.read(prepare, self.aggregates, job.payload["action"])
        if prepared is None:
            return
        outcome, details = await self._started(prepared)
        point("pipelines.after_start")
        await self._report(prepared, outcome, details, job)

    async def start_failed(self, app: App, job: Job, error: str) -> None:
        """A start that went wrong too often fails its action."""
        prepared = await app.store.read(prepare, self.aggregates, job.payload["action"])
        if prepared is not None:
            log.error("pipelines.start_gave_up", extra={"action": job.payload["action"], "error": error})
            outcome = Failed(code="SystemUnavailable", message="The action could not be started. Retry the stage.")
            await self._report(prepared, outcome, {}, job)

    async def observe(self, app: App, job: Job) -> None:
        """Look at a running action in case its report was missed."""
        prepared = await app.store.read(prepare, self.aggregates, job.payload["action"])
        if prepared is None:
            return
        outcome = await self._observed(prepared)
        if isinstance(outcome, Running):
            await self._progress(prepared, outcome)
            raise Retry(outcome.check_after, counts=False)
        await self._report(prepared, outcome, {}, job)

    async def time_out(self, app: App, job: Job) -> None:
        """Tell the pipeline that an action's time is out."""
        happening = ActionTimedOut(execution=job.payload["execution"], action=job.payload["action"])
        now, seed = app.clock.now(), app.ids.seed()

        def tell(conn: sa.Connection) -> None:
            jobs.complete(conn, job)
            self.aggregates.tell_in(conn, _key(job), happening, now=now, seed=seed)

        await app.store.write_together(_key(job).aggregate, tell)

    async def stop(self, app: App, job: Job) -> None:
        """Stop what an action started."""
        prepared = await app.store.read(prepare, self.aggregates, job.payload["action"], ended=True)
        if prepared is None:
            return
        try:
            action = await self._action(prepared, prepared.row.resolved or {})
            await self._provider(prepared).stop(action)
        except (RoleRefused, Refused) as error:
            log.warning("pipelines.stop_refused", extra={"action": prepared.row.id, "error": str(error)})

    # --- events -------------------------------------------------------------------------------------------------------

    async def heard(self, app: App, event: Event) -> None:
        """Something that actions may have started changed its state: look at them."""
        for provider in self.aggregates.providers.all():
            name = provider.hears.get(event.type)
            if name is None:
                continue
            running = await app.store.read(_running, event.account, event.region, name(event.payload))
            for action in running:
                prepared = await app.store.read(prepare, self.aggregates, action)
                if prepared is None or self._provider(prepared) is not provider:
                    continue
                outcome = await self._observed(prepared)
                if isinstance(outcome, Running):
                    await self._progress(prepared, outcome)
                else:
                    await self._report(prepared, outcome, {}, None)

    # --- doing --------------------------------------------------------------------------------------------------------

    def _provider(self, prepared: Prepared) -> Provider:
        return self.aggregates.providers.provider(type_of(prepared.row))

    async def _started(self, prepared: Prepared) -> tuple[Outcome, dict[str, Any]]:
        details: dict[str, Any] = {"inputs": [asdict(artifact) for artifact in prepared.inputs]}
        configuration = prepared.declared.get("configuration", {})
        try:
            resolved = resolve_all(configuration, prepared.scope)
        except Unresolved:
            message = (
                "An action in this pipeline failed because one or more variables could not be resolved: Action name="
                f"[{prepared.row.action}]. This can result when a variable is referenced that does not exist. Validate "
                "the pipeline action configuration."
            )
            return Failed(code="ConfigurationError", message=message), details
        if _bytes(resolved) > RESOLVED_LIMIT:
            message = f"The configuration of the action is larger than {RESOLVED_LIMIT} bytes after its variables are resolved."
            return Failed(code="ConfigurationError", message=message), details
        details["resolved"] = resolved
        missing = len(prepared.declared.get("inputArtifacts", ())) - len(prepared.inputs)
        if missing:
            return Failed(code="JobFailed", message="An input artifact of the action was not made."), details
        provider = self._provider(prepared)
        if not provider.acts:
            return await provider.start(action_of(prepared, resolved)), details
        try:
            action = await self._action(prepared, resolved)
            return await changed_input(action) or await provider.start(action), details
        except RoleRefused as refused:
            return Failed(code="PermissionError", message=str(refused)), details
        except (Refused, ServiceError) as error:
            return _failure(error), details

    async def _observed(self, prepared: Prepared) -> Outcome:
        try:
            action = await self._action(prepared, prepared.row.resolved or {})
            return await self._provider(prepared).observe(action)
        except RoleRefused as refused:
            return Failed(code="PermissionError", message=str(refused))
        except (Refused, ServiceError) as error:
            return _failure(error)

    async def _action(self, prepared: Prepared, configuration: Mapping[str, str]) -> Action:
        key = prepared.key
        session = await action_session(
            self.app,
            Acting(key.account, key.region, key.name),
            pipeline_role=prepared.role,
            action_role=prepared.declared.get("roleArn"),
            name=prepared.row.id,
        )
        return action_of(prepared, configuration, _AsRole(self.app, session, key.region))

    # --- writing down -------------------------------------------------------------------------------------------------

    async def _progress(self, prepared: Prepared, outcome: Running) -> None:
        """Show how far a running action is. Nothing is decided by it, so it is not journalled."""
        news = _shown(outcome)
        row = prepared.row
        if all(getattr(row, name) == value for name, value in news.items()):
            return
        statement = records.progress_action(tuple(sorted(news)))
        await self.app.store.write(lambda conn: conn.execute(statement, {**news, "x": row.id}))

    async def _report(self, prepared: Prepared, outcome: Outcome, details: dict[str, Any], job: Job | None) -> None:
        """Tell the pipeline what came of an action, and end the job in the same transaction."""
        now, seed = self.app.clock.now(), self.app.ids.seed()
        if isinstance(outcome, Succeeded) and _bytes(outcome.variables) > VARIABLES_LIMIT:
            message = f"The output variables of the action are larger than {VARIABLES_LIMIT} bytes."
            outcome = Failed(code="JobFailed", message=message, external_id=outcome.external_id, url=outcome.url)
        await self.app.store.write_together(
            prepared.key.aggregate, self._report_in, prepared, outcome, details, job=job, now=now, seed=seed
        )
        point("pipelines.after_commit")

    def _report_in(
        self,
        conn: sa.Connection,
        prepared: Prepared,
        outcome: Outcome,
        details: dict[str, Any],
        *,
        job: Job | None,
        now: int,
        seed: int,
    ) -> None:
        if job is not None:
            jobs.complete(conn, job)
        columns = details | _shown(outcome)
        row = prepared.row
        if columns and isinstance(outcome, (Running, Waiting)):
            conn.execute(records.progress_action(tuple(sorted(columns))), {**columns, "x": row.id})
        happening = _happening(row, outcome)
        if happening is not None:
            report = Report(details=columns, cause=job.id if job else "")
            self.aggregates.tell_in(conn, prepared.key, happening, now=now, seed=seed, report=report)
        if isinstance(outcome, Running):
            jobs.enqueue(
                conn,
                kind=OBSERVE_JOB,
                payload={
                    "pipeline": row.pipeline,
                    "id": row.pipeline_id,
                    "execution": row.execution_id,
                    "action": row.id,
                },
                account=row.account,
                region=row.region,
                due=now + min(FIRST_CHECK, outcome.check_after),
                dedup=row.id,
            )


class SourceWork:
    """Starts pipelines whose sources changed."""

    def __init__(self, aggregates: Aggregates) -> None:
        self.aggregates = aggregates

    def concerns(self, conn: sa.Connection, event: Event) -> bool:
        """Whether any pipeline watches what changed: most objects that are written are nobody's source."""
        subjects = self.aggregates.providers.news(event.type, event.payload)
        return any(records.watched(conn, event.account, event.region, subject) for subject in subjects)

    async def changed(self, app: App, event: Event) -> None:
        """One change, one execution of every pipeline that watches it, however often the event is delivered."""
        subjects = self.aggregates.providers.news(event.type, event.payload)
        if not subjects:
            return
        watchers = await app.store.read(_watchers, event, subjects)
        for start in wanted(event.id, watchers):
            key = Key(account=event.account, region=event.region, name=start.name, id=start.pipeline_id)
            now, seed = app.clock.now(), app.ids.seed()
            try:
                await app.store.write_together(
                    key.aggregate,
                    start_once,
                    self.aggregates,
                    key,
                    StartRequested(trigger=start.trigger),
                    token=start.token,
                    now=now,
                    seed=seed,
                    report=Report(actor=event.actor, cause=event.id),
                )
            except ConcurrentPipelineExecutionsLimitExceededException:
                log.warning("pipelines.trigger_over_limit", extra={"pipeline": start.name, "event": event.id})


def _key(job: Job) -> Key:
    return Key(account=job.account, region=job.region, name=job.payload["pipeline"], id=job.payload["id"])


def _bytes(values: Mapping[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in values.items())


def _failure(error: Refused | ServiceError) -> Failed:
    """What a provider did not word itself. Faults of the server are raised, to be tried again."""
    if isinstance(error, ServiceError):
        if error.status >= 500 or error.wire_code in ("ThrottlingException", "Throttling"):
            raise error
        return Failed(code="JobFailed", message=f"{error.message} (Error Code: {error.wire_code})")
    return Failed(code="PermissionError", message=str(error))


def _shown(outcome: Outcome) -> dict[str, Any]:
    """The columns that an outcome fills."""
    if isinstance(outcome, Waiting):
        return {}
    columns: dict[str, Any] = {
        "external_id": outcome.external_id or None,
        "external_url": outcome.url or None,
        "summary": outcome.summary or None,
        "log_stream": outcome.log_stream or None,
    }
    columns = {name: value for name, value in columns.items() if value is not None}
    if isinstance(outcome, Running) and outcome.percent is not None:
        columns["percent"] = outcome.percent
    if isinstance(outcome, Succeeded):
        columns |= {
            "variables": dict(outcome.variables),
            "outputs": [asdict(artifact) for artifact in outcome.outputs],
        }
        if outcome.revision is not None:
            columns["revision"] = asdict(outcome.revision)
    return columns


def _happening(row: Any, outcome: Outcome) -> Happening | None:
    about = {"execution": row.execution_id, "action": row.id}
    match outcome:
        case Succeeded():
            return ActionSucceeded(**about)
        case Failed():
            return ActionFailed(**about, code=outcome.code, message=outcome.message)
        case Running():
            return ActionAccepted(**about)
        case Waiting():
            return None


def _running(conn: sa.Connection, account: str, region: str, external_id: str) -> list[str]:
    table = records.actions
    return list(
        conn.execute(
            sa.select(table.c.id).where(
                table.c.account == account,
                table.c.region == region,
                table.c.external_id == external_id,
                table.c.status == "InProgress",
            )
        ).scalars()
    )


def _watchers(conn: sa.Connection, event: Event, subjects: list[str]) -> list[Watcher]:
    """Who watches one of the subjects, without those that were made later than the event: their first run has seen it."""
    table, pipelines = records.sources, records.pipelines
    rows = conn.execute(
        sa.select(table.c.pipeline_id, table.c.name, table.c.action)
        .join(pipelines, pipelines.c.id == table.c.pipeline_id)
        .where(table.c.account == event.account, table.c.region == event.region, table.c.subject.in_(subjects))
        .where(pipelines.c.created <= event.at)
    )
    return [Watcher(pipeline_id=row.pipeline_id, name=row.name, action=row.action) for row in rows]


def register_work(app: App, aggregates: Aggregates) -> None:
    """Hand over the handlers of jobs and events."""
    actions, sources = ActionWork(aggregates), SourceWork(aggregates)
    app.work.handler(START_JOB, max_attempts=START_ATTEMPTS, on_dead=actions.start_failed)(actions.start)
    app.work.handler(OBSERVE_JOB, max_attempts=1_000)(actions.observe)
    app.work.handler(TIMEOUT_JOB)(actions.time_out)
    app.work.handler(STOP_JOB)(actions.stop)
    if heard := aggregates.providers.events_heard():
        app.events.subscribe("pipelines.actions", heard, actions.heard)
    if of_sources := aggregates.providers.events_of_sources():
        app.events.subscribe("pipelines.sources", of_sources, sources.changed, concerns=sources.concerns)
