"""Variables that a buildspec or project takes from Parameter Store and Secrets Manager, and their values, read under the build's role.

(AWS: CodeBuild User Guide, "Build specification reference": `parameter-store` and `secrets-manager`; API Reference, EnvironmentVariable.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from penstock import masking
from penstock.application import App
from penstock.builds.buildspec import Buildspec
from penstock.builds.errors import PhaseFailed
from penstock.builds.request import BuildRequest
from penstock.builds.session import RoleSession
from penstock.wire import refusals
from penstock.wire.call import Input, Output
from penstock.wire.errors import Refused, ServiceError

_MAX_BYTES = 1 << 20  # of all values; a command cannot be started with many more
_MAX_HIDDEN = 2000  # texts that a log is searched for
_AT_ONCE = 10  # parameters of a request (AWS: GetParameters)
_ARN_PARTS = 7  # arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME


class Kind(StrEnum):
    """Where a value is kept: the types of environment variables that are references."""

    PARAMETER = "PARAMETER_STORE"
    SECRET = "SECRETS_MANAGER"  # noqa: S105 - a type of variables


_CODES = {Kind.PARAMETER: "Decrypted Variables Error", Kind.SECRET: "Secrets Manager Error"}


@dataclass(frozen=True, slots=True)
class Reference:
    """A variable whose value is kept elsewhere."""

    variable: str
    kind: Kind
    text: str  # as the buildspec or project names it


@dataclass(frozen=True, slots=True)
class SecretPart:
    """What `secret-id[:json-key[:version-stage[:version-id]]]` asks for; "" where it leaves something out."""

    id: str
    key: str = ""
    stage: str = ""
    version: str = ""

    @property
    def request(self) -> Input:
        """The input of GetSecretValue."""
        asked = {"SecretId": self.id, "VersionStage": self.stage, "VersionId": self.version}
        return {member: value for member, value in asked.items() if value}


def references(spec: Buildspec, declared: Iterable[Mapping[str, Any]]) -> list[Reference]:
    """The variables that are references in the end: what a project declares counts more than the buildspec. Pure."""
    found = {name: Reference(name, Kind.PARAMETER, text) for name, text in spec.parameter_store.items()}
    found |= {name: Reference(name, Kind.SECRET, text) for name, text in spec.secrets_manager.items()}
    for variable in declared:
        name, kind = variable["name"], variable.get("type", "PLAINTEXT")
        found.pop(name, None)
        if kind != "PLAINTEXT":
            found[name] = Reference(name, Kind(kind), variable["value"])
    return [one for one in found.values() if not one.variable.startswith("CODEBUILD_")]


def secret_part(text: str) -> SecretPart:
    """What a reference to a secret asks for. Raises PhaseFailed. Pure."""
    parts = text.split(":")
    if text.startswith("arn:"):
        parts = [":".join(parts[:_ARN_PARTS]), *parts[_ARN_PARTS:]]
    if not parts[0] or len(parts) > 4:
        raise _failed(
            Kind.SECRET, f"invalid secret reference: {text}. Write secret-id[:json-key[:version-stage[:version-id]]]"
        )
    found = SecretPart(*parts)
    if found.stage and found.version:
        raise _failed(
            Kind.SECRET, f"invalid secret reference: {text}. Name a version stage or a version id, not both of them"
        )
    return found


def hidden(values: Iterable[str]) -> list[str]:
    """The texts that no line of the build's log shows. Raises PhaseFailed when there are too many to search for. Pure."""
    found = masking.texts(values)
    if len(found) > _MAX_HIDDEN:
        raise PhaseFailed(
            f"The values from Parameter Store and Secrets Manager have more than {_MAX_HIDDEN} lines and members, each of which would have to "
            "be hidden in the build's log. Let commands read the longest ones with the AWS CLI",
            code="INVALID_INPUT",
        )
    return found


