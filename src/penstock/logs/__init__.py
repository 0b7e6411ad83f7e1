"""Log groups, streams and events (AWS CloudWatch Logs)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.blobs import backend_of
from penstock.component import Component, Guard, JobKind
from penstock.logs import (
    filter_rows,
    measured,
    packing,
    pages,
    querying,
    records,
    segment_records,
    sending,
    subscription_rows,
)
from penstock.logs.logstore import LogStore
from penstock.logs.operations import (
    events,
    groups,
    live_tail,
    metric_filters,
    queries,
    resource_policies,
    subscription_filters,
)
from penstock.pools import SEGMENTS
from penstock.wire.arns import parse_arn
from penstock.wire.identity import ResourcePolicy
from penstock.wire.profiles import ErrorProfile
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["component"]


def component(app: App) -> Component[LogStore]:
    """The operations of `logs`, on streams that lie below the data dir."""
    backend = backend_of(app.settings, "log-segments", connections=SEGMENTS.threads)
    packer = packing.Packer(app.store, app.sealer, backend)
    logs = LogStore(app.settings.data_dir / "log-events", app.store, packer)
    return Component(
        name="logs",
        state=logs,
        services=(Service(name="logs", profile=ErrorProfile(code="InvalidParameterException")),),
        operations=(groups, events, live_tail, metric_filters, resource_policies, subscription_filters, queries),
        guards=(
            Guard(
                service="logs",
                root=_root,
                policy=lambda _logs, root: _policies(app, root),
                keys={"aws:resourcetag/": lambda _logs, arn: _tags(app, arn)},
            ),
        ),
        jobs=(
            JobKind(kind=segment_records.PACK, run=packing.run, concurrency=1),
            JobKind(kind=filter_rows.MEASURE, run=functools.partial(measured.measure, app)),
            JobKind(
                kind=subscription_rows.SEND,
                run=functools.partial(sending.send, sending.Sender(app)),
                concurrency=sending.AT_ONCE,
            ),
            JobKind(
                kind=querying.QUERY,
                run=functools.partial(querying.run, querying.Querier(app)),
                max_attempts=querying.ATTEMPTS,
                concurrency=querying.AT_ONCE,
                on_dead=functools.partial(querying.give_up, app),
            ),
        ),
        pages=pages.PAGES,
        templates=Path(__file__).parent / "templates",
        readings=sending.READINGS,
        expiring=querying.EXPIRING,
        start=(
            logs.start,
            functools.partial(measured.resume, app, logs),
            functools.partial(sending.resume, app, logs),
        ),
        stop=(logs.stop,),
    )


def _root(arn: str) -> str:
    """The ARN of what has the policies for a group or stream: all of an account in a region."""
    parts = arn.split(":", 5)
    return ":".join([*parts[:5], "*"]) if len(parts) == 6 else arn


async def _policies(app: App, root: str) -> ResourcePolicy | None:
    """The resource policies of an account in a region."""
    named = parse_arn(root, "logs")
    if named is None:
        return None
    rows = await app.store.read(records.resource_policies_of, named.account, named.region)
    ids = {arn: id for row in rows for arn, id in row.ids.items()}
    return ResourcePolicy(account=named.account, documents=[row.document for row in rows], ids=ids)


async def _tags(app: App, arn: str) -> Mapping[str, str]:
    """Of a log group; its streams have those of the group."""
    named = parse_arn(arn, "logs")
    if named is None or not named.resource.startswith("log-group:"):
        return {}
    name = named.resource.split(":", 2)[1]
    row = await app.store.read(records.find_group, named.account, named.region, name)
    return {} if row is None else row.tags
