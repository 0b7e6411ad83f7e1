"""The operations of CodePipeline, and what Penstock adds to them."""

from penstock.component import operations_of

operation = operations_of("codepipeline")
ours = operations_of("penstock")
