"""The jobs and events of actions: starting, checking, timing out and stopping them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import sqlalchemy as sa

from penstock.pipelines import offers, records, worker_records
from penstock.pipelines.acting import as_pipeline, as_role
from penstock.pipelines.actions.provider import (
    Action,
    Failed,
    Offered,
    Outcome,
    Provider,
    Running,
    Succeeded,
    Targets,
    Waiting,
)
from penstock.pipelines.aggregate import OBSERVE_JOB, START_JOB, apply
from penstock.pipelines.custom_types import CUSTOM
from penstock.pipelines.declaration import refusal_of_resolved
from penstock.pipelines.gates import refusal_of_region
from penstock.pipelines.inputs import (
    ActionAccepted,
    ActionFailed,
    ActionReported,
    ActionSucceeded,
    ActionTimedOut,
    Input,
)
from penstock.pipelines.model import NO_DETAILS, ActionStatus, ActionType, Details, Key
from penstock.pipelines.pinning import changed_input
from penstock.pipelines.preparation import Prepared, action_of, brought, prepare, prepare_row, prepare_unread
from penstock.pipelines.records import type_of
from penstock.pipelines.replication import lies_elsewhere, replicated
from penstock.pipelines.roles import RoleRefused
from penstock.pipelines.secrets import opened
from penstock.pipelines.service import PipelineService
from penstock.pipelines.types import Found
from penstock.pipelines.variables import Unresolved, resolved_action, texts_of
from penstock.store import jobs
from penstock.store.events import Event
from penstock.store.failpoints import failpoint
from penstock.store.jobs import Job
from penstock.store.work import Retry
from penstock.wire.errors import Refused, ServiceError, passes

log = logging.getLogger("penstock.pipelines")

LONG_START_JOB = "pipelines.action.start.long"
LONG_STARTS = 4  # at a time
FIRST_CHECK = 1_000  # ms: a report that came before the start was written down is made up for soon
START_ATTEMPTS = 8  # about a minute with the back-off of jobs
RESOLVED_LIMIT = 100 * 1024  # bytes of an action's configuration. AWS: limits
VARIABLES_LIMIT = 122_880  # bytes of an action's output variables. AWS: limits

# --- jobs -------------------------------------------------------------------------------------------------------------


async def start(service: PipelineService, job: Job) -> None:
    """Start what the action is about, once, and write down what came of it."""
    prepared = await _started(service, job)
    if prepared is None:
        return
    found = await _found(service, prepared)
    if job.kind == START_JOB and found is not None and (found[0].takes_long or lies_elsewhere(prepared)):
        await service.app.store.write(_start_beside, job)
        return
    outcome, details = await _start(service, prepared, found)
    failpoint("pipelines.after_start")
    await _report(service, prepared, outcome, details, job, known=None if found is None else found[1])


def _start_beside(conn: sa.Connection, job: Job) -> None:
    """Leave a start to the slots for those that take long, so that it holds up no other."""
    jobs.complete(conn, job)
    jobs.enqueue(
        conn,
        kind=LONG_START_JOB,
        payload=job.payload,
        account=job.account,
        region=job.region,
        dedup=job.payload["action"],
    )


async def start_failed(service: PipelineService, job: Job, error: str) -> None:
    """A start that went wrong too often fails its action."""
    prepared = await _prepared(service, job.payload["action"])
    if prepared is not None:
        log.error("pipelines.start_gave_up", extra={"action": job.payload["action"], "error": error})
        outcome = Failed(code="SystemUnavailable", message="The action could not be started. Retry the stage.")
        await _report(service, prepared, outcome, NO_DETAILS, job)


async def observe(service: PipelineService, job: Job) -> None:
    """Check a running action in case its report was missed."""
    prepared = await _prepared(service, job.payload["action"])
    if prepared is None:
        return
    outcome = await _observe(service, prepared)
    if isinstance(outcome, Running):
        await _progress(service, prepared, outcome, cause=job.id)
        raise Retry(outcome.check_after, counts=False)
    await _report(service, prepared, outcome, NO_DETAILS, job)


async def time_out(service: PipelineService, job: Job) -> None:
    """Apply to the pipeline that an action's time is out."""
    input = ActionTimedOut(execution=job.payload["execution"], action=job.payload["action"])
    key = Key(account=job.account, region=job.region, name=job.payload["pipeline"], id=job.payload["id"])
    now, seed = service.app.clock.now(), service.app.ids.seed()

    def write(conn: sa.Connection) -> None:
        jobs.complete(conn, job)
        apply(conn, service.versions, key, input, now=now, seed=seed, cause=job.id)

    await service.app.store.write_together(key.lock, write)


