"""Topics under keys of KMS: who may publish, what waits, and who reads what was not delivered."""

import json

import pytest
from penstock_identity_harness import ACCOUNT, document, harness_on
from penstock_keys import kms, new_key, refused
from penstock_topics import LOOPBACK, sns, subscribed, topic, working
from penstock_waiting import eventually

import penstock.fleet
import penstock.keys
import penstock.topics
from penstock.topics import records
from penstock.wire.call import service_session
from penstock.wire.services import Service

NAMED = {"Effect": "Allow", "Resource": "*"}


@pytest.fixture
async def sealing(store, clock, tmp_path):
    async with harness_on(
        store, clock, tmp_path, penstock.topics.component, penstock.keys.component, chosen=(LOOPBACK,)
    ) as made:
        made.app.public_url = "https://penstock.test"
        made.app.services.add(Service("penstock", penstock.fleet.MODEL))
        yield made


async def publish(harness, by, arn, text="hello"):
    return (await sns(harness, by, "Publish", TopicArn=arn, Message=text))["MessageId"]


async def test_what_waits_is_under_the_key_and_read_as_long_as_its_publisher_may(sealing, endpoint, clock):
    harness, owner = sealing, await sealing.administrator()
    key = await new_key(harness, owner)
    arn = await topic(harness, owner, KmsMasterKeyId=key)
    policy = {"healthyRetryPolicy": {"numRetries": 1, "minDelayTarget": 5, "maxDelayTarget": 5}}
    more = {"DeliveryPolicy": json.dumps(policy), "FilterPolicyScope": "MessageBody"}
    await subscribed(harness, owner, arn, f"{endpoint.url}/a", FilterPolicy='{"take":["yes"]}', **more)
    ci = await harness.user("ci", document({**NAMED, "Action": ["sns:Publish", "kms:GenerateDataKey", "kms:Decrypt"]}))
    takes, other = '{"take":"yes"}', '{"take":"no"}'
    async with working(harness):
        first = await publish(harness, ci, arn, takes)
        await publish(harness, ci, arn, other)
        await eventually(lambda: endpoint.of("/a"))
        await eventually(lambda: harness.app.store.read(_nothing_left))
        assert [(one.json["MessageId"], one.json["Message"]) for one in endpoint.of("/a")] == [(first, takes)]
    # Nobody opens what waits while the key is disabled. What the filter does not take is no dead letter once it can be read.
    await publish(harness, ci, arn, takes)
    await publish(harness, ci, arn, other)
    await kms(harness, owner, "DisableKey", KeyId=key)
    clock.advance(60_001)
    async with working(harness):
        await eventually(lambda: harness.app.store.read(_tried))
        assert len(endpoint.of("/a")) == 1
        assert (await refused(publish(harness, ci, arn)))[0] == "KMSDisabled"
        clock.advance(5_000)
        letters = await eventually(lambda: _letters(harness, owner, 2))
        assert {one["errorCode"] for one in letters} == {"KMSDisabled"}
        said = await refused(
            _ours(harness, owner, "GetMessageDeadLetter", messageDeadLetterId=letters[0]["deadLetterId"])
        )
        assert said[0] == "MessageSealedException"
        await kms(harness, owner, "EnableKey", KeyId=key)
        clock.advance(60_001)
        found = [
            json.loads(
                (await _ours(harness, owner, "GetMessageDeadLetter", messageDeadLetterId=one["deadLetterId"]))[
                    "notification"
                ]
            )
            for one in letters
        ]
        assert {one["Message"] for one in found} == {takes, other}
        for one in letters:
            await _ours(harness, owner, "RedriveMessageDeadLetter", messageDeadLetterId=one["deadLetterId"])
        await eventually(lambda: harness.app.store.read(_nothing_left))
        assert [one.json["Message"] for one in endpoint.of("/a")] == [takes, takes]
        assert await _letters(harness, owner, 0) == []


