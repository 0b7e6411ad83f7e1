"""The operations of CodeCommit, and what the house adds to them."""

from penstock.wire.registry import Operations

operations = Operations("codecommit")
ours = Operations("penstock")
