"""What operations of our own service answer when they refuse."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class JobNotFoundException(ServiceError):
    """There is no job {id} that was given up, or a newer one does its work."""


class InvalidNextTokenException(ServiceError):
    """The next token is not one that this operation has answered."""


class JournalNotFoundException(ServiceError):
    """There is no journal of {id}: nothing has this id or name, or its journal is not kept any more."""
