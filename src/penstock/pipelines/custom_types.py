"""Action types that accounts define: what such a definition may say, and what declarations may say by it. Pure.

A custom type is what CreateCustomActionType is given; one of a partner is the shape ActionTypeDeclaration, whose `optional` and
`noEcho` are the opposite and the same of what custom types call `required` and `secret`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from penstock.pipelines.errors import RequestFailedException, ValidationException
from penstock.pipelines.model import CUSTOM_TIMEOUT, ActionType, ActionTypeId, Category, Property

CUSTOM = "Custom"
LEASE_TAG = "penstock:job-lease-minutes"
"""The tag of a custom action type that says after how many minutes of silence a worker loses its job to another."""

MASK = "****"
"""What answers show of a secret value, and what an update says to keep it."""

_LONGEST_LEASE = 24 * 60  # minutes, after which the action's time is over anyway
_PLACES = re.compile(r"\{([^{}]*)\}")
_QUERYABLE = re.compile(r"[a-zA-Z0-9_-]{1,50}")
_NUMBER = re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,300})?")
_MINUTES = re.compile(r"[0-9]{1,4}")


def type_of_custom(id: ActionTypeId, definition: Mapping[str, Any], tags: Mapping[str, str]) -> ActionType:
    """A custom action type by its definition."""
    properties = tuple(
        Property(
            name=one["name"],
            description=one.get("description", ""),
            required=one["required"],
            key=one["key"],
            secret=one["secret"],
            masked=one["secret"],
            queryable=one.get("queryable", False),
            kind=one.get("type", ""),
        )
        for one in definition.get("configurationProperties", ())
    )
    settings = definition.get("settings", {})
    return ActionType(
        id=id,
        properties=properties,
        inputs=_counts(definition["inputArtifactDetails"]),
        outputs=_counts(definition["outputArtifactDetails"]),
        timeout=CUSTOM_TIMEOUT,
        entity_url=settings.get("entityUrlTemplate", ""),
        execution_url=settings.get("executionUrlTemplate", ""),
        revision_url=settings.get("revisionUrlTemplate", ""),
        configuration_url=settings.get("thirdPartyConfigurationUrl", ""),
        refuse=partial(_refuse, properties),
        job_lease=_lease(tags),
    )


def type_of_declaration(id: ActionTypeId, declared: Mapping[str, Any]) -> ActionType:
    """A partner's action type by its declaration."""
    properties = tuple(
        Property(
            name=one["name"],
            description=one.get("description", ""),
            required=not one["optional"],
            key=one["key"],
            secret=one["noEcho"],
            masked=one["noEcho"],
            # Nobody can ask by a value: PollForThirdPartyJobs has no member for it.
        )
        for one in declared.get("properties", ())
    )
    urls, seconds = declared.get("urls", {}), declared["executor"].get("jobTimeout")
    return ActionType(
        id=id,
        properties=properties,
        inputs=_counts(declared["inputArtifactDetails"]),
        outputs=_counts(declared["outputArtifactDetails"]),
        timeout=CUSTOM_TIMEOUT,
        of_partner=True,
        entity_url=urls.get("entityUrlTemplate", ""),
        execution_url=urls.get("executionUrlTemplate", ""),
        revision_url=urls.get("revisionUrlTemplate", ""),
        configuration_url=urls.get("configurationUrl", ""),
        refuse=partial(_refuse, properties),
        job_timeout=None if seconds is None else seconds * 1000,
    )


def check_custom(definition: Mapping[str, Any]) -> None:
    """Raises ValidationException for a custom action type that cannot be. AWS's texts where they are known."""
    properties = definition.get("configurationProperties", ())
    check_shape(
        definition["category"],
        [definition["inputArtifactDetails"], definition["outputArtifactDetails"]],
        [one["name"] for one in properties],
    )
    queryable = [one["name"] for one in properties if one.get("queryable")]
    unfit = [one["name"] for one in properties if one.get("queryable") and (one["secret"] or not one["required"])]
    check_queryable(queryable, unfit)
    settings = definition.get("settings", {})
    fit = {one["name"] for one in properties if one["required"] and not one["secret"]}
    check_templates(settings, fit)


def check_declaration(declared: Mapping[str, Any]) -> None:
    """Raises ValidationException or RequestFailedException for a partner's action type that cannot be."""
    executor = declared["executor"]
    if executor["type"] != "JobWorker":
        raise RequestFailedException(
            why="Penstock runs no functions, so that an action type cannot have the executor Lambda. Use JobWorker."
        )
    configuration = executor["configuration"]
    if "jobWorkerExecutorConfiguration" not in configuration or "lambdaExecutorConfiguration" in configuration:
        raise ValidationException(
            "An executor of the type JobWorker has a jobWorkerExecutorConfiguration and nothing else."
        )
    properties = declared.get("properties", ())
    check_shape(
        declared["id"]["category"],
        [declared["inputArtifactDetails"], declared["outputArtifactDetails"]],
        [one["name"] for one in properties],
    )
    check_queryable(
        [one["name"] for one in properties if one.get("queryable")],
        [one["name"] for one in properties if one.get("queryable") and (one["noEcho"] or one["optional"])],
    )
    fit = {one["name"] for one in properties if not one["optional"] and not one["noEcho"]}
    check_templates(declared.get("urls", {}), fit)


