"""Chats as subscribers: who may subscribe one without a confirmation, what each format is sent, and what its answers mean."""

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest
from penstock_keys import refused
from penstock_topics import answer, sns, topic, topics_on, working
from penstock_waiting import eventually

import penstock
from penstock.topics import records, webhook_secrets
from penstock.topics.chat import formats, slack
from penstock.topics.chat_settings import ChatSettings, _host
from penstock.topics.notices import Notice
from penstock.wire.hiding import HIDDEN, Hiding

SECRET = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
SLACK = "https://hooks.slack.com/services/T0/B0/xyz"
TEAMS = "https://prod-7.westeurope.logic.azure.com:443/workflows/1/triggers/manual/paths/invoke?sig=abc"


@pytest.fixture
async def harness(store, clock, tmp_path):
    async with topics_on(store, clock, tmp_path, ChatSettings(chat_hosts=("127.0.0.1",))) as made:
        yield made


@pytest.fixture
async def stranger(any_store, clock, tmp_path):
    """An installation whose operator trusts no further host."""
    async with topics_on(any_store, clock, tmp_path) as made:
        yield made


async def subscribe(harness, by, arn, endpoint, **attributes):
    protocol = endpoint.partition(":")[0]
    made = await sns(
        harness, by, "Subscribe", TopicArn=arn, Protocol=protocol, Endpoint=endpoint, Attributes=attributes,
        ReturnSubscriptionArn=True,
    )  # fmt: skip
    return made["SubscriptionArn"]


async def attributes_of(harness, by, arn):
    return (await sns(harness, by, "GetSubscriptionAttributes", SubscriptionArn=arn))["Attributes"]


async def test_whoever_knows_an_incoming_webhook_needs_no_confirmation(stranger):
    owner = await stranger.administrator()
    arn = await topic(stranger, owner)
    for endpoint, name in ((SLACK, "slack"), (TEAMS, "teams")):
        made = await sns(
            stranger, owner, "Subscribe", TopicArn=arn, Protocol="https", Endpoint=endpoint, Attributes={"PenstockFormat": name}
        )  # fmt: skip
        found = await attributes_of(stranger, owner, made["SubscriptionArn"])
        assert (found["PendingConfirmation"], found["PenstockFormat"]) == ("false", name)
        # Unsubscribing asks for a signature: nobody in the channel can.
        assert found["ConfirmationWasAuthenticated"] == "true"
        assert await subscribe(stranger, owner, arn, endpoint, PenstockFormat=name) == made["SubscriptionArn"]
    # An existing one becomes a chat's, which confirms it too.
    other = await subscribe(stranger, owner, arn, f"{SLACK}2")
    assert (await attributes_of(stranger, owner, other))["PendingConfirmation"] == "true"
    change = {"SubscriptionArn": other, "AttributeName": "PenstockFormat"}
    await sns(stranger, owner, "SetSubscriptionAttributes", **change, AttributeValue="slack")
    assert (await attributes_of(stranger, owner, other))["PendingConfirmation"] == "false"
    await sns(stranger, owner, "SetSubscriptionAttributes", **change, AttributeValue="")
    assert "PenstockFormat" not in await attributes_of(stranger, owner, other)


