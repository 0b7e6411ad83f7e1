"""Git hosting: repositories over smart HTTP, and the service that AWS calls CodeCommit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.component import Component, JobKind
from penstock.repositories.changes import TIDY, Changes
from penstock.repositories.events import EVENTS
from penstock.repositories.operations import branches, commits, repositories
from penstock.repositories.profile import PROFILE
from penstock.repositories.smart_http import PREFIX, GitServer
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
        jobs=(JobKind(kind=TIDY, run=_tidy, max_attempts=5, concurrency=1),),
        events=EVENTS,
        mounts={PREFIX: GitServer(app, changes)},
        # The repositories lie on the disk of the process that serves them.
        start=(changes.reconcile,) if app.settings.serves else (),
    )