class Resolver:
    """Reads the values of one build. `say` adds a line to its log."""

    def __init__(self, app: App, request: BuildRequest, role: RoleSession, say: Callable[[str], None]) -> None:
        self._app = app
        self._request = request
        self._role = role
        self._say = say

    async def values(self, spec: Buildspec) -> dict[str, str]:
        """The value of each variable that is a reference. Raises PhaseFailed."""
        asked = references(spec, self._request.document["environment"].get("environmentVariables", ()))
        values = await self._values(asked)
        for name in spec.exported_variables:
            if name in values:
                self._say(f"{name} is not exported: its value is from Parameter Store or Secrets Manager")
        return values

    async def _values(self, asked: Sequence[Reference]) -> dict[str, str]:
        parameters = [one for one in asked if one.kind is Kind.PARAMETER]
        secrets = [one for one in asked if one.kind is Kind.SECRET]
        values: dict[str, str] = {}
        size = 0
        if parameters:
            self._say("Decrypting parameter store environment variables")
            found = await self._parameters([one.text for one in parameters])
            values |= {one.variable: found[one.text] for one in parameters}
            size = sum(map(len, values.values()))
            _check_size(size)
        known: dict[SecretPart, str] = {}
        for one in secrets:
            part = secret_part(one.text)
            whole = SecretPart(part.id, stage=part.stage, version=part.version)
            if whole not in known:
                known[whole] = await self._secret(whole)
            values[one.variable] = _member(known[whole], part)
            size += len(values[one.variable])
            _check_size(size)
        for one in asked:
            if "\0" in values[one.variable]:
                raise _failed(one.kind, f"the value of {one.text} holds a NUL character, which no variable can have")
        return values

    async def _parameters(self, names: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        missing: list[str] = []
        wanted = list(dict.fromkeys(names))
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            input = {"Names": some, "WithDecryption": True}
            answer = await self._invoke(Kind.PARAMETER, "ssm", "GetParameters", input)
            for one in answer["Parameters"]:
                selector = one.get("Selector", "")
                found |= {one["Name"] + selector: one["Value"], one["ARN"] + selector: one["Value"]}
            missing += [name for name in some if name not in found]
        if missing:
            raise _failed(Kind.PARAMETER, f"parameter does not exist: {', '.join(missing)}")
        return found

    async def _secret(self, part: SecretPart) -> str:
        answer = await self._invoke(Kind.SECRET, "secretsmanager", "GetSecretValue", part.request)
        if "SecretString" not in answer:
            raise _failed(Kind.SECRET, f"the secret {part.id} is binary: a variable takes the text of a secret")
        return answer["SecretString"]

    async def _invoke(self, kind: Kind, service: str, operation: str, input: Input) -> Output:
        region = self._request.key.region
        try:
            return await self._app.invoke(self._role.session, service, operation, input, region=region)
        except ServiceError as error:
            raise _failed(kind, f"{error.wire_code}: {error.message}") from None
        except Refused as refused:
            error = refusals.worded(refused, self._app.services.get(service).codec.refusals)
            raise _failed(kind, f"{error.wire_code}: {error.message}") from None


def _member(text: str, part: SecretPart) -> str:
    """A key of a secret that is a JSON object, or all of it. Raises PhaseFailed, which shows nothing of the secret."""
    if not part.key:
        return text
    try:
        document = orjson.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise _failed(Kind.SECRET, f"the secret {part.id} is not a JSON object, so it has no key {part.key}")
    if part.key not in document:
        raise _failed(Kind.SECRET, f"the secret {part.id} has no key {part.key}")
    value = document[part.key]
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _check_size(size: int) -> None:
    if size > _MAX_BYTES:
        raise PhaseFailed(
            "The values from Parameter Store and Secrets Manager have more than 1 MiB in all, with which no command can be started. "
            "Let commands read the largest ones with the AWS CLI",
            code="INVALID_INPUT",
        )


def _failed(kind: Kind, message: str) -> PhaseFailed:
    return PhaseFailed(message, code=_CODES[kind])
