"""StartActionCommands, GetActionCommands, StopActionCommands: ours, for the actions and rules of pipelines that run commands without a project."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.builds import commands, records
from penstock.builds.aggregate import apply
from penstock.builds.engine import StopRequested
from penstock.builds.model import Key
from penstock.builds.operations import ours
from penstock.builds.pipeline import CommandsJob, commands_of
from penstock.builds.starting import submit
from penstock.builds.work import Builds
from penstock.wire.call import Input, Output, PrincipalKind
from penstock.wire.errors import AccessDenied
from penstock.wire.registry import Access


@ours("StartActionCommands", access=Access.AUTHENTICATED)
async def start_action_commands(state: Builds, call: Call, input: Input) -> Output:
    """Run the commands of the calling action, once. Its role needs no permission for that, as on AWS."""
    job = await commands_of(call)
    if job is None:
        raise _denied(call)
    return {"run": await call.app.store.write(_start, call, job)}


def _start(conn: sa.Connection, call: Call, job: CommandsJob) -> dict[str, Any]:
    key = _key(call, job.context["pipelineName"])
    row = records.find_build(conn, key.account, key.region, key.id, lock=True)
    if row is not None:
        return commands.to_api(row.document, records.state_of(row))
    private = {
        "artifacts": job.made["artifacts"],
        "secondaryArtifacts": [],
        "logsConfig": job.made["logsConfig"],
        "pipelineContext": job.context,
        "commands": job.kept,
    }
    build = submit(
        conn,
        call.app,
        key,
        number=records.newest_number(conn, key.account, key.region, job.name) + 1,
        now=call.now,
        made=job.made,
        private=private,
        initiator=f"codepipeline/{job.context['pipelineName']}",
        actor=call.session.arn,
        cause=call.request_id,
    )
    return commands.to_api(build.document, build.state)


@ours("GetActionCommands", access=Access.AUTHENTICATED)
async def get_action_commands(state: Builds, call: Call, input: Input) -> Output:
    """How the commands of the calling action stand."""
    row = await _own(call, input)
    return {"run": commands.to_api(row.document, records.state_of(row))}


@ours("StopActionCommands", access=Access.AUTHENTICATED)
async def stop_action_commands(state: Builds, call: Call, input: Input) -> None:
    """End the commands of the calling action; harmless when they have ended."""
    row = await _own(call, input)
    if not row.complete:
        key = _key(call, input["pipelineName"])
        await call.app.store.write(
            apply, call.app, key, [StopRequested()], actor=call.session.arn, cause=call.request_id
        )


async def _own(call: Call, input: Input) -> sa.Row[Any]:
    """The build of the calling action's commands. Raises AccessDenied unless an action that has one calls in process, under its role."""
    if call.via != "invoke" or call.session.kind is not PrincipalKind.ROLE:
        raise _denied(call)
    key = _key(call, input["pipelineName"])
    row = await call.app.store.read(records.find_build, key.account, key.region, key.id)
    if row is None or row.document["serviceRole"] != call.session.role_arn:
        raise _denied(call)
    return row


def _key(call: Call, pipeline: str) -> Key:
    return Key(call.account, call.region, f"{commands.name_for(pipeline)}:{_action(call)}")


def _action(call: Call) -> str:
    """The id of the action execution after which the session is named."""
    return call.session.principal_id.partition(":")[2]


def _denied(call: Call) -> AccessDenied:
    return AccessDenied(
        f"User: {call.session.arn} is not authorized to perform: penstock:{call.operation}. Only a running action of a pipeline "
        "has commands: use a CodeBuild project to run others."
    )
