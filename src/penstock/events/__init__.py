"""Rules that act on what happens (Amazon EventBridge)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import sqlalchemy as sa

from penstock.component import Component, Guard, JobKind, Subscription
from penstock.events import (
    archive_rows,
    archiving,
    arriving,
    authorizing,
    delivering,
    invoking,
    records,
    replaying,
    rule_pages,
    schedule_records,
    schedule_rows,
    scheduled_rules,
    scheduling,
    work,
)
from penstock.events.interest import RuleBook
from penstock.events.operations import (
    api_destinations,
    archives,
    buses,
    connections,
    entries,
    letters,
    patterns,
    replays,
    rules,
    schedule_groups,
    schedules,
    tags,
    targets,
)
from penstock.events.pages import PAGES
from penstock.store.retention import Expiring
from penstock.wire.arns import parse_arn
from penstock.wire.identity import ResourcePolicy
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["component"]

_AT_ONCE = 16  # targets that are asked at a time
_OUTSIDE = 64  # over a network, and waited for
_DAY_MS = 86_400_000
_KEPT_REPLAYS_DAYS = 90  # (AWS: replays are deleted 90 days after their end)


def component(app: App) -> Component[RuleBook]:
    """EventBridge."""
    book = RuleBook(app)
    waiting = records.deliveries
    return Component(
        name="events",
        state=book,
        services=(
            Service("events"),
            # An input may bear whatever the operation that it is for takes.
            Service("scheduler", secrets=("Target$Input",)),
        ),
        operations=(
            buses,
            rules,
            targets,
            tags,
            entries,
            patterns,
            letters,
            connections,
            api_destinations,
            archives,
            replays,
            schedules,
            schedule_groups,
        ),
        jobs=(
            JobKind(kind=arriving.DELIVER, run=delivering.deliver, concurrency=_AT_ONCE),
            JobKind(kind=delivering.DELIVER_ALONE, run=delivering.deliver_alone, concurrency=_AT_ONCE),
            JobKind(kind=arriving.DELIVER_OUTSIDE, run=delivering.deliver, concurrency=_OUTSIDE),
            JobKind(kind=delivering.DELIVER_OUTSIDE_ALONE, run=delivering.deliver_alone, concurrency=_AT_ONCE),
            JobKind(kind=archiving.PACK, run=archiving.pack_together, concurrency=1),
            JobKind(kind=replaying.REPLAY, run=replaying.replay, concurrency=2),
            JobKind(kind=authorizing.AUTHORIZE, run=authorizing.authorize, concurrency=_AT_ONCE),
            JobKind(kind=scheduled_rules.FIRE, run=scheduled_rules.fire),
            JobKind(kind=scheduling.FIRE, run=scheduling.fire),
            JobKind(kind=scheduling.INVOKE, run=invoking.invoke, concurrency=_AT_ONCE),
            JobKind(kind=scheduling.EMPTY_GROUP, run=scheduling.empty_group),
        ),
        subscriptions=(
            Subscription(name="events.rules", types=work.TYPES, handle=work.arrive, concerns=book.concerns),
        ),
        pages=(*PAGES, *rule_pages.PAGES),
        guards=(
            Guard(
                service="events",
                policy=lambda book, arn: _policy(book.app, arn),
                keys={"aws:resourcetag/": lambda book, arn: _tags(book.app, arn)},
            ),
            Guard(service="scheduler", keys={"aws:resourcetag/": lambda book, arn: _tags_of_group(book.app, arn)}),
        ),
        expiring=(
            Expiring(
                table=records.dead_letters,
                over=lambda now: records.dead_letters.c.at < now - app.settings.keep_dead_letters_ms,
            ),
            Expiring(table=records.archived, over=archive_rows.over),
            Expiring(
                table=records.replays, over=lambda now: records.replays.c.ended < now - _KEPT_REPLAYS_DAYS * _DAY_MS
            ),
            Expiring(
                table=schedule_records.invocations,
                over=lambda _now: (
                    (schedule_records.invocations.c.state == "dead")
                    & ~sa.exists().where(records.dead_letters.c.id == schedule_records.invocations.c.id)
                ),
            ),
            Expiring(
                table=schedule_records.tokens,
                over=lambda now: schedule_records.tokens.c.at < now - schedules.TOKEN_MS,
            ),
            Expiring(table=records.causes, over=lambda now: records.causes.c.at < now - 7 * _DAY_MS),
            Expiring(
                table=records.envelopes,
                over=lambda now: (
                    (records.envelopes.c.at < now - _DAY_MS)
                    & ~sa.exists().where(waiting.c.event == records.envelopes.c.id)
                ),
            ),
        ),
    )


async def _policy(app: App, arn: str) -> ResourcePolicy | None:
    """The policy of a bus, or of the bus of a rule."""
    named = parse_arn(arn, "events")
    found = None if named is None else tags.tagged(named.resource)
    if named is None or found is None:
        return None
    row = await app.store.read(records.bus, (named.account, named.region), found.bus)
    if row is None or row.policy is None:
        return ResourcePolicy(account=named.account)
    return ResourcePolicy(account=named.account, documents=(row.policy,), ids=row.policy_ids)


async def _tags(app: App, arn: str) -> Mapping[str, str]:
    named = parse_arn(arn, "events")
    found = None if named is None else tags.tagged(named.resource)
    if named is None or found is None:
        return {}
    return await app.store.read(tags.tags_of, (named.account, named.region), found) or {}


async def _tags_of_group(app: App, arn: str) -> Mapping[str, str]:
    named = parse_arn(arn, "scheduler")
    kind, _, name = ("", "", "") if named is None else named.resource.partition("/")
    if named is None or kind != "schedule-group":
        return {}
    row = await app.store.read(schedule_rows.group, (named.account, named.region), name)
    return {} if row is None else row.tags
