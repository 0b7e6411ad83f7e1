"""Git hosting: repositories over smart HTTP, and the service that AWS calls CodeCommit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.component import Component, Guard, JobKind
from penstock.repositories import records
from penstock.repositories.addresses import PREFIX, signpost
from penstock.repositories.changes import TIDY, Changes
from penstock.repositories.events import EVENTS
from penstock.repositories.operations import branches, commits, repositories
from penstock.repositories.profile import PROFILE
from penstock.repositories.smart_http import GitServer
from penstock.wire.arns import parse_arn
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.store.jobs import Job

__all__ = ["component"]


async def _tidy(changes: Changes, job: Job) -> None:
    await changes.tidy(job.payload["repository"])


def component(app: App) -> Component[Changes]:
    """CodeCommit, the archive operation of our own service, and Git's endpoint."""
    changes = Changes(app)
    return Component(
        name="repositories",
        state=changes,
        services=(Service(name="codecommit", profile=PROFILE),),
        operations=(repositories, branches, commits),
        guards=(Guard(service="codecommit", keys={"aws:resourcetag/": lambda _changes, arn: _tags(app, arn)}),),
        jobs=(JobKind(kind=TIDY, run=_tidy, max_attempts=5, concurrency=1),),
        events=EVENTS,
        mounts={PREFIX: GitServer(app, changes)},
        signposts=(signpost(app),),
        # The repositories lie on the disk of the process that serves them.
        start=(changes.reconcile,) if app.settings.serves else (),
    )


async def _tags(app: App, arn: str) -> Mapping[str, str]:
    """Of a repository."""
    named = parse_arn(arn, "codecommit")
    row = named and await app.store.read(records.find, named.account, named.region, named.resource)
    return row.tags if row else {}
