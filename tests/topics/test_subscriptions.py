"""Subscriptions in process: asked to confirm, confirmed by the token, changed, ended, and taken back."""

import json
from urllib.parse import parse_qs, urlsplit

from penstock_identity_harness import ACCOUNT, OTHER, document
from penstock_keys import refused
from penstock_topics import REGION, many, row, sns, subscribed, topic, working
from penstock_waiting import eventually

from penstock.topics import subscription_rows, tokens
from penstock.topics.operations import subscriptions
from penstock.wire.call import ANONYMOUS

ARN = f"arn:aws:sns:{REGION}:{ACCOUNT}:deploys"
PENDING = "PendingConfirmation"


def asked(url):
    return {key: value[0] for key, value in parse_qs(urlsplit(url).query).items()}


async def states(harness, by, arn=ARN):
    return [
        one["SubscriptionArn"]
        for one in (await sns(harness, by, "ListSubscriptionsByTopic", TopicArn=arn))["Subscriptions"]
    ]


async def test_an_endpoint_is_asked_and_confirms_by_the_link(either, endpoint):
    harness, owner = either, await either.administrator()
    arn = await topic(harness, owner)
    given = {"TopicArn": arn, "Protocol": "http", "Endpoint": f"{endpoint.url}/hook"}
    async with working(harness):
        assert await sns(harness, owner, "Subscribe", **given) == {"SubscriptionArn": "pending confirmation"}
        (heard,) = await eventually(lambda: endpoint.heard)
    body = heard.json
    assert list(body) == [
        "Type", "MessageId", "Token", "TopicArn", "Message", "SubscribeURL", "Timestamp", "SignatureVersion", "Signature", "SigningCertURL",
    ]  # fmt: skip
    assert (body["Type"], body["TopicArn"]) == ("SubscriptionConfirmation", arn)
    assert body["Message"] == (
        f"You have chosen to subscribe to the topic {arn}.\nTo confirm the subscription, visit the SubscribeURL included in this message."
    )
    assert {
        name: heard.headers.get(name)
        for name in ("content-type", "user-agent", "x-amz-sns-message-type", "x-amz-sns-subscription-arn")
    } == {
        "content-type": "text/plain; charset=UTF-8",
        "user-agent": "Amazon Simple Notification Service Agent",
        "x-amz-sns-message-type": "SubscriptionConfirmation",
        "x-amz-sns-subscription-arn": None,
    }
    assert (heard.headers["x-amz-sns-message-id"], heard.headers["x-amz-sns-topic-arn"]) == (body["MessageId"], arn)
    assert body["SubscribeURL"].startswith("https://penstock.test/?Action=ConfirmSubscription&TopicArn=")
    link = asked(body["SubscribeURL"])
    assert link == {"Action": "ConfirmSubscription", "TopicArn": arn, "Token": body["Token"]}
    assert await states(harness, owner) == [PENDING]
    made = await sns(harness, ANONYMOUS, "ConfirmSubscription", TopicArn=arn, Token=body["Token"])
    assert await states(harness, owner) == [made["SubscriptionArn"]]
    assert await sns(harness, ANONYMOUS, "ConfirmSubscription", TopicArn=arn, Token=body["Token"]) == made
    # The same endpoint again is the same subscription.
    assert await sns(harness, owner, "Subscribe", **given) == made
    other = {"Attributes": {"RawMessageDelivery": "true"}}
    assert await refused(sns(harness, owner, "Subscribe", **given, **other)) == (
        "InvalidParameter",
        "Invalid parameter: Attributes Reason: Subscription already exists with different attributes",
    )
    counts = (await sns(harness, owner, "GetTopicAttributes", TopicArn=arn))["Attributes"]
    assert [counts[f"Subscriptions{state}"] for state in ("Confirmed", "Pending", "Deleted")] == ["1", "0", "0"]


