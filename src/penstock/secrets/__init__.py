"""Secrets of applications and builds (AWS Secrets Manager)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from penstock.component import Component, Guard, JobKind, Subscription
from penstock.secrets import records, rotations, work
from penstock.secrets.errors import ResourceNotFoundException
from penstock.secrets.events import TYPES
from penstock.secrets.functions import check_commands
from penstock.secrets.names import Asked, asked
from penstock.secrets.operations import batches, life, listing, policies, random_passwords, rotating, tags, versions
from penstock.secrets.pages import PAGES
from penstock.secrets.settings import SecretSettings
from penstock.wire.identity import ResourcePolicy
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["SETTINGS", "component"]

SETTINGS = SecretSettings
_ROTATIONS_AT_ONCE = 4


def component(app: App) -> Component[App]:
    """Secrets Manager, whose values are sealed under data keys of KMS."""
    return Component(
        name="secrets",
        state=app,
        services=(Service("secretsmanager"),),
        operations=(life, versions, batches, listing, policies, tags, random_passwords, rotating),
        jobs=(
            JobKind(kind=life.DELETION, run=life.delete),
            JobKind(kind=rotations.DUE, run=work.open_window),
            JobKind(kind=rotations.RUN, run=work.rotate, concurrency=_ROTATIONS_AT_ONCE, on_dead=work.give_up),
        ),
        events=TYPES,
        pages=PAGES,
        start=(functools.partial(check_commands, app),),
        subscriptions=(Subscription(name="secrets.record", types=("secrets.rotation.*",), handle=work.record),),
        guards=(
            Guard(
                service="secretsmanager",
                policy=_policy,
                keys={
                    "aws:resourcetag/": _tags,
                    "secretsmanager:resourcetag/": _tags,
                    "secretsmanager:resource/": _rotated_by,
                },
            ),
        ),
    )


async def _policy(app: App, arn: str) -> ResourcePolicy | None:
    """The policy of a secret. One that is not there has none: strangers do not learn what there is."""
    named, row = await _row(app, arn)
    if named is None:
        return None
    if row is None or row.policy is None:
        return ResourcePolicy(account=named.account)
    return ResourcePolicy(account=row.account, documents=(row.policy,), ids=row.policy_ids)


async def _tags(app: App, arn: str) -> Mapping[str, str]:
    _, row = await _row(app, arn)
    return {} if row is None or row.tags is None else row.tags


async def _rotated_by(app: App, arn: str) -> Mapping[str, str]:
    _, row = await _row(app, arn)
    state = None if row is None else records.rotation(row)
    return {} if state is None else {"allowrotationlambdaarn": state.function}


async def _row(app: App, arn: str) -> tuple[Asked | None, Any]:
    """What an ARN names, and the secret, unless it is not one of a secret."""
    try:
        named = asked(arn, "", arn.split(":", 4)[3])
    except ResourceNotFoundException:
        return None, None
    return named, await app.store.read(records.find, named)
