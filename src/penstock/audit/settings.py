"""What can be chosen of the audit trail."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.component import option


def _days(text: str) -> int:
    """A number of days. Raises ValueError."""
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text[:6]) <= 36_500:
        raise ValueError(f"{text!r} is not a number of days from 1 to 36500")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """Options of the audit trail."""

    keep_days: int = option(
        366,
        "days that records of who did what are kept",
        group="retention",
        flag="--keep-audit",
        metavar="DAYS",
        parse=_days,
    )