async def test_what_a_subscription_says_of_itself(harness, owner):
    arn = await topic(harness, owner)
    made = await subscribed(harness, owner, arn, "http://a.test/", FilterPolicy='{"a":["b"]}')
    found = (await sns(harness, owner, "GetSubscriptionAttributes", SubscriptionArn=made))["Attributes"]
    assert json.loads(found.pop("EffectiveDeliveryPolicy"))["healthyRetryPolicy"]["numRetries"] == 3
    assert found == {
        "SubscriptionArn": made, "TopicArn": arn, "Protocol": "http", "Endpoint": "http://a.test/", "Owner": ACCOUNT,
        "SubscriptionPrincipal": owner.arn, "ConfirmationWasAuthenticated": "false", "PendingConfirmation": "false",
        "RawMessageDelivery": "false", "FilterPolicy": '{"a":["b"]}', "FilterPolicyScope": "MessageAttributes",
    }  # fmt: skip
    assert (await sns(harness, owner, "ListSubscriptions"))["Subscriptions"] == [
        {"SubscriptionArn": made, "Owner": ACCOUNT, "Protocol": "http", "Endpoint": "http://a.test/", "TopicArn": arn}
    ]


async def test_attributes_of_a_subscription_are_set_one_by_one(harness, owner):
    arn = await topic(harness, owner)
    made = await subscribed(harness, owner, arn, "http://a.test/")

    async def set_one(name, value):
        await sns(
            harness, owner, "SetSubscriptionAttributes", SubscriptionArn=made, AttributeName=name, AttributeValue=value
        )

    async def read(name):
        return (await sns(harness, owner, "GetSubscriptionAttributes", SubscriptionArn=made))["Attributes"].get(name)

    policy = '{"healthyRetryPolicy":{"numRetries":1}}'
    for name, value in (
        ("RawMessageDelivery", "true"),
        ("FilterPolicyScope", "MessageBody"),
        ("FilterPolicy", '{"a":{"b":["c"]}}'),
        ("DeliveryPolicy", policy),
    ):
        await set_one(name, value)
        assert await read(name) == value
    assert json.loads(await read("EffectiveDeliveryPolicy"))["healthyRetryPolicy"]["numRetries"] == 1
    await set_one("FilterPolicy", "{}")
    assert await read("FilterPolicy") is None
    for name, value, message in (
        ("RawMessageDelivery", "x", "RawMessageDelivery: Invalid value [x]. Must be true or false."),
        ("FilterPolicyScope", "x", "FilterPolicyScope: Invalid value [x]. Please use either MessageBody or MessageAttributes"),
        ("FilterPolicy", "[]", "FilterPolicy: Filter is not an object"),
        ("Colour", "red", "AttributeName"),
        ("Endpoint", "http://b.test/", "AttributeName"),
        ("DeliveryPolicy", "{", "DeliveryPolicy: failed to parse JSON."),
    ):  # fmt: skip
        assert await refused(set_one(name, value)) == ("InvalidParameter", f"Invalid parameter: {message}")
    await set_one("FilterPolicy", '{"a":{"b":["c"]}}')
    code, message = await refused(set_one("FilterPolicyScope", "MessageAttributes"))
    assert (code, "does not support nested filter policy" in message) == ("InvalidParameter", True)


_NOT_SUBSCRIBED = [
        ("pigeon", "x", "Amazon SNS does not support this protocol string: pigeon"),
        ("http", "https://a.test/", "Endpoint must match the specified protocol"),
        ("https", "a.test", "Endpoint must match the specified protocol"),
        ("http", "", "Endpoint must match the specified protocol"),
        *(("http", f"http://{bad}", "Endpoint Reason: it is no address of a web server: a name, perhaps a port and a path, and no user") for bad in (
            "", "a b/", "u:p@a.test/", "a.test:99999/", "a.test/\r\nX: y", "a.test/#x", "[::1/", f"a.test/{'x' * 2048}",
        )),
        *(("email", bad, "Email address") for bad in (
            "", "a", "a@", "@b.test", "a@b.test\r\nBcc: c@d.test", "a b@c.test", "a@b.test,c@d.test", "<a@b.test>", f"{'a' * 250}@b.test", "ä@b.test",
        )),
        ("sms", "+4912345678", "Protocol Reason: Penstock sends no text messages. Subscribe an email address or an https endpoint."),
        ("sqs", f"arn:aws:sqs:us-east-1:{ACCOUNT}:q", "Protocol Reason: Penstock has no queues. Subscribe an https endpoint."),
        ("email", "a@b.test", "Protocol Reason: This installation sends no mail: no server for it is set. Its operator sets --smtp-host."),
    ]  # fmt: skip


