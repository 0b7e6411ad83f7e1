"""Targets of rules."""

from __future__ import annotations

from typing import Any

import orjson
import sqlalchemy as sa

from penstock.application import Call
from penstock.events import records
from penstock.events.destinations import check_arn
from penstock.events.errors import LimitExceededException, ValidationException
from penstock.events.inputs import steps, unknown_placeholder
from penstock.events.interest import RuleBook
from penstock.events.operations import PAGE, PAGES, bus_name, events, need_bus, need_rule, of_bus_of, of_targets, place
from penstock.wire.call import Input, Output

MAX_TARGETS = 5  # of a rule (AWS: EventBridge quotas)
# Of kinds of targets that Penstock does not have.
_FOREIGN = (
    "KinesisParameters",
    "RunCommandParameters",
    "EcsParameters",
    "BatchParameters",
    "SqsParameters",
    "HttpParameters",
    "RedshiftDataParameters",
    "SageMakerPipelineParameters",
    "AppSyncParameters",
)
_KEPT = (
    "Id",
    "Arn",
    "RoleArn",
    "Input",
    "InputPath",
    "InputTransformer",
    "DeadLetterConfig",
    "RetryPolicy",
    "HttpParameters",
)


@events("PutTargets", resource=of_targets)
async def put_targets(book: RuleBook, call: Call, input: Input) -> Output:
    """Add targets to a rule, or replace those of the same ids."""
    rule, bus = input["Rule"], bus_name(call, input.get("EventBusName"))
    given = {target["Id"]: {name: target[name] for name in _KEPT if name in target} for target in input["Targets"]}
    for target in input["Targets"]:
        await _check(call, target)

    def tx(conn: sa.Connection) -> None:
        need_rule(conn, place(call), bus, rule, lock=True)
        there = {row.id for row in records.targets_after(conn, place(call), bus, rule, limit=PAGE)}
        if len(there | set(given)) > MAX_TARGETS:
            raise LimitExceededException
        for target in given.values():
            records.put_target(conn, place(call), bus, rule, target)

    await book.change(place(call), tx)
    return {"FailedEntryCount": 0, "FailedEntries": []}


@events("RemoveTargets", resource=of_targets)
async def remove_targets(book: RuleBook, call: Call, input: Input) -> Output:
    """Take targets from a rule; an id that it does not have is no error. `Force` is for rules of services, which there are none of."""
    rule, bus = input["Rule"], bus_name(call, input.get("EventBusName"))
    input.get("Force")

    def tx(conn: sa.Connection) -> None:
        need_rule(conn, place(call), bus, rule, lock=True)
        records.remove_targets(conn, place(call), bus, rule, input["Ids"])

    await book.change(place(call), tx)
    return {"FailedEntryCount": 0, "FailedEntries": []}


@events("ListTargetsByRule", resource=of_targets)
async def list_targets_by_rule(book: RuleBook, call: Call, input: Input) -> Output:
    """The targets of a rule by id, a page at a time."""
    (after,) = PAGES.after(call, input) or ("",)
    rule, bus, limit = input["Rule"], bus_name(call, input.get("EventBusName")), input.get("Limit", PAGE)

    def read(conn: sa.Connection) -> list[Any]:
        need_rule(conn, place(call), bus, rule)
        return records.targets_after(conn, place(call), bus, rule, after=after, limit=limit + 1)

    page = PAGES.page(call, input, await call.app.store.read(read), limit=limit, keyset=lambda row: (row.id,))
    return {"Targets": [row.content for row in page.rows], **page.more}


@events("ListRuleNamesByTarget", resource=of_bus_of)
async def list_rule_names_by_target(book: RuleBook, call: Call, input: Input) -> Output:
    """The rules of a bus that have a target, by name, a page at a time."""
    (after,) = PAGES.after(call, input) or ("",)
    bus, limit = bus_name(call, input.get("EventBusName")), input.get("Limit", PAGE)

    def read(conn: sa.Connection) -> list[str]:
        need_bus(conn, place(call), bus)
        return records.rules_with_target(conn, place(call), bus, input["TargetArn"], after=after, limit=limit + 1)

    page = PAGES.page(call, input, await call.app.store.read(read), limit=limit, keyset=lambda name: (name,))
    return {"RuleNames": page.rows, **page.more}


async def _check(call: Call, target: Input) -> None:
    id = target["Id"]
    arn, destination = check_arn(call.app, target["Arn"], *place(call))
    for name in _FOREIGN:
        if name in target and name not in destination.parameters:
            raise ValidationException(
                f"Parameter {name} is not valid for target {id}. Reason: it is for another kind of target."
            )
    if sum(name in target for name in ("Input", "InputPath", "InputTransformer")) > 1:
        raise ValidationException(
            f"Only one of Input, InputPath, or InputTransformer must be provided for target {id}."
        )
    if "Input" in target and not _is_json(target["Input"]):
        raise ValidationException(f"JSON syntax error in input for target {id}.")
    if "InputPath" in target:
        _check_path(id, target["InputPath"])
    if "InputTransformer" in target:
        _check_transformer(id, target["InputTransformer"])
    destination.check(target)
    if (destination.role or (arn.account, arn.region) != place(call)) and "RoleArn" not in target:
        raise ValidationException(f"RoleArn is required for target {target['Arn']}.")
    if "RoleArn" in target:
        await call.app.identity.pass_role(call, target["RoleArn"], source_arn=target["Arn"])


def _check_transformer(id: str, transformer: Input) -> None:
    paths = transformer.get("InputPathsMap", {})
    for path in paths.values():
        _check_path(id, path)
    unknown = unknown_placeholder(transformer["InputTemplate"], paths)
    if unknown:
        raise ValidationException(f"InputTemplate for target {id} contains invalid placeholder {unknown}.")


def _check_path(id: str, path: str) -> None:
    if steps(path) is None:
        raise ValidationException(f"InputPath for target {id} is invalid. Write a path such as $.detail.state.")


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
