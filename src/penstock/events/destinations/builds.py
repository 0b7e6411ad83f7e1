"""Build projects, of which a build is started under the role of the target."""

from __future__ import annotations

from penstock.events.destinations.destination import Destination, Sending

_BEGINNING = "project/"


async def _start(sending: Sending) -> str:
    asked = {
        **sending.members(),
        "projectName": sending.arn.resource.removeprefix(_BEGINNING),
        "idempotencyToken": sending.id,
    }
    answer = await sending.app.invoke(await sending.session(), "codebuild", "StartBuild", asked, region=sending.region)
    return answer["build"]["id"]


DESTINATION = Destination(
    service="codebuild", beginning=_BEGINNING, name="build projects", send=_start, role=True, starts=True
)