async def test_what_cannot_be_a_chat_is_refused_with_the_reason(stranger):
    owner = await stranger.administrator()
    arn = await topic(stranger, owner)
    victim = "https://victim.test/hooks/1"
    for endpoint, attributes, why in (
        (SLACK, {"PenstockFormat": "irc"}, "Invalid value [irc]. Must be mattermost, slack, teams or webhook."),
        (victim, {"PenstockFormat": "slack"}, "a chat at victim.test cannot confirm that it is subscribed. It is for hooks.slack.com and"),
        (victim, {"PenstockFormat": "mattermost"}, "The operator lets others in by --chat-host victim.test."),
        ("https://hooks.slack.com.victim.test/", {"PenstockFormat": "slack"}, "cannot confirm"),
        ("https://evillogic.azure.com/", {"PenstockFormat": "teams"}, "cannot confirm"),
        ("http://hooks.slack.com/services/1", {"PenstockFormat": "slack"}, "by https"),
        (victim, {"PenstockFormat": "webhook"}, "webhook signs what it sends. Set PenstockSecretKey"),
        (victim, {"PenstockSecretKey": "whsec_c2hvcnQ="}, "it is whsec_ and 24 to 64 random bytes in base64"),
        (victim, {"PenstockSecretKey": SECRET.removeprefix("whsec_")}, "it is whsec_ and"),
        (victim, {"PenstockSecretKey": "whsec_é"}, "it is whsec_ and"),
    ):  # fmt: skip
        code, message = await refused(subscribe(stranger, owner, arn, endpoint, **attributes))
        assert code == "InvalidParameter"
        assert why in message
    assert (await sns(stranger, owner, "ListSubscriptionsByTopic", TopicArn=arn))["Subscriptions"] == []
    webhook = await subscribe(stranger, owner, arn, victim, PenstockFormat="webhook", PenstockSecretKey=SECRET)
    found = await attributes_of(stranger, owner, webhook)
    assert found["PendingConfirmation"] == "true"  # a program can confirm, so it has to
    assert "PenstockSecretKey" not in found
    change = {"SubscriptionArn": webhook, "AttributeName": "PenstockSecretKey"}
    _, why = await refused(sns(stranger, owner, "SetSubscriptionAttributes", **change, AttributeValue=""))
    assert "webhook signs what it sends" in why
    other = f"whsec_{base64.b64encode(b'o' * 24).decode()}"
    again = subscribe(stranger, owner, arn, victim, PenstockFormat="webhook", PenstockSecretKey=other)
    assert (await refused(again))[1].endswith("Subscription already exists with different attributes")
    await sns(stranger, owner, "SetSubscriptionAttributes", **change, AttributeValue=other)
    id = webhook.rpartition(":")[2]
    assert await stranger.app.store.read(webhook_secrets.of, stranger.app.sealer, id) == other
    (kept,) = await stranger.app.store.read(lambda conn: conn.execute(records.webhook_secrets.select()).all())
    assert b"ooo" not in kept.secret
    assert other.encode() not in kept.secret


async def test_each_format_is_posted_as_its_service_takes_it(harness, endpoint):
    owner = await harness.administrator()
    arn = await topic(harness, owner)
    for name in ("slack", "teams", "mattermost"):
        await subscribe(harness, owner, arn, f"{endpoint.url}/{name}", PenstockFormat=name)
    await subscribe(harness, owner, arn, f"{endpoint.url}/webhook", PenstockFormat="webhook", PenstockSecretKey=SECRET)
    text = json.dumps(
        {
            "approval": {
                "pipelineName": "shop",
                "stageName": "Release",
                "actionName": "Ask",
                "customData": "<!channel> Go?",
            }
        }
    )
    async with working(harness):
        sent = await sns(harness, owner, "Publish", TopicArn=arn, Message=text, Subject="APPROVAL NEEDED")
        await eventually(lambda: len(harness_heard(endpoint)) == 4)
    heard = harness_heard(endpoint)
    assert all(one.headers["content-type"] == "application/json" for one in heard.values())
    approve = "https://penstock.test/console/pipelines/shop/approvals/Release/Ask"
    assert heard["/slack"].json["blocks"][1]["text"] == {"type": "plain_text", "text": "<!channel> Go?", "emoji": False}
    assert heard["/slack"].json["blocks"][-1]["text"]["text"].startswith(f"<{approve}|Approve or reject>")
    assert heard["/slack"].json["text"] == ":hourglass_flowing_sand: Approval needed: shop, Release"
    card = heard["/teams"].json["attachments"][0]["content"]
    assert card["actions"][0] == {"type": "Action.OpenUrl", "title": "Approve or reject", "url": approve}
    assert heard["/mattermost"].json["attachments"][0]["title"] == r"Approval needed\: shop, Release"
    hook = heard["/webhook"]
    assert (hook.json["type"], hook.json["data"]["message"], hook.json["data"]["subject"]) == (
        "sns.notification", text, "APPROVAL NEEDED",
    )  # fmt: skip
    assert hook.headers["webhook-id"] == sent["MessageId"]
    signed = f"{sent['MessageId']}.{hook.headers['webhook-timestamp']}.{hook.body}".encode()
    right = base64.b64encode(hmac.new(b"k" * 32, signed, hashlib.sha256).digest()).decode()
    assert hook.headers["webhook-signature"] == f"v1,{right}"


