"""Messages in process: checked, counted, filtered, delivered with a signature, tried again, in order where they say so."""

import asyncio
import base64
import hashlib
import json
import threading

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from penstock_identity_harness import ACCOUNT, OTHER, document
from penstock_keys import refused
from penstock_topics import answer, many, row, sns, subscribed, topic, working
from penstock_waiting import eventually

from penstock import egress
from penstock.store.records import jobs
from penstock.store.retention import Sweeper
from penstock.topics import filters, leaving, message_rows, records, webhooks, work
from penstock.topics.links import Links
from penstock.topics.signing import Signer


async def publish(harness, by, arn, text="hello", **more):
    return (await sns(harness, by, "Publish", TopicArn=arn, Message=text, **more))["MessageId"]


async def certificate(harness, url):
    """What the address of a signature's certificate answers."""
    sent = []

    async def send(message):
        sent.append(message)

    path = url.removeprefix("https://penstock.test")
    scope = {"path": path, "method": "GET", "query_string": b""}
    await Links(harness.app, Signer(harness.app))(scope, None, send)
    return sent[0]["status"], sent[1]["body"]


def check_signature(body, pem):
    """As AWS documents it, by a library of its own."""
    names = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    if body["Type"] == "Notification":
        names = tuple(name for name in names if name not in ("SubscribeURL", "Token"))
    text = "".join(f"{name}\n{body[name]}\n" for name in names if name in body)
    digest = {"1": hashes.SHA1, "2": hashes.SHA256}[body["SignatureVersion"]]()
    key = x509.load_pem_x509_certificate(pem).public_key()
    key.verify(base64.b64decode(body["Signature"]), text.encode(), padding.PKCS1v15(), digest)


