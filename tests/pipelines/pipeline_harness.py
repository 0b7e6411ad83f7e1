"""A harness with only pipelines in it: real wire layer, store, jobs and events; identity and the other services are scripted."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import penstock.pipelines.records  # noqa: F401 - its tables are in every database of these tests
from penstock import pipelines
from penstock.app import compose
from penstock.application import Settings
from penstock.component import Component
from penstock.fleet import MODEL
from penstock.pipelines.actions import Providers, built_in
from penstock.pipelines.actions.provider import Provider, Succeeded
from penstock.pipelines.model import ActionType, ActionTypeId, Property
from penstock.repositories import events as repositories
from penstock.store.catalogue import EventType
from penstock.wire.call import PrincipalKind, Session
from penstock.wire.errors import AccessDenied
from penstock.wire.services import Service

ACCOUNT = "111111111111"
REGION = "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/pipeline"
ADMIN = Session(account=ACCOUNT, kind=PrincipalKind.USER, arn=f"arn:aws:iam::{ACCOUNT}:user/admin", principal_id="AIDA")
DEADLINE = 60
DONE = EventType(name="scripted.done", description="What an action started has ended.", aggregate="scripted")


class Scripted(Provider):
    """Answers what the test says; success otherwise."""

    types = tuple(
        ActionType(
            id=ActionTypeId(category=category, owner="AWS", provider="Scripted"),
            properties=(
                Property(name="Say", description="Anything"),
                Property(name="Colour", description="One", values=("red",)),
            ),
            inputs=(0, 5),
            outputs=(0, 5),
            works_on="scripted:thing",
        )
        for category in ("Source", "Build", "Deploy", "Rule")
    )
    reports = {"scripted.done": lambda payload: payload["id"]}

    def __init__(self):
        self.answers = {}
        self.started = []
        self.stopped = []
        self.seen = {}

    def _answer(self, action, moment):
        answer = self.answers.get((action.name, moment))
        if callable(answer):
            answer = answer(action)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def start(self, action):
        self.started.append(action)
        return self._answer(action, "start") or Succeeded(outputs=action.outputs)

    async def observe(self, action):
        return self._answer(action, "observe")

    async def stop(self, action):
        self.stopped.append(action.external_id)


class Permissive:
    """Every role exists and trusts, unless it is in `refused`; everyone may do everything but `denied`."""

    def __init__(self):
        self.refused = set()
        self.denied = set()
        self.assumed = []
        self.groups = {}  # ARN of a user → of its groups

    async def assume(self, *, role_arn, service, session_name, region, account, source_arn, policy=""):
        assert source_arn.startswith(f"arn:aws:codepipeline:{region}:{account}:")
        if role_arn in self.refused or f":{account}:" not in role_arn:
            raise AccessDenied("no")
        self.assumed.append((role_arn, service, session_name))
        arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role_arn.rpartition('/')[2]}/{session_name}"
        return Session(account=ACCOUNT, kind=PrincipalKind.ROLE, arn=arn, principal_id="AROA", role_arn=role_arn), {}

    async def principals(self, session):
        return (session.role_arn or session.arn, *self.groups.get(session.arn, ()))

    def used(self, session, service, region):
        pass

    async def pass_role(self, call, role_arn, *, source_arn, across=False):
        await self.authorize(call, "iam:PassRole", [role_arn])

    async def authorize(self, call, action, resources):
        for resource in resources:
            if (action, resource) in self.denied or action in self.denied:
                raise AccessDenied(
                    f"User: {call.session.arn} is not authorized to perform: {action} on resource: {resource}"
                )


class Harness:
    def __init__(self, app, scripted, identity, service):
        self.app = app
        self.service = service
        self.scripted = scripted
        self.identity = identity

    async def __call__(self, operation, _session=ADMIN, **input):
        return await self.app.invoke(_session, "codepipeline", operation, input, region=REGION)

    async def create(self, *stages, name="demo", **more):
        return await self("CreatePipeline", pipeline=declared(*stages, name=name, **more))

    async def until(self, condition):
        """Wait until an asynchronous condition holds: looked at after every event."""
        async with self.app.events.tap() as queue, asyncio.timeout(DEADLINE):
            while not (value := await condition()):
                try:
                    await asyncio.wait_for(queue.get(), 0.05)
                except TimeoutError:
                    continue
            return value

    async def status(self, execution, name="demo"):
        got = await self("GetPipelineExecution", pipelineName=name, pipelineExecutionId=execution)
        return got["pipelineExecution"]["status"]

    async def ended(self, execution, name="demo"):
        """The status of an execution once it has ended."""

        async def found_now():
            status = await self.status(execution, name)
            return status if status not in ("InProgress", "Stopping") else None

        return await self.until(found_now)

    async def first(self, name="demo"):
        """The id of the first execution."""
        listed = await self("ListPipelineExecutions", pipelineName=name)
        return listed["pipelineExecutionSummaries"][-1]["pipelineExecutionId"]

    async def open_approval(self, stage="Gate", action="ok", name="demo"):
        """The token of the open approval."""

        async def found_now():
            state = await self("GetPipelineState", name=name)
            for found in state["stageStates"]:
                for a in found["actionStates"]:
                    if (found["stageName"], a["actionName"]) == (stage, action):
                        return a.get("latestExecution", {}).get("token")
            return None

        return await self.until(found_now)


def action(name, category="Build", provider="Scripted", **more):
    return {
        "name": name,
        "actionTypeId": {"category": category, "owner": "AWS", "provider": provider, "version": "1"},
        **more,
    }


def approval(name="ok", **more):
    return action(name, "Approval", "Manual", **more)


def stage(name, *actions, **more):
    return {"name": name, "actions": list(actions), **more}


SOURCE = stage("Source", action("pull", "Source", outputArtifacts=[{"name": "App"}], namespace="src"))
BUILD = stage("Build", action("compile", inputArtifacts=[{"name": "App"}], outputArtifacts=[{"name": "Built"}]))


def declared(*stages, name="demo", **more):
    return {
        "name": name,
        "roleArn": ROLE,
        "artifactStore": {"type": "S3", "location": "artifacts"},
        "stages": list(stages) or [SOURCE, BUILD],
        **more,
    }


@asynccontextmanager
async def harness(store, clock, folder: Path, *, works=True, lease_ms=30_000):
    settings = Settings(
        data_dir=folder,
        master_key_file=folder / "master.key",
        regions=("eu-west-1",),
        workers=4,
        lease_ms=lease_ms,
    )
    scripted, identity = Scripted(), Permissive()
    providers, ours = Providers({**built_in().by_name, "scripted": scripted}), []
    components = (
        lambda _app: Component(
            name="identity",
            state=None,
            identity=identity,
            services=(Service("penstock", model_path=MODEL),),
            events=(DONE, *repositories.EVENTS),
        ),
        lambda app: ours.append(pipelines.component(app, providers)) or ours[0],
    )
    async with compose(settings, components=components, store=store, clock=clock) as app:
        if works:
            await app.events.start()
            await app.work.start(app)
        try:
            yield Harness(app, scripted, identity, ours[0].state)
        finally:
            if works:
                await app.events.stop()
                await app.work.stop(1)