def check_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raises ValidationException for a change that declared pipelines would not survive. AWS: UpdateActionType."""
    known = {one["name"]: one for one in before.get("properties", ())}
    for one in after.get("properties", ()):
        if not one["optional"] and (one["name"] not in known or known[one["name"]]["optional"]):
            raise ValidationException(
                f"The property '{one['name']}' cannot become required: pipelines that use the type may be without it. Register the "
                "type with another version."
            )
        if one["name"] in known and known[one["name"]]["noEcho"] != one["noEcho"]:
            raise ValidationException(
                f"noEcho of the property '{one['name']}' cannot change: pipelines hold its values. Register the type with another "
                "version."
            )


def check_shape(category: str, counts: Sequence[Mapping[str, int]], names: Sequence[str]) -> None:
    """Raises ValidationException for artifact counts and names of properties that cannot be."""
    if category in (Category.APPROVAL, Category.COMPUTE):
        raise ValidationException(
            f"Penstock runs no action types of accounts in the category {category}. Use Source, Build, Test, Deploy or Invoke."
        )
    for one in counts:
        least, most = one["minimumCount"], one["maximumCount"]
        if most < least:
            raise ValidationException(
                f"Maximum Number of Artifacts ({most}) has to be greater than or equal to minimum ({least})."
            )
    if category == Category.SOURCE and counts[0]["maximumCount"]:
        raise ValidationException("An action type of the category Source takes no input artifacts.")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValidationException(f"The configuration property '{doubled[0]}' is declared more than once.")


def check_queryable(queryable: Sequence[str], unfit: Sequence[str]) -> None:
    """At most one property is queryable. `unfit` are those that are optional or secret."""
    if len(queryable) > 1:
        raise ValidationException(
            f"Multiple queryable configuration properties found with names '{', '.join(queryable)}'. "
            "Up to one queryable property may be specified."
        )
    if unfit:
        raise ValidationException(
            f"Invalid queryable property '{unfit[0]}'. Queryable configuration properties must be required and non-secret."
        )


def check_templates(settings: Mapping[str, str], fit: set[str]) -> None:
    """Templates of links name what the type has. `fit` are the properties that a template may use."""
    known = {
        "entityUrlTemplate": set[str](),
        "executionUrlTemplate": {"ExternalExecutionId"},
        "revisionUrlTemplate": {"RevisionId"},
    }
    for member, more in known.items():
        for place in _PLACES.findall(settings.get(member, "")):
            prefix, _, name = place.partition(":")
            if place not in more and not (prefix == "Config" and name in fit):
                raise ValidationException(
                    f"The {member} has the place '{{{place}}}', which cannot be filled. A template may have {{Config:Name}} of "
                    "required and non-secret properties, {ExternalExecutionId} for executions and {RevisionId} for revisions."
                )


def _counts(details: Mapping[str, int]) -> tuple[int, int]:
    return details["minimumCount"], details["maximumCount"]


def check_lease(tags: Mapping[str, str]) -> None:
    """Raises ValidationException for a tag that says no length of a lease."""
    if LEASE_TAG in tags and _lease(tags) is None:
        raise ValidationException(
            f"The tag {LEASE_TAG} must be a number of minutes from 1 to {_LONGEST_LEASE}, and is '{tags[LEASE_TAG]}'."
        )


def _lease(tags: Mapping[str, str]) -> int | None:
    said = tags.get(LEASE_TAG, "")
    minutes = int(said) if _MINUTES.fullmatch(said) else 0
    return minutes * 60_000 if 1 <= minutes <= _LONGEST_LEASE else None


def _refuse(properties: Sequence[Property], action: Mapping[str, Any]) -> str | None:
    configuration: Mapping[str, str] = action.get("configuration", {})
    for one in properties:
        value = configuration.get(one.name)
        if value is None:
            continue
        where = f"Action configuration for action '{action['name']}' contains an invalid value for '{one.name}': "
        if "#{" in value:
            if one.masked:
                return f"{where}a secret value cannot refer to variables"
        elif one.queryable and not queryable_value(value):
            return f"{where}job workers ask for jobs by it, so it must be 1 to 50 letters, digits, '_' and '-'"
        elif one.kind == "Number" and not one.masked and not _NUMBER.fullmatch(value):
            return f"{where}it must be a number"
        elif one.kind == "Boolean" and not one.masked and value not in ("true", "false"):
            return f"{where}it must be true or false"
    return None


def queryable_value(value: str) -> bool:
    """Whether job workers can ask for a value (AWS: ActionConfigurationQueryableValue)."""
    return _QUERYABLE.fullmatch(value) is not None


def query_of(known: ActionType, configuration: Mapping[str, str]) -> str:
    """The value by which job workers ask for an action's jobs; "" for a type without such a property."""
    return next((configuration.get(one.name, "") for one in known.properties if one.queryable), "")
