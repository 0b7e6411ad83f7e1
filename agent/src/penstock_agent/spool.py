"""Commands taken and answers owed, on the disk until the service has them.

A record is `acknowledging` (an acknowledgement may be on its way, nothing ran), `running`, or `completed` (its result
waits to be delivered). Delivered ones move to `done/`, which recognises a command that comes twice and shows `status`
what happened.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, Dict, List, Optional

from penstock_agent import log
from penstock_agent.layout import write_durably

KEEP_DONE = 300


class Spool:
    """The directory `spool`; its methods may be called by several threads for different commands."""

    def __init__(self, root: str) -> None:
        self._open = os.path.join(root, "spool")
        self._done = os.path.join(self._open, "done")
        self._since_prune = 0

    @staticmethod
    def _name(identifier: str) -> str:
        return hashlib.sha256(identifier.encode("utf-8", "replace")).hexdigest()[:40] + ".json"

    def write(self, record: Dict[str, Any]) -> None:
        """Store a record, durable when this returns."""
        path = os.path.join(self._open, self._name(record["id"]))
        write_durably(path, json.dumps(record).encode("ascii"))

    def finish(self, record: Dict[str, Any]) -> None:
        """The service has the answer that was written last. One rename, so that the record is never in no place or in two."""
        name = self._name(record["id"])
        os.rename(os.path.join(self._open, name), os.path.join(self._done, name))
        self._since_prune += 1
        if self._since_prune >= 50:
            self.prune()

    def forget(self, identifier: str) -> None:
        """Drop an open record."""
        try:
            os.unlink(os.path.join(self._open, self._name(identifier)))
        except FileNotFoundError:
            pass

    def delivered(self, identifier: str) -> Optional[Dict[str, Any]]:
        """The record of a command whose result was delivered, while it is remembered."""
        return _read(os.path.join(self._done, self._name(identifier)))

    def pending(self) -> List[Dict[str, Any]]:
        """Records that a former run of the agent left open, oldest first."""
        return _records(self._open)

    def history(self) -> List[Dict[str, Any]]:
        """Delivered records, oldest first."""
        return _records(self._done)

    def prune(self) -> None:
        """Forget the oldest delivered records."""
        self._since_prune = 0
        found = sorted((e for e in os.scandir(self._done) if e.name.endswith(".json")), key=lambda e: e.stat().st_mtime)
        for entry in found[:-KEEP_DONE]:
            os.unlink(entry.path)


def _read(path: str) -> Optional[Dict[str, Any]]:
    try:
        with open(path, encoding="ascii") as file:
            record = json.load(file)
        return record if isinstance(record, dict) and "id" in record else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("spool.unreadable", path=path, reason=error)
        return None


def _records(directory: str) -> List[Dict[str, Any]]:
    try:
        names = [name for name in os.listdir(directory) if name.endswith(".json")]
    except FileNotFoundError:
        return []
    records = [record for record in (_read(os.path.join(directory, name)) for name in names) if record]
    return sorted(records, key=lambda record: record.get("taken", 0))
