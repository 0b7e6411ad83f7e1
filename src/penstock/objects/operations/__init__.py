"""The operations of S3, and what Penstock adds to them."""

from penstock.component import operations_of

s3 = operations_of("s3")
ours = operations_of("penstock")
