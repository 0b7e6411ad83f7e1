"""Schedules of EventBridge Scheduler."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from penstock.application import App, Call
from penstock.component import operations_of
from penstock.events import schedule_rows, scheduling
from penstock.events.interest import RuleBook
from penstock.events.invoking import PRINCIPAL, operation_of
from penstock.events.operations import place
from penstock.events.records import DEFAULT, Place
from penstock.events.schedule_records import input_context
from penstock.events.schedule_targets import (
    SOME_MOMENT,
    TargetError,
    check_parameters,
    converted,
    filled,
    kind_of,
    members_of,
)
from penstock.events.scheduler_errors import (
    GroupGoes,
    GroupNotFound,
    ScheduleExists,
    ScheduleNotFound,
    TokenUsed,
    ValidationException,
)
from penstock.timetables import ExpressionError, Once, following
from penstock.wire.call import Input, Output
from penstock.wire.errors import MalformedBody, ServiceError
from penstock.wire.pages import Pages
from penstock.zones import zone_of

scheduler = operations_of("scheduler")
PAGES = Pages(lambda _token: ValidationException("The NextToken is not valid."), member="NextToken")
PAGE = 100
TOKEN_MS = 86_400_000  # how long a ClientToken stands for its request
_EARLY_MS = 300_000
_LABEL = "tokens of schedules"
_LARGEST = 262_144  # bytes of an input (AWS: EventBridge Scheduler quotas)
# Of kinds of targets that Penstock does not have.
_FOREIGN = (
    "EcsParameters",
    "EventBridgePutEventsV2Parameters",
    "EventBridgePutRawEventsParameters",
    "KinesisParameters",
    "SageMakerPipelineParameters",
    "SqsParameters",
)
_TARGET = ("Arn", "RoleArn", "DeadLetterConfig", "EventBridgeParameters")
_RETRIES = {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}  # AWS's


async def write_once(call: Call, input: Input, change: Callable[[sa.Connection], None]) -> None:
    """Do what a request asks in a transaction, unless one with its ClientToken was done. Raises TokenUsed, and what `change` raises.

    What is refused beside a twin of it is looked at again: by then the twin's token is known.
    """

    def tx(conn: sa.Connection) -> None:
        _once_by_token(conn, call, input, lambda: change(conn))

    try:
        await call.app.store.write(tx)
    except ServiceError:
        if "ClientToken" not in input:
            raise
        await call.app.store.write(tx)


def _once_by_token(conn: sa.Connection, call: Call, input: Input, done: Callable[[], None]) -> None:
    """Do what a request asks, unless one with its ClientToken was done. Raises TokenUsed when that one asked something else."""
    token = input.get("ClientToken")
    if token is None:
        done()
        return
    asked = {name: value for name, value in input.items() if name != "ClientToken"}
    text = orjson.dumps([call.operation, asked], option=orjson.OPT_SORT_KEYS)
    # Under a key, so that nobody guesses by the table what an input says. After a change of the master key a token stands for nothing.
    digest = hmac.new(call.app.sealer.derive(_LABEL), text, hashlib.sha256).hexdigest()
    known = schedule_rows.digest_of_token(conn, place(call), token, since=call.now - TOKEN_MS)
    if known is None:
        done()
        schedule_rows.note_token(conn, place(call), token, digest, call.now)
    elif known != digest:
        raise TokenUsed


def _group(input: Input) -> str:
    return input.get("GroupName", DEFAULT)


def _schedule(call: Call, input: Input) -> str:
    return scheduling.schedule_arn(place(call), _group(input), input["Name"])


def need_group(conn: sa.Connection, where: Place, name: str, *, lock: bool = False) -> Any:
    """The row of a group; None for the default one when nothing was said of it. Raises GroupNotFound."""
    row = schedule_rows.group(conn, where, name, lock=lock)
    if row is None and name != DEFAULT:
        raise GroupNotFound(name=name)
    return row


def _need(conn: sa.Connection, where: Place, group: str, name: str, *, lock: bool = False) -> Any:
    need_group(conn, where, group)
    row = schedule_rows.schedule(conn, where, group, name, lock=lock)
    if row is None:
        raise ScheduleNotFound(name=name)
    return row


@scheduler("CreateSchedule", resource=_schedule)
async def create_schedule(book: RuleBook, call: Call, input: Input) -> Output:
    """A new schedule."""
    group, name, where = _group(input), input["Name"], place(call)
    content = await _checked(book.app, call, input)
    _check_start(content, call.now)
    sealed = book.app.sealer.seal(_text(input), input_context(*where, group, name))

    def create(conn: sa.Connection) -> None:
        row = need_group(conn, where, group, lock=True)
        if row is not None and row.state == "DELETING":
            raise GroupGoes(name=group)
        since = content.get("StartDate", call.now)
        enabled = input.get("State", "ENABLED") == "ENABLED"
        coming = scheduling.next_time(content, call.now - 1, since=since) if enabled else None
        values = {
            "state": input.get("State", "ENABLED"),
            "content": content,
            "input": sealed,
            "since": since,
            "next": coming,
            "created": call.now,
            "changed": call.now,
        }
        if not schedule_rows.add_schedule(conn, where, group, name, values):
            raise ScheduleExists(name=name)
        scheduling.set_timer(conn, where, group, name, content, at=coming)

    await write_once(call, input, create)
    return {"ScheduleArn": _schedule(call, input)}


@scheduler("UpdateSchedule", resource=_schedule)
async def update_schedule(book: RuleBook, call: Call, input: Input) -> Output:
    """Replace all that is said of a schedule: what is not given gets its default. What has been asked already is done all the same."""
    group, name, where = _group(input), input["Name"], place(call)
    content = await _checked(book.app, call, input)
    sealed = book.app.sealer.seal(_text(input), input_context(*where, group, name))
    state = input.get("State", "ENABLED")

    def update(conn: sa.Connection) -> None:
        row = _need(conn, where, group, name, lock=True)
        if content.get("StartDate") != row.content.get("StartDate"):
            _check_start(content, call.now)
        same = _times(content) == _times(row.content)
        since = row.since if same else content.get("StartDate", call.now)
        coming = row.next
        if not (same and state == row.state):
            scheduling.stop_timer(conn, where, group, name)
            after = call.now if same else call.now - 1
            coming = scheduling.next_time(content, after, since=since) if state == "ENABLED" else None
            scheduling.set_timer(conn, where, group, name, content, at=coming)
        values = {"state": state, "content": content, "input": sealed, "since": since, "next": coming}
        schedule_rows.change_schedule(conn, where, group, name, **values, changed=call.now)

    await write_once(call, input, update)
    return {"ScheduleArn": _schedule(call, input)}


def _times(content: Mapping[str, Any]) -> list[Any]:
    names = ("ScheduleExpression", "ScheduleExpressionTimezone", "StartDate", "EndDate", "FlexibleTimeWindow")
    return [content.get(name) for name in names]


@scheduler("GetSchedule", resource=_schedule)
async def get_schedule(book: RuleBook, call: Call, input: Input) -> Output:
    """A schedule."""
    group, name, where = _group(input), input["Name"], place(call)
    row = await book.app.store.read(_need, where, group, name)
    text = book.app.sealer.open(row.input, input_context(*where, group, name)).decode()
    target = row.content["Target"] | ({"Input": text} if text else {})
    return _summary(row) | {**row.content, "Target": target}


@scheduler("DeleteSchedule", resource=_schedule)
async def delete_schedule(book: RuleBook, call: Call, input: Input) -> Output:
    """Forget a schedule. What it has asked already is done all the same."""
    group, name, where = _group(input), input["Name"], place(call)

    def delete(conn: sa.Connection) -> None:
        _need(conn, where, group, name, lock=True)
        scheduling.forget(conn, where, group, name)

    await write_once(call, input, delete)
    return {}


@scheduler("ListSchedules")
async def list_schedules(book: RuleBook, call: Call, input: Input) -> Output:
    """The schedules of the caller's account and region by group and name, a page at a time."""
    group, name = PAGES.after(call, input) or ("", "")
    only, prefix, state = input.get("GroupName"), input.get("NamePrefix", ""), input.get("State")
    limit = input.get("MaxResults", PAGE)

    def read(conn: sa.Connection) -> list[Any]:
        if only is not None:
            need_group(conn, place(call), only)
        return schedule_rows.schedules_after(
            conn, place(call), after=(group, name), group=only, prefix=prefix, state=state, limit=limit + 1
        )

    rows = await book.app.store.read(read)
    page = PAGES.page(call, input, rows, limit=limit, keyset=lambda row: (row.group, row.name))
    listed = [_summary(row) | {"Target": {"Arn": row.content["Target"]["Arn"]}} for row in page.rows]
    return {"Schedules": listed, **page.more}


