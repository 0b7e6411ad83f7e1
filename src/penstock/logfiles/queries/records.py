"""One event with all its fields, for GetLogRecord, and the fields that events have, for GetLogGroupFields. For the process of `penstock.logfiles.__main__`."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from penstock.logfiles.patterns import EVERYTHING
from penstock.logfiles.queries.functions import text_of
from penstock.logfiles.queries.running import pointer, record_of
from penstock.logfiles.reading import adjacent, appended
from penstock.logfiles.streams import START, StreamFiles

MAX_EVENTS = 10_000
MAX_SEARCHED = 32 << 20  # bytes
MAX_PROCESSOR_S = 5.0
_NAMES = 1_000  # in an answer
_AT_ONCE = 1 << 18


def fields(
    *,
    streams: list[tuple[str, str, str]],
    keys: Mapping[str, bytes],
    start: int,
    end: int,
    lacking: Callable[[Path], object] | None = None,
) -> dict[str, Any]:
    """How many of the events of streams (log, name, path) with start ≤ time stamp < end have a field, as `fields`, of `total`, as far as it looks."""
    found: Counter[str] = Counter()
    total, read, began = 0, 0, time.process_time()
    for log, name, path in streams:
        files, stem = StreamFiles(Path(path), keys, lacking), Path(path).stem
        for group in adjacent(files.chosen(START, start, end), _AT_ONCE):
            if total >= MAX_EVENTS or read > MAX_SEARCHED or time.process_time() - began > MAX_PROCESSOR_S:
                break
            read += group[-1].end - group[0].offset
            with contextlib.suppress(FileNotFoundError):  # the stream was deleted meanwhile
                for event in appended(files, group, EVERYTHING):
                    if start <= event.timestamp < end:
                        names = record_of(log, name, stem, event).names()
                        found.update(one for one in names if one in found or len(found) < _NAMES)
                        total += 1
    return {"events": [], "fields": found.most_common(), "total": total}


def record(
    *,
    log: str,
    name: str,
    path: str,
    offset: int,
    keys: Mapping[str, bytes],
    lacking: Callable[[Path], object] | None = None,
) -> dict[str, Any]:
    """The fields of the event at a place of a stream, as `record`; none where there is no event."""
    files, stem = StreamFiles(Path(path), keys, lacking), Path(path).stem
    found: dict[str, str] = {}
    for batch in files.batches():
        if batch.offset <= offset < batch.end:
            for event in appended(files, [batch], EVERYTHING):
                if event.offset == offset:
                    fields = record_of(log, name, stem, event).names()
                    found = {name: text_of(value) for name, value in fields.items()}
                    found |= {"@ptr": pointer(stem, offset)}
                    found |= {key: str(fields[key] + 0) for key in ("@timestamp", "@ingestionTime")}
    return {"events": [], "record": found}
