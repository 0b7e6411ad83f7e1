"""StartBuild, StopBuild, RetryBuild, BatchGetBuilds, BatchDeleteBuilds, ListBuilds, ListBuildsForProject."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from penstock.application import Call
from penstock.builds import records, views
from penstock.builds.aggregate import apply
from penstock.builds.commands import is_name
from penstock.builds.engine import StopRequested
from penstock.builds.errors import InvalidInputException, ResourceNotFoundException
from penstock.builds.model import Key
from penstock.builds.operations import PAGES, operation
from penstock.builds.operations.projects import check_role, plain_name, project_arn
from penstock.builds.pipeline import context_of
from penstock.builds.projects import with_overrides
from penstock.builds.starting import begin, build_id, made_again
from penstock.builds.work import Builds
from penstock.store import journal
from penstock.wire.arns import resource_here
from penstock.wire.call import Input, Output, PrincipalKind

_PAGE = 100
_TOKEN_MS = 300_000
_STOP_S = 3.0  # until a stop is answered though the build has not ended; AWS's answers show it stopped
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{1,254}:[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


def plain_id(call: Call, id_: str) -> str:
    """A build's id, given by itself or as its ARN; any other ARN is left as it is, which is the id of no build."""
    kind, _, named = (resource_here(call, id_, "codebuild") or "").partition("/")
    return named if kind == "build" else id_


def _checked_id(call: Call, given: str) -> str:
    """A build's id. Raises InvalidInputException for what is not one."""
    id_ = plain_id(call, given)
    if not _ID.match(id_):
        raise InvalidInputException(f"Invalid build ID: {given[:200]}. It has the form project:uuid")
    return id_


def _project_of(call: Call, id_: str) -> str:
    return plain_id(call, id_).rpartition(":")[0]


def _arn_of_build(call: Call, input: Input) -> str:
    return call.arn("codebuild", f"project/{_project_of(call, input.get('id', ''))}")


def _arns_of_builds(call: Call, input: Input) -> list[str]:
    return list(dict.fromkeys(call.arn("codebuild", f"project/{_project_of(call, id_)}") for id_ in input["ids"]))


def _initiator(call: Call) -> str:
    if call.session.kind is PrincipalKind.ROLE:
        return call.session.arn.partition(":assumed-role/")[2]
    return call.session.arn.rpartition("/")[2] or call.account


# --- starting -----------------------------------------------------------------------------------------------------------


@operation("StartBuild", resource=project_arn)
async def start_build(state: Builds, call: Call, input: Input) -> Output:
    """Start a build of a project, with its overrides."""
    name = plain_name(call, input["projectName"])
    project = await call.app.store.read(records.find_project, call.account, call.region, name)
    if project is None:
        raise ResourceNotFoundException(f"Project cannot be found: {call.arn('codebuild', f'project/{name}')}")
    made = with_overrides(project.document, input)
    context: dict[str, Any] = {}
    if made["source"]["type"] == "CODEPIPELINE":
        context = await context_of(call, input, project_arn(call, input))
    if "serviceRoleOverride" in input:
        await check_role(call, input["serviceRoleOverride"], name)
    private = {
        "artifacts": made["artifacts"],
        "secondaryArtifacts": made.get("secondaryArtifacts", []),
        "logsConfig": made.get("logsConfig", {}),
        "debugSessionEnabled": input.get("debugSessionEnabled", False),
    }
    if context:
        private["pipelineContext"] = context
    initiator = f"codepipeline/{context['pipelineName']}" if context else _initiator(call)
    return {"build": await call.app.store.write(_start, call, input, made=made, private=private, initiator=initiator)}


