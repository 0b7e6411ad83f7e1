"""The stored form of states, inputs and effects: a dataclass in, a JSON document out, and back in every later release.

A document names the version of its form (`v`) and, where a codec has several dataclasses, which one it is (`type`). A release reads
the versions before its own by their upcasters, and refuses later ones. A member that has its default is left out: a state is
written at every decision.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from penstock.store.errors import StoreError

T = TypeVar("T")

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a document of one version, without `v`, and gives it the form of the next."""


class UnknownForm(StoreError):
    """A stored document has a form that this release does not know."""


class Codec(Generic[T]):
    """Values of one or several dataclasses, to documents and back.

    Members may be JSON values, enumerations, dataclasses, and tuples, mappings and unions with None of these. `upcasters` lead from
    each earlier version to the next; the last one leads to the version that is written.
    """

    def __init__(self, what: str, *kinds: type[T], upcasters: Mapping[int, Upcaster] | None = None) -> None:
        self.what = what  # as an error names it: "the state of a build"
        self.kinds = kinds
        self._upcasters = dict(upcasters or {})
        self.version = 1 + len(self._upcasters)
        if sorted(self._upcasters) != list(range(1, self.version)):
            raise ValueError(f"the upcasters of {what} must lead from every version to the next")
        self._by_name = {kind.__name__: kind for kind in kinds}
        self._defaults = {kind: _defaults(kind) for kind in kinds}

    def dump(self, value: T) -> dict[str, Any]:
        """The document of a value."""
        kind = type(value)
        defaults = self._defaults[kind]
        named = {"type": kind.__name__} if len(self.kinds) > 1 else {}
        members = msgspec.to_builtins(value).items()
        return {
            "v": self.version,
            **named,
            **{name: member for name, member in members if name not in defaults or defaults[name] != member},
        }

    def load(self, document: Mapping[str, Any]) -> T:
        """The value of a document. Raises UnknownForm."""
        members = {name: member for name, member in document.items() if name != "v"}
        version = document.get("v")
        if not isinstance(version, int) or not 1 <= version <= self.version:
            raise UnknownForm(
                f"{self.what} is stored in version {version!r}, and this release knows the versions up to {self.version}. "
                "Start the release that wrote it, or a later one."
            )
        for earlier in range(version, self.version):
            members = self._upcasters[earlier](members)
        kind = self.kinds[0] if len(self.kinds) == 1 else self._by_name.get(members.pop("type", ""))
        if kind is None:
            raise UnknownForm(f"{self.what} is stored as {document.get('type')!r}, which this release does not know.")
        try:
            return msgspec.convert(members, kind)
        except msgspec.ValidationError as error:
            raise UnknownForm(f"{self.what} cannot be read: {error}.") from error


def _defaults(kind: type[Any]) -> dict[str, Any]:
    """What the members of a dataclass are, in a document, when nobody sets them."""
    defaults: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.name in ("v", "type"):
            raise ValueError(f"{kind.__name__}.{field.name} has a name that documents keep for themselves")
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = msgspec.to_builtins(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = msgspec.to_builtins(field.default_factory())
    return defaults