async def stop(service: PipelineService, job: Job) -> None:
    """Stop what an action started."""
    prepared = await _prepared(service, job.payload["action"], ended=True)
    if prepared is None:
        return
    try:
        action = await _action(service, prepared, prepared.row.resolved or {})
        found = await _found(service, prepared)
        if found is not None:
            await found[0].stop(action)
    except (RoleRefused, Refused) as error:
        log.warning("pipelines.stop_refused", extra={"action": prepared.row.id, "error": str(error)})


async def targets_of(
    service: PipelineService, action: str, *, statuses: Sequence[str] | None, after: str, start: int, limit: int
) -> Targets:
    """What an action deploys to, asked of its provider under its role. Raises RoleRefused, and what the provider's service answers."""
    prepared = await _prepared(service, action, ended=True)
    found = None if prepared is None else await _found(service, prepared)
    if prepared is None or found is None:
        return Targets()
    at_work = await _action(service, prepared, prepared.row.resolved or {})
    return await found[0].targets(at_work, statuses=statuses, after=after, start=start, limit=limit)


# --- events -----------------------------------------------------------------------------------------------------------


async def on_report(service: PipelineService, event: Event) -> None:
    """Something that actions may have started changed its state: look at them."""
    reporting: dict[str, list[Provider]] = {}
    for provider in service.providers.all():
        if (name := provider.reports.get(event.type)) is not None:
            reporting.setdefault(name(event.payload), []).append(provider)
    for external_id, providers in reporting.items():
        regions = service.app.settings.all_regions()
        running = await service.app.store.read(_running, event.account, regions, external_id)
        for action in running:
            prepared = await _prepared(service, action)
            found = None if prepared is None else await _found(service, prepared)
            if prepared is None or found is None or found[0] not in providers:
                continue
            outcome = await _observe(service, prepared)
            if isinstance(outcome, Running):
                await _progress(service, prepared, outcome, cause=event.id)
            else:
                await _report(service, prepared, outcome, NO_DETAILS, None, cause=event.id)


async def _started(service: PipelineService, job: Job) -> Prepared | None:
    """What is known of the action that a job is to start, whose row the decision of this very process may have handed over."""
    row = job.hold.handed
    if row is None:
        return await _prepared(service, job.payload["action"])
    return prepare_unread(service.versions, row) or await service.app.store.read(prepare_row, service.versions, row)


async def _prepared(service: PipelineService, action: str, *, ended: bool = False) -> Prepared | None:
    return await service.app.store.read(prepare, service.versions, action, ended=ended)


# --- asking providers -----------------------------------------------------------------------------------------------------------


async def _found(service: PipelineService, prepared: Prepared) -> Found | None:
    """Who runs an action, and its type. None for a type that nobody runs any more."""
    id, key = type_of(prepared.row), prepared.key
    return service.providers.find(id) or await service.app.store.read(service.types.find, key.account, key.region, id)


