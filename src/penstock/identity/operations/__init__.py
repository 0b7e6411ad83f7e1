"""The operations of IAM, by resource, and what the house adds to them."""

from penstock.wire.registry import Operations

operations = Operations("iam")
ours = Operations("penstock")
