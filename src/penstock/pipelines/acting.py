"""Calls under the role of an action, in its region."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.pipelines.actions.provider import Invoke
from penstock.pipelines.roles import SERVICE, Acting, action_session, pipeline_session
from penstock.wire.call import Input, Origin, Output, Session

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.pipelines.preparation import Prepared

_OURS = Origin(via="invoke", service=SERVICE)


class AsRole(Invoke):
    """Invokes under a session, in the action's region."""

    def __init__(self, app: App, session: Session, region: str) -> None:
        self._app = app
        self._session = session
        self._region = region

    async def __call__(self, service: str, operation: str, input: Input) -> Output:
        """See Invoke."""
        return await self._app.invoke(self._session, service, operation, input, region=self._region, origin=_OURS)


def acting_for(prepared: Prepared) -> Acting:
    """The pipeline of an action."""
    return Acting(prepared.key.account, prepared.key.region, prepared.key.name)


async def as_role(app: App, prepared: Prepared) -> Invoke:
    """Calls under the role that an action or its pipeline names. Raises RoleRefused."""
    session = await action_session(
        app,
        acting_for(prepared),
        pipeline_role=prepared.role,
        action_role=prepared.declared.get("roleArn"),
        name=prepared.row.id,
    )
    return AsRole(app, session, prepared.region)


async def as_pipeline(app: App, prepared: Prepared) -> Invoke:
    """Calls under the pipeline's role in the region of an action, whatever role the action names. Raises RoleRefused."""
    session = await pipeline_session(app, acting_for(prepared), role=prepared.role, name=prepared.row.id)
    return AsRole(app, session, prepared.region)