async def _start(service: PipelineService, prepared: Prepared, found: Found | None) -> tuple[Outcome, Details]:
    inputs = prepared.inputs or None
    try:
        declared = resolved_action(prepared.declared, prepared.scope)
    except Unresolved as error:
        message = (
            "An action in this pipeline failed because one or more variables could not be resolved: Action name="
            f"[{prepared.row.action}]. This can result when a variable is referenced that does not exist. Validate "
            f"the pipeline action configuration. There is no value for #{{{error.text}}}."
        )
        return Failed(code="ConfigurationError", message=message), Details(inputs=inputs)
    resolved = declared["configuration"]
    if sum(len(f"{place[1]}{text}".encode()) for place, text in texts_of(declared)) > RESOLVED_LIMIT:
        message = (
            f"The configuration of the action is larger than {RESOLVED_LIMIT} bytes after its variables are resolved."
        )
        return Failed(code="ConfigurationError", message=message), Details(inputs=inputs)
    details = Details(inputs=inputs, resolved=resolved)
    missing = len(prepared.declared.get("inputArtifacts", ())) - len(prepared.inputs)
    if missing:
        return Failed(code="JobFailed", message="An input artifact of the action was not made."), details
    if found is None or found[1].deleted:
        message = "The action type was deleted. Name another one in the action, or make it again as it was."
        return Failed(code="ConfigurationError", message=message), details
    provider, known = found
    # Values for a worker outside are the worker's to judge, as on AWS.
    if resolved != prepared.declared.get("configuration", {}) and known.id.owner != CUSTOM and not known.of_partner:
        why = refusal_of_resolved(declared, known)
        if why is not None:
            return Failed(code="ConfigurationError", message=why), details
    if not provider.acts(resolved):
        return await provider.start(action_of(prepared, resolved, now=service.app.clock.now())), details
    refused = offers.refused(known, resolved)
    if refused is None and known.of_partner and await _client(service, prepared) is None:
        refused = (
            "The provider of the action type does not know this account yet. Call penstock:CreateActionTypeClient, and give the "
            "provider what it answers."
        )
    if refused is not None:
        return Failed(code="ConfigurationError", message=refused), details
    why = refusal_of_region(prepared.region, service.app.settings.all_regions())
    if why is not None:
        return Failed(code="ConfigurationError", message=f"The action names {why}"), details
    try:
        if lies_elsewhere(prepared):
            copies = await replicated(await as_pipeline(service.app, prepared), prepared)
            if isinstance(copies, Failed):
                return copies, details
            prepared, details = replace(prepared, inputs=copies), replace(details, inputs=copies)
            await _note(service, prepared, Details(inputs=copies))
        action = await _action(service, prepared, resolved)
        if provider.shows_revisions:
            action = replace(action, brought=await service.app.store.read(brought, prepared.row))
        return await changed_input(action) or await provider.start(action), details
    except RoleRefused as refused:
        return Failed(code="PermissionError", message=str(refused)), details
    except (Refused, ServiceError) as error:
        return _failure(error), details


async def _client(service: PipelineService, prepared: Prepared) -> Any:
    key, id = prepared.key, type_of(prepared.row)
    return await service.app.store.read(worker_records.find_client, key.account, key.region, id)


async def _observe(service: PipelineService, prepared: Prepared) -> Outcome:
    found = await _found(service, prepared)
    if found is None:
        return Failed(code="ConfigurationError", message="Nobody runs actions of this type any more.")
    try:
        action = await _action(service, prepared, prepared.row.resolved or {})
        return await found[0].observe(action)
    except RoleRefused as refused:
        return Failed(code="PermissionError", message=str(refused))
    except (Refused, ServiceError) as error:
        return _failure(error)


async def _action(service: PipelineService, prepared: Prepared, configuration: Mapping[str, str]) -> Action:
    invoke = await as_role(service.app, prepared)
    secrets = await opened(service.app, prepared)
    action = action_of(
        prepared,
        {**configuration, **secrets},
        invoke,
        now=service.app.clock.now(),
        site=service.app.public_url,
        scratch=str(service.app.settings.data_dir),
    )
    return replace(action, report=partial(_progress, service, prepared, cause=""))


# --- writing ----------------------------------------------------------------------------------------------------


async def _progress(service: PipelineService, prepared: Prepared, outcome: Running, *, cause: str) -> None:
    """Show how far a running action is."""
    answer = _details(NO_DETAILS, outcome)
    row = prepared.row
    if all(getattr(row, name) == value for name, value in records.columns_of(answer).items()):
        return
    await _note(service, prepared, answer, cause=cause)


async def _note(service: PipelineService, prepared: Prepared, details: Details, *, cause: str = "") -> None:
    """Write down what is new of an action that goes on."""
    row = prepared.row
    input = ActionReported(execution=row.execution_id, action=row.id, details=details)
    now, seed = service.app.clock.now(), service.app.ids.seed()
    await service.app.store.write_together(
        prepared.key.lock, apply, service.versions, prepared.key, input, now=now, seed=seed, cause=cause
    )


