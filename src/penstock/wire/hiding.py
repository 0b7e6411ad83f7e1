"""What records show of an input or an output: names as CloudTrail writes them, and no secret.

A value is a secret when the model says so (`sensitive`), when its service says so beyond the model (`Service.secrets`), or when it
stands under a name that only secrets have, such as `OAuthToken` in the configuration of an action. Bytes are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import orjson

from penstock.wire.scalars import iso
from penstock.wire.shapes import Shape

HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"

# Ends of names, in small letters and without marks between words. Tokens that only continue or identify something are no secrets.
_SECRET_ENDS = (
    "password",
    "passphrase",
    "secretaccesskey",
    "sessiontoken",
    "secrettoken",
    "oauthtoken",
    "accesstoken",
    "refreshtoken",
    "personalaccesstoken",
    "bearertoken",
    "authtoken",
    "webidentitytoken",
    "privatekey",
    "secretkey",
    "clientsecret",
    "secretstring",
    "secretbinary",
    "apikey",
    "plaintext",
)
_PLAIN = frozenset({"string", "boolean", "integer", "long", "float", "double"})
_BYTES = object()  # what is left out

Hides = Mapping[str, Callable[[Mapping[str, Any]], Collection[str]]]
"""Name of a structure → which members of one of its values are secrets, where the value itself says what it is."""

Show = Callable[[Any, "list[str]"], Any]
"""Makes what is shown of a value, and appends the texts that it hid."""


def secret_name(name: str) -> bool:
    """Whether only secrets bear such a name."""
    return name.lower().replace("_", "").replace("-", "").endswith(_SECRET_ENDS)


class Hiding:
    """What is shown of the shapes of one service."""

    def __init__(self, secrets: Collection[str] = (), hides: Hides | None = None) -> None:
        """`secrets` are members as `Shape$member` (of a map: `Shape$key`) that the model does not call sensitive."""
        self._secrets = frozenset(secrets)
        self._hides: Hides = hides or {}
        self._known: dict[tuple[str, bool], Show] = {}

    def readable(self, shape: Shape | None, value: Any) -> tuple[Any, list[str]]:
        """What is shown of a value of a shape, None for one that has no content, and the texts that are hidden in it."""
        hidden: list[str] = []
        if shape is None or not value:
            return None, hidden
        found = self._of(shape)(value, hidden)
        return (None if found is _BYTES else found), hidden

    def plain(self, shape: Shape | None) -> frozenset[str]:
        """The members of a structure that are shown as they are, names and values, wherever they have one that JSON can carry."""
        if shape is None or shape.type != "structure" or shape.traits.get("sensitive"):
            return frozenset()
        return frozenset(
            name
            for name, member in shape.members.items()
            if name[0].islower()
            and not secret_name(name)
            and f"{shape.name}${name}" not in self._secrets
            and member.type in _PLAIN
            and not member.traits.get("sensitive")
        )

    def _of(self, shape: Shape) -> Show:
        secret = bool(shape.traits.get("sensitive"))
        key = (shape.name, secret)
        known = self._known.get(key)
        if known is None:
            # Shapes may contain themselves.
            def later(value: Any, hidden: list[str]) -> Any:
                return self._known[key](value, hidden)

            self._known[key] = later
            known = self._known[key] = self._made(shape, secret=secret)
        return known

    def _made(self, shape: Shape, *, secret: bool) -> Show:
        if secret:
            return _hide
        match shape.type:
            case "structure":
                return self._structure(shape)
            case "list":
                return self._list(shape)
            case "map":
                return self._map(shape)
            case "timestamp":
                return _time
            case "blob":
                return _leave_out
            case _:
                return _plain

    def _structure(self, shape: Shape) -> Show:
        members = {
            name: (
                name[:1].lower() + name[1:],
                _hide if secret_name(name) or f"{shape.name}${name}" in self._secrets else self._of(member),
            )
            for name, member in shape.members.items()
        }
        # What is set by its name, as an attribute of a subscription: AttributeName, AttributeValue.
        named = {
            f"{name[:-4]}Value": name for name in members if name.endswith("Name") and f"{name[:-4]}Value" in members
        }

        hides = self._hides.get(shape.name, _hides_nothing)

        def show(value: Any, hidden: list[str]) -> Any:
            if type(value) is orjson.Fragment:
                value = orjson.loads(orjson.dumps(value))
            if not isinstance(value, dict):
                return _BYTES
            shown, secrets = {}, hides(value)
            for name, item in value.items():
                known = members.get(name)
                if known is not None and item is not None:
                    secret = name in secrets or (name in named and secret_name(str(value.get(named[name]))))
                    found = (_hide if secret else known[1])(item, hidden)
                    if found is not _BYTES:
                        shown[known[0]] = found
            return shown

        return show

    def _list(self, shape: Shape) -> Show:
        below = self._of(shape.member)

        def show(value: Any, hidden: list[str]) -> Any:
            if type(value) is orjson.Fragment:
                value = orjson.loads(orjson.dumps(value))
            if not isinstance(value, list | tuple):
                return _BYTES
            return [found for item in value if (found := below(item, hidden)) is not _BYTES]

        return show

    def _map(self, shape: Shape) -> Show:
        below = self._of(shape.value)
        named = {name.partition("$")[2] for name in self._secrets if name.startswith(f"{shape.name}$")}

        def show(value: Any, hidden: list[str]) -> Any:
            if type(value) is orjson.Fragment:
                value = orjson.loads(orjson.dumps(value))
            if not isinstance(value, dict):
                return _BYTES
            shown = {}
            for name, item in value.items():
                found = (_hide if name in named or secret_name(str(name)) else below)(item, hidden)
                if found is not _BYTES:
                    shown[str(name)] = found
            return shown

        return show


def without(text: str, hidden: Collection[str]) -> str:
    """A message without the secrets that it repeats."""
    for secret in hidden:
        if secret:
            text = text.replace(secret, HIDDEN)
    return text


def _hides_nothing(_value: Mapping[str, Any]) -> Collection[str]:
    return ()


def _hide(value: Any, hidden: list[str]) -> Any:
    _gather(value, hidden)
    return HIDDEN


def _gather(value: Any, hidden: list[str]) -> None:
    match value:
        case str():
            hidden.append(value)
        case bytes():
            hidden.append(value.decode("utf-8", "replace"))
        case dict():
            for item in value.values():
                _gather(item, hidden)
        case list() | tuple():
            for item in value:
                _gather(item, hidden)


def _time(value: Any, _hidden: list[str]) -> Any:
    if not isinstance(value, int | float) or not -62_135_596_800_000 <= value < 253_402_300_800_000:
        return _BYTES
    return iso(value)


def _leave_out(_value: Any, _hidden: list[str]) -> Any:
    return _BYTES


def _plain(value: Any, _hidden: list[str]) -> Any:
    """Text, numbers and documents. A text that JSON cannot carry is shown without what it cannot."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    return value if isinstance(value, bool | int | float | dict | list | None) else _BYTES
