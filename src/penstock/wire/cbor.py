"""CBOR as Smithy RPC v2 uses it, out of and into plain Python values; what comes from outside is bounded.

Source: RFC 8949 and the Smithy 2.0 specification, "Smithy RPC v2 CBOR protocol". Read are integers of 64 bits, byte and text
strings, lists, maps with text keys, booleans, null, floats of 16, 32 and 64 bits and timestamps (tag 1), each with a stated or
an open length. Everything else is refused: other tags (bignums, decimal fractions), other simple values, a key twice in one map,
text that is not UTF-8, and bytes behind the document.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import orjson

from penstock.wire.errors import MalformedBody

MAX_DEPTH = 64
MAX_ITEMS = 1_000_000  # values and keys of one document, chunks of strings included: about half a second of work

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _LIST, _MAP, _TAG, _OTHER = range(8)
_OPEN = 31  # in place of a length: up to the break
_BREAK = 0xFF
_WIDTHS = {24: 1, 25: 2, 26: 4, 27: 8}
_FLOATS: Mapping[int, Callable[[bytes, int], tuple[Any, ...]]] = {
    width: struct.Struct(form).unpack_from for width, form in ((25, ">e"), (26, ">f"), (27, ">d"))
}
_FLOAT_BYTES = {25: 2, 26: 4, 27: 8}
_SIMPLE = {20: False, 21: True, 22: None, 23: None}
_EPOCH_TAG = 1
_DOUBLE = struct.Struct(">Bd").pack
_REMEMBERED = 64  # characters of a key
_BROKEN = "The request body is not valid CBOR."


class Timestamp(float):
    """Seconds since the epoch, which CBOR distinguishes from other numbers by their tag."""

    __slots__ = ()


def read_cbor(body: bytes) -> Any:
    """The one value in `body`. Raises MalformedBody; refuses NUL characters, which no store keeps."""
    reader = _Reader(body)
    try:
        value = reader.value(MAX_DEPTH)
    except (IndexError, struct.error):
        raise MalformedBody(f"{_BROKEN} It ends too early.") from None
    if reader.at != len(body):
        raise MalformedBody(f"{_BROKEN} Bytes follow its end.")
    return value


class _Reader:
    """A position in a document. Reading beyond the end raises IndexError or struct.error."""

    __slots__ = ("_body", "_left", "at")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._left = MAX_ITEMS
        self.at = 0

    def value(self, depth: int) -> Any:
        """The next value; `depth` is how many levels it may have."""
        first = self._body[self.at]
        self.at += 1
        self._count()
        kind, detail = first >> 5, first & 31
        if kind == _TEXT:
            return self._text(detail)
        if kind == _UNSIGNED:
            return detail if detail < 24 else self._number(detail)
        if kind == _NEGATIVE:
            return -1 - (detail if detail < 24 else self._number(detail))
        if kind == _MAP:
            return self._map(detail, self._below(depth))
        if kind == _LIST:
            return self._list(detail, self._below(depth))
        if kind == _BYTES:
            return self._bytes(detail)
        if kind == _TAG:
            return self._timestamp(detail, self._below(depth))
        return self._other(detail)

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise MalformedBody(f"The request body has more than {MAX_ITEMS} values.")

    def _below(self, depth: int) -> int:
        if depth <= 1:
            raise MalformedBody(f"The request body nests deeper than {MAX_DEPTH} levels.")
        return depth - 1

    def _number(self, detail: int) -> int:
        width = _WIDTHS.get(detail)
        if width is None:
            raise MalformedBody(_BROKEN)
        raw = self._body[self.at : self.at + width]
        if len(raw) < width:
            raise IndexError
        self.at += width
        return int.from_bytes(raw)

    def _size(self, detail: int, least: int) -> int:
        """A stated length, of things that take at least `least` bytes each. Nothing is set aside for what is not there."""
        size = detail if detail < 24 else self._number(detail)
        if size * least > len(self._body) - self.at:
            raise IndexError
        return size

    def _raw(self, detail: int) -> bytes:
        size = self._size(detail, 1)
        raw = self._body[self.at : self.at + size]
        self.at += size
        return raw

    def _chunk(self, kind: int) -> int | None:
        """The length detail of the next chunk of an open string; None at its end."""
        first = self._body[self.at]
        self.at += 1
        if first == _BREAK:
            return None
        self._count()
        if first >> 5 != kind or first & 31 == _OPEN:
            raise MalformedBody(_BROKEN)
        return first & 31

    def _bytes(self, detail: int) -> bytes:
        if detail != _OPEN:
            return self._raw(detail)
        chunks: list[bytes] = []
        while (size := self._chunk(_BYTES)) is not None:
            chunks.append(self._raw(size))
        return b"".join(chunks)

    def _text(self, detail: int) -> str:
        try:
            if detail != _OPEN:
                text = self._raw(detail).decode()
            else:
                chunks: list[str] = []
                while (size := self._chunk(_TEXT)) is not None:
                    chunks.append(self._raw(size).decode())  # no character stands across two chunks
                text = "".join(chunks)
        except UnicodeDecodeError:
            raise MalformedBody(f"{_BROKEN} A text string is not UTF-8.") from None
        if "\x00" in text:
            raise MalformedBody("A string contains the character U+0000.")
        return text

    def _list(self, detail: int, depth: int) -> list[Any]:
        if detail != _OPEN:
            return [self.value(depth) for _ in range(self._size(detail, 1))]
        items: list[Any] = []
        while self._body[self.at] != _BREAK:
            items.append(self.value(depth))
        self.at += 1
        return items

    def _map(self, detail: int, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if detail != _OPEN:
            for _ in range(self._size(detail, 2)):
                self._entry(found, depth)
            return found
        while self._body[self.at] != _BREAK:
            self._entry(found, depth)
        self.at += 1
        return found

    def _entry(self, found: dict[str, Any], depth: int) -> None:
        first = self._body[self.at]
        if first >> 5 != _TEXT:
            raise MalformedBody(f"{_BROKEN} A key of a map is not a text string.")
        self.at += 1
        self._count()
        key = self._text(first & 31)
        if key in found:
            raise MalformedBody(f"{_BROKEN} A map has the same key twice.")
        found[key] = self.value(depth)

    def _timestamp(self, detail: int, depth: int) -> Timestamp:
        tag = detail if detail < 24 else self._number(detail)
        if tag != _EPOCH_TAG:
            raise MalformedBody(f"{_BROKEN} Of the tags only 1, a timestamp, is understood, not {tag}.")
        value = self.value(depth)
        if type(value) is not int and type(value) is not float:
            raise MalformedBody(f"{_BROKEN} A timestamp is not a number.")
        return Timestamp(value)

    def _other(self, detail: int) -> Any:
        if detail in _SIMPLE:
            return _SIMPLE[detail]
        unpack = _FLOATS.get(detail)
        if unpack is None:
            raise MalformedBody(_BROKEN)
        value = unpack(self._body, self.at)[0]
        self.at += _FLOAT_BYTES[detail]
        return value


def write_cbor(value: Any) -> bytes:
    """The shortest form of JSON-like values, bytes and timestamps. Raises TypeError for others."""
    out: list[bytes] = []
    _write(value, out)
    return b"".join(out)


def _write(value: Any, out: list[bytes]) -> None:
    writer = _WRITERS.get(type(value))
    if writer is not None:
        writer(value, out)
        return
    for kind, known in _WRITERS.items():  # subclasses, such as enumerations
        if isinstance(value, kind):
            known(value, out)
            return
    raise TypeError(f"{type(value).__name__} has no form in CBOR")


def _head(kind: int, number: int) -> bytes:
    first = kind << 5
    if number < 24:
        return bytes((first | number,))
    if number < 1 << 8:
        return bytes((first | 24, number))
    if number < 1 << 16:
        return bytes((first | 25,)) + number.to_bytes(2)
    if number < 1 << 32:
        return bytes((first | 26,)) + number.to_bytes(4)
    return bytes((first | 27,)) + number.to_bytes(8)


@lru_cache(maxsize=4096)
def _key(name: str) -> bytes:
    # The names of members come again and again. Values are not remembered: some of them are secrets.
    raw = name.encode()
    return _head(_TEXT, len(raw)) + raw


def _write_text(value: str, out: list[bytes]) -> None:
    raw = value.encode()
    out += (_head(_TEXT, len(raw)), raw)


def _write_integer(value: int, out: list[bytes]) -> None:
    out.append(_head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value))


def _write_bytes(value: bytes | bytearray | memoryview, out: list[bytes]) -> None:
    raw = bytes(value)
    out += (_head(_BYTES, len(raw)), raw)


def _write_timestamp(value: Timestamp, out: list[bytes]) -> None:
    out.append(bytes((_TAG << 5 | _EPOCH_TAG,)))
    if value.is_integer():
        _write_integer(int(value), out)
    else:
        out.append(_DOUBLE(0xFB, value))


def _write_map(value: Mapping[str, Any], out: list[bytes]) -> None:
    out.append(_head(_MAP, len(value)))
    for key, item in value.items():
        if len(key) <= _REMEMBERED:
            out.append(_key(key))
        else:
            _write_text(key, out)
        _write(item, out)


def _write_list(value: list[Any] | tuple[Any, ...], out: list[bytes]) -> None:
    out.append(_head(_LIST, len(value)))
    for item in value:
        _write(item, out)


_WRITERS: Mapping[type, Callable[[Any, list[bytes]], None]] = {
    str: _write_text,
    bool: lambda value, out: out.append(b"\xf5" if value else b"\xf4"),
    int: _write_integer,
    type(None): lambda _value, out: out.append(b"\xf6"),
    dict: _write_map,
    list: _write_list,
    tuple: _write_list,
    Timestamp: _write_timestamp,
    float: lambda value, out: out.append(_DOUBLE(0xFB, value)),
    bytes: _write_bytes,
    bytearray: _write_bytes,
    memoryview: _write_bytes,
    orjson.Fragment: lambda value, out: _write(orjson.loads(orjson.dumps(value)), out),
}
