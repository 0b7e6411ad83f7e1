"""The operations of CodeDeploy, one module per resource, and what Penstock adds to them."""

from __future__ import annotations

from penstock.component import operations_of

operation = operations_of("codedeploy")
ours = operations_of("penstock")
