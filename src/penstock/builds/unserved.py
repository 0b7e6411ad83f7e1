"""Members of a project that are kept and shown but have no effect here, each with its sentence for the build's log. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_Member = Any


def _given(value: _Member) -> bool:
    return bool(value)


def _enabled(value: _Member) -> bool:
    return value.get("status") == "ENABLED"


NO_EFFECT: Mapping[str, Mapping[str, tuple[Callable[[_Member], bool], str]]] = {
    "": {
        "vpcConfig": (_given, "builds use the network of their worker"),
        "fileSystemLocations": (_given, "no file system is mounted"),
        "cache": (lambda cache: cache.get("type", "NO_CACHE") != "NO_CACHE", "nothing is cached between builds"),
        "debugSessionEnabled": (_given, "there are no debug sessions"),
    },
    "logsConfig": {"s3Logs": (_enabled, "logs go to CloudWatch Logs only")},
    "source": {
        "auth": (_given, "sources are fetched with the build's role"),
        "gitSubmodulesConfig": (
            lambda config: bool(config.get("fetchSubmodules")),
            "submodules are not fetched: their folders are empty",
        ),
        "insecureSsl": (_given, "certificates are always verified"),
        "buildStatusConfig": (_given, "no status is reported to a Git host"),
    },
    "environment": {
        "privilegedMode": (_given, "commands have no more privileges than those of other builds"),
        "registryCredential": (_given, "no image is pulled"),
        "imagePullCredentialsType": (lambda kind: kind != "CODEBUILD", "no image is pulled"),
        "certificate": (_given, "the certificates are those of the worker"),
        "fleet": (_given, "builds run on this installation's workers"),
        "computeConfiguration": (_given, "builds use the machine of their worker"),
        "dockerServer": (_given, "there is no Docker server"),
        "hostKernel": (_given, "the kernel is the worker's"),
    },
    "artifacts": {
        "bucketOwnerAccess": (_given, "no access is granted to another account"),
    },
}
"""Where a member stands, its name, whether a value asks for something, and what happens instead."""


def without_effect(document: Mapping[str, Any], private: Mapping[str, Any]) -> list[str]:
    """A line for each member of a build's project that asks for something that it does not get."""
    sections: list[tuple[str, str, Mapping[str, Any]]] = [
        ("", "", {**private, **document}),
        ("logsConfig", "logsConfig", private.get("logsConfig", {})),
        ("source", "source", document.get("source", {})),
        ("environment", "environment", document.get("environment", {})),
        ("artifacts", "artifacts", private.get("artifacts", {})),
    ]
    sections += [
        ("source", f"secondarySources.{s['sourceIdentifier']}", s) for s in document.get("secondarySources", ())
    ]
    sections += [
        ("artifacts", f"secondaryArtifacts.{a['artifactIdentifier']}", a) for a in private.get("secondaryArtifacts", ())
    ]
    whose = "action" if "commands" in private else "project"
    return [
        f"The {whose}'s {f'{where}.{member}' if where else member} has no effect: {why}"
        for kind, where, values in sections
        for member, (asks, why) in NO_EFFECT[kind].items()
        if values.get(member) is not None and asks(values[member])
    ]
