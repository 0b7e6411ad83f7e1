"""Conditional requests and ranges.

RFC 9110 §13 and §14; AWS: GetObject, CopyObject and "Conditional writes" for which condition wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.objects.errors import InvalidRange, NoSuchKey, NotServed, PreconditionFailed
from penstock.objects.model import Version

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_DIGITS = 18  # of a position that is told apart from endlessly far


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a reader demands of the version it gets. Times are seconds since the epoch."""

    match: str | None = None
    none_match: str | None = None
    modified_since: float | None = None
    unmodified_since: float | None = None

    @classmethod
    def of(cls, input: Mapping[str, Any], prefix: str = "") -> Conditions:
        """From the members `IfMatch` … (with prefix "CopySource": those of the source of a copy)."""
        return cls(
            match=input.get(f"{prefix}IfMatch"),
            none_match=input.get(f"{prefix}IfNoneMatch"),
            modified_since=input.get(f"{prefix}IfModifiedSince"),
            unmodified_since=input.get(f"{prefix}IfUnmodifiedSince"),
        )

    def modified(self, version: Version) -> bool:
        """Whether the version is to be answered, False for "not modified". Raises PreconditionFailed."""
        seconds = version.modified // 1000
        if self.match is not None:
            if not names(self.match, version.etag):
                raise PreconditionFailed(Condition="If-Match")
        elif self.unmodified_since is not None and seconds > self.unmodified_since:
            raise PreconditionFailed(Condition="If-Unmodified-Since")
        if self.none_match is not None:
            return not names(self.none_match, version.etag)
        return self.modified_since is None or seconds > self.modified_since


def names(etags: str, etag: str) -> bool:
    """Whether a condition's list of ETags (quoted or not, or `*`) names this one."""
    return any(
        candidate in ("*", etag)
        for candidate in (item.strip().removeprefix("W/").strip('"') for item in etags.split(","))
    )


def check_write(input: Mapping[str, Any], current: Version | None) -> None:
    """Raise PreconditionFailed or NoSuchKey unless a conditional write may go ahead.

    `current` is the key's latest version, if any. AWS: "How to prevent object overwrites with conditional writes".
    """
    there = current is not None and not current.marker
    if (none_match := input.get("IfNoneMatch")) is not None:
        if none_match != "*":
            raise NotServed(Header="If-None-Match")
        if there:
            raise PreconditionFailed(Condition="If-None-Match")
    if (match := input.get("IfMatch")) is not None:
        if current is None or current.marker:
            raise NoSuchKey(Key=input.get("Key", ""))
        if not names(match, current.etag):
            raise PreconditionFailed(Condition="If-Match")


def _bounded(digits: str) -> str:
    """The digits of a position, cut to what Python converts quickly (and at all: 4,300 digits are its limit)."""
    plain = digits.lstrip("0") or digits[:1]
    return plain if len(plain) <= _DIGITS else "9" * _DIGITS


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """(first byte, behind the last) of a Range header; None when S3 ignores it (several ranges, no byte range).

    Raises InvalidRange when no byte of it is there.
    """
    found = _RANGE.fullmatch(header.strip().replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return None
    first, last = (_bounded(digits) for digits in found.groups())
    if not first:
        start, stop = max(0, size - int(last)), size
        empty = int(last) == 0 or size == 0
    else:
        start = int(first)
        stop = min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
        empty = start >= size
    if empty:
        raise InvalidRange(ActualObjectSize=str(size), RangeRequested=header)
    return start, stop
