"""Events in the form in which rules and targets see them. AWS: "AWS service event metadata"."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import MAXYEAR, UTC, datetime
from typing import Any

from penstock.store.catalogue import EventType
from penstock.store.events import Event

_FIRST = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * 1000
_END = int(datetime(MAXYEAR, 12, 31, tzinfo=UTC).timestamp()) * 1000


def has_a_date(moment: int) -> bool:
    """Whether a time (ms) lies in the years that dates are written of."""
    return _FIRST <= moment < _END


def seconds(moment: int) -> str:
    """A time (ms) as envelopes have it: whole seconds."""
    return datetime.fromtimestamp(moment // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def envelope(
    *,
    id: str,
    detail_type: str,
    source: str,
    account: str,
    region: str,
    at: int,
    resources: list[str],
    detail: Mapping[str, Any],
) -> dict[str, Any]:
    """An event, in AWS's order."""
    return {
        "version": "0",
        "id": id,
        "detail-type": detail_type,
        "source": source,
        "account": account,
        "time": seconds(at),
        "region": region,
        "resources": resources,
        "detail": detail,
    }


def envelope_of(type: EventType, event: Event) -> dict[str, Any]:
    """An event of the platform."""
    return envelope(
        id=event.id,
        detail_type=type.detail_type,
        source=type.source_for(event),
        account=event.account,
        region=event.region,
        at=event.at,
        resources=list(type.resources(event)),
        detail=event.payload,
    )
