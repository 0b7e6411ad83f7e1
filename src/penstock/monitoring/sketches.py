"""How values are distributed within a period: exactly while they are few, else in classes of a bounded relative error.

Up to 64 distinct values are kept as they are. Beyond, values fall into classes whose bounds grow by a constant factor, at first 1.02, and a
class is read as its middle, which is off by 1 % of the value at most. When more than 128 classes are occupied, neighbours are joined, which
doubles the error: 1 % for values within a factor of 12, 2 % within 150, 4 % within 23,000. Joining loses nothing of that bound, so it does not
matter in which order values came or sketches were merged. (Uniform collapse: Epicoco et al., "UDDSketch", 2020.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

MAX_VALUES = 64
MAX_CLASSES = 128
_FACTOR = 1.02
EXACT = 0
_ZERO = 0
# A class is 2 n + 1 for positive values and 2 n for negative ones, n shifted so that it is positive: doubles reach from 2^-1074 to 2^1024.
_SHIFT = 1 << 20


@dataclass(slots=True)
class Sketch:
    """Values, or classes of them, with how often they came."""

    level: int = EXACT  # how often neighbouring classes were joined, from 1 on
    weights: dict[float, float] = field(default_factory=dict)  # value, or number of a class → weight

    def add(self, value: float, weight: float) -> None:
        """Count a value."""
        key = value if self.level == EXACT else _class_of(value, self.level)
        self.weights[key] = self.weights.get(key, 0.0) + weight
        self._bound()

    def merge(self, other: Sketch) -> None:
        """Count all of another one."""
        level = max(self.level, other.level)
        self._raise_to(level)
        for key, weight in _raised(other.weights.items(), other.level, level):
            self.weights[key] = self.weights.get(key, 0.0) + weight
        self._bound()

    def values(self) -> list[tuple[float, float]]:
        """Values, least first, each with its weight."""
        if self.level == EXACT:
            return sorted(self.weights.items())
        return sorted((_middle(int(key), self.level), weight) for key, weight in self.weights.items())

    def stored(self) -> list[Any]:
        """As JSON: the level, keys and weights."""
        return [self.level, list(self.weights), list(self.weights.values())]

    @classmethod
    def load(cls, stored: list[Any]) -> Sketch:
        """What was stored."""
        level, keys, weights = stored
        return cls(level, dict(zip(keys, weights, strict=True)))

    def _bound(self) -> None:
        while len(self.weights) > (MAX_VALUES if self.level == EXACT else MAX_CLASSES):
            self._raise_to(self.level + 1)

    def _raise_to(self, level: int) -> None:
        if level == self.level:
            return
        raised: dict[float, float] = {}
        for key, weight in _raised(self.weights.items(), self.level, level):
            raised[key] = raised.get(key, 0.0) + weight
        self.level, self.weights = level, raised


def _raised(items: Iterable[tuple[float, float]], level: int, wanted: int) -> Iterable[tuple[float, float]]:
    """Items of a level as those of a higher one."""
    if level == wanted:
        return items
    if level == EXACT:
        return ((_class_of(value, wanted), weight) for value, weight in items)
    return ((_joined(int(key), wanted - level), weight) for key, weight in items)


def _joined(key: int, times: int) -> int:
    if key == _ZERO:
        return key
    number = (key >> 1) - _SHIFT
    return (-(-number >> times) + _SHIFT) << 1 | key & 1


def _class_of(value: float, level: int) -> int:
    if value == 0:
        return _ZERO
    number = math.ceil(math.log(abs(value)) / math.log(_FACTOR))
    return _joined((number + _SHIFT) << 1 | (value > 0), level - 1)


def _middle(key: int, level: int) -> float:
    if key == _ZERO:
        return 0.0
    width = 1 << level - 1
    upper = ((key >> 1) - _SHIFT) * width * math.log(_FACTOR)
    factor = _FACTOR**width if width < 1 << 14 else math.inf
    # The point that is off by the same share from both bounds; of a class that spans everything, its upper bound.
    middle = math.exp(min(upper, 709.0)) * (2 / (1 + factor) if factor < math.inf else 1.0)
    return middle if key & 1 else -middle
