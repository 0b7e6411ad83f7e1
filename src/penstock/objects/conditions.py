"""Conditional requests and ranges.

RFC 9110 §13 and §14; AWS: GetObject, CopyObject and "Conditional writes" for which condition wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.objects.errors import (
    ConditionalRequestConflict,
    InvalidArgument,
    InvalidRange,
    InvalidRequest,
    NoSuchKey,
    NotServed,
    PreconditionFailed,
)
from penstock.objects.model import Version, time_to_api

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_COPIED_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]+)")
_DIGITS = 18  # of a position that is told apart from endlessly far


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a reader demands of the version it gets. Times are in ms."""

    match: str | None = None
    none_match: str | None = None
    modified_since: int | None = None
    unmodified_since: int | None = None
    prefix: str = ""  # of the header names that a refusal repeats

    @classmethod
    def of(cls, input: Mapping[str, Any], prefix: str = "") -> Conditions:
        """From the members `IfMatch` … (with prefix "CopySource": those of the source of a copy)."""
        return cls(
            match=input.get(f"{prefix}IfMatch"),
            none_match=input.get(f"{prefix}IfNoneMatch"),
            modified_since=input.get(f"{prefix}IfModifiedSince"),
            unmodified_since=input.get(f"{prefix}IfUnmodifiedSince"),
            prefix="x-amz-copy-source-" if prefix else "",
        )

    def unchanged(self, version: Version, now: int) -> str:
        """The condition that says "not modified" of a version: its header, "" when none does. Raises PreconditionFailed.

        `now` is in ms. A date in the future says nothing (RFC 9110 §13.1.3 has servers ignore it), and S3 ignores it too.
        """
        modified = time_to_api(version.modified)
        if self.match is not None:
            if not names(self.match, version.etag):
                raise PreconditionFailed(Condition=f"{self.prefix}If-Match")
        elif self.unmodified_since is not None and modified > self.unmodified_since:
            raise PreconditionFailed(Condition=f"{self.prefix}If-Unmodified-Since")
        if self.none_match is not None:
            return f"{self.prefix}If-None-Match" if names(self.none_match, version.etag) else ""
        if self.modified_since is not None and modified <= self.modified_since <= now:
            return f"{self.prefix}If-Modified-Since"
        return ""

    def check_source(self, version: Version, now: int) -> None:
        """Raise PreconditionFailed unless a copy may read the version: a copy has no answer for "not modified"."""
        if failed := self.unchanged(version, now):
            raise PreconditionFailed(Condition=failed)


def names(etags: str, etag: str) -> bool:
    """Whether a condition's list of ETags (quoted or not, or `*`) names this one."""
    return any(
        candidate in ("*", etag)
        for candidate in (item.strip().removeprefix("W/").strip('"') for item in etags.split(","))
    )


def check_write(input: Mapping[str, Any], current: Version | None) -> None:
    """Raise NotServed, PreconditionFailed or NoSuchKey unless a conditional write may go ahead.

    `current` is the key's latest version, if any. AWS: "How to prevent object overwrites with conditional writes".
    """
    none_match, match = input.get("IfNoneMatch"), input.get("IfMatch")
    if none_match is not None and match is not None:
        raise NotServed(
            Header="If-Match,If-None-Match",
            additionalMessage="Multiple conditional request headers present in the request",
        )
    if (none_match is not None and none_match != "*") or match == "*":
        header = "If-Match" if none_match is None else "If-None-Match"
        raise NotServed(
            Header=header, additionalMessage=f"We don't accept the provided value of {header} header for this API"
        )
    if none_match is not None and current is not None and not current.marker:
        raise PreconditionFailed(Condition="If-None-Match")
    check_match(match, current, input.get("Key", ""))


def check_match(match: str | None, current: Version | None, key: str) -> None:
    """Raise NoSuchKey or PreconditionFailed unless a version has the ETag that a write or delete asks for; "*" is any."""
    if match is None:
        return
    if current is None or current.marker:
        raise NoSuchKey(Key=key)
    if not names(match, current.etag):
        raise PreconditionFailed(Condition="If-Match")


def check_completion(input: Mapping[str, Any], current: Version | None, found: str) -> None:
    """As `check_write`, for an upload in parts: what is asked for must also have held since the upload began.

    `found` is the content that the key held then ("" for none). Raises ConditionalRequestConflict when it holds another now.
    """
    check_write(input, current)
    asked = next((name for name in ("If-Match", "If-None-Match") if input.get(name.replace("-", "")) is not None), "")
    if asked and found != ("" if current is None else current.content):
        raise ConditionalRequestConflict(Condition=asked, Key=input.get("Key", ""))


def _bounded(digits: str) -> str:
    """The digits of a position, cut to what Python converts quickly (and at all: 4,300 digits are its limit)."""
    plain = digits.lstrip("0") or digits[:1]
    return plain if len(plain) <= _DIGITS else "9" * _DIGITS


def parse_copied_range(header: str, size: int) -> tuple[int, int]:
    """(first byte, behind the last) of the range that UploadPartCopy takes of its source.

    Raises InvalidArgument, or InvalidRequest for one that begins behind the end.
    """
    found = _COPIED_RANGE.fullmatch(header)
    first, last = (int(_bounded(digits)) for digits in found.groups()) if found else (1, 0)
    if first > last:
        raise InvalidArgument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based "
            "offsets of the first and last bytes to copy",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=header,
        )
    if first >= size:
        raise InvalidRequest("The specified copy range is invalid for the source object size")
    if last >= size:
        raise InvalidArgument(
            f"Range specified is not valid for source object of size: {size}",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=header,
        )
    return first, last + 1


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
