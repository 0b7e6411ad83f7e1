"""Runs a query over log files, in memory that is bounded. For the process of `penstock.logfiles.__main__`."""

from __future__ import annotations

import base64
import heapq
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from penstock.logfiles.patterns import EVERYTHING, Pattern
from penstock.logfiles.patterns.terms import first_of
from penstock.logfiles.queries import grammar
from penstock.logfiles.queries.aggregating import Budget, Groups, TooMuch
from penstock.logfiles.queries.expressions import Record, evaluate, holds, order
from penstock.logfiles.queries.functions import Time, number_of, text_of
from penstock.logfiles.queries.grammar import (
    Command,
    Dedup,
    Fields,
    Filter,
    Limit,
    Matches,
    Name,
    Operation,
    Parse,
    Sort,
    Stats,
    Value,
)
from penstock.logfiles.reading import adjacent, appended
from penstock.logfiles.streams import START, Event, StreamFiles

MAX_RESULTS = 64 << 20  # bytes
_HELD = 128 << 20  # characters of messages of the events that are held
_PART = 1 << 20  # bytes of a part of the results
_AT_ONCE = 1 << 18
_TELL_S = 0.5
_ANCHORS = ("^", "$", "\\A", "\\z", "\\b", "\\B", "\\Z", "(?")
_PLAIN = re.compile(r"[A-Za-z0-9_ .:-]+\Z")

Report = Callable[[dict[str, Any]], None]


class _Part(Pattern):
    """Events in which a text or a regular expression may be found."""

    def __init__(self, part: bytes, regex: Any) -> None:
        self._part, self._regex = part, regex

    def after(self, data: bytes, at: int) -> int:
        """See Pattern."""
        if self._regex is None:
            return data.find(self._part, at)
        found = self._regex.search(data, at)
        return -1 if found is None else found.start()


class _Signs(Pattern):
    """Events that have one of some texts."""

    def __init__(self, *signs: bytes) -> None:
        self._signs = signs

    def after(self, data: bytes, at: int) -> int:
        """See Pattern."""
        return first_of(self._signs, data, at)


def _searched(commands: Sequence[Command]) -> Pattern:
    """What lets events be passed over without a look: a part of the message that the first filters ask for."""
    for command in commands:
        if not isinstance(command, Filter):
            break
        waiting = [command.holds]
        while waiting:
            match waiting.pop():
                case Operation(sign="and", operands=operands):
                    waiting += operands
                case Matches(value=Name(name="@message"), part=part, regex=regex):
                    if regex is None and part and "\N{REPLACEMENT CHARACTER}" not in part:
                        return _Part(part.encode("utf-8", "replace"), None)
                    if regex is not None and not any(anchor in part for anchor in _ANCHORS):
                        return _Part(b"", regex)
                case Operation(sign="=", operands=(Name(name=name), Value(value=str(text)))):
                    # A value of JSON stands in the message as it is, or with characters as \u….
                    if not name.startswith("@") and _PLAIN.match(text) and number_of(text) is None:
                        return _Signs(text.encode(), b"\\u")
                case _:
                    pass
    return EVERYTHING


