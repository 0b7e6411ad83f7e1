"""The session of a build's role: everything that is done for the build is done with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from penstock.application import App
from penstock.builds.request import BuildRequest
from penstock.wire.call import Session
from penstock.wire.scalars import format_timestamp

SERVICE = "codebuild.amazonaws.com"


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
