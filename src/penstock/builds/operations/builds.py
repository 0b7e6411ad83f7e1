"""StartBuild, StopBuild, RetryBuild, BatchGetBuilds, BatchDeleteBuilds, ListBuilds, ListBuildsForProject."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from penstock.builds import records
from penstock.builds.decisions import carry_out, decided, written
from penstock.builds.engine import BuildState, StopAsked, Submitted, decide
from penstock.builds.errors import AccountLimitExceededException, InvalidInputException, ResourceNotFoundException
from penstock.builds.model import Key, seconds, shown_build
from penstock.builds.operations import operations, page_after
from penstock.builds.operations.projects import check_role, plain_name, project_arn
from penstock.builds.projects import DEFAULT_QUEUED_TIMEOUT, DEFAULT_TIMEOUT, logs_of, with_overrides
from penstock.room import Call
from penstock.wire.arns import resource_here
from penstock.wire.call import Input, Output, PrincipalKind

_PAGE = 100
_TOKEN_MS = 300_000
_SHOWN = (
    "source",
    "secondarySources",
    "secondarySourceVersions",
    "sourceVersion",
    "cache",
    "environment",
    "serviceRole",
    "timeoutInMinutes",
    "queuedTimeoutInMinutes",
    "encryptionKey",
    "vpcConfig",
    "fileSystemLocations",
)


def plain_id(call: Call, id_: str) -> str:
    """A build's id, given by itself or as its ARN; any other ARN is left as it is, which is the id of no build."""
    kind, _, named = (resource_here(call, id_, "codebuild") or "").partition("/")
    return named if kind == "build" else id_


def _project_of(call: Call, id_: str) -> str:
    return plain_id(call, id_).rpartition(":")[0]


def _arn_of_build(call: Call, input: Input) -> str:
    return call.arn("codebuild", f"project/{_project_of(call, input.get('id', ''))}")


def _arns_of_builds(call: Call, input: Input) -> list[str]:
    return list(dict.fromkeys(call.arn("codebuild", f"project/{_project_of(call, id_)}") for id_ in input["ids"]))


def _initiator(call: Call, input: Mapping[str, Any]) -> str:
    context = input.get("pipelineContext")
    if context:
        return f"codepipeline/{context['pipelineName']}"
    if call.session.kind is PrincipalKind.ROLE:
        return call.session.arn.partition(":assumed-role/")[2]
    return call.session.arn.rpartition("/")[2] or call.account


# --- starting -----------------------------------------------------------------------------------------------------------


@operations.operation("StartBuild", resource=project_arn)
async def start_build(call: Call, input: Input) -> Output:
    """Start a build of a project, with its overrides."""
    name = plain_name(call, input["projectName"])
    project = await call.app.store.read(records.find_project, call.account, call.region, name)
    if project is None:
        raise ResourceNotFoundException(f"Project cannot be found: {call.arn('codebuild', f'project/{name}')}")
    made = with_overrides(project.document, input)
    context = input.get("pipelineContext")
    if context:
        _check_context(context, made)
    elif made["source"]["type"] == "CODEPIPELINE":
        raise InvalidInputException(
            "Build of a project with source type CODEPIPELINE can only be started by a pipeline"
        )
    if "serviceRoleOverride" in input:
        await check_role(call, input["serviceRoleOverride"], name)
    private = {
        "artifacts": made["artifacts"],
        "secondaryArtifacts": made.get("secondaryArtifacts", []),
        "logsConfig": made.get("logsConfig", {}),
    }
    if context:
        private["pipelineContext"] = context
    return {
        "build": await call.app.store.write(
            _started, call, input, made=made, private=private, initiator=_initiator(call, input)
        )
    }


def _check_context(context: Mapping[str, Any], made: Mapping[str, Any]) -> None:
    if made["source"]["type"] != "CODEPIPELINE":
        raise InvalidInputException("pipelineContext is only for projects with source type CODEPIPELINE")
    names = [artifact["name"] for artifact in context["inputArtifacts"]]
    if not names:
        raise InvalidInputException("A pipeline's build needs at least one input artifact")
    if context.get("primarySource") and context["primarySource"] not in names:
        raise InvalidInputException(f"The primary source {context['primarySource']} is not among the input artifacts")


