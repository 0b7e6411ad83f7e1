"""The session of a build's role: everything that is done for the build is done with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from penstock.application import App
from penstock.builds.request import BuildRequest
from penstock.wire.call import Session, service_session
from penstock.wire.errors import AccessDenied, ServiceError, passes
from penstock.wire.scalars import format_timestamp

SERVICE = "codebuild.amazonaws.com"
_OURS, _PIPELINES = "penstock.amazonaws.com", "codepipeline.amazonaws.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSession:
    """A session that was assumed for one build."""

    session: Session
    credentials: Mapping[str, Any]
    role: str
    expires: int  # ms UTC

    @property
    def secrets(self) -> list[str]:
        """What must not show in a log."""
        return [self.credentials["SecretAccessKey"], self.credentials["SessionToken"]]

    def to_json(self) -> bytes:
        """The form in which containers are given credentials (AWS: "Container credential provider")."""
        content = {
            "AccessKeyId": self.credentials["AccessKeyId"],
            "SecretAccessKey": self.credentials["SecretAccessKey"],
            "Token": self.credentials["SessionToken"],
            "Expiration": format_timestamp(self.expires // 1000 * 1000, "iso8601"),
            "RoleArn": self.role,
        }
        return orjson.dumps(content)


async def assume(app: App, request: BuildRequest) -> RoleSession:
    """Take the build's role. Raises Refused."""
    if request.commands is not None:
        return await _assume_of_action(app, request)
    session, credentials = await app.identity.assume(
        role_arn=request.role,
        service=SERVICE,
        session_name=f"AWSCodeBuild-{request.key.uuid}",
        region=request.key.region,
        account=request.key.account,
        source_arn=request.key.project_arn,
    )
    return RoleSession(
        session=session,
        credentials=credentials,
        role=request.role,
        expires=credentials["Expiration"],
    )


async def _assume_of_action(app: App, request: BuildRequest) -> RoleSession:
    """Take the role of the action whose commands these are, which trusts the pipelines or the role of the pipeline. Raises Refused.

    An action that has ended gives its role to nobody any more, so that what was asked for in its last moment does not begin.
    """
    key, name = request.key, f"commands-{request.key.uuid}"
    asking = service_session(_OURS, key.account, key.project_arn)
    asked = {"actionExecutionId": key.uuid}
    try:
        job = (await app.invoke(asking, "penstock", "GetActionJob", asked, region=key.region))["job"]
        session, credentials = await app.identity.assume(
            role_arn=job["pipelineRoleArn"],
            service=_PIPELINES,
            session_name=name,
            region=key.region,
            account=key.account,
            source_arn=job["data"]["pipelineContext"]["pipelineArn"],
        )
        if job["roleArn"] != job["pipelineRoleArn"]:
            request_ = {"RoleArn": job["roleArn"], "RoleSessionName": name}
            credentials = (await app.invoke(session, "sts", "AssumeRole", request_, region=key.region))["Credentials"]
            session = (await app.identity.credential(credentials["AccessKeyId"], credentials["SessionToken"])).session
    except ServiceError as error:
        if passes(error):
            raise
        raise AccessDenied(error.message) from None
    return RoleSession(session=session, credentials=credentials, role=job["roleArn"], expires=credentials["Expiration"])
