"""CreateProject, UpdateProject, DeleteProject, BatchGetProjects, ListProjects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.builds import records
from penstock.builds.errors import InvalidInputException, ResourceAlreadyExistsException, ResourceNotFoundException
from penstock.builds.operations import PAGES, operation
from penstock.builds.projects import DEFAULT_QUEUED_TIMEOUT, DEFAULT_TIMEOUT, check_name, check_project
from penstock.builds.work import Builds
from penstock.wire.arns import resource_here
from penstock.wire.call import Input, Output

_PAGE = 100
_ORDER = {"NAME": "name", "CREATED_TIME": "created", "LAST_MODIFIED_TIME": "modified"}
_CLEARED_BY_EMPTY = ("secondarySources", "secondaryArtifacts", "secondarySourceVersions", "tags")


def project_arn(call: Call, input: Input) -> str:
    """The ARN of the project that the input names."""
    return call.arn("codebuild", f"project/{plain_name(call, input.get('name') or input.get('projectName') or '')}")


def project_arns(call: Call, input: Input) -> list[str]:
    """The ARNs of all projects that the input names."""
    return [call.arn("codebuild", f"project/{plain_name(call, name)}") for name in input["names"]]


def plain_name(call: Call, name: str) -> str:
    """A project's name, given by itself or as its ARN; any other ARN is left as it is, which is the name of no project."""
    kind, _, named = (resource_here(call, name, "codebuild") or "").partition("/")
    return named if kind == "project" else name


async def check_role(call: Call, role_arn: str, project: str) -> None:
    """Raises AccessDenied unless the role may be passed; InvalidInputException unless it exists and trusts the service."""
    identity, project_ = call.app.identity, call.arn("codebuild", f"project/{project}")
    await identity.pass_role(call, role_arn, source_arn=project_)
    if not await identity.role_trusts(role_arn, "codebuild.amazonaws.com", account=call.account, source_arn=project_):
        raise InvalidInputException(
            f"CodeBuild is not authorized to perform: sts:AssumeRole on service role {role_arn}. "
            "The role must exist and trust codebuild.amazonaws.com"
        )


def project_to_api(row: sa.Row[Any]) -> dict[str, Any]:
    """A project as BatchGetProjects shows it."""
    return dict(row.document) | {"created": row.created, "lastModified": row.modified}


def _document(input: Mapping[str, Any], arn: str, call: Call) -> dict[str, Any]:
    made = {
        "timeoutInMinutes": DEFAULT_TIMEOUT,
        "queuedTimeoutInMinutes": DEFAULT_QUEUED_TIMEOUT,
        "cache": {"type": "NO_CACHE"},
        "encryptionKey": call.arn("kms", "alias/aws/s3"),
        "badge": {"badgeEnabled": False},
        "projectVisibility": "PRIVATE",
        "arn": arn,
    } | {key: value for key, value in input.items() if key != "badgeEnabled"}
    environment = made["environment"]
    made["environment"] = {
        "environmentVariables": [],
        "privilegedMode": False,
        "imagePullCredentialsType": "CODEBUILD",
    } | environment
    made["environment"]["environmentVariables"] = [
        {"type": "PLAINTEXT"} | variable for variable in made["environment"]["environmentVariables"]
    ]
    return made


@operation("CreateProject", resource=project_arn)
async def create_project(state: Builds, call: Call, input: Input) -> Output:
    """Keep a new project."""
    check_name(input["name"])
    check_project(input)
    await check_role(call, input["serviceRole"], input["name"])
    document = _document(input, call.arn("codebuild", f"project/{input['name']}"), call)

    def create(conn: sa.Connection) -> dict[str, Any]:
        kept = records.insert_project(
            conn,
            {
                "account": call.account,
                "region": call.region,
                "name": input["name"],
                "document": document,
                "created": call.now,
                "modified": call.now,
                "number": 0,
            },
        )
        if not kept:
            raise ResourceAlreadyExistsException(resource=document["arn"])
        row = records.find_project(conn, call.account, call.region, input["name"])
        assert row is not None
        return project_to_api(row)

    return {"project": await call.app.store.write(create)}


@operation("UpdateProject", resource=project_arn)
async def update_project(state: Builds, call: Call, input: Input) -> Output:
    """Replace the members that are given."""
    name = plain_name(call, input["name"])
    changes = {key: value for key, value in input.items() if key not in ("name", "badgeEnabled")}
    if "serviceRole" in changes:
        await check_role(call, changes["serviceRole"], name)

    def update(conn: sa.Connection) -> dict[str, Any]:
        row = records.find_project(conn, call.account, call.region, name, lock=True)
        if row is None:
            raise ResourceNotFoundException(resource=call.arn("codebuild", f"project/{name}"))
        made = row.document | changes
        for member in _CLEARED_BY_EMPTY:
            if made.get(member) == []:
                made.pop(member)
        if made.get("concurrentBuildLimit") == -1:
            made.pop("concurrentBuildLimit")
        check_project(made | {"badgeEnabled": input.get("badgeEnabled", False)})
        document = _document(made, row.document["arn"], call)
        records.update_project(conn, call.account, call.region, name, document=document, modified=call.now)
        found = records.find_project(conn, call.account, call.region, name)
        assert found is not None
        return project_to_api(found)

    return {"project": await call.app.store.write(update)}


@operation("DeleteProject", resource=project_arn)
async def delete_project(state: Builds, call: Call, input: Input) -> Output:
    """Forget a project; its builds stay. One that is not there is no error."""
    await call.app.store.write(records.delete_project, call.account, call.region, plain_name(call, input["name"]))
    return {}


@operation("BatchGetProjects", resource=project_arns)
async def batch_get_projects(state: Builds, call: Call, input: Input) -> Output:
    """The named projects, and the names of those that do not exist."""
    rows = await call.app.store.read(
        records.find_projects, call.account, call.region, [plain_name(call, name) for name in input["names"]]
    )
    by_name = {row.name: row for row in rows}
    names = list(dict.fromkeys(input["names"]))
    return {
        "projects": [
            project_to_api(by_name[plain_name(call, name)]) for name in names if plain_name(call, name) in by_name
        ],
        "projectsNotFound": [name for name in names if plain_name(call, name) not in by_name],
    }


@operation("ListProjects")
async def list_projects(state: Builds, call: Call, input: Input) -> Output:
    """Names of projects, 100 per page."""
    by = _ORDER[input.get("sortBy", "NAME")]
    rows = await call.app.store.scan(
        records.list_projects,
        call.account,
        call.region,
        by=by,
        descending=input.get("sortOrder", "ASCENDING") == "DESCENDING",
        after=PAGES.after(call, input),
        limit=_PAGE + 1,
    )
    page = PAGES.page(
        call,
        input,
        rows,
        limit=_PAGE,
        keyset=lambda row: [row.name] if by == "name" else [getattr(row, by), row.name],
    )
    return {"projects": [row.name for row in page.rows], **page.more}
