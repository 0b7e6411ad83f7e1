"""Subscriptions: made, listed, changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.topics import chat, chatting, leaving, subscribing, webhook_secrets
from penstock.topics import subscription_rows as rows
from penstock.topics.chat_settings import ChatSettings
from penstock.topics.errors import (
    InvalidParameterException,
    NotFoundException,
    SubscriptionLimitExceededException,
    ThrottledException,
    invalid,
)
from penstock.topics.mail_settings import MailSettings
from penstock.topics.names import FIFO, subscription_named
from penstock.topics.operations import PAGE, PAGES, find_topic, found, locked, place_of, sns, topic_arn
from penstock.wire.call import Input, Output

_MAX_SUBSCRIPTIONS = 100_000  # of a topic: AWS has them for FIFO topics, and 125 times as many for others
# Messages a day that ask somebody to confirm: nobody's mailbox is filled by those who subscribe it.
_ASKED = {"mail": 5, "web": 100}
_ASKED_BY_ACCOUNT = 1_000


def _asked(_call: Call, input: Input) -> Mapping[str, str | tuple[str, ...]]:
    return {"sns:protocol": input["Protocol"], "sns:endpoint": input.get("Endpoint", "")}


@sns("Subscribe", resource=topic_arn, keys=_asked)
async def subscribe(app: App, call: Call, input: Input) -> Output:
    """Subscribe an endpoint, which is asked to confirm."""
    protocol, endpoint = input["Protocol"], input.get("Endpoint", "")
    topic = found(call)
    subscribing.check_endpoint(protocol, endpoint)
    mail = protocol in subscribing.MAIL
    if mail and not app.settings.of(MailSettings).smtp_host:
        raise invalid(
            "Protocol", "This installation sends no mail: no server for it is set. Its operator sets --smtp-host."
        )
    given = input.get("Attributes") or {}
    wanted = subscribing.of_subscribe(given, fifo=place_of(call).name.endswith(FIFO))
    secret = wanted.pop(chat.SECRET, "")
    chatting_now = _confirmed_at_once(app, wanted, protocol=protocol, endpoint=endpoint, signs=bool(secret))
    digest = rows.digest_of(protocol, endpoint)
    place = place_of(call)

    def tx(conn: sa.Connection) -> tuple[str, bool]:
        locked(conn, call)
        row = rows.of_endpoint(conn, topic.id, digest)
        if row is not None:
            other = any(row.attributes.get(name) != value for name, value in wanted.items())
            if other or (secret and secret != webhook_secrets.of(conn, app.sealer, row.id)):
                raise invalid("Attributes", "Subscription already exists with different attributes")
            id, confirmed = row.id, row.state == rows.CONFIRMED
        else:
            if rows.count(conn, topic.id) >= _MAX_SUBSCRIPTIONS:
                raise SubscriptionLimitExceededException(limit=_MAX_SUBSCRIPTIONS)
            id, confirmed = app.ids.uuid(), False
            rows.insert(
                conn, id=id, topic=topic.id, account=place.account, region=place.region, name=place.name, owner=call.account,
                protocol=protocol, endpoint=endpoint, digest=digest, state=rows.PENDING, authenticated=False,
                principal=call.session.arn, attributes=wanted, created=call.now, until=call.now + rows.KEPT_MS,
            )  # fmt: skip
            webhook_secrets.keep(conn, app.sealer, id, secret)
        if not confirmed and chatting_now:
            # Nothing that a chat shows is to end its subscription.
            confirmed = leaving.confirm(conn, id, authenticated=True)
        elif not confirmed:
            if row is not None:
                rows.change(conn, id, until=call.now + rows.KEPT_MS)
            _count(conn, call, digest, "mail" if mail else "web")
            leaving.ask(conn, id, account=place.account, region=place.region, message=app.ids.uuid())
        return id, confirmed

    id, confirmed = await app.store.write(tx)
    shown = confirmed or input.get("ReturnSubscriptionArn")
    return {"SubscriptionArn": f"{place.arn}:{id}" if shown else "pending confirmation"}


def _confirmed_at_once(app: App, attributes: Mapping[str, str], *, protocol: str, endpoint: str, signs: bool) -> bool:
    hosts = app.settings.of(ChatSettings).chat_hosts
    try:
        return chatting.confirmed_at_once(attributes, protocol=protocol, endpoint=endpoint, signs=signs, hosts=hosts)
    except InvalidParameterException as error:
        raise invalid("Attributes", error.message) from None


def _count(conn: sa.Connection, call: Call, digest: str, kind: str) -> None:
    most = _ASKED[kind]
    if rows.count_confirmation(conn, f"endpoint {digest}", call.now) > most:
        raise ThrottledException(
            what=f"This endpoint was asked to confirm {most} times today, which is as often as it is."
        )
    if rows.count_confirmation(conn, f"account {call.account}", call.now) > _ASKED_BY_ACCOUNT:
        raise ThrottledException(
            what=f"This account asked {_ASKED_BY_ACCOUNT} endpoints to confirm today, which is as many as it may."
        )


@sns("ListSubscriptions")
async def list_subscriptions(app: App, call: Call, input: Input) -> Output:
    """The caller's subscriptions to topics of the region."""
    (after,) = PAGES.after(call, input) or (None,)
    owner = (call.account, call.region)
    return _listed(
        call, input, await app.store.read(lambda conn: rows.page(conn, owner=owner, after=after, limit=PAGE + 1))
    )


