"""How much of requests' bodies the process keeps in memory at a time, over all connections."""

from __future__ import annotations

from collections import Counter

from penstock.wire.errors import Throttled

_ALL_BYTES = 64 << 20
_ONE_BYTES = 24 << 20  # of one claimed key: two full bodies, and some


class BodyBudget:
    """Bytes of bodies that are being read or worked on. What does not fit is refused, as a flood of calls is."""

    def __init__(self, total: int = _ALL_BYTES, each: int = _ONE_BYTES) -> None:
        self._total = total
        self._each = each
        self.held = 0
        self._by_key: Counter[str] = Counter()

    def take(self, key: str, size: int) -> None:
        """Count `size` bytes of a request that claims `key` ("": none). Raises Throttled when there is no room."""
        if self.held + size > self._total or self._by_key[key] + size > self._each:
            raise Throttled("Too many large requests are being read. Please reduce your request rate.")
        self.held += size
        self._by_key[key] += size

    def give_back(self, key: str, size: int) -> None:
        """The bytes are let go of."""
        self.held -= size
        self._by_key[key] -= size
        if not self._by_key[key]:
            del self._by_key[key]
