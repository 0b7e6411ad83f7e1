"""One event with all its fields, for GetLogRecord. For the process of `penstock.logfiles.__main__`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from penstock.logfiles.patterns import EVERYTHING
from penstock.logfiles.queries.functions import text_of
from penstock.logfiles.queries.running import pointer, record_of
from penstock.logfiles.reading import appended
from penstock.logfiles.streams import StreamFiles


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
