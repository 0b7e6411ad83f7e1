"""Trails: whose records go to which bucket, and under which names. Pure. (AWS: CloudTrail User Guide, "Finding your CloudTrail log files".)"""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from penstock.audit.errors import (
    InvalidEventSelectorsException,
    InvalidParameterCombinationException,
    InvalidS3PrefixException,
    InvalidTrailNameException,
    UnsupportedOperationException,
)

MAX_TRAILS = 5  # of an account in a region (AWS: "Quotas in AWS CloudTrail")
_NAME = (3, 128)  # characters
_MAX_PREFIX = 200  # characters
_MAX_SELECTORS = 5
_MAX_PERIODS = 100  # of a trail that is stopped and started again and again
_NOWHERE = frozenset({"iam.amazonaws.com", "organizations.amazonaws.com"})  # services of no region
_EXCLUDABLE = ("kms.amazonaws.com", "rdsdata.amazonaws.com")  # AWS: EventSelector, ExcludeManagementEventSources
EVERYTHING: list[dict[str, Any]] = [
    {
        "ReadWriteType": "All",
        "IncludeManagementEvents": True,
        "DataResources": [],
        "ExcludeManagementEventSources": [],
    }
]
"""What a trail selects until PutEventSelectors."""


class Target(NamedTuple):
    """What says where the files of a trail go."""

    account: str
    region: str
    arn: str
    bucket: str
    prefix: str
    key: str


def check_name(name: str) -> str:
    """The name of a trail. Raises InvalidTrailNameException."""
    if len(name) < _NAME[0]:
        raise InvalidTrailNameException(
            f"Trail name too short. Minimum allowed length: {_NAME[0]} characters. Specified name length: {len(name)} characters."
        )
    if len(name) > _NAME[1]:
        raise InvalidTrailNameException(
            f"Trail name too long. Maximum allowed length: {_NAME[1]} characters. Specified name length: {len(name)} characters."
        )
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        raise InvalidTrailNameException(
            "Trail name or ARN can only contain uppercase letters, lowercase letters, numbers, periods (.), hyphens (-), and underscores (_)."
        )
    if not name[0].isalnum():
        raise InvalidTrailNameException("Trail name must starts with a letter or number.")
    if not name[-1].isalnum():
        raise InvalidTrailNameException("Trail name must ends with a letter or number.")
    if re.search(r"[._-]{2}", name) or re.fullmatch(r"[0-9]+(\.[0-9]+){3}", name):
        raise InvalidTrailNameException(
            "Trail name must not have two of . - _ beside each other, and must not be an IP address."
        )
    return name


def check_prefix(prefix: str) -> str:
    """The prefix of a trail's files. Raises InvalidS3PrefixException."""
    if len(prefix) > _MAX_PREFIX or prefix.startswith("/"):
        raise InvalidS3PrefixException(
            f"The S3 prefix has {len(prefix)} characters: it has {_MAX_PREFIX} at most and does not begin with a slash."
        )
    return prefix.rstrip("/")


def check_served(input: Mapping[str, Any]) -> None:
    """Refuse what a trail of ours cannot do. Raises UnsupportedOperationException."""
    unserved = (
        ("SnsTopicName", "There are no notifications by SNS here: leave SnsTopicName out."),
        ("CloudWatchLogsLogGroupArn", "Trails go to buckets only here: leave CloudWatchLogsLogGroupArn out."),
        ("CloudWatchLogsRoleArn", "Trails go to buckets only here: leave CloudWatchLogsRoleArn out."),
        ("IsOrganizationTrail", "A trail is of one account here: make one in each, and leave IsOrganizationTrail out."),
        ("EnableLogFileValidation", "Digest files are not made here: `penstock audit verify` checks the records themselves."),
        ("RecursiveLogging", "What trails write is never recorded here: leave RecursiveLogging out."),
    )  # fmt: skip
    for member, why in unserved:
        if input.get(member):
            raise UnsupportedOperationException(why)


def check_reach(*, everywhere: bool, nowhere: bool) -> None:
    """Raises InvalidParameterCombinationException: records of no region belong to every trail of all regions."""
    if everywhere and not nowhere:
        raise InvalidParameterCombinationException("Multi-Region trail must include global service events.")


