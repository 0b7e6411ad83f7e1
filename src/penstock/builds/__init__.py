"""Builds: projects, buildspecs, the supervisor and its runtimes (AWS CodeBuild)."""

from __future__ import annotations

from penstock.builds import records
from penstock.builds.aggregate import find_journal
from penstock.builds.operations import builds, operations, projects
from penstock.builds.patch import PATCH
from penstock.builds.work import register_work
from penstock.room import App
from penstock.store.retention import Expiring
from penstock.wire.profiles import ErrorProfile
from penstock.wire.services import Service

__all__ = ["register"]

# Importing these modules is what fills the table of operations.
_FILLED = (builds, projects)


def register(app: App) -> None:
    """Hand over the operations of `codebuild` and the jobs behind them."""
    app.services.add(Service(name="codebuild", patch=PATCH, profile=ErrorProfile(code="InvalidInputException")))
    app.registry.add(operations)
    register_work(app)
    app.journals.append(find_journal)
    kept = app.settings.keep_history_ms
    app.expiring += [
        Expiring(table=records.builds, over=lambda now: records.expired_builds(now - kept)),
        Expiring(table=records.tokens, over=lambda now: records.tokens.c.expires <= now),
    ]
