"""Git hosting: repositories over smart HTTP, and the service that AWS calls CodeCommit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.repositories.changes import TIDY, Changes
from penstock.repositories.operations import branches, commits, operations, ours, repositories
from penstock.repositories.profile import PROFILE
from penstock.repositories.smart_http import PREFIX, GitServer
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.room import App
    from penstock.store.jobs import Job

__all__ = ["register"]

_DECLARED = (repositories, branches, commits)  # importing them fills the tables


def register(app: App) -> None:
    """Hand over CodeCommit, the archive operation of our own service, and Git's door."""
    changes = Changes(app)
    app.services.add(Service(name="codecommit", profile=PROFILE))
    app.registry.add(operations)
    app.registry.add(ours)
    app.mount(PREFIX, GitServer(app, changes))

    @app.work.handler(TIDY, max_attempts=5, concurrency=1)
    async def tidy(_app: App, job: Job) -> None:
        await changes.tidy(job.payload["repository"])

    if app.settings.serves:  # the repositories lie on the disk of the process that serves them
        app.on_start(changes.reconcile)
