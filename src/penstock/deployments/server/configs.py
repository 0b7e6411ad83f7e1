"""Deployment configurations: the 17 predefined ones and what a custom one must say. AWS: deployment-configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

PREFIX: Final = "CodeDeployDefault."
DEFAULT: Final = "CodeDeployDefault.OneAtATime"


def _server(kind: str, value: int) -> dict[str, Any]:
    return {"computePlatform": "Server", "minimumHealthyHosts": {"type": kind, "value": value}}


def _at_once(platform: str) -> dict[str, Any]:
    return {"computePlatform": platform, "trafficRoutingConfig": {"type": "AllAtOnce"}}


def _canary(platform: str, minutes: int) -> dict[str, Any]:
    canary = {"canaryPercentage": 10, "canaryInterval": minutes}
    return {
        "computePlatform": platform,
        "trafficRoutingConfig": {"type": "TimeBasedCanary", "timeBasedCanary": canary},
    }


def _linear(platform: str, minutes: int) -> dict[str, Any]:
    linear = {"linearPercentage": 10, "linearInterval": minutes}
    return {
        "computePlatform": platform,
        "trafficRoutingConfig": {"type": "TimeBasedLinear", "timeBasedLinear": linear},
    }


# AWS spells "Every1Minute" for Lambda and "Every1Minutes" for ECS.
PREDEFINED: Final[Mapping[str, dict[str, Any]]] = {
    PREFIX + name: body
    for name, body in {
        "OneAtATime": _server("MOST_CONCURRENCY", 1),
        "HalfAtATime": _server("FLEET_PERCENT", 50),
        "AllAtOnce": _server("HOST_COUNT", 0),
        "LambdaAllAtOnce": _at_once("Lambda"),
        "LambdaCanary10Percent5Minutes": _canary("Lambda", 5),
        "LambdaCanary10Percent10Minutes": _canary("Lambda", 10),
        "LambdaCanary10Percent15Minutes": _canary("Lambda", 15),
        "LambdaCanary10Percent30Minutes": _canary("Lambda", 30),
        "LambdaLinear10PercentEvery1Minute": _linear("Lambda", 1),
        "LambdaLinear10PercentEvery2Minutes": _linear("Lambda", 2),
        "LambdaLinear10PercentEvery3Minutes": _linear("Lambda", 3),
        "LambdaLinear10PercentEvery10Minutes": _linear("Lambda", 10),
        "ECSAllAtOnce": _at_once("ECS"),
        "ECSCanary10Percent5Minutes": _canary("ECS", 5),
        "ECSCanary10Percent15Minutes": _canary("ECS", 15),
        "ECSLinear10PercentEvery1Minutes": _linear("ECS", 1),
        "ECSLinear10PercentEvery3Minutes": _linear("ECS", 3),
    }.items()
}

IDS: Final[Mapping[str, str]] = {
    name: f"00000000-0000-0000-0000-{number:012d}" for number, name in enumerate(PREDEFINED, 1)
}


class BadMinimum(ValueError):
    """`minimumHealthyHosts` cannot be used; the message says why."""


def checked_minimum(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """`minimumHealthyHosts` of a custom configuration. Raises BadMinimum."""
    if not found or found.get("type") is None or found.get("value") is None:
        raise BadMinimum("minimum healthy hosts argument is missing")
    kind, value = found["type"], found["value"]
    if kind not in ("HOST_COUNT", "FLEET_PERCENT"):
        raise BadMinimum("minimum healthy hosts type must be HOST_COUNT or FLEET_PERCENT")
    if value < 0 or (kind == "FLEET_PERCENT" and value > 99):
        limits = "between 0 and 99" if kind == "FLEET_PERCENT" else "0 or more"
        raise BadMinimum(f"minimum healthy hosts value must be {limits} for the type {kind}")
    return {"type": kind, "value": value}
