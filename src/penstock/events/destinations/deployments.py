"""Deployment groups, an addition of Penstock: the input of the target are the members of CreateDeployment."""

from __future__ import annotations

from penstock.events.destinations.destination import Destination, Sending

_BEGINNING = "deploymentgroup:"


async def _create(sending: Sending) -> str:
    application, _, group = sending.arn.resource.removeprefix(_BEGINNING).partition("/")
    asked = {**sending.members(), "applicationName": application, "deploymentGroupName": group}
    invoke = sending.app.invoke
    answer = await invoke(await sending.session(), "codedeploy", "CreateDeployment", asked, region=sending.region)
    return answer["deploymentId"]


DESTINATION = Destination(
    service="codedeploy", beginning=_BEGINNING, name="deployment groups", send=_create, role=True, starts=True
)
