"""What can happen: every type of event is declared once, by the component that emits it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from penstock.store.codec import Forms, Upcaster

if TYPE_CHECKING:
    from penstock.store.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """A type of events, and the form that EventBridge's rules see.

    `source` and `detail_type` are empty where AWS has no such event. `sample` is a payload of the present version.
    """

    name: str  # dotted, such as codebuild.build.state_changed
    description: str  # one sentence
    aggregate: str  # the kind of aggregate, which its names begin with: "build" for build/app:0c7b…
    source: str = ""  # such as aws.codebuild
    source_of: Callable[[Event], str] | None = field(
        default=None, repr=False, compare=False
    )  # where each has its own; "" for one that is not for rules
    detail_type: str = ""  # such as CodeBuild Build State Change
    sample: Mapping[str, Any] = field(default_factory=dict)
    # ARNs of what an event is about, as EventBridge's rules see them.
    resources: Callable[[Event], Sequence[str]] = field(default=lambda _event: (), repr=False, compare=False)
    upcasters: Mapping[int, Upcaster] = field(default_factory=dict)  # of payloads, as a Codec has them

    @property
    def version(self) -> int:
        """Of the payload's present form."""
        return 1 + len(self.upcasters)

    def source_for(self, event: Event) -> str:
        """Where rules see that an event comes from; "" for one that they do not see."""
        return self.source if self.source_of is None else self.source_of(event)


class UndeclaredEvent(Exception):
    """A component emits an event that it has not declared: a mistake in its program."""


class Catalogue:
    """The declared types of one application."""

    def __init__(self) -> None:
        self._types: dict[str, EventType] = {}
        self.complete = False  # every component has declared its own: others are refused from now on

    def declare(self, type: EventType) -> None:
        """Take over a type. A second one of the same name is a mistake."""
        if type.name in self._types:
            raise ValueError(f"the event type {type.name} is declared twice")
        self._types[type.name] = type

    def of(self, name: str) -> EventType:
        """The declaration of a type. Raises UndeclaredEvent."""
        if name not in self._types:
            raise UndeclaredEvent(f"the event type {name} is not declared by any component")
        return self._types[name]

    def check(self, name: str, aggregate: str, version: int) -> None:
        """Raises UndeclaredEvent for an event that does not keep to its declaration."""
        if not self.complete:
            return
        type = self._types.get(name)
        if type is None:
            raise UndeclaredEvent(f"the event type {name} is not declared by any component")
        if aggregate.partition("/")[0] != type.aggregate or version != type.version:
            raise UndeclaredEvent(
                f"{name} is declared for {type.aggregate}/… in version {type.version}, and emitted for {aggregate} in "
                f"version {version}"
            )

    def present(self, name: str, payload: dict[str, Any], version: int) -> dict[str, Any]:
        """A payload that some release stored, in the present form of its type. Raises UnknownForm.

        Payloads of types that no component here declares stay as they are: nothing here knows what they say.
        """
        type = self._types.get(name)
        return payload if type is None else Forms(f"the payload of {name}", type.upcasters).present(payload, version)

    def __iter__(self) -> Iterator[EventType]:
        return iter(sorted(self._types.values(), key=lambda found: found.name))
