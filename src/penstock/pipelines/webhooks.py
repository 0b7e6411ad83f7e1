"""What a webhook's definition may say, and whether a request is what it waits for. Pure."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import orjson

from penstock.pipelines import jsonpaths
from penstock.pipelines.errors import (
    InvalidWebhookAuthenticationParametersException,
    InvalidWebhookFilterPatternException,
    ValidationException,
)

HMAC, BY_ADDRESS, NOTHING = "GITHUB_HMAC", "IP", "UNAUTHENTICATED"
HIDDEN = "****"  # what answers show of a secret

_CONFIGURATION = {HMAC: "SecretToken", BY_ADDRESS: "AllowedIPRange", NOTHING: None}
_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_-]{1,50})\}")
_FORM = b"application/x-www-form-urlencoded"


class NotJson(ValueError):
    """The body of a request is no document."""


def check_definition(definition: Mapping[str, Any], declaration: Mapping[str, Any]) -> None:
    """Raises what PutWebhook answers for a bad one. `declaration` is that of its pipeline. AWS: PutWebhook."""
    sources = [action["name"] for action in declaration["stages"][0]["actions"]]
    if definition["targetAction"] not in sources:
        raise ValidationException(
            f"The target action '{definition['targetAction']}' must be a source action of pipeline '{definition['targetPipeline']}', "
            f"which has {', '.join(sources)}"
        )
    configuration, wanted = definition["authenticationConfiguration"], _CONFIGURATION[definition["authentication"]]
    if set(configuration) != ({wanted} if wanted else set()):
        rule = f"should contain only one property: '{wanted}'" if wanted else "should contain no property"
        raise InvalidWebhookAuthenticationParametersException(f"Optional['authenticationConfig' {rule}]")
    if wanted == "AllowedIPRange":
        try:
            ipaddress.ip_network(configuration[wanted])
        except ValueError as error:
            raise InvalidWebhookAuthenticationParametersException(
                f"AllowedIPRange is no range of addresses such as 192.0.2.0/24: {error}"
            ) from None
    for one in definition["filters"]:
        try:
            jsonpaths.parse(one["jsonPath"])
        except jsonpaths.BadPath as error:
            raise InvalidWebhookFilterPatternException(
                f"The JSON path {one['jsonPath']!r} is not valid: {error}"
            ) from None


def comes_from(address: str, allowed: str) -> bool:
    """Whether an address is in a range."""
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(allowed)
    except ValueError:
        return False


def is_signed(body: bytes, headers: Mapping[bytes, bytes], secret: str) -> bool:
    """Whether the sender of a body knows the secret. GitHub: "Validating webhook deliveries"; the older header counts where the newer is missing."""
    for header, scheme in ((b"x-hub-signature-256", "sha256"), (b"x-hub-signature", "sha1")):
        given = headers.get(header)
        if given is not None:
            digest = hmac.new(secret.encode(), body, getattr(hashlib, scheme)).hexdigest()
            return hmac.compare_digest(given, f"{scheme}={digest}".encode())
    return False


def document_of(body: bytes, content_type: bytes) -> Any:
    """What a request says. GitHub sends JSON, or a form whose field `payload` has it. Raises NotJson."""
    if content_type.partition(b";")[0].strip().lower() == _FORM:
        try:
            fields = parse_qs(body.decode(), max_num_fields=20)
        except ValueError:
            raise NotJson("the form cannot be read") from None
        if "payload" not in fields:
            raise NotJson("the form has no field `payload`")
        body = fields["payload"][0].encode()
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJson(f"the body is no JSON: {error}"[:200]) from None


def unmatched(document: Any, filters: Sequence[Mapping[str, str]], configuration: Mapping[str, str]) -> str:
    """Why a document is not what a webhook waits for, as a sentence; "" when it is. `configuration` is the target action's."""
    for one in filters:
        path = one["jsonPath"]
        try:
            values = jsonpaths.select(document, jsonpaths.parse(path))
        except jsonpaths.TooMuch:
            return f"{path} looks at too many values of the document"
        if not values:
            return f"there is nothing at {path}"
        wanted = one.get("matchEquals")
        if wanted is None:
            continue
        wanted, missing = _filled(wanted, configuration)
        if missing:
            return f"the target action's configuration has no {missing}"
        if not any(_text(value) == wanted for value in values):
            return f"{path} is not {wanted}"
    return ""


def _filled(text: str, configuration: Mapping[str, str]) -> tuple[str, str]:
    """A text with the values of a configuration for its placeholders, and the first name that it has none for."""
    missing = [name for name in _PLACEHOLDER.findall(text) if name not in configuration]
    return _PLACEHOLDER.sub(lambda found: configuration.get(found[1], ""), text), missing[0] if missing else ""


def _text(value: Any) -> str | None:
    """A scalar as a filter writes it; None for what is no scalar."""
    if type(value) is str:
        return value
    return None if type(value) in (dict, list) else json.dumps(value)
