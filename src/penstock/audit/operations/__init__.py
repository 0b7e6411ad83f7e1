"""Operations of CloudTrail, by what they are about."""

from __future__ import annotations

from penstock.component import operations_of

operation = operations_of("cloudtrail")
