"""Events that could not be delivered: operations of our own service, since AWS has queues of SQS for them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.component import operations_of
from penstock.events import delivery_rows, schedule_rows
from penstock.events.delivering import deliver_again
from penstock.events.errors import EventDeadLetterNotFoundException, InvalidNextTokenException
from penstock.events.interest import RuleBook
from penstock.events.invoking import invoke_again, said_of
from penstock.events.operations import place, rule_arn
from penstock.wire.call import Input, Output
from penstock.wire.pages import Pages

operation = operations_of("penstock")
_PAGES = Pages(lambda _token: InvalidNextTokenException())
_PAGE = 100


def _letter(call: Call, input: Input) -> str:
    return call.arn("penstock", f"event-dead-letter/{input['deadLetterId']}")


@operation("ListEventDeadLetters")
async def list_event_dead_letters(book: RuleBook, call: Call, input: Input) -> Output:
    """What could not be delivered, the latest first."""
    after = _PAGES.after(call, input)
    behind = None if after is None else (after[0], after[1])
    found = await call.app.store.read(
        lambda conn: delivery_rows.letters(conn, place(call), after=behind, limit=_PAGE + 1)
    )
    page = _PAGES.page(call, input, found, limit=_PAGE, keyset=lambda row: (row.at, row.id))
    return {"deadLetters": [_to_api(call, row) for row in page.rows], **page.more}


@operation("GetEventDeadLetter", resource=_letter)
async def get_event_dead_letter(book: RuleBook, call: Call, input: Input) -> Output:
    """One of them, with the event."""
    row = await call.app.store.read(_found, call, input["deadLetterId"])
    if row.schedule is None:
        return {"deadLetter": _to_api(call, row), "event": row.body}
    asked = await call.app.store.read(schedule_rows.invocation, row.id)
    return {"deadLetter": _to_api(call, row), "event": "{}" if asked is None else said_of(call.app, asked)}


@operation("RedriveEventDeadLetter", resource=_letter)
async def redrive_event_dead_letter(book: RuleBook, call: Call, input: Input) -> Output:
    """Deliver one again, with all attempts before it, and as if no rule had led to it."""

    def tx(conn: sa.Connection) -> None:
        row = _found(conn, call, input["deadLetterId"], locked=True)
        if row.schedule is None:
            deliver_again(conn, row, call.now)
        else:
            invoke_again(conn, row, call.now)

    await call.app.store.write(tx)
    return {}


@operation("DeleteEventDeadLetter", resource=_letter)
async def delete_event_dead_letter(book: RuleBook, call: Call, input: Input) -> Output:
    """Forget one."""

    def tx(conn: sa.Connection) -> None:
        row = _found(conn, call, input["deadLetterId"], locked=True)
        delivery_rows.remove_letter(conn, row.id)
        if row.schedule is not None:
            schedule_rows.remove_invocation(conn, row.id)

    await call.app.store.write(tx)
    return {}


def _found(conn: sa.Connection, call: Call, id: str, *, locked: bool = False) -> Any:
    row = delivery_rows.letter(conn, place(call), id, locked=locked)
    if row is None:
        raise EventDeadLetterNotFoundException(id=id)
    return row


def _to_api(call: Call, row: Any) -> Output:
    said = {
        "deadLetterId": row.id,
        "eventId": row.event,
        **_came_from(call, row),
        "targetArn": row.arn,
        "deadLetterQueueArn": row.queue,
        "errorCode": row.code,
        "errorMessage": row.message,
        "exhaustedRetryCondition": row.exhausted,
        "retryAttempts": row.attempts,
        "hops": row.hops,
        "time": row.at,
    }
    return {name: value for name, value in said.items() if value is not None}


def _came_from(call: Call, row: Any) -> Output:
    if row.schedule is not None:
        return {"scheduleArn": row.schedule}
    return {"eventBusName": row.bus, "ruleArn": rule_arn(call, row.bus, row.rule), "targetId": row.target}
