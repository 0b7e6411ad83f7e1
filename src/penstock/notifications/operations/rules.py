"""Notification rules: made, shown, changed, deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from penstock.application import App, Call
from penstock.notifications import event_types, rule_rows
from penstock.notifications.errors import LimitExceededException, ResourceAlreadyExistsException, ValidationException
from penstock.notifications.operations import (
    TAGS,
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

T = TypeVar("T")

_MAX_RULES = 1_000  # of an account in a region (AWS: "Quotas for notifications")
_MAX_TYPES = 100


def _new_arn(call: Call, input: Input) -> str:
    return call.arn(SERVICE, f"{KIND}*")


def _about(_call: Call, input: Input) -> Mapping[str, str | tuple[str, ...]]:
    return {"codestar-notifications:notificationsforresource": input["Resource"]}


def _checked_types(given: Sequence[str], resource: str) -> list[str]:
    ids = list(dict.fromkeys(given))
    if not ids or len(ids) > _MAX_TYPES:
        raise ValidationException(why=f"A rule names one to {_MAX_TYPES} event types.")
    service = event_types.service_of(resource)
    for id in ids:
        if id not in event_types.KINDS:
            raise ValidationException(why=event_types.why_unknown(id))
        if not id.startswith(service):
            raise ValidationException(why=f"The event type {id} is not one of {resource}.")
    return ids


def _checked_resource(call: Call, resource: str) -> str:
    parts = resource.split(":", 5)
    if (parts[1], parts[3], parts[4]) != (call.partition, call.region, call.account):
        raise ValidationException(why="The resource is not one of the caller's account and region.")
    if not event_types.service_of(resource):
        raise ValidationException(
            why="The resource is the ARN of a pipeline, a project of CodeBuild, an application of CodeDeploy or a repository of CodeCommit."
        )
    return resource


def _checked_targets(call: Call, given: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found = {address: type for type, address in (checked_target(call, one) for one in given)}
    if len(found) > TARGETS:
        raise LimitExceededException(limit=TARGETS, what="targets of a notification rule")
    return found


@notifications("CreateNotificationRule", resource=_new_arn, keys=_about)
async def create_notification_rule(app: App, call: Call, input: Input) -> Output:
    """A rule about a resource. The same request with the same token answers the same rule."""
    name, resource = input["Name"], _checked_resource(call, input["Resource"])
    ids, targets = _checked_types(input["EventTypeIds"], resource), _checked_targets(call, input["Targets"])
    tags = TAGS.check((input.get("Tags") or {}).items())
    new = app.ids.hex(40)

    def tx(conn: sa.Connection) -> str:
        decide_alone(conn, SERVICE, *place(call))  # else a twin with the same token is there between the two questions
        known = by_token(conn, call, input)
        if known:
            return known
        if rule_rows.named(conn, place(call), name) is not None:
            raise ResourceAlreadyExistsException(name=name)
        if rule_rows.count(conn, place(call)) >= _MAX_RULES:
            raise LimitExceededException(limit=_MAX_RULES, what="notification rules")
        rule_rows.insert(
            conn, id=new, account=call.account, region=call.region, name=name, resource=resource, event_types=ids,
            detail=input["DetailType"], status=input.get("Status") or "ENABLED", created_by=call.session.arn, created=call.now,
            changed=call.now, tags=tags,
        )  # fmt: skip
        _set_targets(conn, call, new, targets)
        keep_token(conn, call, input, new)
        return new

    id = await _written(app, tx)
    arn = call.arn(SERVICE, f"{KIND}{id}")
    call.memo["resources"] = (arn,)
    return {"Arn": arn}


async def _written(app: App, tx: Callable[[sa.Connection], T]) -> T:
    """Run a transaction that may name a rule. One that was named so at the same moment is seen at the second time."""
    try:
        return await app.store.write(tx)
    except IntegrityError:
        return await app.store.write(tx)


def _set_targets(conn: sa.Connection, call: Call, rule: str, targets: Mapping[str, str]) -> None:
    rule_rows.unsubscribe(conn, rule)
    for position, (address, type) in enumerate(targets.items()):
        rule_rows.subscribe(conn, rule, place(call), address, type, position=position)
    check_number(conn, call)


@notifications("DescribeNotificationRule", resource=rule_arn)
async def describe_notification_rule(app: App, call: Call, input: Input) -> Output:
    """A rule with its event types and targets."""

    def read(conn: sa.Connection) -> Output:
        row = existing(conn, call, input["Arn"])
        targets = rule_rows.targets_of(conn, row)
        return {
            "Arn": rule_rows.arn_of(row),
            "Name": row.name,
            "EventTypes": [event_types.KINDS[id].to_api() for id in row.event_types if id in event_types.KINDS],
            "Resource": row.resource,
            "Targets": [
                {"TargetAddress": one.address, "TargetType": one.type, "TargetStatus": one.status} for one in targets
            ],
            "DetailType": row.detail,
            "CreatedBy": row.created_by,
            "Status": row.status,
            "CreatedTimestamp": row.created,
            "LastModifiedTimestamp": row.changed,
            "Tags": row.tags,
        }

    return await app.store.read(read)


@notifications("UpdateNotificationRule", resource=rule_arn)
async def update_notification_rule(app: App, call: Call, input: Input) -> Output:
    """Change what is given; a list takes the place of the one that there is."""
    targets = None if input.get("Targets") is None else _checked_targets(call, input["Targets"])

    def tx(conn: sa.Connection) -> None:
        decide_alone(conn, SERVICE, *place(call))
        row = existing(conn, call, input["Arn"], locked=True)
        values: dict[str, Any] = {"changed": call.now}
        name = input.get("Name")
        if name and name != row.name:
            if rule_rows.named(conn, place(call), name) is not None:
                raise ValidationException(why=f"A notification rule with the name {name} already exists.")
            values["name"] = name
        if input.get("EventTypeIds") is not None:
            values["event_types"] = _checked_types(input["EventTypeIds"], row.resource)
        for member, column in (("Status", "status"), ("DetailType", "detail")):
            if input.get(member):
                values[column] = input[member]
        rule_rows.change(conn, row.id, **values)
        if targets is not None:
            _set_targets(conn, call, row.id, targets)

    await _written(app, tx)
    return {}


@notifications("DeleteNotificationRule", resource=rule_arn)
async def delete_notification_rule(app: App, call: Call, input: Input) -> Output:
    """Forget a rule; one that is not there is no error."""

    def tx(conn: sa.Connection) -> None:
        row = find(conn, call, input["Arn"], locked=True)
        if row is not None:
            rule_rows.delete(conn, row.id)

    await app.store.write(tx)
    return {"Arn": input["Arn"]}