async def test_what_cannot_be_subscribed(harness, owner):
    arn = await topic(harness, owner)
    for protocol, endpoint, message in _NOT_SUBSCRIBED:
        given = {"TopicArn": arn, "Protocol": protocol, "Endpoint": endpoint}
        assert await refused(sns(harness, owner, "Subscribe", **given)) == (
            "InvalidParameter",
            f"Invalid parameter: {message}",
        )


async def test_a_token_is_good_for_its_subscription_and_two_days(harness, owner, clock):
    arn = await topic(harness, owner)
    for bad in ("", "x", "x" * 2_000):
        assert (await refused(sns(harness, ANONYMOUS, "ConfirmSubscription", TopicArn=arn, Token=bad)))[
            1
        ] == "Invalid parameter: Token"
    made = await sns(
        harness,
        owner,
        "Subscribe",
        TopicArn=arn,
        Protocol="http",
        Endpoint="http://a.test/",
        ReturnSubscriptionArn=True,
    )
    id = made["SubscriptionArn"].rpartition(":")[2]
    token = tokens.make(harness.app.sealer, tokens.CONFIRM, id)
    for bad in ("x", f"arn:aws:sns:eu-west-1:{ACCOUNT}:deploys"):
        said = await refused(sns(harness, owner, "ConfirmSubscription", TopicArn=bad, Token=token))
        assert said == ("InvalidParameter", "Invalid parameter: Topic")
    assert (await refused(sns(harness, owner, "Unsubscribe", SubscriptionArn=made["SubscriptionArn"])))[1].endswith(
        "Cannot unsubscribe a subscription that is pending confirmation"
    )
    clock.advance(subscription_rows.KEPT_MS)
    said = await refused(sns(harness, owner, "ConfirmSubscription", TopicArn=arn, Token=token))
    assert said == ("InvalidParameter", "Invalid token")
    # A wrong topic does no harm: the token alone decides.
    await sns(harness, owner, "Subscribe", TopicArn=arn, Protocol="http", Endpoint="http://a.test/")
    assert await sns(harness, owner, "ConfirmSubscription", TopicArn=f"{ARN}2", Token=token) == made


async def test_who_leaves_by_the_link_is_told_and_can_come_back(harness, owner, endpoint):
    arn = await topic(harness, owner)
    made = await subscribed(harness, owner, arn, f"{endpoint.url}/hook")
    async with working(harness):
        await sns(harness, ANONYMOUS, "Unsubscribe", SubscriptionArn=made)
        await sns(harness, ANONYMOUS, "Unsubscribe", SubscriptionArn=made)
        (told,) = await eventually(lambda: endpoint.of("/hook", "UnsubscribeConfirmation"))
    assert await states(harness, owner) == []
    assert (await refused(sns(harness, owner, "GetSubscriptionAttributes", SubscriptionArn=made))) == (
        "NotFound",
        "Subscription does not exist",
    )
    assert told.json["Message"].startswith(
        f"You have chosen to deactivate subscription {made}.\nTo cancel this operation and restore"
    )
    assert told.headers["x-amz-sns-subscription-arn"] == made
    await sns(harness, ANONYMOUS, "ConfirmSubscription", TopicArn=arn, Token=told.json["Token"])
    assert await states(harness, owner) == [made]


