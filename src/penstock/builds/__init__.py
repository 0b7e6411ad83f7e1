"""Builds: projects, buildspecs, the supervisor and its runtimes (AWS CodeBuild)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.builds import aggregate, records, work
from penstock.builds.events import EVENTS
from penstock.builds.operations import action_commands, builds, projects
from penstock.builds.readings import READINGS
from penstock.builds.settings import BuildSettings
from penstock.builds.traces import TRACER
from penstock.builds.work import Builds
from penstock.component import Component, Guard, JobKind, Subscription
from penstock.store.retention import Expiring
from penstock.wire.arns import parse_arn
from penstock.wire.profiles import ErrorProfile
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["SETTINGS", "component"]

SETTINGS = BuildSettings

# Which version of an object an artifact is, beside AWS's digests: an addition to the answers.
# Values of a build's environment are often secrets, whatever their type says; records show the names.
_SECRETS = ("EnvironmentVariable$value",)
_PATCH = {"shapes": {"BuildArtifacts": {"members": {"versionId": {"shape": "String"}, "eTag": {"shape": "String"}}}}}


def component(app: App) -> Component[Builds]:
    """The operations of `codebuild`, and the jobs that run builds."""
    state = Builds(app)
    kept = app.settings.keep_history_ms
    return Component(
        name="builds",
        state=state,
        services=(
            Service(
                name="codebuild", patch=_PATCH, profile=ErrorProfile(code="InvalidInputException"), secrets=_SECRETS
            ),
        ),
        operations=(action_commands, builds, projects),
        jobs=(
            JobKind(
                kind=aggregate.RUN,
                run=work.run,
                concurrency=state.settings.at_once,
                max_attempts=work.ATTEMPTS,
                on_dead=work.give_up,
            ),
            JobKind(kind=aggregate.QUEUED, run=work.end_waiting),
            JobKind(kind=aggregate.RETRY, run=work.retry),
        ),
        events=EVENTS,
        subscriptions=(
            Subscription(
                name="builds.ended_actions",
                types=("codepipeline.action.state_changed", "codepipeline.execution.state_changed"),
                handle=work.end_commands,
                concerns=work.concerns,
            ),
        ),
        guards=(Guard(service="codebuild", keys={"aws:resourcetag/": _tags}),),
        journals=(aggregate.find_journal,),
        readings=READINGS,
        tracers=(TRACER,),
        expiring=(
            Expiring(table=records.builds, over=lambda now: records.expired_builds(now - kept)),
            Expiring(table=records.tokens, over=lambda now: records.tokens.c.expires <= now),
        ),
        start=(state.prepare,) if app.settings.works else (),
        stop=(state.drain,) if app.settings.works else (),
    )


async def _tags(builds: Builds, arn: str) -> Mapping[str, str]:
    """Of a project."""
    named = parse_arn(arn, "codebuild")
    if named is None or not named.resource.startswith("project/"):
        return {}
    name = named.resource.removeprefix("project/")
    row = await builds.app.store.read(records.find_project, named.account, named.region, name)
    return {} if row is None else {tag["key"]: tag["value"] for tag in row.document.get("tags", ())}
