"""Dead letters of topics: what is given up is kept, listed, sent again under its id, and forgotten."""

import json
from types import SimpleNamespace

import pytest
from penstock_identity_harness import ACCOUNT, OTHER
from penstock_keys import refused
from penstock_topics import answer, sns, subscribed, topic, working
from penstock_waiting import eventually

from penstock.store.retention import Sweeper
from penstock.topics import pages, records
from penstock.topics.names import Place

QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead"
REDRIVE = json.dumps({"deadLetterTargetArn": QUEUE})


async def ours(harness, by, operation, **input):
    return await harness.app.invoke(by, "penstock", operation, input, region="us-east-1")


async def letters(harness, by, **input):
    return (await ours(harness, by, "ListMessageDeadLetters", **input))["deadLetters"]


async def test_what_is_given_up_is_kept_and_sent_again(either, endpoint, clock):
    harness, owner = either, await either.administrator()
    arn, other = await topic(harness, owner), await topic(harness, owner, "other")
    made = await subscribed(harness, owner, arn, f"{endpoint.url}/hook", RedrivePolicy=REDRIVE)
    endpoint.answers["/hook"] = [answer(410)]
    about = {"a": {"DataType": "String", "StringValue": "b"}}
    async with working(harness):
        published = clock.now()
        given = {"TopicArn": arn, "Message": "Released", "Subject": "1.4", "MessageAttributes": about}
        id = (await sns(harness, owner, "Publish", **given))["MessageId"]
        (letter,) = await eventually(lambda: letters(harness, owner))
        assert letter == {
            "deadLetterId": letter["deadLetterId"], "messageId": id, "topicArn": arn, "subscriptionArn": made, "protocol": "http",
            "endpoint": f"{endpoint.url}/hook", "deadLetterQueueArn": QUEUE, "errorCode": "ERROR_FROM_TARGET",
            "errorMessage": "127.0.0.1 answers with status 410", "statusCode": 410, "retryAttempts": 0, "published": published,
            "time": clock.now(),
        }  # fmt: skip
        named = {"messageDeadLetterId": letter["deadLetterId"]}
        assert await letters(harness, owner, topicArn=arn) == [letter]
        assert await letters(harness, owner, topicArn=other) == await letters(harness, owner, topicArn="x") == []
        found = await ours(harness, owner, "GetMessageDeadLetter", **named)
        body = endpoint.of("/hook")[0].json
        sent = ("Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "MessageAttributes")
        assert json.loads(found["notification"]) == {name: body[name] for name in sent}
        # Its message is gone from those that wait, and comes back with it.
        await Sweeper(harness.app.store, None, harness.app.expiring).sweep()
        await ours(harness, owner, "RedriveMessageDeadLetter", **named)
        again = await eventually(lambda: endpoint.of("/hook")[1:])
        assert [one.json["MessageId"] for one in again] == [id]
        assert await letters(harness, owner) == []
        assert (await refused(ours(harness, owner, "RedriveMessageDeadLetter", **named)))[0] == (
            "MessageDeadLetterNotFoundException"
        )


async def test_letters_are_the_subscribers_and_go_after_their_time(harness, owner, endpoint, clock):
    arn = await topic(harness, owner)
    made = await subscribed(harness, owner, arn, f"{endpoint.url}/404")
    async with working(harness):
        for text in ("a", "b"):
            await sns(harness, owner, "Publish", TopicArn=arn, Message=text)
        await eventually(
            lambda: harness.app.store.read(lambda conn: conn.execute(records.dead_letters.select()).all()[1:])
        )
    first, second = await letters(harness, owner)
    stranger = await harness.administrator(OTHER)
    assert await letters(harness, stranger) == []
    named = {"messageDeadLetterId": first["deadLetterId"]}
    assert (await refused(ours(harness, stranger, "DeleteMessageDeadLetter", **named)))[0] == (
        "MessageDeadLetterNotFoundException"
    )
    await ours(harness, owner, "DeleteMessageDeadLetter", **named)
    await sns(harness, owner, "Unsubscribe", SubscriptionArn=made)
    named = {"messageDeadLetterId": second["deadLetterId"]}
    assert (await refused(ours(harness, owner, "RedriveMessageDeadLetter", **named)))[0] == "SubscriptionGoneException"
    assert [one["deadLetterId"] for one in await letters(harness, owner)] == [second["deadLetterId"]]
    clock.advance(harness.app.settings.keep_dead_letters_ms + 1)
    await Sweeper(harness.app.store, None, harness.app.expiring).sweep()
    assert await letters(harness, owner) == []


@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
async def test_redrive_policies_name_a_queue(harness, owner, fifo):
    more = {"FifoTopic": "true"} if fifo else {}
    arn = await topic(harness, owner, "t.fifo" if fifo else "t", **more)
    made = await subscribed(harness, owner, arn, "http://a.test/")

    async def put(value):
        named = {"AttributeName": "RedrivePolicy", "AttributeValue": value}
        await sns(harness, owner, "SetSubscriptionAttributes", SubscriptionArn=made, **named)
        found = await sns(harness, owner, "GetSubscriptionAttributes", SubscriptionArn=made)
        return found["Attributes"].get("RedrivePolicy")

    other = "RedrivePolicy: deadLetterTargetArn is an invalid arn"
    cases = [
        ("{", "RedrivePolicy: failed to parse JSON."),
        ("[" * 100_000, "RedrivePolicy: failed to parse JSON."),
        ("[]", "RedrivePolicy: failed to parse JSON."),
        ('{"a":1}', "RedrivePolicy: Unknown attribute a"),
        ('{"deadLetterTargetArn":1}', other),
        ('{"deadLetterTargetArn":"x"}', other),
        ('{"deadLetterTargetArn":"arn:aws:sns:us-east-1:111111111111:x"}', other),
        ('{"deadLetterTargetArn":"arn:aws:sqs:::x"}', other),
    ]
    if fifo:
        wanted = "RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic."
        cases.append((REDRIVE, wanted))
    for value, said in cases:
        assert await refused(put(value)) == ("InvalidParameter", f"Invalid parameter: {said}")
    given = {"TopicArn": arn, "Protocol": "http", "Endpoint": "http://b.test/", "Attributes": {"RedrivePolicy": "{"}}
    assert await refused(sns(harness, owner, "Subscribe", **given)) == (
        "InvalidParameter",
        "Invalid parameter: Attributes Reason: RedrivePolicy: failed to parse JSON.",
    )
    good = REDRIVE.replace("dead", "dead.fifo").replace("dead.fifoLetter", "deadLetter") if fifo else REDRIVE
    assert await put(good) == good
    assert await put("") is None


async def test_the_page_of_a_topic_shows_its_last_deliveries_where_they_are_logged():
    place, role = Place(ACCOUNT, "us-east-1", "t"), {"HTTPFailureFeedbackRoleArn": "r"}
    asked = []

    def line(at, status, **delivery):
        said = {"destination": "http://a.test/", "providerResponse": "no way there", "attempts": 2, **delivery}
        return {"timestamp": at, "message": json.dumps({"status": status, "delivery": said})}

    async def allowed(service, operation, **input):
        asked.append((service, operation, input["logGroupName"]))
        if input["logGroupName"].endswith("/Failure"):
            # Whoever may write to the log group can write anything.
            texts = ("[]", '{"status":1}', '{"status":"FAILURE","delivery":{"destination":"x"}}', "[" * 10_000)
            foreign = [{"timestamp": 4, "message": text} for text in texts]
            return {"events": [*foreign, line(3, "FAILURE", statusCode=403), line(1, "FAILURE")]}
        return {"events": [line(2, "SUCCESS", statusCode=200)]}

    part = await pages._deliveries(SimpleNamespace(allowed=allowed), place, role)
    assert [(row.cells[0].at, *row.cells[1:]) for row in part.rows] == [
        (3, "http://a.test/", "Failed with status 403", 2),
        (2, "http://a.test/", "Delivered with status 200", 2),
        (1, "http://a.test/", "Failed: no way there", 2),
    ]
    group = f"sns/us-east-1/{ACCOUNT}/t"
    assert asked == [("logs", "FilterLogEvents", group), ("logs", "FilterLogEvents", f"{group}/Failure")]
    assert (await pages._deliveries(SimpleNamespace(), place, {})).none.startswith("Deliveries are not logged.")
