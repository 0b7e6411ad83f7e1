"""What metric filters make of log events: numbers, and how often each was found in a minute. For the process of `penstock.logfiles.__main__`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from penstock.logfiles.patterns import BadPattern, Pattern, compile_pattern
from penstock.logfiles.patterns.conditions import number_of, text_of
from penstock.logfiles.patterns.json_events import JsonEvents, parsed, selector
from penstock.logfiles.patterns.scanning import Scanner
from penstock.logfiles.reading import adjacent, appended
from penstock.logfiles.streams import Batch, Event, StreamFiles

MINUTE = 60_000  # ms; a metric has one point for each
MAX_MEASURED = 32 * 1024**2  # bytes that one request looks through
MAX_PROCESSOR_S = 5.0
MAX_NUMBERS = 20_000  # different ones in an answer, about
_AT_ONCE = 1 << 18

Place = tuple[int, tuple[tuple[str, str], ...]]
"""Minute (ms) and dimensions of a point."""

Extract = Callable[[bytes], "str | None"]


def value_of(pattern: Pattern, said: str) -> Extract:
    """How a value that a metric filter names (`$.a.b`, `$field`) is found in an event. Raises BadPattern for one that the pattern cannot have."""
    if isinstance(pattern, JsonEvents) and said.startswith("$"):
        scanner = Scanner(said, 0, len(said))
        selected = selector(scanner)
        if scanner.at < scanner.end:
            raise scanner.refused("the end of the property selector")

        def value(event: bytes) -> str | None:
            found = next(selected.values(parsed(event)), None)
            return text_of(found) if isinstance(found, str | int | float) else None

        return value
    if pattern.named and said.startswith("$") and len(said) > 1:
        return lambda event: pattern.extracted(event).get(said)
    raise BadPattern(f"{said} names no value of the filter pattern")


class _Filter:
    """A metric filter, and the numbers that it has found."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.name: str = given["name"]
        self.since: int = given["since"]  # ms; what came before does not count
        self.pattern = compile_pattern(given["pattern"])
        number = number_of(given["value"])
        self._constant = None if number is None else float(number)
        self._extract = value_of(self.pattern, given["value"]) if number is None else None
        self._default: float | None = given["default"]
        self._dimensions = [(name, value_of(self.pattern, said)) for name, said in sorted(given["dimensions"].items())]
        self.found: dict[Place, Counter[float]] = {}

    def take(self, event: Event) -> int:
        """Count what an event that matches says; how many numbers that adds."""
        content = event.message.encode()
        number = self._constant if self._extract is None else countable(self._extract(content))
        if number is None:
            return 0
        named = ((name, extract(content)) for name, extract in self._dimensions)
        dimensions = tuple((name, value) for name, value in named if value)
        counted = self.found.setdefault((event.timestamp // MINUTE * MINUTE, dimensions), Counter())
        counted[number] += 1
        return counted[number] == 1

    def quiet(self, minute: int) -> None:
        """Count the default value in a minute that has events of which none matches."""
        if self._default is not None and (minute, ()) not in self.found:
            self.found[minute, ()] = Counter({self._default: 1})

    def points(self) -> Iterator[dict[str, Any]]:
        """What was found, as JSON has it."""
        for (minute, dimensions), counted in self.found.items():
            yield {
                "filter": self.name,
                "minute": minute,
                "dimensions": dict(dimensions),
                "values": list(counted),
                "counts": list(counted.values()),
            }


def measure(
    *,
    streams: list[tuple[str, int]],
    keys: Mapping[str, bytes],
    filters: list[dict[str, Any]],
    start: int,
    end: int,
    lacking: Callable[[Path], object] | None = None,
) -> dict[str, Any]:
    """What filters find in streams (path, offset) behind an offset, in events with start ≤ time stamp < end: `points`.

    `ends` is to where each stream that was read has been measured, by path; with much to read that is not its end.
    """
    filtering = [_Filter(given) for given in filters]
    began, read, numbers = time.process_time(), 0, 0
    ends: dict[str, int] = {}
    minutes: dict[str, set[int]] = {one.name: set() for one in filtering}
    for path, offset in streams:
        files = StreamFiles(Path(path), keys, lacking)
        for group in adjacent([batch for batch in files.batches() if batch.offset >= offset], _AT_ONCE):
            if read > MAX_MEASURED or numbers > MAX_NUMBERS or time.process_time() - began > MAX_PROCESSOR_S:
                break
            for one in filtering:
                recent = [batch for batch in group if batch.ingestion >= one.since]
                minutes[one.name].update(_minutes(recent, start, end))
                try:
                    for event in appended(files, recent, one.pattern):
                        if start <= event.timestamp < end:
                            numbers += one.take(event)
                except FileNotFoundError:  # the stream was deleted meanwhile
                    break
            ends[path] = group[-1].end
            read += group[-1].end - group[0].offset
    for one in filtering:
        for minute in minutes[one.name]:
            one.quiet(minute)
    return {"events": [], "ends": ends, "points": [point for one in filtering for point in one.points()]}


def _minutes(batches: list[Batch], start: int, end: int) -> Iterator[int]:
    """The minutes in which batches begin and end, as far as they are in a range."""
    for batch in batches:
        for at in (batch.lowest, batch.highest):
            if start <= at < end:
                yield at // MINUTE * MINUTE


def countable(value: str | float | None) -> float | None:
    """A value as a number that a metric takes; None for any other."""
    number = None if value is None else number_of(value)
    return None if number is None or not abs(number) <= 2.0**360 else float(number)  # AWS: PutMetricData