def _summary(row: Any) -> Output:
    return {
        "Arn": scheduling.schedule_arn((row.account, row.region), row.group, row.name),
        "GroupName": row.group,
        "Name": row.name,
        "State": row.state,
        "CreationDate": row.created,
        "LastModificationDate": row.changed,
    }


# --- what is checked ----------------------------------------------------------------------------------------------------


def _text(input: Input) -> bytes:
    return input["Target"].get("Input", "").encode()


async def _checked(app: App, call: Call, input: Input) -> dict[str, Any]:
    """What is kept of a schedule beside its target's input. Raises the service's errors."""
    if "KmsKeyArn" in input:
        raise ValidationException(
            "Schedules under keys of KMS are not served: leave out KmsKeyArn. Inputs are sealed under the installation's master key."
        )
    target, role = input["Target"], input["Target"]["RoleArn"]
    try:
        _check_target(app, call, target)
    except TargetError as error:
        raise ValidationException(str(error)) from None
    except MalformedBody as error:
        raise ValidationException(f"The target's Input cannot be read: {error.message}") from None
    content = {
        "ScheduleExpression": input["ScheduleExpression"],
        "ScheduleExpressionTimezone": input.get("ScheduleExpressionTimezone", "UTC"),
        "FlexibleTimeWindow": _window(input["FlexibleTimeWindow"]),
        "ActionAfterCompletion": input.get("ActionAfterCompletion", "NONE"),
        "Target": {name: target[name] for name in _TARGET if name in target}
        | {"RetryPolicy": _RETRIES | target.get("RetryPolicy", {})},
        **{name: input[name] for name in ("Description", "StartDate", "EndDate") if name in input},
    }
    _check_times(content, call.now)
    where, group = place(call), _group(input)
    await app.identity.pass_role(call, role, source_arn=_schedule(call, input))
    trusted = await app.identity.role_trusts(
        role, PRINCIPAL, account=call.account, source_arn=scheduling.group_arn(where, group)
    )
    if not trusted:
        raise ValidationException(
            "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
        )
    return content


