"""Deployments to fleets: the service that AWS calls CodeDeploy, and its commands to hosts."""

from __future__ import annotations

from pathlib import Path

from penstock.deployments import aggregates, progress, records, runs, work
from penstock.deployments.hostcommands import operations as hostcommands
from penstock.deployments.hostcommands.presence import Presence
from penstock.deployments.hostcommands.signer import Signer
from penstock.deployments.operations import (
    applications,
    configs,
    deployments,
    groups,
    hooklogs,
    hosts,
    instances,
    operations,
    revisions,
    signing,
    tags,
    targets,
)
from penstock.deployments.profile import PROFILE
from penstock.deployments.server.model import Timeouts
from penstock.room import App
from penstock.store.jobs import Job
from penstock.store.retention import Expiring
from penstock.wire.services import Service

__all__ = ["register"]

# What the minimum comes to on this deployment's hosts, an addition that AWS's clients do not know; and what our pipelines
# create deployments with, which is refused from anybody else.
_PATCH = {
    "shapes": {
        "CreateDeploymentInput": {
            "members": {"pipelineContext": {"shape": "PipelineContext", "reservedFor": "codepipeline.amazonaws.com"}}
        },
        "PipelineContext": {
            "type": "structure",
            "required": ["actionExecutionId"],
            "members": {
                "actionExecutionId": {"shape": "ContextValue"},
                "bundleSha256": {"shape": "ContextValue"},  # of the artifact as it was written
            },
        },
        "ContextValue": {"type": "string"},
        "HealthOverview": {
            "type": "structure",
            "members": {name: {"shape": "HealthCount"} for name in ("required", "healthy", "hosts")},
        },
        "HealthCount": {"type": "integer"},
        "DeploymentInfo": {"members": {"healthOverview": {"shape": "HealthOverview"}}},
    }
}

# Importing these modules is what fills the table of operations.
_FILLED = (applications, configs, deployments, groups, instances, revisions, tags, targets)


def register(app: App, *, timeouts: Timeouts | None = None) -> None:
    """Hand over the operations of `codedeploy` and `codedeploy-commands`, and the jobs behind them."""
    waits = timeouts or Timeouts()
    signer = Signer(app)
    presence = Presence(app.store, app.clock)
    app.services.add(Service(name="codedeploy", patch=_PATCH, profile=PROFILE))
    app.services.add(
        Service(
            name=hostcommands.SERVICE,
            model_path=Path(__file__).parent / "hostcommands" / "service-2.json",
            signing_names=("codedeploy-commands-secure",),
            target_prefixes=("CodeDeployCommandService", "ApolloDeployControlService_mock"),
        )
    )
    app.registry.add(operations)
    app.journals.append(runs.find_journal)
    app.registry.add(hostcommands.declare(app.store, presence, signer))
    app.registry.add(signing.declare(signer))
    app.registry.add(hooklogs.operations)
    app.registry.add(hosts.operations)
    kept = app.settings.keep_history_ms
    app.expiring += [
        Expiring(table=records.targets, over=lambda now: runs.expired_targets(now - kept)),
        Expiring(table=records.deployments, over=lambda now: runs.expired(now - kept)),
    ]

    @app.work.handler(aggregates.START)
    async def start(app: App, job: Job) -> None:
        await work.start(app, job, waits)

    @app.work.handler(aggregates.PROCEED)
    async def proceed(app: App, job: Job) -> None:
        await work.proceed(app, job)

    @app.work.handler(progress.WATCH)
    async def watch(app: App, job: Job) -> None:
        await work.watch(app, job)

    if app.settings.serves:
        app.on_start(presence.start)
        app.on_stop(presence.stop)
