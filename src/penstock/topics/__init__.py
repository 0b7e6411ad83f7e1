"""Topics, and who gets what is published to them (AWS SNS)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from penstock.component import Component, Guard, JobKind
from penstock.store.retention import Expiring
from penstock.topics import leaving, message_rows, records, subscription_rows, topic_rows, webhooks, work
from penstock.topics.bodies import Bodies
from penstock.topics.chat_settings import ChatSettings
from penstock.topics.codec import TopicsCodec
from penstock.topics.contents import Contents
from penstock.topics.links import Links
from penstock.topics.mail_settings import MailSettings
from penstock.topics.mailing import Mailing
from penstock.topics.names import named_by
from penstock.topics.operations import confirming, letters, permissions, publishing, subscriptions, tags, topics
from penstock.topics.pages import PAGES
from penstock.topics.policies import resource_policy
from penstock.topics.reports import Reports
from penstock.topics.signing import PREFIX, Signer
from penstock.topics.webhooks import Webhooks
from penstock.topics.work import Senders
from penstock.wire.identity import ResourcePolicy
from penstock.wire.profiles import ErrorProfile
from penstock.wire.services import Service

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.store.jobs import Job

__all__ = ["SETTINGS", "component"]

SETTINGS = (MailSettings, ChatSettings)
_FAN_OUTS = 2  # of all topics, so that nobody's subscriptions keep pipelines waiting


def component(app: App) -> Component[App]:
    """SNS: topics, subscriptions, and the messages between them."""
    signer = Signer(app)
    bodies = Bodies(app, signer)
    senders = Senders(app, Webhooks(app, bodies), Mailing(app, bodies), Contents(app), Reports(app))

    def sending(run: Callable[[Senders, Job], Awaitable[None]]) -> Callable[[App, Job], Awaitable[None]]:
        return lambda _app, job: run(senders, job)

    return Component(
        name="topics",
        state=app,
        services=(
            Service(
                "sns",
                profile=ErrorProfile(code="ValidationError"),
                codecs={"query": TopicsCodec},
                # As in CloudTrail, no record shows what was published. Requests of approvals bear the token that answers them.
                secrets=(
                    "ConfirmSubscriptionInput$Token",
                    "PublishInput$Message",
                    "PublishInput$Subject",
                    "PublishBatchRequestEntry$Message",
                    "PublishBatchRequestEntry$Subject",
                ),
            ),
        ),
        operations=(topics, permissions, tags, subscriptions, confirming, publishing, letters),
        guards=(Guard(service="sns", root=_topic_of, policy=_policy, keys={"aws:resourcetag/": _tags}),),
        jobs=(
            JobKind(kind=message_rows.FAN_OUT, run=sending(work.fan_out), concurrency=_FAN_OUTS),
            JobKind(kind=message_rows.DELIVER, run=sending(work.deliver), concurrency=webhooks.AT_ONCE),
            JobKind(kind=leaving.ASK, run=sending(work.confirm), concurrency=webhooks.AT_ONCE, max_attempts=60),
        ),
        expiring=(
            Expiring(table=records.messages, over=message_rows.delivered),
            Expiring(table=records.deduplications, over=lambda now: records.deduplications.c.until <= now),
            Expiring(table=records.subscriptions, over=subscription_rows.forgotten),
            Expiring(table=records.webhook_secrets, over=subscription_rows.left_behind),
            Expiring(
                table=records.dead_letters,
                over=lambda now: records.dead_letters.c.at < now - app.settings.keep_dead_letters_ms,
            ),
            Expiring(table=records.confirmations, over=subscription_rows.counted),
        ),
        pages=PAGES,
        mounts={PREFIX: Links(app, signer)},
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
