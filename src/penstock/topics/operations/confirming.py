"""What endpoints answer: they confirm, and they leave. Both work by links, without a signature."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.topics import leaving, tokens
from penstock.topics import subscription_rows as rows
from penstock.topics.errors import AuthorizationErrorException, InvalidParameterException, invalid
from penstock.topics.names import subscription_named, topic_named
from penstock.topics.operations import sns
from penstock.topics.operations.subscriptions import find_subscription
from penstock.wire.call import Input, Output
from penstock.wire.registry import Access


@sns("ConfirmSubscription", access=Access.UNSIGNED)
async def confirm_subscription(app: App, call: Call, input: Input) -> Output:
    """Confirm what a token was sent for. The token alone decides; the topic must be one of the region.

    Who signs may ask that unsubscribing be signed too.
    """
    signed = bool(call.session.account)
    region = call.region if signed else input["TopicArn"].split(":", 4)[3:4]
    if not signed:
        region = next((one for one in app.settings.all_regions() if [one] == region), call.region)
    try:
        topic_named(input["TopicArn"], "Topic", str(region))
    except InvalidParameterException:
        raise invalid("Topic") from None
    token = tokens.read(app.sealer, input["Token"])
    if token is None or token.use not in (tokens.CONFIRM, tokens.RESTORE):
        raise invalid("Token")
    authenticated = signed and input.get("AuthenticateOnUnsubscribe", "").lower() == "true"

    def tx(conn: sa.Connection) -> str:
        row = rows.find(conn, token.subscription)
        if row is None or (row.until or call.now + 1) <= call.now:
            raise InvalidParameterException("Invalid token")
        if not leaving.confirm(conn, row.id, authenticated=authenticated):
            raise InvalidParameterException("Invalid token")
        return rows.arn_of(row)

    arn = await app.store.write(tx)
    call.memo["resources"] = (arn,)
    return {"SubscriptionArn": arn}


@sns("Unsubscribe", access=Access.UNSIGNED)
async def unsubscribe(app: App, call: Call, input: Input) -> None:
    """End a subscription; none is no error.

    Without a signature its ARN is enough, which is in what the endpoint is sent, unless whoever confirmed it asked for more.
    """
    named = subscription_named(input["SubscriptionArn"])
    signed = bool(call.session.account)
    if signed:
        asked = await find_subscription(call, input["SubscriptionArn"])
        await app.identity.authorize(call, "sns:Unsubscribe", (asked,))
        call.memo["resources"] = (input["SubscriptionArn"],)
    row = await app.store.read(rows.find, named.id)
    if row is None or rows.topic_of(row) != named.topic or row.state == rows.DELETED:
        return
    if row.state == rows.PENDING:
        raise invalid("SubscriptionArn", "Cannot unsubscribe a subscription that is pending confirmation")
    if row.authenticated and not signed:
        raise AuthorizationErrorException("Unsubscribing asks for a signature: it was confirmed so. Sign the request.")
    await app.store.write(lambda conn: leaving.end(conn, row.id, now=call.now, message=app.ids.uuid()))
