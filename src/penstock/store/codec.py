"""The stored form of states, inputs, effects and event payloads: a dataclass in, a JSON document out, and back in every later release.

A document names the version of its form (`v`) and, where a codec has several dataclasses, which one it is (`type`). A release reads
the versions before its own by their upcasters, and refuses later ones. A member that has its default is left out, in nested
dataclasses too: a state is written at every decision.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from enum import Enum
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec

from penstock.store.errors import StoreError

T = TypeVar("T")

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a document of one version, without `v`, and gives it the form of the next."""


class UnknownForm(StoreError):
    """A stored document has a form that this release does not know."""


class Forms:
    """The versions of one stored form. `upcasters` lead from each earlier version to the next, the last one to the present version."""

    def __init__(self, what: str, upcasters: Mapping[int, Upcaster] | None = None) -> None:
        self.what = what  # as an error names it: "the state of a build"
        self._upcasters = dict(upcasters or {})
        self.version = 1 + len(self._upcasters)
        if sorted(self._upcasters) != list(range(1, self.version)):
            raise ValueError(f"the upcasters of {what} must lead from every version to the next")

    def present(self, members: dict[str, Any], version: object) -> dict[str, Any]:
        """The members of a document of some version, in the form of the present one. Raises UnknownForm."""
        if not isinstance(version, int) or not 1 <= version <= self.version:
            raise UnknownForm(
                f"{self.what} is stored in version {version!r}, and this release knows the versions up to {self.version}. "
                "Start the release that wrote it, or a later one."
            )
        for earlier in range(version, self.version):
            members = self._upcasters[earlier](members)
        return members


class Codec(Generic[T]):
    """Values of one or several dataclasses, to documents and back.

    Members may be JSON values, enumerations, dataclasses, and tuples, mappings and unions with None of these. `upcasters` lead from
    each earlier version to the next; the last one leads to the version that is written.
    """

    def __init__(self, what: str, *kinds: type[T], upcasters: Mapping[int, Upcaster] | None = None) -> None:
        self.what = what
        self.kinds = kinds
        self._forms = Forms(what, upcasters)
        self.version = self._forms.version
        self._by_name = {kind.__name__: kind for kind in kinds}
        for kind in kinds:
            reserved = {field.name for field in dataclasses.fields(kind)} & {"v", "type"}  # pyright: ignore[reportArgumentType]
            if reserved:
                raise ValueError(f"{kind.__name__}.{reserved.pop()} has a name that documents keep for themselves")

    def dump(self, value: T) -> dict[str, Any]:
        """The document of a value."""
        named = {"type": type(value).__name__} if len(self.kinds) > 1 else {}
        return {"v": self.version, **named, **_plain(value)}

    def load(self, document: Mapping[str, Any]) -> T:
        """The value of a document. Raises UnknownForm."""
        members = {name: member for name, member in document.items() if name != "v"}
        members = self._forms.present(members, document.get("v"))
        kind = self.kinds[0] if len(self.kinds) == 1 else self._by_name.get(members.pop("type", ""))
        if kind is None:
            raise UnknownForm(f"{self.what} is stored as {document.get('type')!r}, which this release does not know.")
        try:
            return msgspec.convert(members, kind)
        except msgspec.ValidationError as error:
            raise UnknownForm(f"{self.what} cannot be read: {error}.") from error


_NOTHING = object()
_Write = Callable[[Any], Any]


class _Writers(dict[type[Any], "_Write | None"]):
    """How values of a type become JSON values, made once for each type; None: they are that already."""

    def __missing__(self, kind: type[Any]) -> _Write | None:
        write = self[kind] = _writer(kind)
        return write


_writers = _Writers(dict.fromkeys((str, int, float, bool, type(None))))


def _plain(value: Any) -> Any:
    write = _writers[type(value)]
    return value if write is None else write(value)


def _writer(kind: type[Any]) -> _Write:
    if issubclass(kind, Enum):
        return attrgetter("value")
    if issubclass(kind, Mapping):
        return lambda value: {key: _plain(member) for key, member in value.items()}
    if issubclass(kind, list | tuple):
        return lambda value: [_plain(member) for member in value]
    return _document_writer(kind)


def _document_writer(kind: type[Any]) -> Callable[[Any], dict[str, Any]]:
    fields = [(field.name, _default(field)) for field in dataclasses.fields(kind)]
    # One call for all members. With fewer than two names it would give no tuple.
    read = attrgetter("__class__", "__class__", *(name for name, _ in fields))

    def document(value: Any) -> dict[str, Any]:
        """The members of a dataclass that differ from their defaults."""
        found: dict[str, Any] = {}
        for member, (name, default) in zip(read(value)[2:], fields, strict=True):
            if member is not default and member != default:
                write = _writers[type(member)]
                found[name] = member if write is None else write(member)
        return found

    return document


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return _NOTHING if field.default_factory is dataclasses.MISSING else field.default_factory()
