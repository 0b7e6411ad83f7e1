"""Artifacts: which action makes them, which may use them, and where they lie in the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import groupby
from typing import Any

from penstock.pipelines.errors import InvalidActionDeclarationException
from penstock.pipelines.model import ActionType

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def object_key(pipeline: str, artifact: str, action_execution: str) -> str:
    """The key of an output artifact: `<pipeline, 20>/<artifact, 10>/<7 letters and digits>`, as AWS lays it out.

    The last part derives from the action execution, so that a start that runs twice writes to the same place.
    """
    number = int.from_bytes(sha256(f"{action_execution}/{artifact}".encode()).digest()[:8])
    letters = []
    for _ in range(7):
        number, digit = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[digit])
    return f"{pipeline[:20]}/{artifact[:10]}/{''.join(letters)}"


def check_counts(action: Mapping[str, Any], known: ActionType) -> None:
    """An action has as many input and output artifacts as its type takes."""
    for side, declared, (least, most) in (
        ("input", action.get("inputArtifacts", ()), known.inputs),
        ("output", action.get("outputArtifacts", ()), known.outputs),
    ):
        count = len(declared)
        if count < least:
            raise InvalidActionDeclarationException(
                f"Action {action['name']} declares {count} {side} artifacts which is less than the minimum count ({least})"
            )
        if count > most:
            raise InvalidActionDeclarationException(
                f"Action {action['name']} declares {count} {side} artifacts which is more than the maximum count ({most})"
            )


def steps_of(declaration: Mapping[str, Any]) -> Iterator[tuple[int, int, Mapping[str, Any], bool]]:
    """Each action twice, as artifacts come about: when it uses them (False) and when it has made them (True), with its positions."""
    for i, stage in enumerate(declaration["stages"]):
        ordered = sorted(enumerate(stage["actions"]), key=lambda one: one[1].get("runOrder", 1))
        for _, group in groupby(ordered, key=lambda one: one[1].get("runOrder", 1)):
            actions = list(group)
            for made in (False, True):
                yield from ((i, j, action, made) for j, action in actions)


def check_outputs(action: Mapping[str, Any], made: set[str]) -> None:
    """Every artifact is made once. Adds those of the action to `made`."""
    for output in action.get("outputArtifacts", ()):
        if output["name"] in made:
            raise InvalidActionDeclarationException(
                "Output Artifact Bundle name must be unique within the pipeline. "
                f"{output['name']} has been used more than once."
            )
        made.add(output["name"])


def check_inputs(action: Mapping[str, Any], made: set[str]) -> None:
    """Every artifact is made before it is used. AWS: action-requirements."""
    names = [artifact["name"] for artifact in action.get("inputArtifacts", ())]
    for name in names:
        if name not in made:
            raise InvalidActionDeclarationException(
                f"Input Artifact Bundle {name} in action {action['name']} is not declared as the output of any "
                "preceding actions"
            )
        if names.count(name) > 1:
            raise InvalidActionDeclarationException(
                f"Input Artifact Bundle {name} is declared more than once in action {action['name']}"
            )
