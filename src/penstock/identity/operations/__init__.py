"""The operations of IAM, by resource, of STS, and what Penstock adds to them."""

from penstock.component import operations_of

iam = operations_of("iam")
sts = operations_of("sts")
ours = operations_of("penstock")
