"""Zip archives with any number in any field, as `zipfile` does not write them."""

from __future__ import annotations

import struct
import zlib
from typing import Any


def zip_entry(name: bytes, content: bytes = b"", **fields: Any) -> dict[str, Any]:
    """An entry of `zip_archive`: what of it is not named has the value that is right."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(content) + deflate.flush() if fields.get("method") == 8 else content
    right = {
        "name": name, "data": packed, "crc": zlib.crc32(content), "packed": len(packed), "size": len(content), "method": 0,
        "flags": 0, "made_by": 3 << 8, "mode": 0o100644, "dos": 0, "extra": b"", "comment": b"", "date": 0x21, "clock": 0,
    }  # fmt: skip
    return right | fields


def zip_archive(
    *entries: dict[str, Any],
    before: bytes = b"",
    comment: bytes = b"",
    wide_end: bool = False,
    **end: int,
) -> bytes:
    """The archive of these entries; `before` lies in front of it, `end` are fields of the end record (of the wide one where there is one)."""
    body, listing = b"", b""
    for entry in entries:
        offset = len(body)
        body += struct.pack("<4s22xHH", b"PK\x03\x04", len(entry["name"]), 0) + entry["name"] + entry["data"]
        listing += struct.pack(
            "<4sHHHHHHLLLHHHHHLL",
            *(b"PK\x01\x02", entry["made_by"], 20, entry["flags"], entry["method"], entry["clock"], entry["date"]),
            *(entry["crc"], entry["packed"], entry["size"], len(entry["name"]), len(entry["extra"]), len(entry["comment"])),
            *(0, 0, entry["mode"] << 16 | entry["dos"], entry.get("offset", offset)),
        ) + entry["name"] + entry["extra"] + entry["comment"]  # fmt: skip
    right = {"disk": 0, "first_disk": 0, "count": len(entries), "size": len(listing), "offset": len(body)} | end
    archive = before + body + listing
    if not wide_end:
        fields = [right[name] for name in ("disk", "first_disk", "count", "count", "size", "offset")]
        return archive + struct.pack("<4sHHHHLLH", b"PK\x05\x06", *fields, len(comment)) + comment
    fields = [right[name] for name in ("disk", "first_disk", "count", "count", "size", "offset")]
    wide = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, *fields)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(archive), 1)
    plain = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, len(comment))
    return archive + wide + locator + plain + comment
