"""Policies by which an account lets services of AWS write to its log groups (AWS: PutResourcePolicy of CloudWatch Logs)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.logs import records
from penstock.logs.errors import InvalidParameterException, LimitExceededException, ResourceNotFoundException
from penstock.logs.logstore import LogStore
from penstock.logs.operations import PAGES, operation
from penstock.public_policies import listed, statements
from penstock.wire.call import Input, Output
from penstock.wire.identity import PolicyRefused

MAX_POLICIES = 10  # of an account in a region (AWS: CloudWatch Logs quotas)
_LARGEST = 5_120  # characters (AWS: PutResourcePolicy, a policy of an account)
_PAGE = 50
_NAME = 256  # characters


@operation("PutResourcePolicy")
async def put_resource_policy(logs: LogStore, call: Call, input: Input) -> Output:
    """Keep a policy of the account, in the place of one of its name."""
    name, document = _name(call, input), input.get("policyDocument", "")
    if not document:
        raise InvalidParameterException("Give the policy as policyDocument.")
    if len(document) > _LARGEST:
        raise InvalidParameterException(f"The policy document is too long: it may have {_LARGEST} characters.")

    def tx(conn: sa.Connection) -> None:
        there = {row.name for row in records.resource_policies_of(conn, call.account, call.region, lock=True)}
        if name not in there and len(there) >= MAX_POLICIES:
            raise LimitExceededException
        ids = _checked(call, conn, document)
        records.put_resource_policy(conn, call.account, call.region, name, document=document, ids=ids, changed=call.now)

    await call.app.identity.change(tx)
    return {
        "resourcePolicy": {
            "policyName": name,
            "policyDocument": document,
            "lastUpdatedTime": call.now,
            "policyScope": "ACCOUNT",
        }
    }


@operation("DescribeResourcePolicies")
async def describe_resource_policies(logs: LogStore, call: Call, input: Input) -> Output:
    """The policies of the account by name, a page at a time."""
    scope, limit = input.get("policyScope", "ACCOUNT"), input.get("limit", _PAGE)
    if scope == "RESOURCE" or input.get("resourceArn"):
        # There are none: PutResourcePolicy takes those of accounts only.
        return {"resourcePolicies": []}
    (after,) = PAGES.after(call, input) or ("",)

    def read(conn: sa.Connection) -> list[Output]:
        rows = records.resource_policies_of(conn, call.account, call.region)
        return [_to_api(call, conn, row) for row in rows if row.name > after][: limit + 1]

    found = await call.app.store.read(read)
    page = PAGES.page(call, input, found, limit=limit, keyset=lambda one: [one["policyName"]])
    return {"resourcePolicies": page.rows, **page.more}


@operation("DeleteResourcePolicy")
async def delete_resource_policy(logs: LogStore, call: Call, input: Input) -> None:
    """Forget a policy."""
    name = _name(call, input)

    def tx(conn: sa.Connection) -> None:
        if not records.delete_resource_policy(conn, call.account, call.region, name):
            raise ResourceNotFoundException(f"Policy with name [{name}] does not exist.")

    await call.app.identity.change(tx)


def _name(call: Call, input: Input) -> str:
    for member in ("resourceArn", "expectedRevisionId"):
        if input.get(member):
            raise InvalidParameterException(
                f"Policies of single log groups are not served. Leave out {member}, and name the log group as Resource of the policy."
            )
    name = input.get("policyName", "")
    if not 1 <= len(name) <= _NAME:
        raise InvalidParameterException(f"Give the policy a policyName of 1 to {_NAME} characters.")
    # No ARN of AWS's names a policy. The record of the call does, so that it can be found.
    call.memo["resources"] = (call.arn("logs", f"resource-policy:{name}"),)
    return name


def _checked(call: Call, conn: sa.Connection, document: str) -> dict[str, str]:
    """The ids of whom a policy names. Raises InvalidParameterException."""
    try:
        ids = call.app.identity.check_policy(conn, document)
    except PolicyRefused as refused:
        raise InvalidParameterException(refused.message) from None
    own = call.arn("logs", "")
    for statement in statements(document):
        for action in listed(statement.get("Action", statement.get("NotAction"))):
            if action != "*" and not action.lower().startswith("logs:"):
                raise InvalidParameterException(f"The policy names an action of another service: {action}.")
        for resource in listed(statement.get("Resource", statement.get("NotResource"))):
            # Wildcards may stand for region and account; a policy speaks of nothing that is not of its own.
            if resource != "*" and not resource.startswith((own, f"arn:{call.partition}:logs:*:")):
                raise InvalidParameterException(
                    f"The policy names another resource than log groups of this account and region: {resource}. Write {own}log-group:NAME:*."
                )
    return ids


def _to_api(call: Call, conn: sa.Connection, row: Any) -> Output:
    return {
        "policyName": row.name,
        "policyDocument": call.app.identity.policy_to_api(conn, row.document, row.ids),
        "lastUpdatedTime": row.changed,
        "policyScope": "ACCOUNT",
    }
