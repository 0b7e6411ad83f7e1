"""What identity keeps in memory: caches that are bounded by what they weigh, not by how many entries they have."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

ENTRY_BYTES = 200  # of the dict's slot, the key's tuple and the value's object


class Cache(Generic[K, V]):
    """A dict that starts anew when its entries weigh more than it may hold."""

    __slots__ = ("_entries", "_limit", "weight")

    def __init__(self, limit: int) -> None:
        """`limit` is in bytes."""
        self._limit = limit
        self._entries: dict[K, V] = {}
        self.weight = 0  # bytes, as its users estimated them

    def get(self, key: K) -> V | None:
        """What is kept under a key; None when nothing is."""
        return self._entries.get(key)

    def put(self, key: K, value: V, weight: int) -> None:
        """Keep a value. `weight` is in bytes, without those of the entry itself; one beyond the limit is not kept."""
        weight += ENTRY_BYTES
        if weight > self._limit:
            return
        if key not in self._entries:
            if self.weight + weight > self._limit:
                self.clear()
            self.weight += weight
        self._entries[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.weight = 0


class Memories:
    """Caches that are emptied together."""

    def __init__(self) -> None:
        self.epoch = 0  # raised whenever they are emptied, so that a slow read does not put old news back
        self._caches: list[Cache[Any, Any]] = []

    def cache(self, limit: int) -> Cache[Any, Any]:
        """A new one, of `limit` bytes."""
        self._caches.append(made := Cache(limit))
        return made

    def keep(self, cache: Cache[K, V], key: K, value: V, epoch: int, weight: int) -> None:
        """Keep what was read, unless they were emptied since the read began, in `epoch`: it may be old news."""
        if epoch == self.epoch:
            cache.put(key, value, weight)

    def clear(self) -> None:
        """Empty them."""
        self.epoch += 1
        for cache in self._caches:
            cache.clear()


class Remembered(Generic[V]):
    """A function of texts that compiles them, with a cache of at most `limit` bytes of what it made; what it raises is not kept."""

    __slots__ = ("_cache", "_compile")

    def __init__(self, compile: Callable[[str], V], limit: int) -> None:
        self._compile = compile
        self._cache: Cache[str, V] = Cache(limit)

    def __call__(self, text: str) -> V:
        """What a text is compiled to."""
        value = self._cache.get(text)
        if value is None:
            value = self._compile(text)
            self._cache.put(text, value, len(text) + compiled_bytes(len(text)))
        return value

    def __contains__(self, text: str) -> bool:
        """Whether a text's compiled form is in memory, for whoever asks next."""
        return self._cache.get(text) is not None


def compiled_bytes(characters: int) -> int:
    """About what the compiled form of a policy document of so many characters takes: every short pattern is a closure."""
    return 12 * characters
