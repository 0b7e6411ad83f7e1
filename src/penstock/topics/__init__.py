"""Topics, and who gets what is published to them (AWS SNS)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.component import Component, Guard
from penstock.topics import topic_rows
from penstock.topics.codec import TopicsCodec
from penstock.topics.names import named_by
from penstock.topics.operations import permissions, tags, topics
from penstock.topics.policies import resource_policy
from penstock.wire.identity import ResourcePolicy
from penstock.wire.profiles import ErrorProfile
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App

__all__ = ["component"]


def component(app: App) -> Component[App]:
    """SNS: topics with their policies."""
    return Component(
        name="topics",
        state=app,
        services=(Service("sns", profile=ErrorProfile(code="ValidationError"), codecs={"query": TopicsCodec}),),
        operations=(topics, permissions, tags),
        guards=(Guard(service="sns", root=_topic_of, policy=_policy, keys={"aws:resourcetag/": _tags}),),
    )


def _topic_of(arn: str) -> str:
    """The topic whose policy speaks of one of its subscriptions too."""
    place = named_by(arn)
    return arn if place is None else place.arn


async def _policy(app: App, arn: str) -> ResourcePolicy | None:
    """The policy of a topic. One that is not there has none: strangers do not learn what there is."""
    place = named_by(arn)
    if place is None:
        return None
    row = await app.store.read(topic_rows.find, place)
    return ResourcePolicy(account=place.account) if row is None else resource_policy(row, place)


async def _tags(app: App, arn: str) -> Mapping[str, str]:
    place = named_by(arn)
    row = None if place is None else await app.store.read(topic_rows.find, place)
    return {} if row is None else row.tags
