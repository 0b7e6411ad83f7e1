"""The operations of our own service that belong to the installation as a whole."""

from penstock.component import operations_of

operation = operations_of("penstock")