def test_slack_shows_marks_as_they_are():
    marked = Notice(title="*a*", text="*bold* <http://x|y> :tada:", facts=(("Pipeline", "shop"), ("Branch", "_x_")))
    title, text, facts = slack.blocks(marked)
    shown = [title["text"], text["text"], *facts["fields"]]
    assert [one["type"] for one in shown] == ["plain_text"] * 4
    assert [one["text"] for one in shown] == ["*a*", "*bold* <http://x|y> :tada:", "Pipeline\nshop", "Branch\n_x_"]
    (_, facts) = slack.blocks(Notice(title="a", text="", facts=(("At", "2026-12-01 05:05 UTC <!here>"),)))
    assert [(one["type"], one["text"]) for one in facts["fields"]] == [
        ("mrkdwn", "*At*\n2026-12-01 05:05 UTC &lt;!here&gt;")
    ]


def harness_heard(endpoint):
    return {one.path: one for one in endpoint.heard}


async def test_a_chat_is_not_notified_of_the_end_of_its_subscription(harness, endpoint):
    owner = await harness.administrator()
    arn = await topic(harness, owner)
    chat = await subscribe(harness, owner, arn, f"{endpoint.url}/chat", PenstockFormat="mattermost")
    program = await subscribe(
        harness, owner, arn, f"{endpoint.url}/program", PenstockFormat="webhook", PenstockSecretKey=SECRET
    )
    async with working(harness):
        for one in (chat, program):
            await sns(harness, owner, "Unsubscribe", SubscriptionArn=one)
        await eventually(lambda: endpoint.of("/program", "UnsubscribeConfirmation"))
    assert [one.path for one in endpoint.heard] == ["/program"]


async def test_a_receiver_may_ask_for_patience_for_an_hour(harness, endpoint, clock, caplog):
    """Five times too many requests is more than a delivery is tried; a final error of Slack is final."""
    caplog.set_level("INFO")
    owner = await harness.administrator()
    arn = await topic(harness, owner)
    await subscribe(harness, owner, arn, f"{endpoint.url}/chat", PenstockFormat="slack")
    endpoint.answers["/chat"] = [answer(429, "Retry-After: 30\r\n") for _ in range(5)] + [
        answer(200), answer(429, "Retry-After: 99999999\r\n"), answer(404),
    ]  # fmt: skip
    async with working(harness):
        await sns(harness, owner, "Publish", TopicArn=arn, Message="one")
        for number in range(1, 6):
            await eventually(lambda number=number: len(endpoint.heard) == number)
            await eventually(lambda number=number: put_off(caplog) == number)
            clock.advance(30_000)
        await eventually(lambda: len(endpoint.heard) == 6)
        await sns(harness, owner, "Publish", TopicArn=arn, Message="two")
        await eventually(lambda: put_off(caplog) == 6)
        clock.advance(3_600_000)
        await eventually(lambda: any(one.message == "topics.given_up" for one in caplog.records))
    assert len(endpoint.heard) == 8


def put_off(caplog):
    return sum(one.message == "topics.not_delivered" for one in caplog.records)


def test_no_record_shows_a_secret(live):
    operation = live.app.services.get("sns").operation
    hiding = Hiding()
    for name, given in (
        ("Subscribe", {"Attributes": {"PenstockSecretKey": SECRET, "PenstockFormat": "webhook"}}),
        ("SetSubscriptionAttributes", {"AttributeName": "PenstockSecretKey", "AttributeValue": SECRET}),
    ):
        shown, hidden = hiding.readable(operation(name).input, given)
        assert HIDDEN in json.dumps(shown)
        assert SECRET not in json.dumps(shown)
        assert hidden == [SECRET]
    shown, _ = hiding.readable(
        operation("SetSubscriptionAttributes").input, {"AttributeName": "FilterPolicy", "AttributeValue": "{}"}
    )
    assert shown["attributeValue"] == "{}"


def test_a_format_is_one_file_and_one_part_of_the_guide():
    source = Path(penstock.__file__).parent
    guide = (source.parents[1] / "docs" / "how-to" / "chat.md").read_text()
    assert set(formats()) == {"mattermost", "slack", "teams", "webhook"}
    for name in formats():
        assert f"PenstockFormat={name}" in guide, name
    for host in ("", "a b", "https://a", "-a"):
        with pytest.raises(ValueError, match="is not the name of a host"):
            _host(host)
