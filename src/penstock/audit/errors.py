"""Errors of CloudTrail."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class InvalidLookupAttributesException(ServiceError):
    """You must specify exactly one lookup attribute, with a name that events have and a value."""


class InvalidTimeRangeException(ServiceError):
    """The start time must not be later than the end time."""


class InvalidMaxResultsException(ServiceError):
    """The number of results must be from 1 to 50."""


class InvalidNextTokenException(ServiceError):
    """The next token is not one of this lookup: start again without it, and keep attributes and times the same from page to page."""


class InvalidEventCategoryException(ServiceError):
    """There are no events of that category here: Penstock records no Insights events. Leave EventCategory out."""
