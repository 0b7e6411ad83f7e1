"""Declarations: what may be declared, and how a declaration is answered.

Input has passed the model's constraints (patterns, lengths, enums) already; here stands what the structure must obey.
Codes and texts are AWS's where they are known. What AWS runs and Penstock does not run yet is refused with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.pipelines.artifacts import check_counts, check_graph
from penstock.pipelines.errors import (
    InvalidActionDeclarationException,
    InvalidBlockerDeclarationException,
    InvalidStageDeclarationException,
    InvalidStructureException,
    ValidationException,
)
from penstock.pipelines.model import ActionType, Category, ExecutionMode, PipelineType
from penstock.pipelines.plan import ActionTypes, type_of
from penstock.pipelines.variables import check_variables

Declaration = dict[str, Any]

_ACTION_MEMBERS = ("outputVariables", "environmentVariables", "commands")  # of types that are not served yet


def check(declaration: Mapping[str, Any], types: ActionTypes, *, region: str) -> None:
    """Raises the error that AWS answers to the first fault of a declaration."""
    _check_stages(declaration)
    _check_generation(declaration)
    for stage in declaration["stages"]:
        _check_gates(stage, declaration)
        for action in stage["actions"]:
            _check_action(action, types, region=region, generation=generation_of(declaration))
    check_graph(declaration)
    check_variables(declaration)
    _check_stores(declaration, region)


def generation_of(declaration: Mapping[str, Any]) -> PipelineType:
    """The declared type; without one, V2 if the declaration uses what only V2 has."""
    declared = declaration.get("pipelineType")
    if declared is not None:
        return PipelineType(declared)
    v2 = (
        declaration.get("variables")
        or declaration.get("triggers")
        or _mode(declaration) is not ExecutionMode.SUPERSEDED
        or any(_gates(stage) for stage in declaration["stages"])
    )
    return PipelineType.V2 if v2 else PipelineType.V1


def _mode(declaration: Mapping[str, Any]) -> ExecutionMode:
    return ExecutionMode(declaration.get("executionMode", ExecutionMode.SUPERSEDED))


def _gates(stage: Mapping[str, Any]) -> list[str]:
    return [gate for gate in ("beforeEntry", "onSuccess", "onFailure") if stage.get(gate)]


def _is_source(action: Mapping[str, Any]) -> bool:
    return action["actionTypeId"]["category"] == Category.SOURCE


def _check_stages(declaration: Mapping[str, Any]) -> None:
    stages = declaration["stages"]
    if len(stages) < 2:
        raise InvalidStructureException(
            f"Pipeline has only {len(stages)} stage(s). There should be a minimum of 2 stages in a pipeline"
        )
    if len(stages) > 50:
        raise InvalidStructureException("Pipeline has too many stages. There can only be up to 50 stages in a pipeline")
    if not stages[0]["actions"] or not all(_is_source(action) for action in stages[0]["actions"]):
        raise InvalidStructureException("Pipeline should start with a stage that only contains source actions")
    if any(_is_source(action) for stage in stages[1:] for action in stage["actions"]):
        raise InvalidStructureException("Source actions can only be included in the first stage of the pipeline")
    if not any(stage["actions"] for stage in stages[1:]):
        raise InvalidStructureException("Pipeline should contain at least 1 action whose category is not Source")
    names: set[str] = set()
    for stage in stages:
        if stage["name"] in names:
            raise InvalidStageDeclarationException(f"Stage name '{stage['name']}' is used more than once")
        names.add(stage["name"])
        if not stage["actions"]:
            raise InvalidStageDeclarationException(f"Stage '{stage['name']}' should contain at least 1 action")
        actions = [action["name"] for action in stage["actions"]]
        for action in actions:
            if actions.count(action) > 1:
                raise InvalidActionDeclarationException(
                    f"Action name '{action}' is used more than once in stage '{stage['name']}'"
                )


def _check_generation(declaration: Mapping[str, Any]) -> None:
    v1 = generation_of(declaration) is PipelineType.V1
    if v1 and _mode(declaration) is not ExecutionMode.SUPERSEDED:
        raise InvalidStructureException("QUEUED or PARALLEL mode can only be used with V2 pipelines")
    if v1 and declaration.get("variables"):
        raise InvalidStructureException("Pipeline variable can only be used with V2 pipelines")
    if v1 and declaration.get("triggers"):
        raise InvalidStructureException("Triggers on tag can only be used with V2 pipelines")
    if v1 and any(_gates(stage) for stage in declaration["stages"]):
        raise InvalidStageDeclarationException("Stage level conditions can only be used with V2 pipelines.")
    sources = {action["name"]: action["actionTypeId"]["provider"] for action in declaration["stages"][0]["actions"]}
    for trigger in declaration.get("triggers", ()):
        if sources.get(trigger["gitConfiguration"]["sourceActionName"]) != trigger["providerType"]:
            raise InvalidStructureException(
                f"Triggers for connections must reference a {trigger['providerType']} action."
            )
        raise InvalidStructureException(
            "Penstock does not run triggers of connections yet. Remove 'triggers' from the pipeline; a source action "
            "without PollForSourceChanges=false starts it at every change."
        )


def _check_gates(stage: Mapping[str, Any], declaration: Mapping[str, Any]) -> None:
    if stage.get("blockers"):
        raise InvalidBlockerDeclarationException(stage=stage["name"])
    failure = stage.get("onFailure", {})
    conditions = failure.get("conditions", ())
    if failure.get("result") and conditions:
        raise InvalidStageDeclarationException(
            "The following stage cannot have a failure exit gate configured with both top level result and "
            f"conditions: '{stage['name']}'"
        )
    rolls_back = "ROLLBACK" in (failure.get("result"), *(condition.get("result") for condition in conditions))
    if rolls_back and _mode(declaration) is ExecutionMode.PARALLEL:
        raise InvalidStageDeclarationException(
            "Failure conditions with rollback result type cannot be added to a PARALLEL pipeline."
        )
    result = failure.get("result")
    if result not in (None, "ROLLBACK", "RETRY"):
        raise InvalidStageDeclarationException(
            f"The result {result} cannot be used for the failure exit gate of stage '{stage['name']}'"
        )
    if rolls_back and stage is declaration["stages"][0]:
        raise InvalidStageDeclarationException(
            f"The result ROLLBACK cannot be used for the failure exit gate of stage '{stage['name']}': the stage of the "
            "sources is not rolled back"
        )
    for gate in ("beforeEntry", "onSuccess", "onFailure"):
        if stage.get(gate, {}).get("conditions"):
            raise InvalidStageDeclarationException(
                f"Penstock does not run stage conditions yet. Remove '{gate}' from stage '{stage['name']}'."
            )


def _check_action(action: Mapping[str, Any], types: ActionTypes, *, region: str, generation: PipelineType) -> None:
    name = action["name"]
    type_id = type_of(action)
    known = types(type_id)
    if known is None:
        raise InvalidActionDeclarationException(
            f"ActionType (Category: '{type_id.category}', Provider: '{type_id.provider}', Owner: '{type_id.owner}', "
            f"Version: '{type_id.version}') in action '{name}' is not available in region "
            f"'{region.upper().replace('-', '_')}'"
        )
    if known.v2_only and generation is PipelineType.V1:
        raise InvalidActionDeclarationException(f"{type_id.provider} Action can only be used with V2 pipelines.")
    check_counts(action, known)
    _check_configuration(action, known)
    for member in _ACTION_MEMBERS:
        if action.get(member):
            raise InvalidActionDeclarationException(
                f"Action '{name}' declares '{member}', which actions of provider '{type_id.provider}' do not have"
            )
    if any(output.get("files") for output in action.get("outputArtifacts", ())):
        raise InvalidActionDeclarationException(
            f"Action '{name}' declares files of an output artifact, which actions of provider "
            f"'{type_id.provider}' do not have"
        )
    if "timeoutInMinutes" in action and type_id.category != Category.APPROVAL:
        raise InvalidActionDeclarationException(
            f"Action '{name}' declares 'timeoutInMinutes', which only manual approval actions have"
        )


def _check_configuration(action: Mapping[str, Any], known: ActionType) -> None:
    name = action["name"]
    configuration = action.get("configuration", {})
    for declared in known.properties:
        if declared.required and declared.name not in configuration:
            raise InvalidActionDeclarationException(
                f"Action configuration for action '{name}' is missing required configuration '{declared.name}'"
            )
    for key, value in configuration.items():
        declared = known.property(key)
        if declared is None:
            raise InvalidActionDeclarationException(
                f"Action configuration for action '{name}' contains unknown configuration '{key}'"
            )
        if declared.values and "#{" not in value and value not in declared.values:
            raise InvalidActionDeclarationException(
                f"Action configuration for action '{name}' contains an invalid value for '{key}': it must be one of "
                + ", ".join(declared.values)
            )
    if known.refuse is not None:
        why = known.refuse(action)
        if why:
            raise InvalidActionDeclarationException(why)


def _check_stores(declaration: Mapping[str, Any], region: str) -> None:
    single, several = declaration.get("artifactStore"), declaration.get("artifactStores")
    if bool(single) == bool(several):
        raise InvalidStructureException("A pipeline must have exactly one of 'artifactStore' and 'artifactStores'")
    actions = [action for stage in declaration["stages"] for action in stage["actions"]]
    elsewhere = sorted({action["region"] for action in actions if action.get("region", region) != region})
    if single and elsewhere:
        raise ValidationException(
            "Your pipeline contains actions in more than one region. Use 'pipeline.artifactStores' instead of "
            "'pipeline.artifactStore' to declare an artifact store, such as an artifact bucket, for each region "
            "where you have an action."
        )
    for needed in (region, *elsewhere):
        if several and needed not in several:
            raise ValidationException(
                "Your pipeline must have an artifact store, such as an artifact bucket, for each region where you "
                f"have an action. The following region is missing in 'pipeline.artifactStores': {needed}."
            )
    for action in actions:
        if action.get("region", region) != region:
            raise InvalidActionDeclarationException(
                f"Penstock does not run actions in other regions yet: action '{action['name']}' names {action['region']}, "
                f"the pipeline is in {region}."
            )


def store_of(declaration: Mapping[str, Any], region: str) -> Mapping[str, Any]:
    """The shape `ArtifactStore` that actions in `region` use."""
    single = declaration.get("artifactStore")
    return single or declaration["artifactStores"][region]


def declared_action(declaration: Mapping[str, Any], stage: str, action: str) -> Mapping[str, Any]:
    """An action as it is declared; empty when it is not."""
    for candidate in declaration.get("stages", ()):
        if candidate["name"] == stage:
            return next((a for a in candidate["actions"] if a["name"] == action), {})
    return {}


def normalise(declaration: Mapping[str, Any], version: int) -> Declaration:
    """A valid declaration as GetPipeline answers it: with its defaults, and its version."""
    answer: Declaration = {"name": declaration["name"], "roleArn": declaration["roleArn"]}
    for store in ("artifactStore", "artifactStores"):
        if declaration.get(store):
            answer[store] = declaration[store]
    answer["stages"] = [_normalised_stage(stage) for stage in declaration["stages"]]
    answer["version"] = version
    answer["executionMode"] = str(_mode(declaration))
    answer["pipelineType"] = str(generation_of(declaration))
    if declaration.get("variables"):
        answer["variables"] = declaration["variables"]
    return answer


def _normalised_stage(stage: Mapping[str, Any]) -> Declaration:
    answer: Declaration = {
        "name": stage["name"],
        "actions": [
            {"runOrder": 1, "configuration": {}, "inputArtifacts": [], "outputArtifacts": [], **action}
            for action in stage["actions"]
        ],
    }
    if stage.get("onFailure"):
        answer["onFailure"] = stage["onFailure"]
    return answer


def check_started_variables(declaration: Mapping[str, Any], given: list[Mapping[str, str]]) -> dict[str, str]:
    """The variables of StartPipelineExecution by name. Raises ValidationException for unknown or doubled names."""
    declared = {variable["name"] for variable in declaration.get("variables", ())}
    values: dict[str, str] = {}
    for variable in given:
        name = variable["name"]
        if name not in declared:
            raise ValidationException(f"The pipeline does not declare a variable with the name '{name}'")
        if name in values:
            raise ValidationException(f"The variable '{name}' is given more than once")
        values[name] = variable["value"]
    return values
