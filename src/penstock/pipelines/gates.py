"""Conditions of stages: what may be declared, and the rules that are.

A rule is declared like an action, by a type of the category Rule. AWS: stage-conditions, "pipeline-requirements"; codes and texts
are AWS's where they are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

from penstock.pipelines.errors import InvalidStageDeclarationException
from penstock.pipelines.model import ActionType, ConditionType, ExecutionMode, Result
from penstock.pipelines.plan import GATES, ActionTypes, type_of_rule
from penstock.pipelines.variables import PIPELINE, RESERVED, references, texts_of

_RESULTS = {
    ConditionType.BEFORE_ENTRY: (Result.FAIL, Result.SKIP),
    ConditionType.ON_SUCCESS: (Result.FAIL, Result.ROLLBACK),
    ConditionType.ON_FAILURE: (Result.ROLLBACK,),
}
_MOST_RULES = 5


def rules_of(stage: Mapping[str, Any]) -> Iterator[tuple[ConditionType, Mapping[str, Any]]]:
    """Every rule of a declared stage, with the type of its condition."""
    for gate, type in GATES.items():
        for condition in stage.get(gate, {}).get("conditions", ()):
            for rule in condition.get("rules", ()):
                yield type, rule


def declared_rule(declaration: Mapping[str, Any], stage: str, condition: str, name: str) -> Mapping[str, Any]:
    """A rule as it is declared, in the form of an action; empty when it is not."""
    for candidate in declaration.get("stages", ()):
        if candidate["name"] == stage:
            for type, rule in rules_of(candidate):
                if type == condition and rule["name"] == name:
                    return {**rule, "actionTypeId": type_of_rule(rule).as_output()}
    return {}


def condition_tests(
    declaration: Mapping[str, Any],
    types: ActionTypes,
    *,
    mode: ExecutionMode,
    region: str,
    served: Sequence[str] | None,
) -> Iterator[tuple[tuple[str | int, ...], Callable[[], None]]]:
    """What has to hold of conditions and their rules, each with its place: a test raises the error that AWS answers."""
    made: set[str] = set()
    namespaces: set[str] = {RESERVED, *([PIPELINE] if declaration.get("variables") else [])}
    for i, stage in enumerate(declaration["stages"]):
        before = (frozenset(made), frozenset(namespaces))
        for action in stage["actions"]:
            made |= {output["name"] for output in action.get("outputArtifacts", ())}
            namespaces |= {action["namespace"]} if "namespace" in action else set()
        for gate, type in GATES.items():
            for k, condition in enumerate(stage.get(gate, {}).get("conditions", ())):
                path: tuple[str | int, ...] = ("stages", i, gate, "conditions", k)
                yield path, partial(_check_condition, stage["name"], type, condition, mode=mode, first=i == 0)
                known = before if type is ConditionType.BEFORE_ENTRY else (frozenset(made), frozenset(namespaces))
                for r, rule in enumerate(condition.get("rules", ())):
                    check = partial(
                        _check_rule,
                        stage["name"],
                        rule,
                        types,
                        result=condition.get("result"),
                        region=region,
                        served=served,
                    )
                    yield (*path, "rules", r), check
                    yield (*path, "rules", r), partial(_check_uses, stage["name"], rule, *known)


def _check_condition(
    stage: str, type: ConditionType, condition: Mapping[str, Any], *, mode: ExecutionMode, first: bool
) -> None:
    result, rules = condition.get("result"), condition.get("rules", ())
    if result not in _RESULTS[type]:
        allowed = " or ".join(_RESULTS[type])
        raise InvalidStageDeclarationException(
            f"The condition {type} of stage '{stage}' has the result {result}: it must be {allowed}"
        )
    if result == Result.ROLLBACK and mode is ExecutionMode.PARALLEL:
        what = "Failure" if type is ConditionType.ON_FAILURE else "Success"
        raise InvalidStageDeclarationException(
            f"{what} conditions with rollback result type cannot be added to a PARALLEL pipeline."
        )
    if result == Result.ROLLBACK and first:
        raise InvalidStageDeclarationException(
            f"The result ROLLBACK cannot be used for the condition {type} of stage '{stage}': the stage of the sources is "
            "not rolled back"
        )
    if not 1 <= len(rules) <= _MOST_RULES:
        raise InvalidStageDeclarationException(
            f"The condition {type} of stage '{stage}' has {len(rules)} rules: it must have 1 to {_MOST_RULES}"
        )
    names = [rule["name"] for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise InvalidStageDeclarationException(
                f"Rule name '{name}' is used more than once in the condition {type} of stage '{stage}'"
            )


def refusal_of_region(region: str, served: Sequence[str] | None) -> str | None:
    """Why nothing runs in a region, to follow "names"; None when it does. `served` are the regions of the installation, if they are known."""
    if served is None or region in served:
        return None
    return (
        f"the region {region}, which this installation does not serve. It serves {', '.join(served)}: name one of them, or start "
        f"it with --also-region {region}."
    )


def _check_rule(
    stage: str,
    rule: Mapping[str, Any],
    types: ActionTypes,
    *,
    result: str | None,
    region: str,
    served: Sequence[str] | None,
) -> None:
    name, id = rule["name"], type_of_rule(rule)
    known = types(id)
    if known is None:
        raise InvalidStageDeclarationException(
            f"RuleType (Category: '{id.category}', Provider: '{id.provider}', Owner: '{id.owner}', Version: "
            f"'{id.version}') in rule '{name}' is not available in region '{region.upper().replace('-', '_')}'"
        )
    if result == Result.SKIP and not known.skips:
        raise InvalidStageDeclarationException(
            f"Rule '{name}' of stage '{stage}' cannot be used with the result SKIP: rules of provider {id.provider} cannot "
            "skip a stage"
        )
    if "commands" in known.members and not rule.get("commands"):
        raise InvalidStageDeclarationException(f"Rule {name} must have a non-empty commands field")
    if any("\n" in command or "\r" in command for command in rule.get("commands", ())):
        raise InvalidStageDeclarationException(
            f"Rule '{name}' declares a command of several lines. Make each line a command of its own."
        )
    if rule.get("commands") and "commands" not in known.members:
        raise InvalidStageDeclarationException(
            f"Rule '{name}' declares 'commands', which rules of provider '{id.provider}' do not have"
        )
    why = refusal_of_region(rule["region"], served) if rule.get("region", region) != region else None
    if why:
        raise InvalidStageDeclarationException(f"Rule '{name}' of stage '{stage}' names {why}")
    _check_configuration(rule, known)
    count, (least, most) = len(rule.get("inputArtifacts", ())), known.inputs
    if not least <= count <= most:
        raise InvalidStageDeclarationException(
            f"Rule {name} declares {count} input artifacts: rules of its type have {least} to {most}"
        )


def _check_configuration(rule: Mapping[str, Any], known: ActionType) -> None:
    name, configuration = rule["name"], rule.get("configuration", {})
    for declared in known.properties:
        if declared.required and declared.name not in configuration:
            raise InvalidStageDeclarationException(
                f"Rule configuration for rule '{name}' is missing required configuration '{declared.name}'"
            )
    for key, value in configuration.items():
        declared = known.property(key)
        if declared is None:
            raise InvalidStageDeclarationException(
                f"Rule configuration for rule '{name}' contains unknown configuration '{key}'"
            )
        if declared.values and "#{" not in value and value not in declared.values:
            raise InvalidStageDeclarationException(
                f"Rule configuration for rule '{name}' contains an invalid value for '{key}': it must be one of "
                + ", ".join(declared.values)
            )
    why = known.refuse(rule) if known.refuse is not None else None
    if why:
        raise InvalidStageDeclarationException(why)


def _check_uses(stage: str, rule: Mapping[str, Any], made: AbstractSet[str], namespaces: AbstractSet[str]) -> None:
    """What a rule uses can be there by the time that it is checked."""
    for artifact in rule.get("inputArtifacts", ()):
        if artifact["name"] not in made:
            raise InvalidStageDeclarationException(
                f"Input Artifact Bundle {artifact['name']} in rule {rule['name']} is not declared as the output of any "
                "preceding actions"
            )
    for place, value in texts_of(rule):
        key = place[1] if place[0] == "configuration" else place[0]
        for text in references(value):
            namespace, _, name = text.partition(".")
            if not name or namespace not in namespaces:
                raise InvalidStageDeclarationException(
                    "The following pipeline execution variables are referencing a namespace that does not exist."
                    f"\nStageName=[{stage}], RuleName=[{rule['name']}], RuleConfigurationKey=[{key}], "
                    f"VariableReferenceText=[{text}]"
                )
