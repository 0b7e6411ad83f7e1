"""What can be chosen of deployments."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.component import Role, option


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSettings:
    """Options of deployments."""

    long_poll_seconds: int = option(
        45,
        "seconds that a host's poll is held when there is nothing to do",
        group="network",
        role=Role.SERVES,
        metavar="SECONDS",
        hidden=True,
    )
