"""Who did what (AWS CloudTrail): records of calls, their chain, and how they are looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.audit import api_calls, delivery
from penstock.audit.errors import (
    InvalidEventCategoryException,
    InvalidLookupAttributesException,
    InvalidMaxResultsException,
)
from penstock.audit.operations import events, tags, trails
from penstock.audit.pages import PAGE
from penstock.audit.settings import AuditSettings
from penstock.audit.shipping import Shipping
from penstock.component import Component, JobKind
from penstock.wire.profiles import MemberError, MemberProfile
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["SETTINGS", "component"]

SETTINGS = AuditSettings
_PROFILE = MemberProfile(
    members={
        "MaxResults": MemberError(invalid=InvalidMaxResultsException),
        "LookupAttributes": MemberError(invalid=InvalidLookupAttributesException),
        "AttributeKey": MemberError(invalid=InvalidLookupAttributesException),
        "AttributeValue": MemberError(invalid=InvalidLookupAttributesException),
        "EventCategory": MemberError(invalid=InvalidEventCategoryException),
    }
)


def component(app: App) -> Component[Shipping]:
    """What CloudTrail is here."""
    shipping = Shipping(app)
    return Component(
        name="audit",
        state=shipping,
        services=(Service("cloudtrail", profile=_PROFILE),),
        operations=(events, trails, tags),
        jobs=(JobKind(kind=delivery.DELIVERY, run=delivery.deliver, max_attempts=1_000),),
        events=(api_calls.CALLED,),
        pages=(PAGE,),
        start=(shipping.start,),
        stop=(shipping.stop,),
    )
