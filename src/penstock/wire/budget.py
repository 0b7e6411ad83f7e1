"""How much of requests' bodies the process keeps in memory at a time, over all connections."""

from __future__ import annotations

import asyncio
from collections import Counter

from penstock.wire.errors import Throttled

_ALL_BYTES = 64 << 20
_ONE_BYTES = 24 << 20  # of one claimed key: two full bodies, and some
_DUE_SECONDS = 2.0  # in which a body has to arrive while others wait for its room


class Share:
    """What one request has of the budget."""

    __slots__ = ("key", "reading", "since", "size")

    def __init__(self, key: str, reading: asyncio.Timeout) -> None:
        self.key = key  # which the request claims; "": none
        self.size = 0  # bytes
        self.since = asyncio.get_running_loop().time()
        self.reading: asyncio.Timeout | None = reading  # until the body has arrived: how its reader is ended


class BodyBudget:
    """Bytes of bodies that are being read or worked on. What does not fit is refused, as a flood of calls is.

    Whose key a body is signed with is known when all of it has arrived, so that strangers who know key ids can fill the
    budget. They cannot keep it: when there is no room, bodies that have not arrived in _DUE_SECONDS are given up, the oldest
    first.
    """

    def __init__(self, total: int = _ALL_BYTES, each: int = _ONE_BYTES) -> None:
        self._total = total
        self._each = each
        self._held = 0
        self._by_key: Counter[str] = Counter()
        self._shares: dict[Share, None] = {}  # in the order in which they began

    def take(self, share: Share, size: int) -> None:
        """Have `share` hold `size` bytes. Raises Throttled when there is no room."""
        more = size - share.size
        self._make_room(share, more)
        if any(self._lacks(share, more)):
            raise Throttled("Too many large requests are being read. Please reduce your request rate.")
        self._shares[share] = None
        share.size = size
        self._held += more
        self._by_key[share.key] += more

    def arrived(self, share: Share) -> None:
        """The body is read: its work is not ended for others."""
        share.reading = None

    def give_back(self, share: Share) -> None:
        """The bytes are let go of. Doing so twice is doing it once."""
        if share in self._shares:
            del self._shares[share]
            self._held -= share.size
            self._by_key[share.key] -= share.size
            if not self._by_key[share.key]:
                del self._by_key[share.key]

    def _make_room(self, wanting: Share, more: int) -> None:
        now = asyncio.get_running_loop().time()
        full, own = self._lacks(wanting, more)
        for share in tuple(self._shares) if full or own else ():
            if now - share.since <= _DUE_SECONDS:
                return
            if share.reading is not None and share is not wanting and (full or share.key == wanting.key):
                share.reading.reschedule(now)
                share.reading = None
                self.give_back(share)
                full, own = self._lacks(wanting, more)
                if not full and not own:
                    return

    def _lacks(self, share: Share, more: int) -> tuple[bool, bool]:
        """Whether there is no room for `more` bytes at all, and for its key."""
        return self._held + more > self._total, self._by_key[share.key] + more > self._each
