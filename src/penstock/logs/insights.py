"""What the pages of Logs Insights compute: times, sizes, places in a query, and results as a table. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from penstock.logfiles.queries import grammar
from penstock.webpages.bars import Bars, drawn
from penstock.webpages.listing import Cell, Column, Row
from penstock.webpages.plaintext import without_colours
from penstock.webpages.wording import lasted, plural

RANGES = {
    "15m": ("The last 15 minutes", 900),
    "1h": ("The last hour", 3_600),
    "3h": ("The last 3 hours", 10_800),
    "12h": ("The last 12 hours", 43_200),
    "1d": ("The last day", 86_400),
    "7d": ("The last week", 604_800),
}
"""Key of a form → what it is called, and seconds."""
OWN = "own"  # the range that the two fields beside it say
EXAMPLES = (
    ("Newest events", "fields @timestamp, @message\n| sort @timestamp desc\n| limit 100"),
    ("Errors", "fields @timestamp, @logStream, @message\n| filter @message like /(?i)error|fatal/\n| limit 100"),
    ("Events over time", "stats count(*) as events by bin(5m)"),
    ("Busiest streams", "stats count(*) as events, latest(@timestamp) as last by @logStream\n| sort events desc\n| limit 20"),
    ("Slowest, of JSON", "filter ispresent(ms)\n| stats pct(ms, 99) as p99, avg(ms) as mean by path\n| sort p99 desc"),
)  # fmt: skip
"""Name and query."""
COLUMNS = 20  # of a table of results
_SHOWN = 80_000  # characters of the cells of a table, about
_SHORTEST, _LONGEST = 40, 1_000  # characters of one cell
_FIELD = 2_000  # characters of a field of an event
_FIELDS = 200  # of an event
_POINTER = "@ptr"
_LOCAL = "%Y-%m-%dT%H:%M"
DRAWN = 600  # bars of all plots of a page
_PLOTS = 6
_HEIGHT = 100  # pixels
_LARGEST = 1e150
_TIME = "%Y-%m-%d %H:%M:%S.%f"
_MS = re.compile(r"[0-9]{1,15}")
_LAST = 253_402_300_799_999  # ms: calendars end with the year 9999


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a query was refused, and the place: what stands before, in and behind it."""

    message: str
    before: str = ""
    marked: str = ""
    behind: str = ""


def problem(message: str, query: str, location: Mapping[str, int] | None) -> Problem:
    """An error with its place in the query, if it has one."""
    if location is None:
        return Problem(message)
    begins, ends = location["startCharOffset"], location["endCharOffset"]
    return Problem(message, query[:begins], query[begins:ends] or "▲", query[ends:])


def ms_of(text: str) -> int | None:
    """A time in ms; None of anything else."""
    return min(int(text), _LAST) if _MS.fullmatch(text) else None


def local_of(ms: int) -> str:
    """A time for a field of the kind datetime-local, in UTC; "" of one that calendars lack."""
    try:
        return dt.datetime.fromtimestamp(ms / 1_000, tz=dt.UTC).strftime(_LOCAL)
    except (OverflowError, ValueError, OSError):
        return ""


def of_local(text: str) -> int | None:
    """The seconds that a field of the kind datetime-local says, in UTC; None of anything else."""
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return int(found.replace(tzinfo=dt.UTC).timestamp()) if found.tzinfo is None else None


