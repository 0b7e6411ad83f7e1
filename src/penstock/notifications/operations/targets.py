"""Which rule notifies which target."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.notifications import rule_rows
from penstock.notifications.errors import LimitExceededException, ValidationException
from penstock.notifications.operations import (
    TARGETS,
    by_token,
    check_number,
    checked_target,
    existing,
    find,
    keep_token,
    notifications,
    place,
    rule_arn,
)
from penstock.notifications.rule_rows import KIND, SERVICE
from penstock.store.deciding import decide_alone
from penstock.wire.call import Input, Output


@notifications("Subscribe", resource=rule_arn)
async def subscribe(app: App, call: Call, input: Input) -> Output:
    """Let a rule notify one more target; one that it notifies already is no error."""
    type, address = checked_target(call, input["Target"])

    def tx(conn: sa.Connection) -> str:
        decide_alone(conn, SERVICE, *place(call))
        row = existing(conn, call, input["Arn"], locked=True)
        if by_token(conn, call, input):
            return rule_rows.arn_of(row)
        have = rule_rows.targets_of(conn, row)
        if all(one.address != address for one in have):
            if len(have) >= TARGETS:
                raise ValidationException(why=f"A notification rule has at most {TARGETS} targets.")
            rule_rows.subscribe(conn, row.id, place(call), address, type, position=TARGETS + len(have))
            try:
                check_number(conn, call)
            except LimitExceededException as error:
                raise ValidationException(why=error.message) from None
        keep_token(conn, call, input, row.id)
        return rule_rows.arn_of(row)

    return {"Arn": await app.store.write(tx)}


@notifications("Unsubscribe", resource=rule_arn)
async def unsubscribe(app: App, call: Call, input: Input) -> Output:
    """Let a rule notify a target no more; neither has to be there."""

    def tx(conn: sa.Connection) -> None:
        row = find(conn, call, input["Arn"], locked=True)
        if row is not None:
            rule_rows.unsubscribe(conn, row.id, input["TargetAddress"])

    await app.store.write(tx)
    return {"Arn": input["Arn"]}


@notifications("DeleteTarget")
async def delete_target(app: App, call: Call, input: Input) -> Output:
    """Forget a target. One that rules notify is refused, unless ForceUnsubscribeAll lets them do so no more."""
    address = input["TargetAddress"]

    def tx(conn: sa.Connection) -> list[str]:
        decide_alone(conn, SERVICE, *place(call))  # else a rule subscribes it between the question and the end
        rules = list(rule_rows.notified(conn, place(call), address))
        if rules and not input.get("ForceUnsubscribeAll"):
            raise ValidationException(
                why=f"{len(rules)} notification rules notify the target. Unsubscribe it, or set ForceUnsubscribeAll."
            )
        rule_rows.delete_target(conn, place(call), address)
        return rules

    rules = await app.store.write(tx)
    call.memo["resources"] = tuple(call.arn(SERVICE, f"{KIND}{id}") for id in rules)
    return {}