def checked_selectors(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Selectors as they are kept. Raises InvalidEventSelectorsException."""
    if not 1 <= len(given) <= _MAX_SELECTORS:
        raise InvalidEventSelectorsException(f"A trail has between 1 and {_MAX_SELECTORS} event selectors.")
    found = []
    for one in given:
        excluded = one.get("ExcludeManagementEventSources") or []
        if one.get("DataResources"):
            raise InvalidEventSelectorsException(
                "Data events are not recorded here, only management events: leave DataResources empty."
            )
        if not one.get("IncludeManagementEvents", True):
            raise InvalidEventSelectorsException(
                "A selector without management events selects nothing here: set IncludeManagementEvents to true."
            )
        if not set(excluded) <= set(_EXCLUDABLE):
            raise InvalidEventSelectorsException(
                f"ExcludeManagementEventSources takes {' and '.join(_EXCLUDABLE)} only."
            )
        found.append(
            EVERYTHING[0]
            | {
                "ReadWriteType": one.get("ReadWriteType") or "All",
                "ExcludeManagementEventSources": list(dict.fromkeys(excluded)),
            }
        )
    return found


def advanced_selectors() -> Exception:
    """What is answered to advanced event selectors."""
    return UnsupportedOperationException(
        "Advanced event selectors are not served here: say what a trail takes with EventSelectors."
    )


def started(periods: Sequence[Sequence[int | None]], now: int) -> list[list[int | None]]:
    """The times (ms, from and until) in which a trail takes records, when it begins now.

    Of too many the two with the shortest pause between them become one. What was recorded in any of them may still wait for its bucket, and is
    lost in no case; what was recorded in that pause is delivered as well.
    """
    found = [list(one) for one in periods]
    if is_logging(periods):
        return found
    found.append([now, None])
    while len(found) > _MAX_PERIODS:
        shortest = min(range(1, len(found)), key=lambda at: (found[at][0] or 0) - (found[at - 1][1] or 0))
        found[shortest - 1 : shortest + 1] = [[found[shortest - 1][0], found[shortest][1]]]
    return found


def stopped(periods: Sequence[Sequence[int | None]], now: int) -> list[list[int | None]]:
    """The same when it ends now."""
    return [[begin, now if end is None else end] for begin, end in periods]


def is_logging(periods: Sequence[Sequence[int | None]]) -> bool:
    """Whether a trail takes what is recorded now."""
    return bool(periods) and periods[-1][1] is None


def overlaps(trail: Any, first_at: int, last_at: int) -> bool:
    """Whether a trail takes anything that was recorded between two times (ms)."""
    return any(begin <= last_at and (end is None or first_at <= end) for begin, end in trail.periods)


def takes(trail: Any, record: Mapping[str, Any], at: int) -> bool:
    """Whether a record that was written at a time (ms) belongs to a trail."""
    source = record["eventSource"]
    if record["recipientAccountId"] != trail.account or not overlaps(trail, at, at):
        return False
    if source in _NOWHERE:
        if not trail.nowhere:
            return False
    elif not trail.everywhere and record["awsRegion"] != trail.region:
        return False
    return any(_selects(one, source, reads=record["readOnly"]) for one in trail.selectors)


def _selects(selector: Mapping[str, Any], source: str, *, reads: bool) -> bool:
    kind = selector["ReadWriteType"]
    return (
        kind in ("All", "ReadOnly" if reads else "WriteOnly")
        and source not in selector["ExcludeManagementEventSources"]
    )


def folder(trail: Any) -> str:
    """Where all files of a trail lie in its bucket."""
    return f"{trail.prefix}/AWSLogs/{trail.account}/CloudTrail/".lstrip("/")


def file_key(trail: Any, region: str, lines: str, at: int) -> str:
    """The key of the file with the records of some lines of a chain (`CHAIN/FIRST/UNTIL`), whose last was written at `at` (ms).

    It depends on nothing else, so that lines which are written twice replace themselves.
    """
    when = dt.datetime.fromtimestamp(at / 1000, dt.UTC)
    digest = hashlib.sha256(f"{trail.id}/{lines}/{region}".encode()).digest()
    unique = base64.b32encode(digest).decode()[:16]
    return f"{folder(trail)}{region}/{when:%Y/%m/%d}/{trail.account}_CloudTrail_{region}_{when:%Y%m%dT%H%MZ}_{unique}.json.gz"


def packed(records: Iterable[bytes]) -> bytes:
    """A file of records: the same bytes for the same records."""
    return gzip.compress(b'{"Records":[' + b",".join(records) + b"]}", 6, mtime=0)
