"""The operations of the service, one module per resource."""

from __future__ import annotations

from penstock.wire.registry import Operations

operations = Operations("codedeploy")