@pytest.mark.parametrize("version", ["1", "2"])
async def test_a_notification_is_signed_as_receivers_check_it(harness, owner, endpoint, version):
    arn = await topic(harness, owner, SignatureVersion=version)
    made = await subscribed(harness, owner, arn, f"{endpoint.url}/hook")
    attributes = {
        "kind": {"DataType": "String", "StringValue": "a"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\0\xff"},
    }
    async with working(harness):
        id = await publish(harness, owner, arn, "grüße\n", Subject="Hello", MessageAttributes=attributes)
        (heard,) = await eventually(lambda: endpoint.of("/hook"))
    body = heard.json
    assert list(body) == [
        "Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "SignatureVersion", "Signature", "SigningCertURL",
        "UnsubscribeURL", "MessageAttributes",
    ]  # fmt: skip
    assert body["MessageAttributes"] == {
        "kind": {"Type": "String", "Value": "a"},
        "raw": {"Type": "Binary", "Value": base64.b64encode(b"\0\xff").decode()},
    }
    assert (body["MessageId"], body["Message"], body["Subject"], body["SignatureVersion"]) == (
        id,
        "grüße\n",
        "Hello",
        version,
    )
    assert body["UnsubscribeURL"].startswith(
        "https://penstock.test/?Action=Unsubscribe&SubscriptionArn=arn%3Aaws%3Asns"
    )
    assert body["Timestamp"].endswith("Z")
    assert len(body["Timestamp"]) == len("2026-01-01T00:00:00.000Z")
    own = {name: value for name, value in heard.headers.items() if name.startswith("x-amz")}
    assert own == {
        "x-amz-sns-message-type": "Notification", "x-amz-sns-message-id": id, "x-amz-sns-topic-arn": arn,
        "x-amz-sns-subscription-arn": made,
    }  # fmt: skip
    status, pem = await certificate(harness, body["SigningCertURL"])
    assert status == 200
    check_signature(body, pem)
    with pytest.raises(InvalidSignature):
        check_signature(body | {"Message": "gruesse\n"}, pem)
    other = body["SigningCertURL"].replace("-", "-0", 1)
    assert (await certificate(harness, other))[0] == 404


async def test_raw_messages_are_the_text_alone(harness, owner, endpoint):
    arn = await topic(harness, owner)
    policy = json.dumps({"requestPolicy": {"headerContentType": "application/json"}})
    await subscribed(harness, owner, arn, f"{endpoint.url}/raw", RawMessageDelivery="true", DeliveryPolicy=policy)
    async with working(harness):
        await publish(harness, owner, arn, '{"a":1}', Subject="S")
        (heard,) = await eventually(lambda: endpoint.heard)
    assert heard.body == '{"a":1}'
    assert (heard.headers["x-amz-sns-rawdelivery"], heard.headers["content-type"]) == ("true", "application/json")


async def test_each_protocol_gets_its_own_text(harness, owner, endpoint):
    arn = await topic(harness, owner)
    await subscribed(harness, owner, arn, f"{endpoint.url}/a", RawMessageDelivery="true")
    async with working(harness):
        for text in ({"default": "d", "http": "for http", "n": 1}, {"default": "d"}):
            await publish(harness, owner, arn, json.dumps(text), MessageStructure="json")
        await eventually(lambda: len(endpoint.heard) == 2)
    assert sorted(one.body for one in endpoint.heard) == ["d", "for http"]


BIG = "x" * 262_144


_BAD_MESSAGES = [
        ({"Message": ""}, "Invalid parameter: Empty message"),
        ({"Message": f"{BIG}x"}, "Invalid parameter: Message too long"),
        ({"Message": BIG, "MessageAttributes": {"a": {"DataType": "String", "StringValue": "b"}}}, "Invalid parameter: Message too long"),
        *(({"Subject": bad}, "Invalid parameter: Subject") for bad in ("", "a\nb", "ä", "a" * 101, " a")),
        ({"Message": "{}", "MessageStructure": "json"}, "Invalid parameter: Message Structure - No default entry in JSON message body"),
        ({"Message": '{"default":1}', "MessageStructure": "json"}, "Invalid parameter: Message Structure - No default entry in JSON message body"),
        ({"Message": "x", "MessageStructure": "json"}, "Invalid parameter: Message Structure - JSON message body failed to parse"),
        ({"Message": "[" * 100_000, "MessageStructure": "json"}, "Invalid parameter: Message Structure - JSON message body failed to parse"),
        ({"Message": '{"default":"","http":"\\ud800"}', "MessageStructure": "json"}, "Invalid parameter: Message Structure - JSON message body failed to parse"),
        ({"MessageStructure": "xml"}, "Invalid parameter: MessageStructure"),
        (
            {"MessageDeduplicationId": "a"},
            "Invalid parameter: MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type",
        ),
        ({"TopicArn": None, "PhoneNumber": "+49"}, "Invalid parameter: PhoneNumber Reason: Penstock sends no text messages. Name a topic by TopicArn."),
        ({"TopicArn": None}, "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter"),
        (
            {"TopicArn": None, "TargetArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:endpoint/GCM/a/b"},
            "Invalid parameter: TargetArn Reason: No endpoint found for the target arn specified",
        ),
        ({"TopicArn": f"arn:aws:sns:eu-west-1:{ACCOUNT}:deploys"}, "Invalid parameter: TopicArn"),
        ({"TopicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:none"}, "Topic does not exist"),
    ]  # fmt: skip


async def test_a_bad_message_is_refused(harness, owner):
    arn = await topic(harness, owner)
    for input, said in _BAD_MESSAGES:
        given = {"TopicArn": arn, "Message": "m"} | input
        asked = {name: value for name, value in given.items() if value is not None}
        assert (await refused(sns(harness, owner, "Publish", **asked)))[1] == said


_BAD_ATTRIBUTES = [
        ("a", {"DataType": "String", "StringValue": ""}, "The message attribute 'a' must contain non-empty message attribute value for message attribute type 'String'."),
        ("a", {"DataType": "String", "BinaryValue": b"x"}, "The message attribute 'a' with type 'String' must use field 'String'."),
        ("a", {"DataType": "Binary", "StringValue": "x"}, "The message attribute 'a' with type 'Binary' must use field 'Binary'."),
        ("a", {"DataType": "Text", "StringValue": "x"}, "The message attribute 'a' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."),
        ("a", {"DataType": "Number", "StringValue": "NaN"}, "Could not cast message attribute 'a' value to number."),
        ("a" * 256, {"DataType": "String", "StringValue": "x"}, "Length of message attribute name must be less than 256 bytes."),
        ("a b", {"DataType": "String", "StringValue": "x"}, "Invalid message attribute name 'a b'."),
        ("AWS.a", {"DataType": "String", "StringValue": "x"}, "Invalid message attribute name 'AWS.a'."),
        ("a", {"DataType": "String.Array", "StringValue": "[{}]"}, "The message attribute 'a' with type 'String.Array' must be an array of strings, numbers, true, false or null."),
    ]  # fmt: skip


async def test_a_bad_attribute_is_refused(harness, owner):
    arn = await topic(harness, owner)
    for name, attribute, said in _BAD_ATTRIBUTES:
        asked = sns(harness, owner, "Publish", TopicArn=arn, Message="m", MessageAttributes={name: attribute})
        assert await refused(asked) == ("ParameterValueInvalid", said)


async def test_a_topic_says_how_long_its_messages_may_be(harness, owner):
    arn = await topic(harness, owner, MaximumMessageSize="1024")
    await publish(harness, owner, arn, "x" * 1024)
    assert (await refused(publish(harness, owner, arn, "x" * 1025)))[1] == "Invalid parameter: Message too long"


async def test_batches_are_written_whole_or_not_at_all(harness, owner, endpoint):
    arn = await topic(harness, owner)
    await subscribed(harness, owner, arn, f"{endpoint.url}/a", RawMessageDelivery="true")

    async def batch(*entries):
        return await sns(harness, owner, "PublishBatch", TopicArn=arn, PublishBatchRequestEntries=list(entries))

    for entries, code in (
        ([], "EmptyBatchRequest"),
        ([{"Id": str(n), "Message": "m"} for n in range(11)], "TooManyEntriesInBatchRequest"),
        ([{"Id": "a", "Message": "m"}, {"Id": "a", "Message": "n"}], "BatchEntryIdsNotDistinct"),
        ([{"Id": "a", "Message": "x" * 200_000}, {"Id": "b", "Message": "x" * 62_145}], "BatchRequestTooLong"),
        ([{"Id": "a b", "Message": "m"}], "InvalidBatchEntryId"),
        ([{"Id": "a", "Message": "first"}, {"Id": "b", "Message": ""}], "InvalidParameter"),
    ):
        assert (await refused(batch(*entries)))[0] == code
    async with working(harness):
        done = await batch({"Id": "a", "Message": "1"}, {"Id": "b", "Message": "2"})
        await eventually(lambda: len(endpoint.heard) == 2)
    assert [one["Id"] for one in done["Successful"]] == ["a", "b"]
    assert done["Failed"] == []
    assert {one.headers["x-amz-sns-message-id"] for one in endpoint.heard} == {
        one["MessageId"] for one in done["Successful"]
    }


async def test_fifo_messages_come_in_order_within_their_group_and_once(either, endpoint, clock):
    harness, owner = either, await either.administrator()
    arn = await topic(harness, owner, "d.fifo", FifoTopic="true")
    await subscribed(harness, owner, arn, f"{endpoint.url}/f")
    for more, said in (
        ({}, "Invalid parameter: The MessageGroupId parameter is required for FIFO topics"),
        (
            {"MessageGroupId": "g"},
            "Invalid parameter: The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
        ),
    ):
        assert (await refused(publish(harness, owner, arn, **more)))[1] == said
    endpoint.answers["/f"] = [answer(500)]  # the first one is tried again, and what comes behind it waits
    async with working(harness):
        made = [
            await sns(
                harness,
                owner,
                "Publish",
                TopicArn=arn,
                Message=str(n),
                MessageGroupId="g",
                MessageDeduplicationId=f"d{n}",
            )
            for n in (1, 2, 3, 3)
        ]
        await eventually(lambda: endpoint.heard)
        await eventually(lambda: _due(harness, clock, then=20_000))
        await eventually(lambda: len(endpoint.heard) == 4)
    assert [one.json["Message"] for one in endpoint.heard] == ["1", "1", "2", "3"]
    assert [one["SequenceNumber"] for one in made] == [f"1000000000000000000{n}" for n in (1, 2, 3, 3)]
    assert made[2] == made[3]
    assert [one.json["SequenceNumber"] for one in endpoint.heard[1:]] == [one["SequenceNumber"] for one in made[:3]]
    clock.advance(message_rows.DEDUPLICATED_MS)
    again = await sns(
        harness, owner, "Publish", TopicArn=arn, Message="3", MessageGroupId="g", MessageDeduplicationId="d3"
    )
    assert again["MessageId"] != made[2]["MessageId"]


async def _due(harness, clock, *, then):
    """Let the delivery that was set back come up."""

    def waiting(conn):
        found = conn.execute(jobs.select().where(jobs.c.kind == message_rows.DELIVER, jobs.c.state == "ready")).all()
        return [one for one in found if one.error and one.due > clock.now()]

    if not await harness.app.store.read(waiting):
        return False
    clock.advance(then)
    return True


async def test_messages_of_one_content_are_one_where_the_topic_says_so(harness, owner):
    arn = await topic(harness, owner, "d.fifo", FifoTopic="true", ContentBasedDeduplication="true")
    one, same, other = [await publish(harness, owner, arn, text, MessageGroupId="g") for text in ("a", "a", "b")]
    assert one == same != other
    assert one == await publish(
        harness, owner, arn, "b", MessageGroupId="h", MessageDeduplicationId=hashlib.sha256(b"a").hexdigest()
    )


async def test_a_delivery_is_tried_again_by_the_policy_and_then_given_up(harness, owner, endpoint, clock, caplog):
    arn = await topic(harness, owner)
    policy = {"healthyRetryPolicy": {"numRetries": 2, "minDelayTarget": 5, "maxDelayTarget": 5}}
    await subscribed(harness, owner, arn, f"{endpoint.url}/503", DeliveryPolicy=json.dumps(policy))
    async with working(harness):
        id = await publish(harness, owner, arn)
        for tries in (1, 2):
            await eventually(lambda tries=tries: len(endpoint.heard) == tries)
            await eventually(lambda: _due(harness, clock, then=5_000))
        await eventually(lambda: harness.app.store.read(nothing_left))
    assert [one.headers["x-amz-sns-message-id"] for one in endpoint.heard] == [id] * 3
    given_up = [one for one in caplog.records if one.message == "topics.given_up"]
    assert [(one.tries, one.error) for one in given_up] == [(3, "127.0.0.1 answers with status 503")]


def nothing_left(conn):
    return conn.execute(records.deliveries.select()).first() is None


@pytest.mark.parametrize("path", ["/400", "/404", "/302", "/410"])
async def test_what_the_receiver_refuses_is_not_tried_again_and_no_redirect_followed(harness, owner, endpoint, path):
    arn = await topic(harness, owner)
    await subscribed(harness, owner, arn, f"{endpoint.url}{path}")
    async with working(harness):
        await publish(harness, owner, arn)
        await eventually(lambda: endpoint.heard)
        await eventually(lambda: harness.app.store.read(nothing_left))
    assert [one.path for one in endpoint.heard] == [path]


async def test_too_many_requests_is_tried_again(harness, owner, endpoint, clock):
    arn = await topic(harness, owner)
    await subscribed(harness, owner, arn, f"{endpoint.url}/a")
    endpoint.answers["/a"] = [answer(429)]
    async with working(harness):
        await publish(harness, owner, arn)
        await eventually(lambda: _due(harness, clock, then=20_000))
        await eventually(lambda: len(endpoint.heard) == 2)


async def test_hostile_receivers_harm_no_other_delivery(harness, owner, endpoint, monkeypatch):
    """Silent ones hold few places, an endless answer is cut off, an address inside is never asked."""
    monkeypatch.setattr(egress, "_OF_HOST", 6)
    arn = await topic(harness, owner)
    await subscribed(harness, owner, arn, f"{endpoint.url}/endless")
    inside = await subscribed(harness, owner, arn, "http://169.254.169.254/latest/meta-data")
    for number in range(8):
        await subscribed(harness, owner, arn, f"{endpoint.url.replace('127.0.0.1', 'localhost')}/silent?{number}")
    good = await subscribed(harness, owner, arn, f"{endpoint.url}/good")
    async with working(harness):
        await publish(harness, owner, arn)
        await eventually(lambda: endpoint.of("/good") and endpoint.of("/endless"))
        left = await eventually(lambda: harness.app.store.read(tried, inside.rpartition(":")[2]))
    assert left == 1
    assert good


async def test_endpoints_that_say_nothing_to_a_confirmation_keep_nobody_waiting(harness, owner, endpoint, monkeypatch):
    monkeypatch.setattr(webhooks, "SECONDS", 600.0)
    arn = await topic(harness, owner)
    silent = endpoint.url.replace("127.0.0.1", "localhost")
    for number in range(8):
        await sns(harness, owner, "Subscribe", TopicArn=arn, Protocol="http", Endpoint=f"{silent}/silent?{number}")
    async with working(harness):
        await eventually(lambda: len(endpoint.heard) == 8)
        await sns(harness, owner, "Subscribe", TopicArn=arn, Protocol="http", Endpoint=f"{endpoint.url}/good")
        await eventually(lambda: endpoint.of("/good", "SubscriptionConfirmation"))


def tried(conn, id):
    found = conn.execute(records.deliveries.select().where(records.deliveries.c.subscription == id)).first()
    return found.tries if found else 0


async def test_only_so_many_deliveries_go_to_a_host_at_a_time(harness, owner, endpoint, monkeypatch):
    monkeypatch.setattr(egress, "_OF_HOST", 2)
    arn = await topic(harness, owner)
    await harness.app.store.write(many, await harness.app.store.read(row, arn), 12, url=endpoint.url + "/{}")
    async with working(harness):
        await publish(harness, owner, arn)
        await eventually(lambda: len(endpoint.heard) == 12)
    assert endpoint.most <= 2


async def test_a_fan_out_goes_on_where_it_stopped(either, endpoint, monkeypatch):
    harness, owner = either, await either.administrator()
    monkeypatch.setattr(work, "_PAGE", 5)
    arn = await topic(harness, owner)
    await harness.app.store.write(many, await harness.app.store.read(row, arn), 12, url=endpoint.url + "/{}")
    async with working(harness):
        first = await publish(harness, owner, arn, "1")
        second = await publish(harness, owner, arn, "2")
        await eventually(lambda: len(endpoint.heard) == 24)
        await eventually(lambda: harness.app.store.read(nothing_left))
    got = sorted((one.path, one.headers["x-amz-sns-message-id"]) for one in endpoint.heard)
    assert got == sorted((f"/{n}", id) for n in range(12) for id in (first, second))
    await Sweeper(harness.app.store, expiring=harness.app.expiring).sweep()
    assert await harness.app.store.read(lambda conn: conn.execute(records.messages.select()).all()) == []


def test_a_crowd_before_a_busy_host_looks_ever_more_seldom(monkeypatch):
    monkeypatch.setattr(work, "_BUSY_MS", (500, 500))
    assert [work.busy_ms(attempt) for attempt in (1, 2, 3, 7, 8, 1_000)] == [500, 1_000, 2_000, 32_000, 32_000, 32_000]


async def test_fan_outs_and_deliveries_take_no_place_of_other_jobs(harness):
    shared = harness.app.work._shared
    own = [harness.app.work._pool_of[kind] for kind in (message_rows.FAN_OUT, message_rows.DELIVER, leaving.ASK)]
    assert [pool.size for pool in own] == [2, 64, 64]
    assert shared not in own


async def test_filters_are_asked_beside_the_loop(harness, owner, endpoint, monkeypatch):
    asked = []
    monkeypatch.setattr(filters, "takes", lambda *_: asked.append(threading.current_thread().name) or True)
    arn = await topic(harness, owner)
    await subscribed(harness, owner, arn, f"{endpoint.url}/a")
    async with working(harness):
        await publish(harness, owner, arn)
        await eventually(lambda: endpoint.heard)
    assert [name.startswith("penstock-filters") for name in asked] == [True]


async def test_what_waits_lies_sealed(harness, owner):
    arn = await topic(harness, owner)
    await harness.app.store.write(many, await harness.app.store.read(row, arn), 1)
    await publish(harness, owner, arn, "the secret plan")
    (kept,) = await harness.app.store.read(lambda conn: conn.execute(records.messages.select()).all())
    assert b"the secret plan" not in kept.content


async def test_a_subscription_that_has_ended_gets_nothing_more(harness, owner, endpoint):
    arn = await topic(harness, owner)
    made = await subscribed(harness, owner, arn, f"{endpoint.url}/gone")
    await publish(harness, owner, arn)
    await sns(harness, owner, "Unsubscribe", SubscriptionArn=made)
    async with working(harness):
        await eventually(lambda: endpoint.of("/gone", "UnsubscribeConfirmation"))
        await eventually(lambda: harness.app.store.read(lambda conn: not message_rows_waiting(conn)))
        await eventually(lambda: harness.app.store.read(nothing_left))
    assert endpoint.of("/gone") == []


def message_rows_waiting(conn):
    return conn.execute(records.messages.select().where(records.messages.c.state == "waiting")).first()


async def test_another_account_publishes_where_the_policy_lets_it(harness, owner):
    arn = await topic(harness, owner)
    stranger = await harness.administrator(OTHER)
    assert (await refused(publish(harness, stranger, arn)))[0] == "AccessDenied"
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"},
        "Action": "sns:Publish",
        "Resource": arn,
    }
    await sns(
        harness, owner, "SetTopicAttributes", TopicArn=arn, AttributeName="Policy", AttributeValue=document(statement)
    )
    assert await publish(harness, stranger, arn)


