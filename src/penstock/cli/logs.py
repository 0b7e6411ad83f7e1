"""Structured logs on stderr, with a dotted event name: one JSON object a line, or a line for people on a terminal.

`log.info("job.dead", extra={"job": id, "kind": kind})` becomes `{"at": "…Z", "level": "info", "event": "job.dead", "job": …}`,
on a terminal `18:25:16  info   job.dead  job=… kind=…`.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import sys
import time
from typing import Any

import orjson

from penstock.cli.terminal import harmless

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": dt.datetime.fromtimestamp(record.created, tz=dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line.update({name: value for name, value in vars(record).items() if name not in _OWN})
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        colour = {"WARNING": "33", "ERROR": "31", "CRITICAL": "31"}.get(record.levelname, "2")
        at = time.strftime("%H:%M:%S", time.localtime(record.created))
        details = harmless(" ".join(f"{name}={value}" for name, value in vars(record).items() if name not in _OWN))
        level = record.levelname.lower()
        line = f"{at}  {_painted(f'{level:<8}', colour)} {harmless(record.getMessage())}  {_painted(details, '2')}".rstrip()
        if record.exc_info:
            line += "".join(f"\n{harmless(each)}" for each in self.formatException(record.exc_info).splitlines())
        return line


def _painted(text: str, colour: str) -> str:
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return text if plain or not text else f"\033[{colour}m{text}\033[0m"


def structured_logs(*, verbose: bool) -> None:
    """Send the logs of this process to stderr: for people when it is a terminal, as JSON everywhere else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines() if sys.stderr.isatty() else _JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("penstock").setLevel(logging.DEBUG if verbose else logging.INFO)
