"""Deployment configurations. AWS: CreateDeploymentConfig and its family."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from penstock.application import Call
from penstock.deployments import errors, profile, records
from penstock.deployments.operations import PAGE, PAGES, operation, resources
from penstock.deployments.server import configs
from penstock.deployments.service import Deployments
from penstock.store.keysets import rows_behind
from penstock.wire.call import Input, Output
from penstock.wire.profiles import MemberError

_c = records.configs.c
_CASE = MemberError(
    required=errors.DeploymentConfigNameRequiredException, invalid=errors.InvalidDeploymentConfigNameException
)


def body_of(call: Call, conn: sa.Connection, name: str, *, keep: bool = False) -> dict[str, Any]:
    """The settings of a configuration, which stays with `keep`. Raises DeploymentConfigDoesNotExistException."""
    if name in configs.PREDEFINED:
        return configs.PREDEFINED[name]
    row = records.one(conn, records.configs, keep=keep, account=call.account, region=call.region, name=name)
    if row is None:
        raise errors.DeploymentConfigDoesNotExistException(name=name)
    return row.body


def server_config(call: Call, conn: sa.Connection, name: str, *, keep: bool = False) -> dict[str, Any]:
    """The settings of a configuration for servers, which stays with `keep`. Raises InvalidDeploymentConfigNameException for another platform's."""
    body = body_of(call, conn, name, keep=keep)
    if body["computePlatform"] != "Server":
        raise errors.InvalidDeploymentConfigNameException(
            f"The deployment configuration {name} is for the compute platform {body['computePlatform']}, "
            "the application is for Server."
        )
    return body


@operation("CreateDeploymentConfig", resource=resources.config)
async def create_deployment_config(deployments: Deployments, call: Call, input: Input) -> Output:
    """A custom configuration for servers; zonal ones and those of other platforms are refused with a reason."""
    name = profile.named(input.get("deploymentConfigName"), _CASE)
    if name.startswith(configs.PREFIX):
        raise errors.InvalidDeploymentConfigNameException(
            f"Deployment configuration names cannot start with {configs.PREFIX}"
        )
    platform = input.get("computePlatform") or "Server"
    if platform != "Server":
        raise errors.InvalidComputePlatformException(
            f"The compute platform {platform} is not served by this version of Penstock; Server is."
        )
    if input.get("zonalConfig"):
        raise errors.InvalidZonalDeploymentConfigurationException(
            "Zonal deployments are not served by this version of Penstock; leave zonalConfig out."
        )
    if input.get("trafficRoutingConfig"):
        raise errors.InvalidTrafficRoutingConfigurationException(
            "trafficRoutingConfig is for the compute platforms Lambda and ECS; a Server configuration has minimumHealthyHosts."
        )
    try:
        minimum = configs.checked_minimum(input.get("minimumHealthyHosts"))
    except configs.BadMinimum as error:
        raise errors.InvalidMinimumHealthyHostValueException(str(error)) from error
    id_ = call.app.ids.uuid()

    def create(conn: sa.Connection) -> None:
        if records.one(conn, records.configs, account=call.account, region=call.region, name=name) is not None:
            raise errors.DeploymentConfigAlreadyExistsException(name=name)
        body = {"computePlatform": platform, "minimumHealthyHosts": minimum}
        conn.execute(
            sa.insert(records.configs).values(
                account=call.account, region=call.region, name=name, id=id_, body=body, tags={}, created=call.now
            )
        )

    try:
        await call.app.store.write(create)
    except IntegrityError as error:
        raise errors.DeploymentConfigAlreadyExistsException(name=name) from error
    return {"deploymentConfigId": id_}


@operation("GetDeploymentConfig", resource=resources.config)
async def get_deployment_config(deployments: Deployments, call: Call, input: Input) -> Output:
    """A predefined or custom configuration."""
    name = profile.named(input.get("deploymentConfigName"), _CASE)
    if name in configs.PREDEFINED:
        found = {"deploymentConfigId": configs.IDS[name], **configs.PREDEFINED[name]}
        return {"deploymentConfigInfo": {"deploymentConfigName": name, **found}}
    row = await call.app.store.read(records.one, records.configs, account=call.account, region=call.region, name=name)
    if row is None:
        raise errors.DeploymentConfigDoesNotExistException(name=name)
    found = {"deploymentConfigId": row.id, "createTime": row.created, **row.body}
    return {"deploymentConfigInfo": {"deploymentConfigName": name, **found}}


@operation("ListDeploymentConfigs", resource=resources.config)
async def list_deployment_configs(deployments: Deployments, call: Call, input: Input) -> Output:
    """The predefined names first, then the custom ones in alphabetical order."""
    after = PAGES.after(call, input)

    def read(conn: sa.Connection) -> list[str]:
        query = sa.select(_c.name).where(_c.account == call.account, _c.region == call.region)
        return list(conn.execute(rows_behind(query, [_c.name], after, limit=PAGE + 1)).scalars())

    page = PAGES.page(call, input, await call.app.store.read(read), limit=PAGE, keyset=lambda name: [name])
    first = configs.PREDEFINED if after is None else ()
    return {"deploymentConfigsList": [*first, *page.rows], **page.more}


@operation("DeleteDeploymentConfig", resource=resources.config)
async def delete_deployment_config(deployments: Deployments, call: Call, input: Input) -> Output:
    """Deletes a custom configuration that no group uses. Unknown is no error."""
    name = profile.named(input.get("deploymentConfigName"), _CASE)
    if name.startswith(configs.PREFIX):
        raise errors.InvalidOperationException("Predefined deployment configurations cannot be deleted.")

    def delete(conn: sa.Connection) -> None:
        records.one(conn, records.configs, lock=True, account=call.account, region=call.region, name=name)
        g = records.groups.c
        rows = conn.execute(sa.select(records.groups).where(g.account == call.account, g.region == call.region))
        for group in rows:
            if group.body["deploymentConfigName"] == name:
                raise errors.DeploymentConfigInUseException(name=name, group=group.name)
        where = (_c.account == call.account, _c.region == call.region, _c.name == name)
        conn.execute(sa.delete(records.configs).where(*where))

    await call.app.store.write(delete)
    return {}
