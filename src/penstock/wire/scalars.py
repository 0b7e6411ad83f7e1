"""Scalar values on the wire: timestamps in their three forms, floats, blobs.

Operations see timestamps as the store keeps them, in integer milliseconds since the epoch (UTC), and blobs as bytes.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from penstock.wire.errors import MalformedBody

INTEGER_LIMITS = {"integer": 1 << 31, "long": 1 << 63}
_LATEST_SECOND = 253_402_300_799.999  # the end of the year 9999
_EARLIEST_SECOND = -62_135_596_800.0
_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[Tt ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:[Zz]|[+-]\d{2}:?\d{2})?)?", re.ASCII
)
_NUMBER = re.compile(r"[+-]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,3})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_SPECIAL_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def milliseconds_of(seconds: float) -> int:
    """Epoch seconds of the wire as milliseconds. Raises MalformedBody for what no calendar can show."""
    if not _EARLIEST_SECOND <= seconds <= _LATEST_SECOND:  # also refuses NaN
        raise MalformedBody("NUMBER_VALUE can not be converted to a Timestamp")
    return round(seconds * 1000)


def iso(ms: float) -> str:
    """A time (ms) as ISO 8601 without the fraction, as errors and records of calls have it."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: str) -> int:
    """The milliseconds of ISO 8601, an HTTP date or a number of seconds in text. Raises MalformedBody."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return milliseconds_of(float(text))
    try:
        if _ISO.fullmatch(text):
            head, dot, rest = text.partition(".")
            if dot:  # fromisoformat takes at most microseconds
                digits = re.match(r"\d+", rest)
                assert digits is not None
                text = f"{head}.{digits.group()[:6]:<06}{rest[digits.end() :]}"
            moment = datetime.fromisoformat(text.upper())
        else:
            fraction = re.fullmatch(r"(.{1,40}:\d{2})(\.\d{1,9})( GMT)", text)
            moment = parsedate_to_datetime(fraction[1] + fraction[3] if fraction else text)
            if fraction:
                moment = moment.replace(microsecond=int(f"{fraction[2][1:7]:<06}"))
    except (ValueError, TypeError, OverflowError, IndexError):
        raise MalformedBody("STRING_VALUE can not be converted to a Timestamp") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return milliseconds_of(moment.timestamp())
    except (ValueError, OverflowError):
        raise MalformedBody("STRING_VALUE can not be converted to a Timestamp") from None


def format_timestamp(ms: int, form: str, *, always_millis: bool = False) -> str:
    """A timestamp as text: `iso8601`, `rfc822` or `unixTimestamp`."""
    if form == "unixTimestamp":
        return str(number_of_seconds(ms))
    seconds, fraction = _split(ms)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=fraction * 1000)
    if form == "rfc822":
        return format_datetime(moment, usegmt=True)
    text = moment.replace(tzinfo=None).isoformat(timespec="milliseconds")
    return (text if always_millis or moment.microsecond else text[:-4]) + "Z"


def number_of_seconds(ms: int) -> float | int:
    """Milliseconds as epoch seconds, without a fraction where there is none, as AWS's JSON has them."""
    seconds, fraction = _split(ms)
    return ms / 1000 if fraction else seconds


def _split(ms: int) -> tuple[int, int]:
    """Seconds, and the milliseconds behind them."""
    if type(ms) is not int:  # seconds would pass for a day in January 1970
        raise TypeError(f"a timestamp is an integer of milliseconds, not {ms!r}")
    return divmod(ms, 1000)


def parse_integer(text: str, kind: str) -> int:
    """An integer in text. Raises MalformedBody."""
    text = text.strip()
    if not _INTEGER.fullmatch(text):
        raise MalformedBody(f"STRING_VALUE can not be converted to {_ARTICLES[kind]}")
    return checked_integer(int(text), kind)


def checked_integer(number: int, kind: str) -> int:
    """An integer within the bounds of `integer` (32 bits) or `long` (64 bits). Raises MalformedBody."""
    limit = INTEGER_LIMITS[kind]
    if not -limit <= number < limit:
        raise MalformedBody(f"NUMBER_VALUE can not be converted to {_ARTICLES[kind]}")
    return number


def parse_float(text: str) -> float:
    """A number in text, also NaN, Infinity and -Infinity. Raises MalformedBody."""
    text = text.strip()
    special = _SPECIAL_FLOATS.get(text)
    if special is not None:
        return special
    if not _NUMBER.fullmatch(text):
        raise MalformedBody("STRING_VALUE can not be converted to a Double")
    return float(text)


def format_float(value: float) -> str:
    """A number as text."""
    if math.isfinite(value):
        return str(value)
    return special_float(value)


def special_float(value: float) -> str:
    """NaN, Infinity or -Infinity."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def parse_boolean(text: str) -> bool:
    """`true` or `false`. Raises MalformedBody."""
    match text.strip().lower():
        case "true":
            return True
        case "false":
            return False
    raise MalformedBody("STRING_VALUE can not be converted to a Boolean")


def parse_blob(text: str) -> bytes:
    """Bytes in base64. Raises MalformedBody."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedBody("STRING_VALUE can not be converted to a Blob") from None


def format_blob(value: bytes | bytearray | memoryview | str) -> str:
    """Base64 of bytes."""
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode("ascii")


_ARTICLES = {"integer": "an Integer", "long": "a Long"}
