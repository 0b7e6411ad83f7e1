"""Declarations: what may be declared, and how a declaration is answered.

Input has passed the model's constraints (patterns, lengths, enums) already; here stands what the structure must obey.
Codes and texts are AWS's where they are known. What AWS runs and Penstock does not run yet is refused with a reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from penstock.pipelines.artifacts import check_counts, check_inputs, check_outputs, steps_of
from penstock.pipelines.errors import (
    InvalidActionDeclarationException,
    InvalidBlockerDeclarationException,
    InvalidStageDeclarationException,
    InvalidStructureException,
    ValidationException,
)
from penstock.pipelines.gates import condition_tests, refusal_of_region, rules_of
from penstock.pipelines.model import ActionType, Category, ExecutionMode, PipelineType, Property
from penstock.pipelines.plan import ActionTypes, type_of
from penstock.pipelines.variables import variable_tests
from penstock.wire.errors import ServiceError

Declaration = dict[str, Any]

_ACTION_MEMBERS = ("outputVariables", "environmentVariables")  # of some action types
_MAX_ACTIONS = 50  # of a stage. AWS: limits
_MAX_ALL_ACTIONS = 1000  # of a pipeline. AWS: limits
_MAX_TRIGGERS_BYTES = 200 * 1024  # AWS: limits

Path = tuple[str | int, ...]  # members and positions, from the declaration inwards


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a declaration."""

    path: Path
    error: ServiceError


def check(
    declaration: Mapping[str, Any], types: ActionTypes, *, region: str, served: Sequence[str] | None = None
) -> None:
    """Raises the error that AWS answers to the first fault of a declaration."""
    for fault in faults(declaration, types, region=region, served=served):
        raise fault.error


def faults(
    declaration: Mapping[str, Any], types: ActionTypes, *, region: str, served: Sequence[str] | None = None
) -> Iterator[Fault]:
    """What is wrong with a declaration, one fault of each of its parts, the first as AWS finds it.

    `region` is the pipeline's; `served` are those of the installation, None where they are not known.
    """
    for path, test in _tests(declaration, types, region, served):
        try:
            test()
        except ServiceError as error:
            yield Fault(path, error)


def _tests(
    declaration: Mapping[str, Any], types: ActionTypes, region: str, served: Sequence[str] | None
) -> Iterator[tuple[Path, Callable[[], None]]]:
    stages = declaration["stages"]
    generation = generation_of(declaration)
    yield ("stages",), partial(_check_shape, stages)
    names: set[str] = set()
    for i, stage in enumerate(stages):
        yield ("stages", i), partial(_check_stage, stage, names)
    yield (), partial(_check_generation, declaration)
    for i, _trigger in enumerate(declaration.get("triggers", ())):
        yield ("triggers", i), partial(_check_trigger, declaration, i)
    for i, stage in enumerate(stages):
        yield ("stages", i), partial(_check_gates, stage, declaration)
        for j, action in enumerate(stage["actions"]):
            path: Path = ("stages", i, "actions", j)
            known = types(type_of(action))
            if known is None:
                yield (*path, "actionTypeId"), partial(_refuse_type, action, region)
                continue
            yield (*path, "actionTypeId"), partial(_check_type, known, generation)
            yield path, partial(check_counts, action, known)
            for declared in known.properties:
                yield (*path, "configuration"), partial(_check_required, action, declared)
            for key in action.get("configuration", {}):
                yield (*path, "configuration", key), partial(_check_value, action, key, known)
            yield path, partial(_check_refused, action, known)
            yield path, partial(_check_members, action, known)
    made: set[str] = set()
    for i, j, action, produced in steps_of(declaration):
        test = check_outputs if produced else check_inputs
        yield (
            ("stages", i, "actions", j, "outputArtifacts" if produced else "inputArtifacts"),
            partial(test, action, made),
        )
    yield from variable_tests(declaration)
    yield from condition_tests(declaration, types, mode=_mode(declaration), region=region, served=served)
    yield (), partial(_check_stores, declaration, region)
    for i, stage in enumerate(stages):
        for j, action in enumerate(stage["actions"]):
            yield ("stages", i, "actions", j), partial(_check_region, action, region, served)


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


def _check_shape(stages: Sequence[Mapping[str, Any]]) -> None:
    if len(stages) < 2:
        raise InvalidStructureException(
            f"Pipeline has only {len(stages)} stage(s). There should be a minimum of 2 stages in a pipeline"
        )
    if len(stages) > 50:
        raise InvalidStructureException("Pipeline has too many stages. There can only be up to 50 stages in a pipeline")
    if sum(len(stage["actions"]) for stage in stages) > _MAX_ALL_ACTIONS:
        raise InvalidStructureException(
            f"Pipeline has too many actions. There can only be up to {_MAX_ALL_ACTIONS} actions in a pipeline"
        )
    if not stages[0]["actions"] or not all(_is_source(action) for action in stages[0]["actions"]):
        raise InvalidStructureException("Pipeline should start with a stage that only contains source actions")
    if any(_is_source(action) for stage in stages[1:] for action in stage["actions"]):
        raise InvalidStructureException("Source actions can only be included in the first stage of the pipeline")
    if not any(stage["actions"] for stage in stages[1:]):
        raise InvalidStructureException("Pipeline should contain at least 1 action whose category is not Source")