def _start(
    conn: sa.Connection,
    call: Call,
    input: Input,
    *,
    made: Mapping[str, Any],
    private: Mapping[str, Any],
    initiator: str,
) -> dict[str, Any]:
    context = private.get("pipelineContext")
    # A pipeline's action has one build for good: its id is the build's, while a caller's token is good for minutes.
    token = None if context else input.get("idempotencyToken")
    digest = hashlib.sha256(orjson.dumps(input, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()
    project = records.find_project(conn, call.account, call.region, made["name"], lock=True)
    if project is None:
        raise ResourceNotFoundException(f"Project cannot be found: {made['arn']}")
    if context:
        row = records.find_build(conn, call.account, call.region, build_id(project, context))
        if row is not None:
            return views.to_api(row.document, records.state_of(row))
    if token:
        known = records.find_token(conn, call.account, call.region, call.operation, token)
        if known is not None and known.expires > call.now:
            if known.digest != digest:
                raise InvalidInputException("The idempotencyToken was used with other parameters")
            row = records.find_build(conn, call.account, call.region, known.build)
            if row is not None:
                return views.to_api(row.document, records.state_of(row))
    build = begin(
        conn,
        call.app,
        account=call.account,
        region=call.region,
        now=call.now,
        project=project,
        made=made,
        private=private,
        initiator=initiator,
        actor=call.session.arn,
        cause=call.request_id,
    )
    if token:
        records.put_token(
            conn,
            {
                "account": call.account,
                "region": call.region,
                "operation": call.operation,
                "token": token,
                "digest": digest,
                "build": build.key.id,
                "expires": call.now + _TOKEN_MS,
            },
            now=call.now,
        )
    return views.to_api(build.document, build.state)


@operation(
    "RetryBuild",
    resource=_arn_of_build,
)
async def retry_build(state: Builds, call: Call, input: Input) -> Output:
    """Start a build again with all that the original was resolved to."""
    id_ = _checked_id(call, input.get("id", ""))
    row = await call.app.store.read(records.find_build, call.account, call.region, id_)
    if row is None:
        raise ResourceNotFoundException(f"Build cannot be found: {id_}")
    if not row.complete:
        raise InvalidInputException(f"Build {id_} is in progress: only a build that is over can be retried")
    if "pipelineContext" in row.private:
        raise InvalidInputException("A build that a pipeline started is retried by its pipeline")
    project = await call.app.store.read(records.find_project, call.account, call.region, row.project)
    if project is None:
        raise ResourceNotFoundException(f"Project cannot be found: {row.project}")
    if row.document["serviceRole"] != project.document["serviceRole"]:
        # The first build's caller was asked for the role; this one hands it over again.
        await check_role(call, row.document["serviceRole"], row.project)
    return {
        "build": await call.app.store.write(
            _start, call, input, made=made_again(row, project), private=row.private, initiator=_initiator(call)
        )
    }


# --- stopping, deleting -----------------------------------------------------------------------------------------------


@operation("StopBuild", resource=_arn_of_build)
async def stop_build(state: Builds, call: Call, input: Input) -> Output:
    """Stop a build, and answer when it has stopped; one that is over is answered as it is.

    A build whose worker does not answer in time is answered as it is then, to be stopped all the same.
    """
    key = Key(call.account, call.region, _checked_id(call, input["id"]))
    wakeup = call.app.store.wakeup(key.topic)
    stopped = await call.app.store.write(
        apply, call.app, key, [StopRequested()], actor=call.session.arn, cause=call.request_id
    )
    if stopped is None:
        raise ResourceNotFoundException(f"Build cannot be found: {key.id}")
    loop = asyncio.get_running_loop()
    until = loop.time() + _STOP_S
    while True:
        row = await call.app.store.read(records.find_build, call.account, call.region, key.id)
        if row is None:
            raise ResourceNotFoundException(f"Build cannot be found: {key.id}")
        if row.complete or loop.time() >= until:
            return {"build": views.to_api(row.document, records.state_of(row))}
        await wakeup.wait(min(until - loop.time(), call.app.settings.poll_seconds))


@operation("BatchDeleteBuilds", resource=_arns_of_builds)
async def batch_delete_builds(state: Builds, call: Call, input: Input) -> Output:
    """Forget builds that are over; those that run, or are not there, are answered with why."""

    def delete(conn: sa.Connection) -> Output:
        deleted: list[str] = []
        kept: list[dict[str, str]] = []
        for given in dict.fromkeys(input["ids"]):
            id_ = plain_id(call, given)
            row = records.find_build(conn, call.account, call.region, id_, lock=True)
            if row is None:
                kept.append({"id": given, "statusCode": "BUILD_NOT_FOUND"})
            elif not row.complete:
                kept.append({"id": given, "statusCode": "BUILD_IN_PROGRESS"})
            else:
                key, arn = Key(call.account, call.region, id_), row.document["arn"]
                journal.remember(conn, key.aggregate, account=key.account, region=key.region, arn=arn, names=(id_,))
                records.delete_build(conn, call.account, call.region, id_)
                deleted.append(arn)
        return {"buildsDeleted": deleted, "buildsNotDeleted": kept}

    return await call.app.store.write(delete)


# --- lookups ----------------------------------------------------------------------------------------------------------


@operation("BatchGetBuilds", resource=_arns_of_builds)
async def batch_get_builds(state: Builds, call: Call, input: Input) -> Output:
    """The builds of these ids (or ARNs), and the ids of those that do not exist."""
    given = list(dict.fromkeys(input["ids"]))
    rows = await call.app.store.read(
        records.find_builds, call.account, call.region, [plain_id(call, id_) for id_ in given]
    )
    by_id = {row.id: views.to_api(row.document, records.state_of(row)) for row in rows}
    return {
        "builds": [by_id[plain_id(call, id_)] for id_ in given if plain_id(call, id_) in by_id],
        "buildsNotFound": [id_ for id_ in given if plain_id(call, id_) not in by_id],
    }


@operation("ListBuilds")
async def list_builds(state: Builds, call: Call, input: Input) -> Output:
    """Ids of builds, the newest first unless told otherwise."""
    rows = await _list(call, input, None)
    page = PAGES.page(call, input, rows, limit=_PAGE, keyset=lambda row: [row.started, row.id])
    return {"ids": [row.id for row in page.rows], **page.more}


@operation("ListBuildsForProject", resource=project_arn)
async def list_builds_for_project(state: Builds, call: Call, input: Input) -> Output:
    """Ids of a project's builds by number, the newest first unless told otherwise."""
    name = plain_name(call, input["projectName"])
    known = await call.app.store.read(records.find_project, call.account, call.region, name) is not None
    rows = await _list(call, input, name)
    if not known and not (rows and is_name(name)):
        raise ResourceNotFoundException(resource=call.arn("codebuild", f"project/{name}"))
    page = PAGES.page(call, input, rows, limit=_PAGE, keyset=lambda row: [row.number])
    return {"ids": [row.id for row in page.rows], **page.more}


async def _list(call: Call, input: Input, project: str | None) -> list[sa.Row[Any]]:
    return await call.app.store.scan(
        records.list_builds,
        call.account,
        call.region,
        project=project,
        descending=input.get("sortOrder", "DESCENDING") == "DESCENDING",
        after=PAGES.after(call, input),
        limit=_PAGE + 1,
    )
