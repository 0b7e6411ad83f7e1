"""Deployments to fleets: the service that AWS calls CodeDeploy, and its commands to hosts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from penstock.application import App
from penstock.component import Component, Guard, JobKind
from penstock.deployments import aggregates, alarms, progress, records, runs, triggers, work
from penstock.deployments.events import EVENTS
from penstock.deployments.hostcommands import operations as hostcommands
from penstock.deployments.operations import (
    applications,
    configs,
    deployments,
    groups,
    hooklogs,
    hosts,
    instances,
    revisions,
    signing,
    tags,
    targets,
)
from penstock.deployments.profile import PROFILE
from penstock.deployments.readings import READINGS
from penstock.deployments.server.model import Timeouts
from penstock.deployments.service import Deployments
from penstock.deployments.settings import DeploymentSettings
from penstock.deployments.traces import TRACER
from penstock.store.retention import Expiring
from penstock.wire.arns import parse_arn
from penstock.wire.services import Service

__all__ = ["SETTINGS", "component"]

SETTINGS = DeploymentSettings
_TRIGGERS = 4  # that publish at a time: a fleet's instances keep nothing else waiting

# What the minimum comes to on this deployment's hosts: an addition to the answers that AWS's clients do not know.
_PATCH = {
    "shapes": {
        "HealthOverview": {
            "type": "structure",
            "members": {name: {"shape": "HealthCount"} for name in ("required", "healthy", "hosts")},
        },
        "HealthCount": {"type": "integer"},
        "DeploymentInfo": {"members": {"healthOverview": {"shape": "HealthOverview"}}},
    }
}


def component(app: App, *, timeouts: Timeouts | None = None) -> Component[Deployments]:
    """CodeDeploy, the commands of hosts' agents, hosts and hook logs of our own service, and the jobs behind them."""
    state = Deployments(app, timeouts or Timeouts())
    kept = app.settings.keep_history_ms
    return Component(
        name="deployments",
        state=state,
        services=(
            Service(name="codedeploy", patch=_PATCH, profile=PROFILE),
            Service(
                name=hostcommands.SERVICE,
                model_path=Path(__file__).parent / "hostcommands" / "service-2.json",
                signing_names=("codedeploy-commands-secure",),
                target_prefixes=("CodeDeployCommandService", "ApolloDeployControlService_mock"),
            ),
        ),
        operations=(
            applications,
            configs,
            deployments,
            groups,
            hooklogs,
            hosts,
            instances,
            revisions,
            signing,
            tags,
            targets,
            hostcommands,
        ),
        jobs=(
            JobKind(kind=aggregates.START, run=work.start),
            JobKind(kind=aggregates.PROCEED, run=work.proceed),
            JobKind(kind=progress.WATCH, run=work.watch),
            JobKind(kind=alarms.ALARMS, run=alarms.look, max_attempts=1_000),
            JobKind(kind=aggregates.TRIGGER, run=triggers.publish, concurrency=_TRIGGERS),
        ),
        events=EVENTS,
        guards=(Guard(service="codedeploy", keys={"aws:resourcetag/": _tags}),),
        journals=(runs.find_journal,),
        readings=READINGS,
        tracers=(TRACER,),
        expiring=(
            Expiring(table=records.hook_logs, over=lambda now: runs.expired_logs(now - kept)),
            Expiring(table=records.targets, over=lambda now: runs.expired_targets(now - kept)),
            Expiring(table=records.deployments, over=lambda now: runs.expired(now - kept)),
            Expiring(table=records.revisions, over=lambda now: runs.expired_revisions(now - kept)),
        ),
        start=(state.presence.start,) if app.settings.serves else (),
        stop=(state.presence.stop,) if app.settings.serves else (),
    )


async def _tags(deployments: Deployments, arn: str) -> Mapping[str, str]:
    """Of an application, a group or a configuration."""
    named = parse_arn(arn, "codedeploy")
    if named is None:
        return {}
    found = await deployments.app.store.read(records.tagged, named.account, named.region, named.resource)
    return {} if found is None or found[1] is None else found[1].tags
