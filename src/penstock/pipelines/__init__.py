"""Pipelines: declarations, the engine that runs them, what triggers them and the actions they take (CodePipeline)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.component import Component, Guard, JobKind, Subscription
from penstock.pipelines import changes, measures, offers, retention, work, worker_work
from penstock.pipelines.actions import built_in
from penstock.pipelines.aggregate import OBSERVE_JOB, OURS, START_JOB, STOP_JOB, TIMEOUT_JOB
from penstock.pipelines.events import EVENTS
from penstock.pipelines.history import find_journal
from penstock.pipelines.operations import (
    action_executions,
    action_types,
    approvals,
    custom_action_types,
    deploy_targets,
    descriptions,
    executions,
    explanations,
    figures,
    jobs,
    partner_types,
    pipelines,
    revisions,
    rule_types,
    state,
    tags,
    third_party_jobs,
    transitions,
    webhooks,
    worker_jobs,
)
from penstock.pipelines.pages import PAGE
from penstock.pipelines.service import PipelineService
from penstock.pipelines.traces import TRACER
from penstock.pipelines.webhook_endpoint import PREFIX, WebhookEndpoint
from penstock.wire.arns import parse_arn
from penstock.wire.profiles import ErrorProfile
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.pipelines.actions import Providers

__all__ = ["component", "service_of"]

# Runs are numbered per pipeline, an addition that clients without this model do not see.
_NUMBERED = {"members": {"executionNumber": {"shape": "PipelineVersion"}}}
_PATCH = {
    "shapes": {
        # The live service takes configuration values of up to 50,000 characters where its model says 1,000.
        "ActionConfigurationValue": {"max": 50_000},
        "PipelineExecution": _NUMBERED,
        "PipelineExecutionSummary": _NUMBERED,
    }
}


def service_of(providers: Providers) -> Service:
    """CodePipeline as the wire knows it: AWS's model and what mends it."""
    return Service(
        "codepipeline",
        patch=_PATCH,
        profile=ErrorProfile(prints_values=False),
        secrets=_secrets(providers),
        hides={
            "ActionDeclaration": _of_accounts_type,
            "JobData": _of_accounts_type,
            "ThirdPartyJobData": _of_accounts_type,
        },
    )


def component(app: App, providers: Providers | None = None) -> Component[PipelineService]:
    """CodePipeline, and the actions' operation of our own service; `providers` stands in for those in `actions/`."""
    service = PipelineService(app, providers or built_in())
    on_report, of_sources = service.providers.report_types(), service.providers.events_of_sources()
    return Component(
        name="pipelines",
        state=service,
        services=(service_of(service.providers),),
        operations=(
            pipelines,
            executions,
            explanations,
            figures,
            action_executions,
            state,
            approvals,
            transitions,
            webhooks,
            tags,
            action_types,
            rule_types,
            custom_action_types,
            deploy_targets,
            descriptions,
            jobs,
            worker_jobs,
            partner_types,
            third_party_jobs,
            revisions,
        ),
        jobs=(
            JobKind(kind=START_JOB, run=work.start, max_attempts=work.START_ATTEMPTS, on_dead=work.start_failed),
            JobKind(
                kind=work.LONG_START_JOB,
                run=work.start,
                max_attempts=work.START_ATTEMPTS,
                concurrency=work.LONG_STARTS,
                on_dead=work.start_failed,
            ),
            JobKind(kind=OBSERVE_JOB, run=work.observe, max_attempts=1_000),
            JobKind(kind=TIMEOUT_JOB, run=work.time_out),
            JobKind(kind=STOP_JOB, run=work.stop),
            JobKind(kind=offers.TIMEOUT_JOB, run=worker_work.time_out),
            JobKind(kind=retention.SWEEP_JOB, run=retention.sweep_all),
        ),
        events=EVENTS,
        readings=measures.READINGS,
        tracers=(TRACER,),
        pages=(PAGE,),
        templates=Path(__file__).parent / "templates",
        subscriptions=(
            Subscription(name="pipelines.actions", types=on_report, handle=work.on_report),
            Subscription(
                name="pipelines.sources",
                types=of_sources,
                handle=changes.start_watchers,
                concerns=partial(changes.concerns, service),
            ),
        ),
        guards=(Guard(service="codepipeline", keys={"aws:resourcetag/": _tags}),),
        mounts={PREFIX: WebhookEndpoint(service)},
        journals=(find_journal,),
        start=(partial(retention.begin, app),),
    )


def _of_accounts_type(value: Mapping[str, Any]) -> Collection[str]:
    """Which of its properties are secret stands in the database for an action type of an account, so that records show none of them."""
    type_id = value.get("actionTypeId")
    ours = isinstance(type_id, dict) and type_id.get("owner") == OURS
    return () if ours else ("configuration", "actionConfiguration")


async def _tags(service: PipelineService, arn: str) -> Mapping[str, str]:
    """Of a pipeline, whose stages and actions have them too, of a webhook or of an action type."""
    named = parse_arn(arn, "codepipeline")
    if named is None:
        return {}
    row = await service.app.store.read(tags.tagged, named.account, named.region, named.resource)
    return {} if row is None else row.tags


def _secrets(providers: Providers) -> set[str]:
    """What no record shows: the token with which somebody could approve, what starts a pipeline, variables of commands, and what providers call secret."""
    types = [*providers.types(), *providers.types(rules=True)]
    properties = {found.name for type_ in types for found in type_.properties if found.secret}
    maps = [f"{way}{what}ConfigurationMap" for what in ("Action", "Rule") for way in ("", "Resolved")]
    return {
        "PutApprovalResultInput$token",
        "EnvironmentVariable$value",
        "WebhookAuthConfiguration$SecretToken",
        "ListWebhookItem$url",
        "PutThirdPartyJobSuccessResultInput$clientToken",
        "PutThirdPartyJobFailureResultInput$clientToken",
        "GetThirdPartyJobDetailsInput$clientToken",
        "AcknowledgeThirdPartyJobInput$clientToken",
        *(f"{map_}${name}" for map_ in maps for name in properties),
    }