def _check_stage(stage: Mapping[str, Any], names: set[str]) -> None:
    if stage["name"] in names:
        raise InvalidStageDeclarationException(f"Stage name '{stage['name']}' is used more than once")
    names.add(stage["name"])
    if not stage["actions"]:
        raise InvalidStageDeclarationException(f"Stage '{stage['name']}' should contain at least 1 action")
    if len(stage["actions"]) > _MAX_ACTIONS:
        raise InvalidStageDeclarationException(
            f"Stage '{stage['name']}' has too many actions. There can only be up to {_MAX_ACTIONS} actions in a stage"
        )
    seen: set[str] = set()
    for action in stage["actions"]:
        if action["name"] in seen:
            raise InvalidActionDeclarationException(
                f"Action name '{action['name']}' is used more than once in stage '{stage['name']}'"
            )
        seen.add(action["name"])


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
    size = len(json.dumps(declaration.get("triggers", []), ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size > _MAX_TRIGGERS_BYTES:
        raise InvalidStructureException(
            f"The triggers of the pipeline are {size} bytes of JSON. There can only be up to {_MAX_TRIGGERS_BYTES} bytes."
        )


def _check_trigger(declaration: Mapping[str, Any], index: int) -> None:
    trigger = declaration["triggers"][index]
    git = trigger["gitConfiguration"]
    name = git["sourceActionName"]
    sources = [action for stage in declaration["stages"][:1] for action in stage["actions"]]
    provider = {action["name"]: action["actionTypeId"]["provider"] for action in sources}.get(name)
    if provider != trigger["providerType"]:
        raise InvalidStructureException(f"Triggers for connections must reference a {trigger['providerType']} action.")
    if any(other["gitConfiguration"]["sourceActionName"] == name for other in declaration["triggers"][:index]):
        raise InvalidStructureException(
            f"The source action '{name}' has more than one trigger. Put its filters into one."
        )
    if not git.get("push") and not git.get("pullRequest"):
        raise InvalidStructureException(
            f"The trigger of source action '{name}' has no filter. Give it 'push' or 'pullRequest', or remove the trigger: "
            "without one every push to the branch of the action starts the pipeline."
        )
    for kind in ("push", "pullRequest"):
        filters = git.get(kind, [])
        for i, one in enumerate(filters):
            if one in filters[:i]:
                raise InvalidStructureException(
                    f"The trigger of source action '{name}' has the same filter of '{kind}' more than once"
                )
            why = _odd_filter(kind, one)
            if why:
                raise InvalidStructureException(f"A filter of '{kind}' in the trigger of source action '{name}' {why}")


def _odd_filter(kind: str, declared: Mapping[str, Any]) -> str | None:
    """What is wrong with the combination of criteria of a filter. AWS: pipelines-filter."""
    tags, branches, paths = (declared.get(one) for one in ("tags", "branches", "filePaths"))
    for name, criteria in (("tags", tags), ("branches", branches), ("filePaths", paths)):
        if criteria is not None and not criteria.get("includes") and not criteria.get("excludes"):
            return f"has '{name}' without 'includes' and without 'excludes'"
    if tags and (branches or paths):
        return "has 'tags' beside other criteria: tags stand alone"
    if paths and not branches:
        return "has 'filePaths' without 'branches'"
    if kind == "push" and not tags and not branches:
        return "has no criteria"
    if kind == "pullRequest" and not branches:
        return "has no 'branches'"
    events = declared.get("events", ())
    if len(set(events)) < len(events):
        return "has an event more than once"
    return None


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


def _refuse_type(action: Mapping[str, Any], region: str) -> None:
    named = type_of(action)
    raise InvalidActionDeclarationException(
        f"ActionType (Category: '{named.category}', Provider: '{named.provider}', Owner: '{named.owner}', "
        f"Version: '{named.version}') in action '{action['name']}' is not available in region "
        f"'{region.upper().replace('-', '_')}'"
    )


def _check_type(known: ActionType, generation: PipelineType) -> None:
    if known.v2_only and generation is PipelineType.V1:
        raise InvalidActionDeclarationException(f"{known.id.provider} Action can only be used with V2 pipelines.")


def _check_members(action: Mapping[str, Any], known: ActionType) -> None:
    name, provider = action["name"], known.id.provider
    if "commands" in known.members and not action.get("commands"):
        raise InvalidActionDeclarationException(f"Action {name} must have a non-empty commands field")
    if action.get("commands") and "commands" not in known.members:
        raise InvalidActionDeclarationException(
            f"The following action cannot contain a commands field: {name}. To use the commands field, use a compute action."
        )
    for member in _ACTION_MEMBERS:
        if action.get(member) and member not in known.members:
            raise InvalidActionDeclarationException(
                f"Action '{name}' declares '{member}', which actions of provider '{provider}' do not have"
            )
    if "files" not in known.members and any(output.get("files") for output in action.get("outputArtifacts", ())):
        raise InvalidActionDeclarationException(
            f"Action '{name}' declares files of an output artifact, which actions of provider '{provider}' do not have"
        )
    variables = action.get("environmentVariables", ())
    if "commands" not in known.members and any(one.get("type") == "SECRETS_MANAGER" for one in variables):
        raise InvalidActionDeclarationException(
            f"Action '{name}' declares an environment variable of type SECRETS_MANAGER, which actions of provider "
            f"'{provider}' do not have"
        )
    if any("\n" in command or "\r" in command for command in action.get("commands", ())):
        raise InvalidActionDeclarationException(
            f"Action '{name}' declares a command of several lines. Make each line a command of its own."
        )
    for what, names in (
        ("environment variable", [one["name"] for one in variables]),
        ("output variable", list(action.get("outputVariables", ()))),
    ):
        double = next((one for i, one in enumerate(names) if one in names[:i]), None)
        if double is not None:
            raise InvalidActionDeclarationException(f"Action '{name}' declares the {what} '{double}' more than once")
    if "timeoutInMinutes" in action and known.id.category != Category.APPROVAL:
        raise InvalidActionDeclarationException(
            f"Action '{name}' declares 'timeoutInMinutes', which only manual approval actions have"
        )


def _check_required(action: Mapping[str, Any], declared: Property) -> None:
    if declared.required and declared.name not in action.get("configuration", {}):
        raise InvalidActionDeclarationException(
            f"Action configuration for action '{action['name']}' is missing required configuration '{declared.name}'"
        )


def _check_value(action: Mapping[str, Any], key: str, known: ActionType) -> None:
    declared = known.property(key)
    if declared is None:
        raise InvalidActionDeclarationException(
            f"Action configuration for action '{action['name']}' contains unknown configuration '{key}'"
        )
    value = action["configuration"][key]
    if "#{" not in value and not _takes(declared, value):
        raise InvalidActionDeclarationException(_invalid(action, declared))


def _takes(declared: Property, value: str) -> bool:
    return not declared.values or value in declared.values


def _configuration_of(action: Mapping[str, Any]) -> str:
    what = "rule" if "ruleTypeId" in action else "action"
    return f"{what.capitalize()} configuration for {what} '{action['name']}'"


def _invalid(action: Mapping[str, Any], declared: Property) -> str:
    return (
        f"{_configuration_of(action)} contains an invalid value for '{declared.name}': it must be "
        f"one of {', '.join(declared.values)}"
    )


def refusal_of_resolved(action: Mapping[str, Any], known: ActionType) -> str | None:
    """Why an action (or a rule) cannot run with the values of its variables, in the words that refuse a declaration; None when it can."""
    configuration = action["configuration"]
    for declared in known.properties:
        value = configuration.get(declared.name)
        if declared.required and value == "":
            return (
                f"{_configuration_of(action)} is missing required configuration '{declared.name}': its "
                "variables have empty values"
            )
        if value is not None and not _takes(declared, value):
            return _invalid(action, declared)
    return known.refuse(action) if known.refuse is not None else None


def _check_refused(action: Mapping[str, Any], known: ActionType) -> None:
    why = known.refuse(action) if known.refuse is not None else None
    if why:
        raise InvalidActionDeclarationException(why)


def _check_stores(declaration: Mapping[str, Any], region: str) -> None:
    single, several = declaration.get("artifactStore"), declaration.get("artifactStores")
    if bool(single) == bool(several):
        raise InvalidStructureException("A pipeline must have exactly one of 'artifactStore' and 'artifactStores'")
    stages = declaration["stages"]
    actions = [action for stage in stages for action in stage["actions"]]
    rules = [rule for stage in stages for _, rule in rules_of(stage)]
    elsewhere = sorted({one["region"] for one in (*actions, *rules) if one.get("region", region) != region})
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


def _check_region(action: Mapping[str, Any], region: str, served: Sequence[str] | None) -> None:
    """AWS: actions-create-cross-region."""
    there = action.get("region", region)
    if there == region:
        return
    if _is_source(action) or action["actionTypeId"]["owner"] != "AWS":
        raise InvalidActionDeclarationException(
            f"Action '{action['name']}' names the region {there}, and the pipeline is in {region}. Source actions, and actions "
            "of the owners Custom and ThirdParty, run in the region of the pipeline: leave 'region' out."
        )
    why = refusal_of_region(there, served)
    if why:
        raise InvalidActionDeclarationException(f"Action '{action['name']}' names {why}")


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
    for member in ("variables", "triggers"):
        if declaration.get(member):
            answer[member] = declaration[member]
    return answer


def _normalised_stage(stage: Mapping[str, Any]) -> Declaration:
    answer: Declaration = {
        "name": stage["name"],
        "actions": [
            {"runOrder": 1, "configuration": {}, "inputArtifacts": [], "outputArtifacts": [], **action}
            for action in stage["actions"]
        ],
    }
    return answer | {gate: stage[gate] for gate in _gates(stage)}


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
