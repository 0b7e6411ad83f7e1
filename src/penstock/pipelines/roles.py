"""The roles under which a pipeline and its actions act."""

from __future__ import annotations

from penstock.pipelines.errors import InvalidStructureException
from penstock.room import App
from penstock.wire.call import Session
from penstock.wire.errors import AccessDenied, ServiceError

SERVICE = "codepipeline.amazonaws.com"


class RoleRefused(Exception):
    """The role does not exist, or does not trust who wants to assume it. The message is AWS's."""


async def pipeline_session(app: App, *, role: str, account: str, region: str, name: str) -> Session:
    """A session of a pipeline's service role. Raises RoleRefused.

    A role of another account is refused whomever it trusts: a pipeline acts for its own account only.
    """
    words = f"CodePipeline is not authorized to perform AssumeRole on role {role}"
    if role.split(":")[4:5] != [account]:
        raise RoleRefused(words)
    try:
        session, _ = await app.identity.assume(role_arn=role, service=SERVICE, session_name=name, region=region)
    except AccessDenied:
        raise RoleRefused(words) from None
    return session


async def action_session(
    app: App, *, pipeline_role: str, action_role: str | None, account: str, region: str, name: str
) -> Session:
    """A session of an action's role, assumed by the pipeline's role; the pipeline's own without one. Raises RoleRefused."""
    session = await pipeline_session(app, role=pipeline_role, account=account, region=region, name=name)
    if action_role is None or action_role == pipeline_role:
        return session
    try:
        output = await app.invoke(
            session, "sts", "AssumeRole", {"RoleArn": action_role, "RoleSessionName": name}, region=region
        )
    except AccessDenied as error:
        refused: Exception = error
    except ServiceError as error:
        if error.status >= 500:
            raise
        refused = error
    else:
        credentials = output["Credentials"]
        found = await app.identity.credential(credentials["AccessKeyId"], credentials["SessionToken"])
        return found.session
    raise RoleRefused(f"{pipeline_role} is not authorized to perform AssumeRole on role {action_role}") from refused


async def check_roles(app: App, declaration: dict, *, account: str, region: str) -> None:
    """Every role of a declaration exists and can be assumed. Raises InvalidStructureException with AWS's text."""
    actions = [action for stage in declaration["stages"] for action in stage["actions"]]
    pipeline_role = declaration["roleArn"]
    for role in dict.fromkeys([None, *(action.get("roleArn") for action in actions)]):
        try:
            await action_session(
                app,
                pipeline_role=pipeline_role,
                action_role=role,
                account=account,
                region=region,
                name="penstock-role-check",
            )
        except RoleRefused as refused:
            raise InvalidStructureException(str(refused)) from None