def size(count: float) -> str:
    """`512 bytes`, `1.5 MB`."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1_000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:,.1f} {unit}"
        count /= 1_000
    raise AssertionError


def sentence(found: Mapping[str, Any], *, took: int | None, reason: str) -> str:
    """What is so of a query: how far it is, or what it has found. `took` is in ms."""
    figures, status = found["statistics"], found["status"]
    matched, scanned = int(figures["recordsMatched"]), int(figures["recordsScanned"])
    read = f"{plural(matched, 'event')} matched of {scanned:,} scanned, {size(figures['bytesScanned'])}"
    spent = "" if took is None else f", in {lasted(took)}"
    match status:
        case "Scheduled":
            return "It waits until a server has a place for it."
        case "Running":
            return f"{read} so far{spent}."
        case "Complete":
            return f"{plural(int(figures['resultCount']), 'row')}. {read}{spent}."
        case "Cancelled":
            return f"It was stopped{'' if took is None else f' after {lasted(took)}'}: {read}."
        case "Timeout":
            return f"It was given up: a query may run for an hour. {read}."
        case _:
            return f"It failed. {reason}".strip()


def fields_of(row: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """A row of results by field."""
    return {cell["field"]: cell["value"] for cell in row}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of results; `left_out` is how many columns have no place in it."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    left_out: int = 0


def table(found: Sequence[Sequence[Mapping[str, str]]]) -> Table:
    """Results as a table. The first cell of an event leads to all of its fields."""
    rows = [fields_of(one) for one in found]
    names = list(dict.fromkeys(name for row in rows for name in row if name != _POINTER))
    shown = names[:COLUMNS] or (["Event"] if rows else [])
    longest = min(_LONGEST, max(_SHORTEST, _SHOWN // max(1, len(rows) * len(shown))))
    figures = {name for name in shown if all(_is_number(row[name]) for row in rows if name in row)}
    head = [Column(line_of(name, 100), "num" if name in figures and place else "") for place, name in enumerate(shown)]
    return Table(head, [_row(row, shown, longest) for row in rows], len(names) - len(shown))


def _row(row: Mapping[str, str], names: Sequence[str], longest: int) -> Row:
    cells: list[Cell | str] = [line_of(row.get(name, ""), longest) for name in names]
    if _POINTER in row:
        address = f"/console/insights/record?{urlencode({'ptr': row[_POINTER]})}"
        cells[0] = Cell(text=str(cells[0]).strip() or "Open", href=address)
    return Row(cells)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii()


def line_of(text: str, longest: int) -> str:
    """A text as one line of a page, of so many characters."""
    cut = text[:longest]
    return without_colours(cut) + ("…" if len(text) > longest else "")


def record_rows(record: Mapping[str, str]) -> list[Row]:
    """The fields of an event, but for its message."""
    names = [name for name in sorted(record) if name not in ("@message", _POINTER)]
    rows = [Row((line_of(name, 200), line_of(record[name], _FIELD))) for name in names[:_FIELDS]]
    if len(names) > _FIELDS:
        rows.append(Row((f"{len(names) - _FIELDS:,} more", "")))
    return rows


def message_of(text: str) -> str:
    """The message of an event as a page shows it: all but the end of a very long one."""
    longest = 64_000
    shown = "\n".join(without_colours(line) for line in text[:longest].splitlines())
    return shown + (f"\n… {len(text) - longest:,} more characters" if len(text) > longest else "")


def stream_address(group: str, stream: str, at: int) -> str:
    """The page of a stream at a time in ms."""
    return f"/console/insights/stream?{urlencode({'group': group, 'stream': stream, 'at': at})}"


@dataclass(frozen=True, slots=True)
class Axes:
    """What `stats … by bin()` shows: the column of times, how long one is, columns of other groups, and those of values."""

    time: str
    step: int  # ms
    groups: Sequence[str]
    values: Sequence[str]


def axes(query: str) -> Axes | None:
    """What of a query's results can be drawn over time; None of other queries."""
    try:
        commands = grammar.read(query)
    except grammar.BadQuery:  # of a server that knew more
        return None
    stats = next((one for one in reversed(commands) if isinstance(one, grammar.Stats)), None)
    for name, made in stats.by if stats else ():
        match made:
            case grammar.Applied(function="bin", arguments=(grammar.Value(value=int(step)),)) if step > 0:
                assert stats is not None
                return Axes(
                    name, step, [other for other, _ in stats.by if other != name], [one for one, _ in stats.items]
                )
            case _:
                pass
    return None


@dataclass(frozen=True, slots=True)
class Plot:
    """Bars of one column, of the rows of one combination of the other groups."""

    title: str
    label: str
    bars: Bars


@dataclass(frozen=True, slots=True)
class Plots:
    """What is drawn; `left_out` is how many plots are not."""

    shown: Sequence[Plot] = ()
    left_out: int = 0


def plots(found: Sequence[Sequence[Mapping[str, str]]], over: Axes) -> Plots:
    """Results over time, on one time axis."""
    series: dict[tuple[str, ...], list[tuple[int, float]]] = {}
    for row in map(fields_of, found[: DRAWN // max(1, len(over.values))]):
        at = _moment(row.get(over.time, ""))
        for name in over.values if at is not None else ():
            value = _figure(row.get(name, ""))
            if at is not None and value is not None:
                series.setdefault((name, *(row.get(group, "") for group in over.groups)), []).append((at, value))
    if not series:
        return Plots()
    times = [at for points in series.values() for at, _ in points]
    begins, ends = min(times), max(times)
    slots = (ends - begins) / over.step + 1
    shown = []
    for named, points in list(series.items())[:_PLOTS]:
        values = [value for _, value in points]
        span = f"Values {min(values):,.12g} to {max(values):,.12g}, from {_minute(begins)} to {_minute(ends)} UTC"
        bars = [((at - begins) / over.step, value, "idle") for at, value in points]
        shown.append(
            Plot(line_of(" · ".join(filter(None, named)), 120), span, drawn(bars, slots=slots, height=_HEIGHT))
        )
    return Plots(shown, len(series) - len(shown))


def _moment(text: str) -> int | None:
    try:
        return round(dt.datetime.strptime(text, _TIME).replace(tzinfo=dt.UTC).timestamp() * 1_000)
    except ValueError:
        return None


def _minute(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1_000, tz=dt.UTC).strftime("%Y-%m-%d %H:%M")


def _figure(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < _LARGEST else None  # not a number compares as False
