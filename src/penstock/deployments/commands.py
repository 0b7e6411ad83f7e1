"""The commands of hosts: jobs that their agents take, one for each lifecycle event."""

from __future__ import annotations

COMMAND = "deployments.host_command"
"""The kind of the job for a host's agent: one lifecycle event."""


def command_id(deployment: str, position: int, index: int) -> str:
    """The job of one lifecycle event on one host."""
    return f"{deployment}.{position}.{index}"


def host_topic(account: str, region: str, name: str) -> str:
    """Where the commands of one host are offered."""
    return f"{account}/{region}/{name}"
