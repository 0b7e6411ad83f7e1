"""The operations of EventBridge, by what they are about; what they share."""

from __future__ import annotations

from penstock.component import operations_of

events = operations_of("events")
