"""The roles under which a pipeline and its actions act."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.application import App
from penstock.pipelines.errors import InvalidStructureException
from penstock.pipelines.gates import rules_of
from penstock.wire.call import Session, partition_of
from penstock.wire.errors import AccessDenied, ServiceError

SERVICE = "codepipeline.amazonaws.com"


class RoleRefused(Exception):
    """The role does not exist, or does not trust who wants to assume it. The message is AWS's."""


@dataclass(frozen=True, slots=True)
class Acting:
    """The pipeline for which roles are assumed."""

    account: str
    region: str
    pipeline: str

    @property
    def arn(self) -> str:
        """What trust policies know as aws:SourceArn."""
        return f"arn:{partition_of(self.region)}:codepipeline:{self.region}:{self.account}:{self.pipeline}"


async def pipeline_session(app: App, acting: Acting, *, role: str, name: str) -> Session:
    """A session of a pipeline's service role. Raises RoleRefused.

    A role of another account is refused whomever it trusts: a pipeline acts for its own account only.
    """
    return (await _assumed(app, acting, role=role, name=name))[0]


async def _assumed(
    app: App, acting: Acting, *, role: str, name: str, policy: str = ""
) -> tuple[Session, Mapping[str, Any]]:
    message = f"CodePipeline is not authorized to perform AssumeRole on role {role}"
    try:
        return await app.identity.assume(
            role_arn=role,
            service=SERVICE,
            session_name=name,
            region=acting.region,
            account=acting.account,
            source_arn=acting.arn,
            policy=policy,
        )
    except AccessDenied:
        raise RoleRefused(message) from None


async def action_session(
    app: App, acting: Acting, *, pipeline_role: str, action_role: str | None, name: str
) -> Session:
    """A session of an action's role, assumed by the pipeline's role; the pipeline's own without one. Raises RoleRefused."""
    session = await pipeline_session(app, acting, role=pipeline_role, name=name)
    if action_role is None or action_role == pipeline_role:
        return session
    credentials = await _assumed_by(app, session, acting, action_role, pipeline_role, name=name)
    found = await app.identity.credential(credentials["AccessKeyId"], credentials["SessionToken"])
    return found.session


async def _assumed_by(
    app: App,
    session: Session,
    acting: Acting,
    action_role: str,
    pipeline_role: str,
    *,
    name: str,
    policy: str = "",
) -> Mapping[str, Any]:
    asked = {"RoleArn": action_role, "RoleSessionName": name} | ({"Policy": policy} if policy else {})
    try:
        output = await app.invoke(session, "sts", "AssumeRole", asked, region=acting.region)
    except AccessDenied as error:
        refused: Exception = error
    except ServiceError as error:
        if error.server_fault:
            raise
        refused = error
    else:
        return output["Credentials"]
    raise RoleRefused(f"{pipeline_role} is not authorized to perform AssumeRole on role {action_role}") from refused


async def narrowed_credentials(
    app: App, acting: Acting, *, pipeline_role: str, action_role: str | None, name: str, policy: str
) -> Mapping[str, Any]:
    """Credentials (STS `Credentials`) of an action's role that a policy (JSON) narrows, to be handed to somebody outside. Raises RoleRefused."""
    if action_role is None or action_role == pipeline_role:
        return (await _assumed(app, acting, role=pipeline_role, name=name, policy=policy))[1]
    session = await pipeline_session(app, acting, role=pipeline_role, name=name)
    return await _assumed_by(app, session, acting, action_role, pipeline_role, name=name, policy=policy)


def roles_within(declaration: Mapping[str, Any]) -> list[str]:
    """The roles of the actions and rules of a declaration, each once."""
    stages = declaration["stages"]
    actions = [action for stage in stages for action in stage["actions"]]
    rules = [rule for stage in stages for _, rule in rules_of(stage)]
    return list(dict.fromkeys(one["roleArn"] for one in (*actions, *rules) if "roleArn" in one))


async def check_roles(app: App, acting: Acting, declaration: dict) -> None:
    """Every role of a declaration exists and can be assumed. Raises InvalidStructureException with AWS's text."""
    pipeline_role = declaration["roleArn"]
    for role in [None, *roles_within(declaration)]:
        try:
            await action_session(app, acting, pipeline_role=pipeline_role, action_role=role, name="penstock-role-check")
        except RoleRefused as refused:
            raise InvalidStructureException(str(refused)) from None
