"""The errors of the command service."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class ClientException(ServiceError):
    """The command is not known."""