class _Descending:
    """Turns an order round."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __lt__(self, other: _Descending) -> bool:
        return other.key < self.key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and self.key == other.key

    __hash__ = None  # type: ignore[assignment]


class _Chosen:
    """The first so many of records in an order; of those that are alike the first."""

    def __init__(self, sort: Sort | None, dedup: Dedup | None, most: int, budget: Budget) -> None:
        keys = sort.keys if sort else ((Name("@timestamp"), True),)
        self._sorted = sort is not None
        self._keys = [(evaluate(one), descending) for one, descending in keys]
        self._alike = [evaluate(one) for one in dedup.keys] if dedup else []
        self._most, self._budget = most, budget
        self._numbers = count()
        self._heap: list[tuple[_Descending, Record]] = []
        self._first: dict[tuple[str | None, ...], tuple[Any, Record]] = {}
        self._held = 0

    def _key(self, record: Record) -> tuple[Any, ...]:
        return (
            *(
                _Descending(order(value(record))) if descending else order(value(record))
                for value, descending in self._keys
            ),
            next(self._numbers),
        )

    def add(self, record: Record) -> None:
        """Take a record, or pass it over. Raises TooMuch."""
        key = self._key(record)
        if self._alike:
            alike = tuple(None if (found := value(record)) is None else text_of(found) for value in self._alike)
            if None in alike:  # AWS keeps those that lack a field
                alike = (*alike, str(key[-1]))
            before = self._first.get(alike)
            if before is None:
                self._budget.take()
                self._hold(record)
                self._first[alike] = key, record
            elif key < before[0]:
                self._hold(record)
                self._leave(before[1])
                self._first[alike] = key, record
            return
        item = (_Descending(key), record)
        if len(self._heap) < self._most:
            self._hold(record)
            heapq.heappush(self._heap, item)
        elif self._heap[0][0] < item[0]:
            self._hold(record)
            self._leave(heapq.heapreplace(self._heap, item)[1])

    def _hold(self, record: Record) -> None:
        record.release()
        self._held += len(record.message or "")
        if self._held > _HELD:
            raise TooMuch(
                "The events that the query gives are too large together. Give it a smaller limit, or filter more."
            )

    def _leave(self, record: Record) -> None:
        self._held -= len(record.message or "")

    def rows(self) -> list[Record]:
        """The records in their order."""
        found = list(self._first.values()) if self._alike else [(one.key, record) for one, record in self._heap]
        found.sort(key=lambda one: one[0])
        return [record for _, record in found[: self._most]]


class Query:
    """A query that is run: records go in one after the other, rows come out."""

    def __init__(self, commands: Sequence[Command], limit: int) -> None:
        self._limit = limit
        self._budget = Budget()
        streaming = next(
            (at for at, one in enumerate(commands) if isinstance(one, Stats | Sort | Limit | Dedup)), len(commands)
        )
        self._steps = [step for one in commands[:streaming] if (step := _step(one)) is not None]
        rest = list(commands[streaming:])
        self._collector: Groups | _Chosen
        if rest and isinstance(rest[0], Stats):
            self._collector = Groups(rest.pop(0), self._budget)  # pyright: ignore[reportArgumentType]
        else:
            sort = rest.pop(0) if rest and isinstance(rest[0], Sort) else None
            dedup = rest.pop(0) if rest and isinstance(rest[0], Dedup) else None
            most = rest.pop(0).most if rest and isinstance(rest[0], Limit) else None  # pyright: ignore[reportAttributeAccessIssue]
            if most is None:
                # What comes behind may leave some out, or ask for another order.
                most = grammar.MAX_LIMIT if any(not isinstance(one, Fields) for one in rest) else limit
            self._collector = _Chosen(sort, dedup, most, self._budget)  # pyright: ignore[reportArgumentType]
        self._rest = rest
        self._commands = commands
        self.filters = any(isinstance(one, Filter) for one in commands[:streaming])

    def add(self, record: Record) -> bool:
        """Take a record; whether it matched. Raises TooMuch."""
        for step in self._steps:
            if not step(record):
                return False
        self._collector.add(record)
        return True

    def rows(self) -> Iterator[list[dict[str, str]]]:
        """The rows, as GetQueryResults shows them. Raises TooMuch."""
        records = self._collector.rows()
        for command in self._rest:
            if isinstance(command, Stats):
                groups = Groups(command, self._budget)
                for record in records:
                    groups.add(record)
                records = groups.rows()
            elif isinstance(command, Sort):
                chosen = _Chosen(command, None, len(records), self._budget)
                for record in records:
                    chosen.add(record)
                records = chosen.rows()
            elif isinstance(command, Limit):
                records = records[: command.most]
            elif isinstance(command, Dedup):
                records = list(_dedup(command, records))
            elif (step := _step(command)) is not None:
                records = [record for record in records if step(record)]
        names, events = _shown(self._commands)
        for record in records[: self._limit]:
            row = [
                {"field": name, "value": text_of(value)} for name in names if (value := record.get(name)) is not None
            ]
            if events:
                row.append({"field": "@ptr", "value": text_of(record.get("@ptr"))})
            yield row


def _dedup(command: Dedup, records: Sequence[Record]) -> Iterator[Record]:
    values = [evaluate(one) for one in command.keys]
    seen: set[tuple[str, ...]] = set()
    for record in records:
        found = [value(record) for value in values]
        if None not in found:
            key = tuple(map(text_of, found))
            if key in seen:
                continue
            seen.add(key)
        yield record


def _step(command: Command) -> Callable[[Record], bool] | None:
    """What a command does to one record; whether it stays."""
    if isinstance(command, Filter):
        return holds(command.holds)
    if isinstance(command, Fields):
        made = [(name, evaluate(one)) for name, one in command.items if one != Name(name)]
        if not made:
            return None

        def give(record: Record) -> bool:
            for name, value in made:
                record.fields[name] = value(record)
            return True

        return give
    assert isinstance(command, Parse)
    value, regex, names = evaluate(command.value), command.regex, command.names

    def parse(record: Record) -> bool:
        text = value(record)
        found = None if text is None else regex.search(text_of(text).encode("utf-8", "replace"))
        if found is not None:
            for name, part in zip(names, found.groups(), strict=True):
                record.fields[name] = None if part is None else part.decode("utf-8", "replace")
        return True

    return parse


def _shown(commands: Sequence[Command]) -> tuple[list[str], bool]:
    """The fields that rows show, and whether rows are events."""
    names: dict[str, None] = {}
    events = only = False
    events = True
    for command in commands:
        if isinstance(command, Stats):
            names = dict.fromkeys(name for name, _ in (*command.by, *command.items))
            events = only = False
        elif isinstance(command, Fields):
            if command.only and not only:
                names, only = {}, True
            if command.only or not only:
                names |= dict.fromkeys(name for name, _ in command.items)
    if not names:
        names = dict.fromkeys(("@timestamp", "@message"))
    names.pop("@ptr", None)
    return list(names), events


def run(
    *,
    streams: list[tuple[str, str, str, int]],
    keys: Mapping[str, bytes],
    query: str,
    end: int,
    limit: int,
    report: Report,
    lacking: Callable[[Path], object] | None = None,
) -> dict[str, Any]:
    """What a query finds in streams (log, name, path, start) in events with start ≤ time stamp < end.

    `statistics`; the `parts` of the results, each as the number of its first row, the number of its rows, and JSON in bytes; or why it `fails`.
    `report` gets the statistics now and then.
    """
    commands = grammar.read(query)
    running, searched = Query(commands, limit), _searched(commands)
    statistics = {"recordsMatched": 0.0, "recordsScanned": 0.0, "bytesScanned": 0.0, "logGroupsScanned": 0.0}
    reported = time.monotonic()
    logs: set[str] = set()
    try:
        for log, name, path, start in streams:
            logs.add(log)
            files = StreamFiles(Path(path), keys, lacking)
            stem = Path(path).stem
            chosen = [one for one in files.chosen(START, start, end) if one.lowest < end]
            for group in reversed(list(adjacent(chosen, _AT_ONCE))):
                for event in _events(files, group, searched):
                    if start <= event.timestamp < end and running.add(record_of(log, name, stem, event)):
                        statistics["recordsMatched"] += 1
                statistics["recordsScanned"] += sum(batch.events for batch in group)
                statistics["bytesScanned"] += group[-1].end - group[0].offset
                if time.monotonic() - reported > _TELL_S:
                    reported = time.monotonic()
                    report(statistics)
        statistics["logGroupsScanned"] = float(len(logs))
        parts, many = _parts(running.rows())
    except TooMuch as much:
        return {"events": [], "fails": str(much), "statistics": statistics}
    return {"events": [], "parts": parts, "statistics": {**statistics, "resultCount": float(many)}}


def _events(files: StreamFiles, group: Any, pattern: Pattern) -> Iterator[Event]:
    try:
        yield from appended(files, group, pattern)
    except FileNotFoundError:  # the stream was deleted meanwhile
        return


def record_of(log: str, name: str, file: str, event: Event) -> Record:
    """An event as a record; `log` is ACCOUNT:GROUP, `file` that of the stream."""
    base = {
        "@timestamp": Time(event.timestamp),
        "@ingestionTime": Time(event.ingestion),
        "@message": event.message,
        "@logStream": name,
        "@log": log,
    }
    return _EventRecord(base, file, event)


class _EventRecord(Record):
    __slots__ = ("_file", "_offset")

    def __init__(self, base: Mapping[str, Any], file: str, event: Event) -> None:
        super().__init__(base, event.message)
        self._file, self._offset = file, event.offset

    def get(self, name: str) -> Any:
        """See Record. The pointer is made where somebody asks for it."""
        return pointer(self._file, self._offset) if name == "@ptr" else super().get(name)


def pointer(file: str, offset: int) -> str:
    """Where an event lies, for GetLogRecord."""
    return base64.urlsafe_b64encode(f"{file}/{offset}".encode()).decode().rstrip("=")


def _parts(rows: Iterator[list[dict[str, str]]]) -> tuple[list[tuple[int, int, bytes]], int]:
    parts: list[tuple[int, int, bytes]] = []
    held: list[bytes] = []
    size = first = total = number = 0
    for row in rows:
        content = orjson.dumps(row)
        if held and size + len(content) > _PART:
            parts.append((first, len(held), b"[" + b",".join(held) + b"]"))
            held, size, first = [], 0, number
        held.append(content)
        size += len(content)
        total += len(content)
        number += 1
        if total > MAX_RESULTS:
            raise TooMuch("The results are larger than 64 MB. Give the query a smaller limit, or fewer fields.")
    if held:
        parts.append((first, len(held), b"[" + b",".join(held) + b"]"))
    return parts, number
