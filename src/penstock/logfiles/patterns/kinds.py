"""What all kinds of filter patterns have in common."""

from __future__ import annotations

from collections.abc import Mapping


class BadPattern(Exception):
    """The pattern cannot be read. Its text is the message."""


class Pattern:
    """A compiled pattern; this one matches every event. An event is given as its UTF-8."""

    regular_expressions = 0
    """How many of them the pattern has: CloudWatch Logs bounds the filters of a group that have any."""

    named = False
    """Whether its events have values with names, which `extracted` gives."""

    def matches(self, event: bytes) -> bool:  # noqa: ARG002
        """Whether an event matches."""
        return True

    def after(self, data: bytes, at: int) -> int:  # noqa: ARG002
        """No event that ends before this place in `data`, and begins behind `at`, matches; -1 when none does in all that follows.

        `data` may hold other bytes between events.
        """
        return at

    def extracted(self, event: bytes) -> Mapping[str, str]:  # noqa: ARG002
        """The values that the pattern names, of an event that matches."""
        return {}


EVERYTHING = Pattern()
