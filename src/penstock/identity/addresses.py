"""What those may take who have shown nothing yet: a few calls at a time from one address, and a few refusals."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterator

from penstock.wire.errors import Throttled

WINDOW_MS = 60_000
_REMEMBERED = 10_000  # addresses


class Addresses:
    """Counts the calls that are at work, by the address that they came from."""

    def __init__(self, *, at_once: int) -> None:
        self._at_once = at_once
        self._held: collections.Counter[str] = collections.Counter()

    @contextlib.contextmanager
    def place(self, address: str) -> Iterator[None]:
        """Hold one of the few places of an address. Raises Throttled when it has them all."""
        if self._held[address] >= self._at_once:
            raise Throttled
        self._held[address] += 1
        try:
            yield
        finally:
            self._held[address] -= 1
            if not self._held[address]:
                del self._held[address]


class Refusals:
    """Counts the refusals of an address within a minute."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counted: dict[str, tuple[int, int]] = {}  # address → when its minute began, in ms, and how many since

    def check(self, address: str, now: int) -> None:
        """Raises Throttled for an address that has had its share. `now` is in ms."""
        began, count = self._counted.get(address, (now, 0))
        if count >= self._most and now < began + WINDOW_MS:
            raise Throttled

    def count(self, address: str, now: int) -> None:
        """Count one more."""
        began, count = self._counted.get(address, (now, 0))
        if now >= began + WINDOW_MS:
            began, count = now, 0
        if address not in self._counted and len(self._counted) >= _REMEMBERED:
            self._counted.clear()
        self._counted[address] = (began, count + 1)
