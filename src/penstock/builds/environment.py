"""The variables that a build sees (AWS: "Environment variables in build environments"). Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PORTS_IN = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
"""Variables in which the supervisor fills in `{<endpoint>_port}`."""

_PROXY_NAMES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a build runs and what it may reach."""

    region: str
    endpoint: str  # URL of the server, as clients know it
    network: str  # egress | endpoint | host
    secret: str  # token of the credentials endpoint
    home: str
    ca_file: str = ""  # of the server's own authority, as the build sees it
    credential_helper: str = ""  # git's, as the build sees it; "" = git has no credentials
    more_path: str = ""  # folders of programs behind the system's


def build_environment(
    *,
    build: Mapping[str, Any],
    spec_variables: Mapping[str, str],
    referenced: Mapping[str, str],
    sources: Mapping[str, str],
    place: Place,
    start_ms: int,
    log_path: str,
) -> dict[str, str]:
    """All variables: the buildspec's, over them the project's (with its overrides), over them those of the service.

    `referenced` are the values of those that the buildspec or the project only refers to. `sources` maps "" and the identifiers of secondary sources to their directories as the build sees them.
    """
    declared = {v["name"]: v["value"] for v in build["environment"].get("environmentVariables", ())}
    values = {**spec_variables, **declared, **referenced}
    values = {name: value for name, value in values.items() if not name.startswith("CODEBUILD_")}
    values.setdefault("PATH", PATH + (f":{place.more_path}" if place.more_path else ""))
    return values | _service(build, sources, place, start_ms, log_path)


def _service(
    build: Mapping[str, Any], sources: Mapping[str, str], place: Place, start_ms: int, log_path: str
) -> dict[str, str]:
    values = {
        "HOME": place.home,
        "CI": "true",
        "AWS_DEFAULT_REGION": place.region,
        "AWS_REGION": place.region,
        "AWS_ENDPOINT_URL": place.endpoint,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:{credentials_port}/",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": place.secret,
        "CODEBUILD_CI": "true",
        "CODEBUILD_BUILD_ARN": build["arn"],
        "CODEBUILD_BUILD_ID": build["id"],
        "CODEBUILD_BUILD_IMAGE": build["environment"]["image"],
        "CODEBUILD_BUILD_NUMBER": str(build["buildNumber"]),
        "CODEBUILD_BUILD_SUCCEEDING": "1",
        "CODEBUILD_INITIATOR": build["initiator"],
        "CODEBUILD_LOG_PATH": log_path,
        "CODEBUILD_KMS_KEY_ID": build.get("encryptionKey", ""),
        "CODEBUILD_SRC_DIR": sources[""],
        "CODEBUILD_START_TIME": str(start_ms),
        "CODEBUILD_SOURCE_REPO_URL": build["source"].get("location", ""),
    }
    if build.get("sourceVersion"):
        values["CODEBUILD_SOURCE_VERSION"] = build["sourceVersion"]
    if build.get("resolvedSourceVersion"):
        values["CODEBUILD_RESOLVED_SOURCE_VERSION"] = build["resolvedSourceVersion"]
    for identifier, directory in sources.items():
        if identifier:
            values[f"CODEBUILD_SRC_DIR_{identifier}"] = directory
    for version in build.get("secondarySourceVersions", ()):
        values[f"CODEBUILD_SOURCE_VERSION_{version['sourceIdentifier']}"] = version["sourceVersion"]
    for source in build.get("secondarySources", ()):
        values[f"CODEBUILD_SOURCE_REPO_URL_{source['sourceIdentifier']}"] = source.get("location", "")
    if place.ca_file:
        values["AWS_CA_BUNDLE"] = place.ca_file
    settings = _git_settings(place)
    if settings:
        values["GIT_CONFIG_COUNT"] = str(len(settings))
    for number, (key, value) in enumerate(settings):
        values |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    if place.network == "egress":
        proxy = "http://127.0.0.1:{egress_port}"
        values |= dict.fromkeys(_PROXY_NAMES, proxy)
        host = urlsplit(place.endpoint).hostname or ""
        values |= dict.fromkeys(("no_proxy", "NO_PROXY"), f"localhost,127.0.0.1,::1,{host},.{host}")
    return values


def _git_settings(place: Place) -> list[tuple[str, str]]:
    settings = [(f"http.{place.endpoint}/.sslCAInfo", place.ca_file)] if place.ca_file else []
    if place.credential_helper:
        helper = f"!python3 -I {shlex.quote(place.credential_helper)}"
        settings += [
            (f"credential.{place.endpoint}.helper", ""),  # nothing else is asked for this server
            (f"credential.{place.endpoint}.helper", helper),
            (f"credential.{place.endpoint}.useHttpPath", "true"),  # the path is what is signed
        ]
    return settings
