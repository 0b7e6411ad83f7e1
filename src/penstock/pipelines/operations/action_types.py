"""ListActionTypes: the action types that this installation runs."""

from __future__ import annotations

from penstock.application import Call
from penstock.pipelines.links import Links
from penstock.pipelines.model import ActionType
from penstock.pipelines.operations import PAGES, operation
from penstock.pipelines.operations.addressing import without_nones
from penstock.pipelines.service import PipelineService
from penstock.wire.call import Input, Output


@operation("ListActionTypes")
async def list_action_types(service: PipelineService, call: Call, input: Input) -> Output:
    """Every type in one page, by its names; none in a region that is not configured."""
    PAGES.after(call, input)
    if input.get("regionFilter", call.region) not in call.app.settings.all_regions():
        return {"actionTypes": []}
    owner = input.get("actionOwnerFilter")
    types = service.providers.types()
    return {"actionTypes": [_answer(service.links, known) for known in types if owner in (None, known.id.owner)]}


def _answer(links: Links, known: ActionType) -> Output:
    answer: Output = {
        "id": known.id.as_output(),
        "actionConfigurationProperties": [
            {
                "name": declared.name,
                "required": declared.required,
                "key": declared.key,
                "secret": False,
                "queryable": False,
                "description": declared.description,
            }
            for declared in known.properties
        ],
        "inputArtifactDetails": {"minimumCount": known.inputs[0], "maximumCount": known.inputs[1]},
        "outputArtifactDetails": {"minimumCount": known.outputs[0], "maximumCount": known.outputs[1]},
    }
    settings = without_nones(
        {
            "entityUrlTemplate": links.absolute(known.entity_url),
            "executionUrlTemplate": links.absolute(known.execution_url),
            "revisionUrlTemplate": links.absolute(known.revision_url),
        }
    )
    if settings:
        answer["settings"] = settings
    return answer
