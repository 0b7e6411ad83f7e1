"""Pipelines, which are started under the role of the target."""

from __future__ import annotations

from penstock.events.destinations.destination import Destination, Sending


async def _start(sending: Sending) -> str:
    more = sending.members()
    asked = {
        "name": sending.arn.resource,
        "clientRequestToken": sending.id,
        **{name: more[name] for name in ("variables", "sourceRevisions") if name in more},
    }
    invoke = sending.app.invoke
    answer = await invoke(
        await sending.session(), "codepipeline", "StartPipelineExecution", asked, region=sending.region
    )
    return answer["pipelineExecutionId"]


DESTINATION = Destination(service="codepipeline", beginning="", name="pipelines", send=_start, role=True, starts=True)
