"""ListRuleTypes: the types of rules that this installation knows."""

from __future__ import annotations

from penstock.application import Call
from penstock.pipelines.links import Links
from penstock.pipelines.model import ActionType
from penstock.pipelines.operations import operation
from penstock.pipelines.operations.addressing import without_nones
from penstock.pipelines.service import PipelineService
from penstock.wire.call import Input, Output


@operation("ListRuleTypes")
async def list_rule_types(service: PipelineService, call: Call, input: Input) -> Output:
    """Every type, by its names; none in a region that is not configured."""
    if input.get("regionFilter", call.region) not in call.app.settings.all_regions():
        return {"ruleTypes": []}
    owner = input.get("ruleOwnerFilter")
    types = service.providers.types(rules=True)
    return {"ruleTypes": [_answer(service.links, known) for known in types if owner in (None, known.id.owner)]}


def _answer(links: Links, known: ActionType) -> Output:
    settings = without_nones(
        {
            "entityUrlTemplate": links.absolute(known.entity_url),
            "executionUrlTemplate": links.absolute(known.execution_url),
        }
    )
    answer: Output = {
        "id": known.id.as_output(),
        "ruleConfigurationProperties": [
            {
                "name": declared.name,
                "required": declared.required,
                "key": declared.key,
                "secret": False,
                "queryable": False,
                "description": declared.description,
                "type": "String",
            }
            for declared in known.properties
        ],
        "inputArtifactDetails": {"minimumCount": known.inputs[0], "maximumCount": known.inputs[1]},
    }
    return answer | ({"settings": settings} if settings else {})