async def test_who_confirms_with_a_signature_may_ask_one_of_who_leaves(harness, owner):
    arn = await topic(harness, owner)
    made = await sns(
        harness,
        owner,
        "Subscribe",
        TopicArn=arn,
        Protocol="http",
        Endpoint="http://a.test/",
        ReturnSubscriptionArn=True,
    )
    made = made["SubscriptionArn"]
    token = tokens.make(harness.app.sealer, tokens.CONFIRM, made.rpartition(":")[2])
    await sns(harness, owner, "ConfirmSubscription", TopicArn=arn, Token=token, AuthenticateOnUnsubscribe="true")
    assert (await refused(sns(harness, ANONYMOUS, "Unsubscribe", SubscriptionArn=made)))[0] == "AuthorizationError"
    nobody = await harness.user("nobody")
    assert (await refused(sns(harness, nobody, "Unsubscribe", SubscriptionArn=made)))[0] == "AccessDenied"
    await sns(harness, owner, "Unsubscribe", SubscriptionArn=made)
    assert await states(harness, owner) == []


async def test_another_account_subscribes_where_the_policy_lets_it(harness, owner):
    arn = await topic(harness, owner)
    stranger = await harness.administrator(OTHER)
    given = {"TopicArn": arn, "Protocol": "http", "Endpoint": "http://a.test/"}
    assert (await refused(sns(harness, stranger, "Subscribe", **given)))[0] == "AccessDenied"
    condition = {"StringLike": {"sns:Endpoint": "http://a.test/*"}, "StringEquals": {"sns:Protocol": "http"}}
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"},
        "Action": "sns:Subscribe",
        "Resource": arn,
        "Condition": condition,
    }
    await sns(
        harness, owner, "SetTopicAttributes", TopicArn=arn, AttributeName="Policy", AttributeValue=document(statement)
    )
    assert (await refused(sns(harness, stranger, "Subscribe", **given | {"Endpoint": "http://b.test/"})))[
        0
    ] == "AccessDenied"
    made = await subscribed(harness, stranger, arn, "http://a.test/")
    attributes = (await sns(harness, stranger, "GetSubscriptionAttributes", SubscriptionArn=made))["Attributes"]
    assert attributes["Owner"] == OTHER
    mine = (await sns(harness, stranger, "ListSubscriptions"))["Subscriptions"]
    assert [one["SubscriptionArn"] for one in mine] == [made]
    assert (await sns(harness, owner, "ListSubscriptions"))["Subscriptions"] == []
    await sns(harness, stranger, "Unsubscribe", SubscriptionArn=made)
    assert await states(harness, owner) == []


async def test_nobody_is_asked_to_confirm_without_end(harness, owner, clock, monkeypatch):
    monkeypatch.setattr(subscriptions, "_ASKED", {"mail": 1, "web": 2})
    first, second = [await topic(harness, owner, name) for name in ("a", "b")]
    given = {"Protocol": "http", "Endpoint": "http://a.test/"}
    await sns(harness, owner, "Subscribe", TopicArn=first, **given)
    await sns(harness, owner, "Subscribe", TopicArn=second, **given)
    assert (await refused(sns(harness, owner, "Subscribe", TopicArn=first, **given)))[0] == "Throttled"
    clock.advance(86_400_000)
    await sns(harness, owner, "Subscribe", TopicArn=first, **given)
    monkeypatch.setattr(subscriptions, "_ASKED_BY_ACCOUNT", 1)
    given["Endpoint"] = "http://c.test/"
    assert (await refused(sns(harness, owner, "Subscribe", TopicArn=first, **given)))[0] == "Throttled"
    assert len(await states(harness, owner, first)) == 1


async def test_subscriptions_of_a_topic_come_a_page_at_a_time_and_go_with_it(harness, owner):
    arn = await topic(harness, owner)
    await harness.app.store.write(many, await harness.app.store.read(row, arn), 101)
    first = await sns(harness, owner, "ListSubscriptionsByTopic", TopicArn=arn)
    rest = await sns(harness, owner, "ListSubscriptionsByTopic", TopicArn=arn, NextToken=first["NextToken"])
    assert (len(first["Subscriptions"]), len(rest["Subscriptions"]), "NextToken" in rest) == (100, 1, False)
    await sns(harness, owner, "DeleteTopic", TopicArn=arn)
    assert (await sns(harness, owner, "ListSubscriptions"))["Subscriptions"] == []
