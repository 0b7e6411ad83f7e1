"""Notification rules: who is notified of what happens to a pipeline, a project, an application or a repository (AWS CodeStar Notifications)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.component import Component, Guard, JobKind, Subscription
from penstock.notifications import delivering, event_types, records, rule_rows
from penstock.notifications.operations import listing, rules, tags, targets
from penstock.notifications.pages import PAGES
from penstock.store.retention import Expiring
from penstock.wire.profiles import ErrorProfile
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["component"]

# Our tokens have a hyphen too, as base64 for addresses has.
_PATCH = {"shapes": {"NextToken": {"pattern": "^[\\w/+=-]+$"}}}
_AT_ONCE = 4  # topics that are published to at a time


def component(app: App) -> Component[App]:
    """CodeStar Notifications."""
    return Component(
        name="notifications",
        state=app,
        services=(Service("codestar-notifications", patch=_PATCH, profile=ErrorProfile(code="ValidationException")),),
        operations=(rules, listing, targets, tags),
        guards=(Guard(service="codestar-notifications", keys={"aws:resourcetag/": _tags}),),
        pages=PAGES,
        jobs=(JobKind(kind=delivering.DELIVER, run=delivering.deliver, concurrency=_AT_ONCE),),
        subscriptions=(
            Subscription(
                name="notifications.rules",
                types=event_types.EMITTED,
                handle=delivering.arrive,
                concerns=lambda conn, event: delivering.concerns(app, conn, event),
            ),
        ),
        expiring=(Expiring(table=records.tokens, over=lambda now: records.tokens.c.until <= now),),
    )


async def _tags(app: App, arn: str) -> Mapping[str, str]:
    row = await app.store.read(rule_rows.by_arn, arn)
    return {} if row is None else row.tags
