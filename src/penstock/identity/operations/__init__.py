"""The operations of IAM, by resource."""

from penstock.wire.registry import Operations

operations = Operations("iam")
