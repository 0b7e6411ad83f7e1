"""The operations of CodeCommit, and what Penstock adds to them."""

from penstock.component import operations_of

operation = operations_of("codecommit")
ours = operations_of("penstock")
