"""Variables: `#{namespace.key}` in a declaration, and what they stand for when an action starts.

AWS: reference-variables. Namespaces are `variables` (of the pipeline), `codepipeline` (`PipelineExecutionId`) and those
that actions declare.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from penstock.pipelines.artifacts import steps_of
from penstock.pipelines.errors import InvalidActionDeclarationException, InvalidStructureException

_REFERENCE = re.compile(r"#\{([^{}]*)\}")

PIPELINE = "variables"
RESERVED = "codepipeline"

_WHERE = "\nStageName=[{stage}], ActionName=[{action}], ActionConfigurationKey=[{key}], VariableReferenceText=[{text}]"
_FORMAT = (
    "Valid format for a pipeline execution variable reference is a namespace and a key separated by a period (.). "
)


class Unresolved(Exception):
    """A reference without a value; `text` is what stood between `#{` and `}`."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def references(value: str) -> Iterator[str]:
    """The text between `#{` and `}` of every reference in a value."""
    return (match.group(1) for match in _REFERENCE.finditer(value))


def resolve(value: str, scope: Mapping[str, Mapping[str, str]]) -> str:
    """The value with every reference replaced from `scope` (namespace → key → value). Raises Unresolved."""

    def stand_in(match: re.Match[str]) -> str:
        namespace, _, key = match.group(1).partition(".")
        try:
            return scope[namespace][key]
        except KeyError:
            raise Unresolved(match.group(1)) from None

    return _REFERENCE.sub(stand_in, value)


def resolve_all(configuration: Mapping[str, str], scope: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """A configuration with every reference replaced. Raises Unresolved at the first one without a value.

    In a JSON document, such as the variables of a build, a value stays inside of the string in which its reference stands: a
    quote in a commit message must neither break the document nor add to it.
    """
    escaped: dict[str, dict[str, str]] | None = None
    resolved: dict[str, str] = {}
    for key, value in configuration.items():
        if "#{" in value and _is_document(value):
            if escaped is None:
                escaped = {
                    name: {k: json.dumps(v, ensure_ascii=False)[1:-1] for k, v in known.items()}
                    for name, known in scope.items()
                }
            resolved[key] = resolve(value, escaped)
        else:
            resolved[key] = resolve(value, scope)
    return resolved


def texts_of(declared: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text of a declared action or rule in which references may stand, with its place. AWS: reference-variables."""
    for key, value in declared.get("configuration", {}).items():
        yield ("configuration", key), value
    for number, command in enumerate(declared.get("commands", ())):
        yield ("commands", number), command
    for number, variable in enumerate(declared.get("environmentVariables", ())):
        yield ("environmentVariables", number, "value"), variable["value"]


def resolved_action(declared: Mapping[str, Any], scope: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """A declared action or rule with every reference replaced. Raises Unresolved.

    In a command the value stands as it is, and the shell reads it as a part of the command.
    """
    found = {**declared, "configuration": resolve_all(declared.get("configuration", {}), scope)}
    if "commands" in declared:
        found["commands"] = [resolve(command, scope) for command in declared["commands"]]
    if "environmentVariables" in declared:
        variables = declared["environmentVariables"]
        found["environmentVariables"] = [{**one, "value": resolve(one["value"], scope)} for one in variables]
    return found


def _is_document(value: str) -> bool:
    """Whether it is a JSON list or object with its references as they are."""
    if not value.lstrip().startswith(("[", "{")):
        return False
    try:
        json.loads(value)
    except (ValueError, RecursionError):
        return False
    return True


def variable_tests(declaration: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Callable[[], None]]]:
    """Every namespace is unambiguous and every reference can have a value by the time it is needed: tests of parts, by their paths."""
    names: set[str] = set()
    for i, variable in enumerate(declaration.get("variables", ())):
        yield ("variables", i), partial(_check_name, variable["name"], names)
    stages = declaration["stages"]
    actions = [(i, j, action) for i, stage in enumerate(stages) for j, action in enumerate(stage["actions"])]
    artifacts = {output["name"] for _, _, action in actions for output in action.get("outputArtifacts", ())}
    reserved = {RESERVED, PIPELINE} if names else {RESERVED}
    seen: set[str] = set()
    for i, j, action in actions:
        yield ("stages", i, "actions", j, "namespace"), partial(_check_namespace, action, reserved, artifacts, seen)
    earlier: set[str] = set()  # namespaces of actions that have surely run
    for i, j, action, ran in steps_of(declaration):
        if ran:
            earlier |= {action["namespace"]} if "namespace" in action else set()
            continue
        for place, value in texts_of(action):
            path = ("stages", i, "actions", j, *place)
            key = str(place[1] if place[0] == "configuration" else place[0])
            check = partial(_check_references, stages[i]["name"], action, declared=names, earlier=earlier)
            yield path, partial(check, key=key, value=value)


def _check_name(name: str, names: set[str]) -> None:
    if name in names:
        raise InvalidStructureException(
            "Variable names must be unique. The following variable name is already in use: " + name
        )
    names.add(name)


def _check_namespace(action: Mapping[str, Any], reserved: set[str], artifacts: set[str], seen: set[str]) -> None:
    namespace = action.get("namespace")
    if namespace is None:
        return
    if namespace in reserved:
        why = "is reserved"
    elif namespace in artifacts:
        why = "is also the name of an artifact"
    elif namespace in seen:
        why = "is used more than once"
    else:
        seen.add(namespace)
        return
    raise InvalidActionDeclarationException(
        f"Namespaces must be unique in a pipeline. Namespace '{namespace}' of action '{action['name']}' {why}"
    )


def _check_references(
    stage: str, action: Mapping[str, Any], *, key: str, value: str, declared: set[str], earlier: set[str]
) -> None:
    source = action["actionTypeId"]["category"] == "Source"
    for text in references(value):
        where = _WHERE.format(stage=stage, action=action["name"], key=key, text=text)
        namespace, dot, name = text.partition(".")
        if not dot or not namespace or not name:
            raise InvalidActionDeclarationException(
                _FORMAT + "The following pipeline execution variables do not have this format." + where
            )
        if namespace == PIPELINE and declared:
            if source:
                raise InvalidStructureException(
                    "Variables at the pipeline level cannot be used in source actions." + where
                )
            if name not in declared:
                raise InvalidStructureException("The referenced variables haven't been declared." + where)
        elif namespace == RESERVED:
            if name != "PipelineExecutionId":
                raise InvalidActionDeclarationException(
                    _FORMAT
                    + "The following pipeline execution variables are referencing a key that does not exist."
                    + where
                )
        elif namespace == PIPELINE and PIPELINE not in earlier:
            raise InvalidStructureException("The referenced variables haven't been declared." + where)
        elif namespace not in earlier:
            raise InvalidActionDeclarationException(
                _FORMAT
                + "The following pipeline execution variables are referencing a namespace that does not exist."
                + where
            )