async def test_subscriptions_get_what_their_filters_take(harness, owner, endpoint):
    arn = await topic(harness, owner)
    await subscribed(harness, owner, arn, f"{endpoint.url}/all")
    await subscribed(harness, owner, arn, f"{endpoint.url}/failed", FilterPolicy='{"state":["FAILED"]}')
    body = {"FilterPolicyScope": "MessageBody", "FilterPolicy": '{"detail":{"state":["FAILED"]}}'}
    await subscribed(harness, owner, arn, f"{endpoint.url}/body", **body)
    async with working(harness):
        await publish(harness, owner, arn, "plain")
        marked = {"state": {"DataType": "String", "StringValue": "FAILED"}}
        await publish(harness, owner, arn, "marked", MessageAttributes=marked)
        await publish(harness, owner, arn, '{"detail":{"state":"FAILED"}}')
        await eventually(lambda: len(endpoint.of("/all")) == 3)
        await eventually(lambda: harness.app.store.read(nothing_left))
    assert [one.json["Message"] for one in endpoint.of("/failed")] == ["marked"]
    assert [one.json["Message"] for one in endpoint.of("/body")] == ['{"detail":{"state":"FAILED"}}']


async def test_workers_that_die_leave_nothing_out(harness, owner, endpoint):
    """A fan-out and deliveries that are broken off are done by the next worker; an id never changes."""
    arn = await topic(harness, owner)
    await harness.app.store.write(many, await harness.app.store.read(row, arn), 6, url=endpoint.url + "/{}")
    id = await publish(harness, owner, arn)
    for _ in range(3):
        async with working(harness):
            await asyncio.sleep(0)
    async with working(harness):
        await eventually(lambda: {one.path for one in endpoint.heard} == {f"/{n}" for n in range(6)})
    assert {one.headers["x-amz-sns-message-id"] for one in endpoint.heard} == {id}
