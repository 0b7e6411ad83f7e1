"""The table of counters."""

from __future__ import annotations

from penstock.store.aggregate import aggregate_table

counters = aggregate_table("sample_counters")