async def _report(
    service: PipelineService,
    prepared: Prepared,
    outcome: Outcome,
    details: Details,
    job: Job | None,
    *,
    cause: str = "",
    known: ActionType | None = None,
) -> None:
    """Apply to the pipeline what came of an action, and end the job in the same transaction. `known` is the type of an action that starts."""
    now, seed = service.app.clock.now(), service.app.ids.seed()
    if isinstance(outcome, Succeeded) and size_of(outcome.variables) > VARIABLES_LIMIT:
        message = f"The output variables of the action are larger than {VARIABLES_LIMIT} bytes."
        outcome = Failed(code="JobFailed", message=message, external_id=outcome.external_id, url=outcome.url)
    input = _input(prepared.row, outcome, _details(details, outcome))

    def write(conn: sa.Connection) -> None:
        if job is not None:
            jobs.complete(conn, job)
        done = apply(
            conn, service.versions, prepared.key, input, now=now, seed=seed, cause=job.id if job is not None else cause
        )
        if isinstance(outcome, Running):
            _look_later(conn, prepared.row, now + min(FIRST_CHECK, outcome.check_after))
        if isinstance(outcome, Offered) and done and known is not None:  # else the action has ended meanwhile
            offers.make(conn, prepared.row, known, details.resolved or {})

    await service.app.store.write_together(prepared.key.lock, write)
    failpoint("pipelines.after_commit")


def _look_later(conn: sa.Connection, row: Any, due: int) -> None:
    jobs.enqueue(
        conn,
        kind=OBSERVE_JOB,
        payload={"pipeline": row.pipeline, "id": row.pipeline_id, "execution": row.execution_id, "action": row.id},
        account=row.account,
        region=row.region,
        due=due,
        dedup=row.id,
    )


def size_of(values: Mapping[str, str]) -> int:
    """The bytes of names and values."""
    return sum(len(key.encode()) + len(value.encode()) for key, value in values.items())


def _failure(error: Refused | ServiceError) -> Failed:
    """What a provider did not word itself. What may pass is raised, to be tried again."""
    if passes(error):
        raise error
    if isinstance(error, ServiceError):
        return Failed(code="JobFailed", message=f"{error.message} (Error Code: {error.wire_code})")
    return Failed(code="PermissionError", message=str(error))


def _details(details: Details, outcome: Outcome) -> Details:
    """Those details, and what an outcome adds to them."""
    if isinstance(outcome, Waiting | Offered):
        return details
    more: dict[str, Any] = {}
    if isinstance(outcome, Running):
        more = {"percent": outcome.percent}
    elif isinstance(outcome, Succeeded):
        more = {
            "variables": outcome.variables or None,
            "outputs": outcome.outputs or None,
            "revision": outcome.revision,
        }
    return replace(
        details,
        external_id=outcome.external_id or None,
        external_url=outcome.url or None,
        summary=outcome.summary or None,
        log_stream=outcome.log_stream or None,
        **more,
    )


def _input(row: Any, outcome: Outcome, details: Details) -> Input:
    execution, action = row.execution_id, row.id
    match outcome:
        case Succeeded():
            return ActionSucceeded(execution=execution, action=action, details=details)
        case Failed():
            code, message = outcome.code, outcome.message
            return ActionFailed(execution=execution, action=action, code=code, message=message, details=details)
        case Running() | Offered():
            return ActionAccepted(execution=execution, action=action, details=details)
        case Waiting():
            return ActionReported(execution=execution, action=action, details=details)


def _running(conn: sa.Connection, account: str, regions: Sequence[str], external_id: str) -> list[str]:
    """The actions that wait for what an account reports. Where its own do not, those of pipelines of other accounts may: they have its role.

    `regions` are those of the pipelines, whose actions may run in another one than they themselves.

    A report only makes them look, under that role, so that no account can say anything of what is not its own.
    """
    table, others = records.actions, sa.select(records.pipelines.c.account).distinct()
    waiting = sa.select(table.c.id).where(
        table.c.region.in_(regions),
        table.c.external_id == external_id,
        table.c.status == ActionStatus.IN_PROGRESS.value,
    )
    found = list(conn.execute(waiting.where(table.c.account == account)).scalars())
    return found or list(conn.execute(waiting.where(table.c.account.in_(others))).scalars())
