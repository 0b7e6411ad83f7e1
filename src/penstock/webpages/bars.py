"""Plots of bars as SVG draws them: in percent of the width, so that no page stretches text, and in pixels from the top. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_EDGE = 5  # pixels above and below
_NARROWEST = 0.3  # percent


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; its tone is one of the stylesheet's, such as `good` and `bad`."""

    x: float
    y: float
    height: float
    tone: str


@dataclass(frozen=True, slots=True)
class Bars:
    """A plot; `mark` is the height of a line across it."""

    bars: Sequence[Bar]
    width: float
    height: int
    mark: float | None


def drawn(points: Sequence[tuple[float, float, str]], *, slots: float, height: int, mark: float | None = None) -> Bars:
    """Bars from 0 to the value of each point (slot, value, tone), of so many slots; values are below 1e150 either way."""
    values = [value for _, value, _ in points] + [0.0] + ([] if mark is None else [mark])
    low, high = min(values), max(values)
    scale = (height - 2 * _EDGE) / (high - low) if high > low else 0.0

    def place(value: float) -> float:
        return _EDGE + (high - value) * scale

    bars = [
        Bar(
            x=round(100 * slot / slots, 2),
            y=round(min(place(value), place(0.0)), 1),
            height=round(max(abs(place(value) - place(0.0)), 1.0), 1),
            tone=tone,
        )
        for slot, value, tone in points
    ]
    return Bars(bars, round(max(80 / slots, _NARROWEST), 2), height, None if mark is None else round(place(mark), 1))