def _check_target(app: App, call: Call, target: Mapping[str, Any]) -> None:
    if len(target.get("Input", "").encode()) > _LARGEST:
        raise TargetError(f"The target's Input is longer than {_LARGEST} bytes.")
    for name in _FOREIGN:
        if name in target:
            raise TargetError(f"{name} is for a kind of target that Penstock does not have.")
    called = operation_of(app, target["Arn"])
    if called is None:
        service = kind_of(target["Arn"], *place(call))
        check_parameters(target, service)
        return
    service, model = called
    check_parameters(target, "")
    given = members_of(filled(target["Input"], SOME_MOMENT)) if "Input" in target else {}
    converted(model.input, given, token="", named=f"{service}:{model.name}")


def _window(given: Mapping[str, Any]) -> dict[str, Any]:
    flexible, minutes = given["Mode"] == "FLEXIBLE", given.get("MaximumWindowInMinutes")
    if flexible is (minutes is None):
        raise ValidationException(
            "A flexible time window of Mode FLEXIBLE needs MaximumWindowInMinutes."
            if flexible
            else "MaximumWindowInMinutes is for a flexible time window of Mode FLEXIBLE."
        )
    return {"Mode": given["Mode"]} | ({"MaximumWindowInMinutes": minutes} if flexible else {})


def _check_times(content: Mapping[str, Any], now: int) -> None:
    expression, zone = content["ScheduleExpression"], zone_of(content["ScheduleExpressionTimezone"])
    try:
        timetable = scheduling.timetable_of(content)
    except ExpressionError:
        raise ValidationException(f"Invalid Schedule Expression {expression}.") from None
    if zone is None:
        raise ValidationException(
            f"Invalid ScheduleExpressionTimezone {content['ScheduleExpressionTimezone']}. Write a name of IANA's database, such as "
            "Europe/Berlin."
        )
    if isinstance(timetable, Once):
        if following(timetable, -(10**14), zone=zone) is None:
            raise ValidationException(
                f"Invalid Schedule Expression {expression}. No clock in {zone} shows this time: clocks are put forward then."
            )
        return
    begin, end = content.get("StartDate"), content.get("EndDate")
    if end is not None and end <= now:
        raise ValidationException("The EndDate you specify must be in the future.")
    if begin is not None and end is not None and end <= begin:
        raise ValidationException("The EndDate you specify must come after the StartDate.")


def _check_start(content: Mapping[str, Any], now: int) -> None:
    if content.get("StartDate", now) < now - _EARLY_MS and not isinstance(scheduling.timetable_of(content), Once):
        raise ValidationException("The StartDate you specify cannot be earlier than 5 minutes ago.")
