"""What a format of chat messages is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.topics.notices import Notice

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A message as it is sent."""

    id: str
    topic: str  # ARN
    at: int  # ms
    now: int  # ms
    subject: str
    text: str
    attributes: Any  # as a notification has them
    notice: Notice
    secret: bytes = b""  # what a format that signs does so with


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFormat:
    """A service that takes messages at an address of its own. `name` is the value of the attribute `PenstockFormat`."""

    name: str
    make: Callable[[Published], tuple[Headers, str]]  # headers and body of a request
    # Host names, or ends of such with a dot in front, whose addresses nobody knows but whom the channel's owner gave one.
    hosts: Sequence[str] = ()
    answers: bool = False  # a program receives, which can confirm by a link
    signs: bool = False

    def knows(self, host: str) -> bool:
        """Whether an address at a host proves that its channel's owner gave it out."""
        return any(host == one or (one.startswith(".") and host.endswith(one)) for one in self.hosts)
