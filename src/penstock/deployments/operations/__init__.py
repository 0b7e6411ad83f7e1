"""The operations of CodeDeploy, one module per resource, and what Penstock adds to them."""

from __future__ import annotations

from penstock.component import operations_of
from penstock.deployments.errors import InvalidNextTokenException
from penstock.wire.pages import Pages

operation = operations_of("codedeploy")
ours = operations_of("penstock")

PAGE = 100  # rows
PAGES = Pages(lambda _token: InvalidNextTokenException())