@sns("ListSubscriptionsByTopic", resource=topic_arn)
async def list_subscriptions_by_topic(app: App, call: Call, input: Input) -> Output:
    """The subscriptions of a topic."""
    topic = found(call)
    (after,) = PAGES.after(call, input) or (None,)
    return _listed(
        call, input, await app.store.read(lambda conn: rows.page(conn, topic=topic.id, after=after, limit=PAGE + 1))
    )


def _listed(call: Call, input: Input, read: list[Any]) -> Output:
    page = PAGES.page(call, input, read, limit=PAGE, keyset=lambda row: (row.id,))
    return {"Subscriptions": [_to_api(row) for row in page.rows], **page.more}


def _to_api(row: Any) -> Output:
    return {
        "SubscriptionArn": rows.arn_of(row) if row.state == rows.CONFIRMED else "PendingConfirmation",
        "Owner": row.owner,
        "Protocol": row.protocol,
        "Endpoint": row.endpoint,
        "TopicArn": rows.topic_of(row).arn,
    }


async def _subscription_arn(call: Call, input: Input) -> str:
    return await find_subscription(call, input["SubscriptionArn"])


async def find_subscription(call: Call, arn: str) -> str:
    """Keep the subscription of an ARN with the call; what policies are asked about. Raises InvalidParameterException.

    Who has subscribed to another account's topic asks no policy of that account what to do with the subscription.
    """
    named = subscription_named(arn)
    await find_topic(call, named.topic.arn, "SubscriptionArn")
    row = await call.app.store.read(rows.find, named.id)
    if row is None or rows.topic_of(row) != named.topic or row.state == rows.DELETED:
        call.memo["subscription"] = None
    else:
        call.memo["subscription"] = row
        if row.owner == call.account != row.account:
            return "*"
    return f"{named.topic.arn}:{named.id}"


def subscribed(call: Call) -> Any:
    """The subscription that was asked about. Raises NotFoundException."""
    row = call.memo["subscription"]
    if row is None:
        raise NotFoundException("Subscription does not exist")
    return row


@sns("GetSubscriptionAttributes", resource=_subscription_arn)
async def get_subscription_attributes(app: App, call: Call, input: Input) -> Output:
    """What a subscription is."""
    row, place = subscribed(call), place_of(call)
    topic = found(call)
    policy = topic.attributes.get("DeliveryPolicy", "")
    return {"Attributes": subscribing.shown(row, f"{place.arn}:{row.id}", place.arn, policy)}


@sns("SetSubscriptionAttributes", resource=_subscription_arn)
async def set_subscription_attributes(app: App, call: Call, input: Input) -> None:
    """Set an attribute; an empty value takes it away."""
    name, value = input["AttributeName"], input.get("AttributeValue", "")
    subscribed(call)

    def tx(conn: sa.Connection) -> None:
        row = rows.find(conn, subscribed(call).id, locked=True)
        if row is None or row.state == rows.DELETED:
            raise NotFoundException("Subscription does not exist")
        try:
            kept = subscribing.checked(name, value, row.attributes, fifo=row.name.endswith(FIFO))
        except KeyError:
            raise invalid("AttributeName") from None
        except InvalidParameterException as error:
            raise invalid(error.message) from None
        others = {key: other for key, other in row.attributes.items() if key != name}
        signs = webhook_secrets.of(conn, app.sealer, row.id) != ""
        if name == chat.SECRET:
            signs = bool(kept)
            webhook_secrets.keep(conn, app.sealer, row.id, kept)
            kept = ""
        wanted = others | ({name: kept} if kept else {})
        rows.change(conn, row.id, attributes=wanted)
        if name in (chat.ATTRIBUTE, chat.SECRET) and _confirmed_at_once(
            app, wanted, protocol=row.protocol, endpoint=row.endpoint, signs=signs
        ):
            leaving.confirm(conn, row.id, authenticated=True)

    await app.store.write(tx)
