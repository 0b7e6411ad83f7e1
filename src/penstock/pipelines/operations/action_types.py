"""ListActionTypes: the action types that this installation runs."""

from __future__ import annotations

from penstock.pipelines.aggregate import Aggregates
from penstock.pipelines.links import Links
from penstock.pipelines.model import ActionType
from penstock.pipelines.operations.addressing import opened, without_nones
from penstock.room import Call
from penstock.wire.call import Input, Output
from penstock.wire.registry import Operations


def declare(operations: Operations, aggregates: Aggregates) -> None:
    """Register the operations of this resource."""
    operations.operation("ListActionTypes")(ActionTypes(aggregates).list)


class ActionTypes:
    """What a declaration may name."""

    def __init__(self, aggregates: Aggregates) -> None:
        self.aggregates = aggregates
        self.links = Links(aggregates)

    async def list(self, call: Call, input: Input) -> Output:
        """Every type in one page, by its names; none in a region that is not configured."""
        opened(call, input)
        if input.get("regionFilter", call.region) not in call.app.settings.all_regions():
            return {"actionTypes": []}
        owner = input.get("actionOwnerFilter")
        types = self.aggregates.providers.types()
        return {"actionTypes": [self._answer(known) for known in types if owner in (None, known.id.owner)]}

    def _answer(self, known: ActionType) -> Output:
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
                "entityUrlTemplate": self.links.absolute(known.entity_url),
                "executionUrlTemplate": self.links.absolute(known.execution_url),
                "revisionUrlTemplate": self.links.absolute(known.revision_url),
            }
        )
        if settings:
            answer["settings"] = settings
        return answer
