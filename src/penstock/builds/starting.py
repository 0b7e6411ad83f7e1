"""A build's beginning: what StartBuild, RetryBuild and an automatic retry make of a project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import App
from penstock.builds import records
from penstock.builds.aggregate import Build
from penstock.builds.engine import Submitted
from penstock.builds.errors import AccountLimitExceededException
from penstock.builds.model import Key
from penstock.builds.projects import DEFAULT_QUEUED_TIMEOUT, DEFAULT_TIMEOUT, logs_of
from penstock.wire.call import partition_of

_RESOLVED = (
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
"""Members of a project, with a start's overrides, that its build shows."""


def begin(
    conn: sa.Connection,
    app: App,
    *,
    account: str,
    region: str,
    now: int,
    project: sa.Row[Any],
    made: Mapping[str, Any],
    private: Mapping[str, Any],
    initiator: str,
    retried: Mapping[str, Any] | None = None,
    actor: str = "",
    cause: str = "",
) -> Build:
    """Transaction: submit a build of a locked project. Raises AccountLimitExceededException.

    `made` is the project as this build's, `private` what its run needs and the API does not show, `retried` the document of
    the build that it repeats by itself. `actor` and `cause` as for `Aggregate.apply`.
    """
    limit = made.get("concurrentBuildLimit")
    if limit is not None and records.running_builds(conn, account, region, project.name) >= limit:
        raise AccountLimitExceededException(f"Cannot have more than {limit} builds in queue for the project")
    number = project.number + 1
    context = private.get("pipelineContext")
    key = Key(account, region, build_id(project, context) if context else f"{project.name}:{app.ids.uuid()}")
    records.update_project(conn, account, region, project.name, number=number)
    return submit(
        conn,
        app,
        key,
        number=number,
        now=now,
        made=made,
        private=private,
        initiator=initiator,
        retried=retried,
        actor=actor,
        cause=cause,
    )


def submit(
    conn: sa.Connection,
    app: App,
    key: Key,
    *,
    number: int,
    now: int,
    made: Mapping[str, Any],
    private: Mapping[str, Any],
    initiator: str,
    retried: Mapping[str, Any] | None = None,
    actor: str = "",
    cause: str = "",
) -> Build:
    """Transaction: submit a build of that key and number, which has no project where `made` is none's. The rest as for `begin`."""
    document = _document(app, key, made=made, private=private, number=number, initiator=initiator)
    if "pipelineContext" not in private and made.get("autoRetryLimit"):
        document["autoRetryConfig"] = _auto_retry(made["autoRetryLimit"], retried)
    config = document.get("autoRetryConfig", {"autoRetryLimit": 0, "autoRetryNumber": 0})
    submitted = Submitted(
        queued_timeout_ms=document["queuedTimeoutInMinutes"] * 60_000,
        timeout_ms=document["timeoutInMinutes"] * 60_000,
        retries=max(0, config["autoRetryLimit"] - config["autoRetryNumber"]),
    )
    columns = {"project": made["name"], "number": number, "private": private, "started": now}
    with Build.create(conn, key, document=document, columns=columns) as build:
        build.apply(submitted, now=now, seed=app.ids.seed(), actor=actor, cause=cause)
    return build


def build_id(project: sa.Row[Any], context: Mapping[str, Any]) -> str:
    """The id of the build that an action of a pipeline starts: the same however often it asks."""
    return f"{project.name}:{context['actionExecutionId']}"


def made_again(row: sa.Row[Any], project: sa.Row[Any]) -> dict[str, Any]:
    """What a build was resolved to, for another of its kind."""
    made = {member: row.document[member] for member in _RESOLVED if member in row.document}
    made |= {"name": row.project, "arn": project.document["arn"], **row.private}
    made["concurrentBuildLimit"] = project.document.get("concurrentBuildLimit")
    made["autoRetryLimit"] = row.document.get("autoRetryConfig", {}).get("autoRetryLimit")
    return made


def retry(conn: sa.Connection, app: App, key: Key, *, now: int) -> None:
    """Transaction: the automatic retry of a build that failed, once. Raises AccountLimitExceededException."""
    found = records.find_build(conn, key.account, key.region, key.id)
    if found is None:
        return
    project = records.find_project(conn, key.account, key.region, found.project, lock=True)
    row = records.find_build(conn, key.account, key.region, key.id, lock=True)
    if project is None or row is None or "nextAutoRetry" in row.document["autoRetryConfig"]:
        return
    again = begin(
        conn,
        app,
        account=key.account,
        region=key.region,
        now=now,
        project=project,
        made=made_again(row, project),
        private=row.private,
        initiator=row.document["initiator"],
        retried=row.document,
        cause=key.id,
    )
    config = row.document["autoRetryConfig"] | {"nextAutoRetry": again.document["arn"]}
    records.update_build(conn, key.account, key.region, key.id, document=row.document | {"autoRetryConfig": config})


def _auto_retry(limit: int, retried: Mapping[str, Any] | None) -> dict[str, Any]:
    if retried is None:
        return {"autoRetryLimit": limit, "autoRetryNumber": 0}
    return {
        "autoRetryLimit": limit,
        "autoRetryNumber": retried["autoRetryConfig"]["autoRetryNumber"] + 1,
        "previousAutoRetry": retried["arn"],
    }


def _document(
    app: App,
    key: Key,
    *,
    made: Mapping[str, Any],
    private: Mapping[str, Any],
    number: int,
    initiator: str,
) -> dict[str, Any]:
    context = private.get("pipelineContext")
    partition = partition_of(key.region)
    document: dict[str, Any] = {
        "id": key.id,
        "arn": f"arn:{partition}:codebuild:{key.region}:{key.account}:build/{key.id}",
        "buildNumber": number,
        "projectName": made["name"],
        "initiator": initiator,
        "artifacts": _artifacts(made["artifacts"], partition),
        "logs": logs_of(
            made,
            uuid=key.uuid,
            region=key.region,
            account=key.account,
            partition=partition,
            public_url=app.public_url,
        ),
    }
    document |= {member: made[member] for member in _RESOLVED if member in made}
    document.setdefault("timeoutInMinutes", DEFAULT_TIMEOUT)
    document.setdefault("queuedTimeoutInMinutes", DEFAULT_QUEUED_TIMEOUT)
    if made.get("secondaryArtifacts"):
        document["secondaryArtifacts"] = [_artifacts(item, partition) for item in made["secondaryArtifacts"]]
    if context:
        primary = context["primarySource"]
        if primary:
            location = next(a["location"] for a in context["inputArtifacts"] if a["name"] == primary)
            document["sourceVersion"] = f"arn:{partition}:s3:::{location['bucket']}/{location['key']}"
        if context.get("encryptionKey"):
            document["encryptionKey"] = context["encryptionKey"]
    return document


def _artifacts(artifacts: Mapping[str, Any], partition: str) -> dict[str, Any]:
    answer: dict[str, Any] = {"location": ""}
    if artifacts["type"] == "S3":
        path = "/".join(p.strip("/") for p in (artifacts.get("path", ""), artifacts.get("name", "")) if p.strip("/"))
        bucket = artifacts["location"].removeprefix(f"arn:{partition}:s3:::")
        answer["location"] = f"arn:{partition}:s3:::{bucket}" + (f"/{path}" if path else "")
    for member in ("artifactIdentifier", "overrideArtifactName", "encryptionDisabled", "bucketOwnerAccess"):
        if member in artifacts:
            answer[member] = artifacts[member]
    return answer