def _started(
    conn: sa.Connection,
    call: Call,
    input: Input,
    *,
    made: Mapping[str, Any],
    private: Mapping[str, Any],
    initiator: str,
) -> dict[str, Any]:
    token = input.get("idempotencyToken")
    digest = hashlib.sha256(orjson.dumps(input, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()
    project = records.find_project(conn, call.account, call.region, made["name"], lock=True)
    if project is None:
        raise ResourceNotFoundException(f"Project cannot be found: {made['arn']}")
    if token:
        known = records.find_token(conn, call.account, call.region, call.operation, token)
        if known is not None and known.expires > call.now:
            if known.digest != digest:
                raise InvalidInputException("The idempotencyToken was used with other parameters")
            row = records.find_build(conn, call.account, call.region, known.build)
            if row is not None:
                return shown_build(row.document, BuildState.from_json(row.state))
    limit = made.get("concurrentBuildLimit")
    if limit is not None and records.running_builds(conn, call.account, call.region, made["name"]) >= limit:
        raise AccountLimitExceededException(f"Cannot have more than {limit} builds in queue for the project")
    number = project.number + 1
    key = Key(call.account, call.region, f"{made['name']}:{call.app.ids.uuid()}")
    document = _document(call, key, made=made, private=private, number=number, initiator=initiator)
    seed = call.app.ids.seed()
    submitted = Submitted(
        queued_timeout_ms=document["queuedTimeoutInMinutes"] * 60_000, timeout_ms=document["timeoutInMinutes"] * 60_000
    )
    state, effects = decide(BuildState(), submitted, call.now, seed)
    records.update_project(conn, call.account, call.region, made["name"], number=number)
    records.insert_build(
        conn,
        {
            "account": call.account,
            "region": call.region,
            "id": key.id,
            "project": made["name"],
            "number": number,
            "state": state.to_json(),
            "document": document,
            "private": private,
            "complete": False,
            "sequence": 1,
            "started": call.now,
            "node": "",
        },
    )
    if token:
        conn.execute(
            records.tokens.delete().where(
                records.tokens.c.account == call.account,
                records.tokens.c.region == call.region,
                records.tokens.c.operation == call.operation,
                records.tokens.c.token == token,
            )
        )
        records.put_token(
            conn,
            {
                "account": call.account,
                "region": call.region,
                "operation": call.operation,
                "token": token,
                "digest": digest,
                "build": key.id,
                "expires": call.now + _TOKEN_MS,
            },
            now=call.now,
        )
    written(conn, key, sequence=1, now=call.now, seed=seed, happening=submitted)
    for effect in effects:
        carry_out(conn, call.app, key, document=document, state=state, effect=effect)
    return shown_build(document, state)


def _document(
    call: Call, key: Key, *, made: Mapping[str, Any], private: Mapping[str, Any], number: int, initiator: str
) -> dict[str, Any]:
    context = private.get("pipelineContext")
    document: dict[str, Any] = {
        "id": key.id,
        "arn": call.arn("codebuild", f"build/{key.id}"),
        "buildNumber": number,
        "startTime": seconds(call.now),
        "projectName": made["name"],
        "initiator": initiator,
        "artifacts": _artifacts(made["artifacts"], call),
        "logs": logs_of(
            made,
            uuid=key.uuid,
            region=call.region,
            account=call.account,
            partition=call.partition,
            public_url=call.app.public_url,
        ),
    }
    document |= {member: made[member] for member in _SHOWN if member in made}
    document.setdefault("timeoutInMinutes", DEFAULT_TIMEOUT)
    document.setdefault("queuedTimeoutInMinutes", DEFAULT_QUEUED_TIMEOUT)
    if made.get("secondaryArtifacts"):
        document["secondaryArtifacts"] = [_artifacts(item, call) for item in made["secondaryArtifacts"]]
    if context:
        primary = context.get("primarySource") or context["inputArtifacts"][0]["name"]
        location = next(a["location"] for a in context["inputArtifacts"] if a["name"] == primary)
        document["sourceVersion"] = f"arn:{call.partition}:s3:::{location['bucket']}/{location['key']}"
        if context.get("encryptionKey"):
            document["encryptionKey"] = context["encryptionKey"]
    return document


def _artifacts(artifacts: Mapping[str, Any], call: Call) -> dict[str, Any]:
    shown: dict[str, Any] = {"location": ""}
    if artifacts["type"] == "S3":
        path = "/".join(p.strip("/") for p in (artifacts.get("path", ""), artifacts.get("name", "")) if p.strip("/"))
        bucket = artifacts["location"].removeprefix(f"arn:{call.partition}:s3:::")
        shown["location"] = f"arn:{call.partition}:s3:::{bucket}" + (f"/{path}" if path else "")
    for member in ("artifactIdentifier", "overrideArtifactName", "encryptionDisabled", "bucketOwnerAccess"):
        if member in artifacts:
            shown[member] = artifacts[member]
    return shown


@operations.operation(
    "RetryBuild",
    resource=_arn_of_build,
)
async def retry_build(call: Call, input: Input) -> Output:
    """Start a build again with all that the original was resolved to."""
    id_ = plain_id(call, input.get("id", ""))
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
    made = {member: row.document[member] for member in _SHOWN if member in row.document}
    made |= {"name": row.project, "arn": project.document["arn"], **row.private}
    made["concurrentBuildLimit"] = project.document.get("concurrentBuildLimit")
    return {
        "build": await call.app.store.write(
            _started, call, input, made=made, private=row.private, initiator=_initiator(call, {})
        )
    }


# --- stopping, deleting -----------------------------------------------------------------------------------------------


@operations.operation("StopBuild", resource=_arn_of_build)
async def stop_build(call: Call, input: Input) -> Output:
    """Ask a build to stop; one that is over is answered as it is."""
    id_ = plain_id(call, input["id"])

    def stop(conn: sa.Connection) -> dict[str, Any]:
        key = Key(call.account, call.region, id_)
        if decided(conn, call.app, key, [StopAsked()]) is None:
            raise ResourceNotFoundException(f"Build cannot be found: {id_}")
        row = records.find_build(conn, call.account, call.region, id_)
        assert row is not None
        return shown_build(row.document, BuildState.from_json(row.state))

    return {"build": await call.app.store.write(stop)}


@operations.operation("BatchDeleteBuilds", resource=_arns_of_builds)
async def batch_delete_builds(call: Call, input: Input) -> Output:
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
                records.delete_build(conn, call.account, call.region, id_)
                deleted.append(row.document["arn"])
        return {"buildsDeleted": deleted, "buildsNotDeleted": kept}

    return await call.app.store.write(delete)


# --- looking ----------------------------------------------------------------------------------------------------------


@operations.operation("BatchGetBuilds", resource=_arns_of_builds)
async def batch_get_builds(call: Call, input: Input) -> Output:
    """The builds of these ids (or ARNs), and the ids of those that do not exist."""
    given = list(dict.fromkeys(input["ids"]))
    rows = await call.app.store.read(
        records.find_builds, call.account, call.region, [plain_id(call, id_) for id_ in given]
    )
    by_id = {row.id: shown_build(row.document, BuildState.from_json(row.state)) for row in rows}
    return {
        "builds": [by_id[plain_id(call, id_)] for id_ in given if plain_id(call, id_) in by_id],
        "buildsNotFound": [id_ for id_ in given if plain_id(call, id_) not in by_id],
    }


@operations.operation("ListBuilds")
async def list_builds(call: Call, input: Input) -> Output:
    """Ids of builds, the newest first unless told otherwise."""
    rows = await _listed(call, input, None)
    output: Output = {"ids": [row.id for row in rows[:_PAGE]]}
    if len(rows) > _PAGE:
        last = rows[_PAGE - 1]
        output["nextToken"] = call.app.page_tokens.seal(call, input, [last.started, last.id])
    return output


@operations.operation("ListBuildsForProject", resource=project_arn)
async def list_builds_for_project(call: Call, input: Input) -> Output:
    """Ids of a project's builds by number, the newest first unless told otherwise."""
    name = plain_name(call, input["projectName"])
    if await call.app.store.read(records.find_project, call.account, call.region, name) is None:
        raise ResourceNotFoundException(resource=call.arn("codebuild", f"project/{name}"))
    rows = await _listed(call, input, name)
    output: Output = {"ids": [row.id for row in rows[:_PAGE]]}
    if len(rows) > _PAGE:
        output["nextToken"] = call.app.page_tokens.seal(call, input, [rows[_PAGE - 1].number])
    return output


async def _listed(call: Call, input: Input, project: str | None) -> list[sa.Row[Any]]:
    return await call.app.store.scan(
        records.list_builds,
        call.account,
        call.region,
        project=project,
        descending=input.get("sortOrder", "DESCENDING") == "DESCENDING",
        after=page_after(call, input),
        limit=_PAGE + 1,
    )