async def test_the_key_decides_who_publishes(sealing):
    harness, owner = sealing, await sealing.administrator()
    key = await new_key(harness, owner)
    alias = f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/none"
    arn = await topic(harness, owner, KmsMasterKeyId=key.rpartition("/")[2])
    may = {**NAMED, "Action": "sns:*"}
    nobody = await harness.user("nobody", document(may))
    half = await harness.user("half", document(may, {**NAMED, "Action": "kms:GenerateDataKey"}))
    for by in (nobody, half):
        code, message = await refused(publish(harness, by, arn))
        assert code == "KMSAccessDenied"
        assert "is not authorized to perform: kms:" in message
    # A service by the key's policy, which asks for the topic.
    service = service_session("events.amazonaws.com", ACCOUNT, f"arn:aws:events:us-east-1:{ACCOUNT}:rule/r")
    lets = {
        "Sid": "p",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Resource": arn,
        "Action": "sns:Publish",
    }
    await sns(harness, owner, "SetTopicAttributes", TopicArn=arn, AttributeName="Policy", AttributeValue=document(lets))
    assert (await refused(publish(harness, service, arn)))[0] == "KMSAccessDenied"
    root = {**NAMED, "Sid": "r", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*"}
    asks = {"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": arn}}
    its = {
        **NAMED,
        "Sid": "s",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": ["kms:GenerateDataKey*", "kms:Decrypt"],
    }
    await kms(
        harness,
        owner,
        "PutKeyPolicy",
        KeyId=key,
        PolicyName="default",
        Policy=document(root, {**its, "Condition": asks}),
    )
    await publish(harness, service, arn)

    async def put(value):
        given = {"TopicArn": arn, "AttributeName": "KmsMasterKeyId", "AttributeValue": value}
        await sns(harness, owner, "SetTopicAttributes", **given)

    await put(alias)
    assert (await refused(publish(harness, owner, arn)))[0] == "KMSNotFound"
    await put(key)
    await kms(harness, owner, "ScheduleKeyDeletion", KeyId=key)
    assert (await refused(publish(harness, owner, arn)))[0] == "KMSInvalidState"
    # The account's default key is open to everybody who may publish; without a key nothing is asked.
    for value in ("alias/aws/sns", ""):
        await put(value)
        await publish(harness, nobody, arn)
    await sns(harness, nobody, "TagResource", ResourceArn=arn, Tags=[{"Key": "a", "Value": "b"}])
    shown = await sns(harness, owner, "GetTopicAttributes", TopicArn=arn)
    assert "KmsMasterKeyId" not in shown["Attributes"]
    assert await refused(put("a b")) == (
        "InvalidParameter",
        "Invalid parameter: KmsMasterKeyId Reason: it is the id, the alias or the ARN of a key of KMS",
    )


async def test_a_batch_asks_for_one_data_key(sealing, endpoint):
    harness, owner = sealing, await sealing.administrator()
    arn = await topic(harness, owner, KmsMasterKeyId=await new_key(harness, owner))
    await subscribed(harness, owner, arn, f"{endpoint.url}/a")
    entries = [{"Id": str(n), "Message": f"m{n}"} for n in range(10)]
    async with working(harness):
        await sns(harness, owner, "PublishBatch", TopicArn=arn, PublishBatchRequestEntries=entries)
        await eventually(lambda: len(endpoint.of("/a")) == 10)
    assert {one.json["Message"] for one in endpoint.of("/a")} == {f"m{n}" for n in range(10)}


async def _ours(harness, by, operation, **input):
    return await harness.app.invoke(by, "penstock", operation, input, region="us-east-1")


async def _letters(harness, by, number):
    found = (await _ours(harness, by, "ListMessageDeadLetters"))["deadLetters"]
    return found if len(found) == number else None


def _nothing_left(conn):
    return conn.execute(records.deliveries.select()).first() is None


def _tried(conn):
    return len(conn.execute(records.deliveries.select().where(records.deliveries.c.tries == 1)).all()) == 2
