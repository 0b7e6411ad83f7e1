"""Permissions: statements of a topic's policy by their labels."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.topics import attributes, policies, topic_rows
from penstock.topics.operations import found, locked, place_of, sns, topic_arn
from penstock.wire.call import Input


@sns("AddPermission", resource=topic_arn)
async def add_permission(app: App, call: Call, input: Input) -> None:
    """Let accounts take actions on a topic."""
    label, accounts, actions = input["Label"], input["AWSAccountId"], input["ActionName"]
    await _change(app, call, lambda old: policies.with_permission(old, place_of(call), label, accounts, actions))


@sns("RemovePermission", resource=topic_arn)
async def remove_permission(app: App, call: Call, input: Input) -> None:
    """Take a statement out of the policy; none of that label is no error."""
    await _change(app, call, lambda old: policies.without_permission(old, input["Label"]))


async def _change(app: App, call: Call, made: Callable[[str], str]) -> None:
    found(call)

    def tx(conn: sa.Connection) -> None:
        row = locked(conn, call)
        document = attributes.default_policy(place_of(call))
        if row.policy is not None:
            document = app.identity.policy_to_api(conn, row.policy, row.policy_ids)
        changed = made(document)
        ids = policies.checked(conn, app, changed, place_of(call))
        topic_rows.change(conn, row.id, policy=changed, policy_ids=ids)

    await app.identity.change(tx)
