"""The diagnostics of a command: JSON in an envelope, always well formed and below the protocol's 8192 bytes."""

from __future__ import annotations

import json
from typing import Any, Dict

MAX_PAYLOAD = 8191
MAX_MESSAGE = 2048
MAX_SCRIPT = 512


def envelope(fields: Dict[str, Any]) -> Dict[str, str]:
    """An envelope of JSON. `fields["log"]`, when there, loses its beginning until everything fits."""
    fields = dict(fields)
    for name, limit in (("message", MAX_MESSAGE), ("script_name", MAX_SCRIPT)):
        if len(fields.get(name, "")) > limit:
            fields[name] = fields[name][: limit - 1] + "…"
    log = fields.get("log", "")
    if log:
        room = MAX_PAYLOAD - len(_json({**fields, "log": ""}))
        fields["log"] = _tail(log, room)
    payload = _json(fields)
    if len(payload) > MAX_PAYLOAD:  # a message of control characters grows sixfold in JSON
        for name in ("message", "script_name"):
            if name in fields:
                fields[name] = _tail(fields[name], 1200)
        payload = _json(fields)
    return {"Format": "JSON", "Payload": payload.decode("utf-8")}


def _json(fields: Dict[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _tail(text: str, room: int) -> str:
    """The end of `text` that takes at most `room` bytes in JSON, from the start of a line when one is near."""
    if len(text) > room:
        text = text[-room:] if room > 0 else ""
    low, high = 0, len(text)
    while low < high:  # the least cut that fits
        middle = (low + high) // 2
        if len(_json({"": text[middle:]})) - 7 <= room:
            high = middle
        else:
            low = middle + 1
    if low:
        line = text.find("\n", low)
        if 0 <= line - low < room // 8:
            low = line + 1
    return text[low:]


def result(code: int, message: str, *, script: str = "", log: str = "") -> Dict[str, str]:
    """The envelope of a PutHostCommandComplete."""
    return envelope({"error_code": code, "script_name": script, "message": message, "log": log})
