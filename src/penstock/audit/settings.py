"""What can be chosen of the audit trail."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.component import number_to, option


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """Options of the audit trail."""

    keep_days: int = option(
        366,
        "days that records of who did what are kept",
        group="retention",
        flag="--keep-audit",
        metavar="DAYS",
        parse=number_to(36_500, "days"),
    )
