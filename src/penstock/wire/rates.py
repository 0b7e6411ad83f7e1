"""How many requests one caller may make: what one floods, the others do not wait for."""

from __future__ import annotations

from collections import OrderedDict

from penstock.wire.errors import Throttled

_BURST_SECONDS = 10  # so much of a caller's rate may come at once, unless told otherwise
_KEYS = 50_000  # that are remembered; who was longest away is forgotten, and may begin anew


class Rates:
    """A bucket of tokens for each key of a caller, kept as one number: the moment at which it will be full again."""

    def __init__(self, per_second: int, *, burst: float = 0, keys: int = _KEYS) -> None:
        """0 requests a second set no limit. Without `burst`, a bucket holds ten seconds' requests."""
        self._each = 1 / per_second if per_second else 0.0  # seconds until a token has come back
        self._whole = (burst or per_second * _BURST_SECONDS) * self._each  # seconds until an empty bucket is full
        self._keys = keys
        self._full: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str, now: float) -> None:
        """Count a request at `now`, in seconds of a clock that never goes back. Raises Throttled."""
        if not self._each:
            return
        full = max(self._full.get(key, now), now) + self._each
        if full - now > self._whole + self._each / 2:  # half a token for what sums of fractions lack
            raise Throttled
        self._full[key] = full
        self._full.move_to_end(key)
        if len(self._full) > self._keys:
            self._full.popitem(last=False)
