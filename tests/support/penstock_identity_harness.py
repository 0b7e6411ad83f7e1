"""A harness with identity alone, on either database, without a port."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

import penstock.identity
from penstock.app import compose
from penstock.application import App, Settings
from penstock.wire.call import Call, Session
from penstock.wire.errors import ServiceError

ACCOUNT, OTHER = "111111111111", "222222222222"
REGION = "us-east-1"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(*actions: str, resource: str = "*") -> str:
    return document({"Effect": "Allow", "Action": list(actions), "Resource": resource})


def trusting(**principal: Any) -> str:
    return document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})


async def refused(awaitable: Awaitable[Any]) -> tuple[str, str]:
    """(code, message) of the error that a call answers."""
    with pytest.raises(ServiceError) as caught:
        await awaitable
    return caught.value.wire_code, caught.value.message


@dataclass
class Harness:
    app: App

    async def session(self, key: str, token: str = "") -> Session:
        return (await self.app.identity.credential(key, token)).session

    async def administrator(self, account: str = ACCOUNT) -> Session:
        lines = (await self.app.identity.bootstrap(account)).splitlines()
        return await self.session(lines[1].partition(" = ")[2])

    async def user(self, name: str, *policies: str, account: str = ACCOUNT) -> Session:
        """A user with these documents as inline policies."""
        admin = await self.administrator(account)
        await self.iam("CreateUser", UserName=name, by=admin)
        for number, policy in enumerate(policies):
            await self.iam("PutUserPolicy", UserName=name, PolicyName=f"p{number}", PolicyDocument=policy, by=admin)
        key = await self.iam("CreateAccessKey", UserName=name, by=admin)
        return await self.session(key["AccessKey"]["AccessKeyId"])

    async def role(self, name: str, trust: str, *policies: str, account: str = ACCOUNT, **more: Any) -> str:
        admin = await self.administrator(account)
        made = await self.iam("CreateRole", RoleName=name, AssumeRolePolicyDocument=trust, by=admin, **more)
        for number, policy in enumerate(policies):
            await self.iam("PutRolePolicy", RoleName=name, PolicyName=f"p{number}", PolicyDocument=policy, by=admin)
        return made["Role"]["Arn"]

    async def iam(self, operation: str, *, by: Session | None = None, **input: Any) -> dict[str, Any]:
        return await self.app.invoke(by or await self.administrator(), "iam", operation, input, region=REGION)

    async def sts(self, operation: str, *, by: Session, **input: Any) -> dict[str, Any]:
        return await self.app.invoke(by, "sts", operation, input, region=REGION)

    async def assumed(self, role: str, *, by: Session, **input: Any) -> Session:
        made = await self.sts("AssumeRole", by=by, RoleArn=role, RoleSessionName="testing", **input)
        return await self.session(made["Credentials"]["AccessKeyId"], made["Credentials"]["SessionToken"])

    async def may(self, session: Session, action: str, *resources: str) -> None:
        """Raises AccessDenied unless it may."""
        call = Call(
            app=self.app, session=session, account=session.account, region=REGION, service="s3", operation="X",
            request_id="r", now=self.app.clock.now(), via="invoke",
        )  # fmt: skip
        await self.app.identity.authorize(call, action, resources or ("*",))


@asynccontextmanager
async def harness_on(
    store: Any, clock: Any, tmp_path: Any, *components: Any, chosen: tuple[Any, ...] = (), regions: tuple[str, ...] = ()
) -> AsyncIterator[Harness]:
    """`components` beside identity, `chosen` settings of components, and further regions."""
    settings = Settings(data_dir=tmp_path, master_key_file=tmp_path / "master.key", components=chosen, regions=regions)
    async with compose(
        settings, components=(penstock.identity.component, *components), store=store, clock=clock
    ) as app:
        for start in app.starts:
            await start()
        yield Harness(app)
        for stop in app.stops:
            await stop()
