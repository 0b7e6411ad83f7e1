"""Invocations: a schedule's target is asked, again after failures, until its retry policy ends or it is too late."""

from __future__ import annotations

import logging
from typing import Any

import orjson
import sqlalchemy as sa

from penstock.application import App
from penstock.events import delivery_rows, schedule_rows
from penstock.events.delivering import exhausted, judged
from penstock.events.destinations.destination import Failed
from penstock.events.envelopes import seconds
from penstock.events.interest import RuleBook
from penstock.events.schedule_records import invocation_context
from penstock.events.schedule_targets import (
    Asked,
    Moment,
    TargetError,
    converted,
    default_input,
    filled,
    kind_of,
    members_of,
    reads,
    templated,
    universal,
)
from penstock.events.scheduling import enqueue_invocation, group_arn, schedule_arn
from penstock.store import jobs
from penstock.store.failpoints import failpoint
from penstock.store.jobs import Job
from penstock.store.work import Retry, backoff_ms
from penstock.wire.errors import MalformedBody
from penstock.wire.registry import Access
from penstock.wire.shapes import OperationModel

log = logging.getLogger("penstock.events")

PRINCIPAL = "scheduler.amazonaws.com"


def operation_of(app: App, arn: str) -> tuple[str, OperationModel] | None:
    """What a universal target calls; None for another target. Raises TargetError for what cannot be called."""
    named = universal(arn)
    if named is None:
        return None
    service, wanted = named
    if reads(wanted):
        raise TargetError(
            f"{wanted} is not an operation for schedules: it only reads. Targets are operations that do something."
        )
    operation = app.registry.get(service, wanted) or app.registry.get(service, wanted[:1].upper() + wanted[1:])
    model = None if operation is None else app.services.get(service).operation(operation.name)
    if operation is not None and model is not None:
        if operation.access is Access.POLICY and not model.streaming_input:
            return service, model
        raise TargetError(f"{service}:{wanted} cannot be called by a schedule.")
    raise TargetError(f"Penstock has no operation {wanted} of a service {service}.")


async def invoke(book: RuleBook, job: Job) -> None:
    """Ask the target."""
    app = book.app
    row = await app.store.read(schedule_rows.invocation, job.payload["id"])
    if row is None or row.state != "pending":
        return
    now = app.clock.now()
    late = exhausted(row.target, row.attempts, row.at, now)
    if late == "MaximumEventAgeInSeconds" and not row.attempts:  # nobody was up to make it in time
        failed = Failed(
            "TIMEOUT", "No server was up to invoke the target before the MaximumEventAgeInSeconds had passed."
        )
        await app.store.write(_give_up, job, row, failed, late)
        return
    try:
        await _ask(app, row)
    except Exception as error:  # noqa: BLE001 - whatever went wrong is said in the dead letter
        failed, again = judged(error)
        log.info(
            "schedules.target_failed", extra={"invocation": row.id, "arn": row.target["Arn"], "error": failed.code}
        )
        if again and not late:
            await app.store.write(schedule_rows.change_invocation, row.id, attempts=row.attempts + 1)
            raise Retry(backoff_ms(row.attempts + 1, row.id), counts=False) from None
        await app.store.write(_give_up, job, row, failed, late if again else "")
        return
    failpoint("schedules.invoked")
    await app.store.write(_done, job, row)


def _done(conn: sa.Connection, job: Job, row: Any) -> None:
    jobs.complete(conn, job)
    schedule_rows.remove_invocation(conn, row.id)


async def _ask(app: App, row: Any) -> None:
    place = (row.account, row.region)
    try:
        asked = _asked(app, row)
    except TargetError as error:
        raise Failed("INVALID_PARAMETER", str(error)) from None
    except MalformedBody as error:
        raise Failed("INVALID_JSON", error.message) from None
    session, _ = await app.identity.assume(
        role_arn=row.target["RoleArn"],
        service=PRINCIPAL,
        session_name=row.id,
        region=row.region,
        account=row.account,
        source_arn=group_arn(place, row.group),
    )
    answer = await app.invoke(session, asked.service, asked.operation, asked.input, region=row.region)
    if asked.operation == "PutEvents":
        for entry in answer["Entries"]:
            if "ErrorCode" in entry:
                raise Failed("INVALID_PARAMETER", entry["ErrorMessage"])


def _asked(app: App, row: Any) -> Asked:
    target, place = row.target, (row.account, row.region)
    moment = Moment(schedule_arn(place, row.group, row.name), seconds(row.scheduled), row.id, row.attempts + 1)
    text = filled(app.sealer.open(row.input, invocation_context(row.id)).decode(), moment)
    called = operation_of(app, target["Arn"])
    if called is not None:
        service, model = called
        given = members_of(text) if text else {}
        named = f"{service}:{model.name}"
        return Asked(service, model.name, converted(model.input, given, token=row.id, named=named))
    service = kind_of(target["Arn"], *place)
    given_text = text or default_input(id=row.id, account=place[0], region=place[1], moment=moment)
    return templated(service, target, given_text, token=row.id, given=bool(text))


def _give_up(conn: sa.Connection, job: Job, row: Any, failed: Failed, condition: str) -> None:
    place = (row.account, row.region)
    # The job ends with the letter: whoever sees that and asks again would find the job alive, and make no other.
    jobs.complete(conn, job)
    delivery_rows.letter_of_invocation(
        conn,
        row,
        schedule=schedule_arn(place, row.group, row.name),
        code=failed.code,
        message=str(failed),
        exhausted=condition or None,
    )
    schedule_rows.change_invocation(conn, row.id, state="dead")


def invoke_again(conn: sa.Connection, letter: Any, now: int) -> None:
    """Let what was given up be tried again, as it was to be asked, with all attempts and all the time that its target has."""
    delivery_rows.remove_letter(conn, letter.id)
    schedule_rows.change_invocation(conn, letter.id, state="pending", attempts=0, at=now)
    enqueue_invocation(conn, (letter.account, letter.region), letter.id)


def said_of(app: App, row: Any) -> str:
    """What an invocation was to ask, as JSON."""
    place = (row.account, row.region)
    return orjson.dumps(
        {
            "scheduleArn": schedule_arn(place, row.group, row.name),
            "scheduledTime": seconds(row.scheduled),
            "targetArn": row.target["Arn"],
            "input": app.sealer.open(row.input, invocation_context(row.id)).decode(),
        }
    ).decode()
