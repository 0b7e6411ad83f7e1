"""The operations of `logs`."""

from penstock.component import operations_of

operation = operations_of("logs")
