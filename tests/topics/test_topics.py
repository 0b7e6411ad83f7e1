"""Topics in process: made, described, changed, deleted; who may publish by their policies; their tags."""

import json

from penstock_identity_harness import ACCOUNT, OTHER, allow, document, trusting
from penstock_keys import refused

from penstock.topics import retries
from penstock.topics.operations import topics
from penstock.wire.call import service_session

REGION = "us-east-1"
ARN = f"arn:aws:sns:{REGION}:{ACCOUNT}:deploys"


async def sns(harness, by, operation, **input):
    return await harness.app.invoke(by, "sns", operation, input, region=REGION)


async def attributes(harness, by, arn=ARN):
    return (await sns(harness, by, "GetTopicAttributes", TopicArn=arn))["Attributes"]


async def set_one(harness, by, name, value, arn=ARN):
    await sns(harness, by, "SetTopicAttributes", TopicArn=arn, AttributeName=name, AttributeValue=value)


async def test_a_topic_is_made_once_and_says_what_it_is(either):
    harness, owner = either, await either.administrator()
    assert await sns(harness, owner, "CreateTopic", Name="deploys") == {"TopicArn": ARN}
    assert await sns(harness, owner, "CreateTopic", Name="deploys") == {"TopicArn": ARN}
    policy = {
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [
            {
                "Sid": "__default_statement_ID",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": [
                    "SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission", "SNS:RemovePermission", "SNS:DeleteTopic",
                    "SNS:Subscribe", "SNS:ListSubscriptionsByTopic", "SNS:Publish",
                ],
                "Resource": ARN,
                "Condition": {"StringEquals": {"AWS:SourceOwner": ACCOUNT}},
            }
        ],
    }  # fmt: skip
    found = await attributes(harness, owner)
    assert json.loads(found.pop("Policy")) == policy
    assert json.loads(found.pop("EffectiveDeliveryPolicy")) == {
        "http": {
            "defaultHealthyRetryPolicy": {
                "minDelayTarget": 20, "maxDelayTarget": 20, "numRetries": 3, "numMaxDelayRetries": 0, "numNoDelayRetries": 0,
                "numMinDelayRetries": 0, "backoffFunction": "linear",
            },
            "disableSubscriptionOverrides": False,
            "defaultRequestPolicy": {"headerContentType": "text/plain; charset=UTF-8"},
        }
    }  # fmt: skip
    counts = {f"Subscriptions{state}": "0" for state in ("Confirmed", "Pending", "Deleted")}
    assert found == {"TopicArn": ARN, "Owner": ACCOUNT, "DisplayName": "", **counts}
    assert (await sns(harness, owner, "ListTopics"))["Topics"] == [{"TopicArn": ARN}]
    await sns(harness, owner, "DeleteTopic", TopicArn=ARN)
    await sns(harness, owner, "DeleteTopic", TopicArn=ARN)
    assert (await sns(harness, owner, "ListTopics"))["Topics"] == []
    assert await refused(attributes(harness, owner)) == ("NotFound", "Topic does not exist")


async def test_a_fifo_topic_has_attributes_of_its_own(harness, owner):
    made = await sns(
        harness, owner, "CreateTopic", Name="a.fifo", Attributes={"FifoTopic": "true", "FifoThroughputScope": "Topic"}
    )
    found = await attributes(harness, owner, made["TopicArn"])
    assert {key: value for key, value in found.items() if "Fifo" in key or "Content" in key} == {
        "FifoTopic": "true",
        "ContentBasedDeduplication": "false",
        "FifoThroughputScope": "Topic",
    }
    await set_one(harness, owner, "ContentBasedDeduplication", "true", made["TopicArn"])
    assert (await attributes(harness, owner, made["TopicArn"]))["ContentBasedDeduplication"] == "true"


_BAD_TOPICS = [
        ({"Name": ""}, "Topic Name"),
        ({"Name": "a b"}, "Topic Name"),
        ({"Name": "a" * 257}, "Topic Name"),
        ({"Name": "a.fifo"}, "Topic Name"),
        ({"Name": "a", "Attributes": {"FifoTopic": "true"}}, "Topic Name"),
        ({"Name": f"{'a' * 252}.fifo", "Attributes": {"FifoTopic": "true"}}, "Topic Name"),
        (
            {"Name": "a", "Attributes": {"FifoTopic": "yes"}},
            "Attributes Reason: FifoTopic: Invalid value [yes]. Must be true or false.",
        ),
        (
            {"Name": "a", "Attributes": {"ContentBasedDeduplication": "true"}},
            "Attributes Reason: Unknown attribute ContentBasedDeduplication",
        ),
        ({"Name": "a", "Attributes": {"Colour": "red"}}, "Attributes Reason: Unknown attribute Colour"),
        (
            {"Name": "a", "Attributes": {"SignatureVersion": "3"}},
            "Attributes Reason: SignatureVersion Reason: Invalid value [3]. Must be 1 or 2.",
        ),
        ({"Name": "a", "Tags": [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]}, "Duplicated keys are not allowed."),
    ]  # fmt: skip


async def test_a_bad_topic_is_refused(harness, owner):
    for input, message in _BAD_TOPICS:
        code, said = await refused(sns(harness, owner, "CreateTopic", **input))
        assert (code, said) == ("InvalidParameter", f"Invalid parameter: {message}")


async def test_what_a_topic_has_is_not_changed_by_making_it_again(harness, owner, monkeypatch):
    tags, name = [{"Key": "team", "Value": "a"}], {"Attributes": {"DisplayName": "Deploys"}}
    await sns(harness, owner, "CreateTopic", Name="deploys", Tags=tags, **name)
    await sns(harness, owner, "CreateTopic", Name="deploys", Tags=tags, **name)
    for more, what in (
        ({"Attributes": {"DisplayName": "Other"}}, "Attributes Reason: Topic already exists with different attributes"),
        ({"Tags": []}, "Tags Reason: Topic already exists with different tags"),
    ):
        with_code = await refused(sns(harness, owner, "CreateTopic", Name="deploys", **more))
        assert with_code == ("InvalidParameter", f"Invalid parameter: {what}")
    monkeypatch.setattr(topics, "_MAX_TOPICS", 1)
    assert (await refused(sns(harness, owner, "CreateTopic", Name="more")))[0] == "TopicLimitExceeded"


async def test_attributes_are_set_one_by_one(harness, owner):
    await sns(harness, owner, "CreateTopic", Name="deploys")
    policy = {"http": {"defaultHealthyRetryPolicy": {"numRetries": 5}}}
    for name, value in (
        ("DisplayName", "D"),
        ("MaximumMessageSize", "1024"),
        ("DeliveryPolicy", json.dumps(policy)),
        ("SQSSuccessFeedbackSampleRate", "100"),
        ("KmsMasterKeyId", "alias/aws/sns"),
    ):
        await set_one(harness, owner, name, value)
        assert (await attributes(harness, owner))[name] == value
    effective = json.loads((await attributes(harness, owner))["EffectiveDeliveryPolicy"])
    assert effective["http"]["defaultHealthyRetryPolicy"]["numRetries"] == 5
    await set_one(harness, owner, "DeliveryPolicy", "")
    assert "DeliveryPolicy" not in await attributes(harness, owner)
    for name, value in (
        ("Colour", "red"), ("FifoTopic", "true"), ("ContentBasedDeduplication", "true"), ("MaximumMessageSize", "1023"),
        ("MaximumMessageSize", "1048577"), ("MaximumMessageSize", "²"), ("DisplayName", "a\nb"), ("DisplayName", "a" * 101), ("TracingConfig", "Active"),
        ("HTTPSuccessFeedbackRoleArn", "arn:aws:iam::1:role/r"), ("HTTPSuccessFeedbackSampleRate", "101"), ("HTTPSuccessFeedbackSampleRate", "1.5"),
        ("XSuccessFeedbackRoleArn", f"arn:aws:iam::{ACCOUNT}:role/r"), ("KmsMasterKeyId", "a b"),
    ):  # fmt: skip
        code, said = await refused(set_one(harness, owner, name, value))
        assert code == "InvalidParameter", (name, value)
        assert said.startswith("Invalid parameter: "), (name, value)


async def test_who_sets_a_role_may_pass_it(harness, owner):
    role = f"arn:aws:iam::{ACCOUNT}:role/log"
    await harness.role("log", trusting(Service="sns.amazonaws.com"))
    setter = await harness.user("setter", document({"Effect": "Allow", "Action": "sns:*", "Resource": "*"}))
    await sns(harness, owner, "CreateTopic", Name="deploys")
    for operation, given in (
        (
            "SetTopicAttributes",
            {"TopicArn": ARN, "AttributeName": "HTTPFailureFeedbackRoleArn", "AttributeValue": role},
        ),
        ("CreateTopic", {"Name": "other", "Attributes": {"HTTPSuccessFeedbackRoleArn": role}}),
    ):
        _, said = await refused(sns(harness, setter, operation, **given))
        assert "is not authorized to perform: iam:PassRole on resource" in said
        await sns(harness, owner, operation, **given)
    assert (await attributes(harness, owner))["HTTPFailureFeedbackRoleArn"] == role
    await set_one(harness, setter, "HTTPFailureFeedbackRoleArn", "")


_NO_TOPIC_OF_THE_REGION = [
    ("deploys", "TopicArn Reason: An ARN must have at least 6 elements, not 1"),
    (f"arn:aws:sns:eu-west-1:{ACCOUNT}:deploys", "TopicArn"),
    (f"arn:aws:sqs:{REGION}:{ACCOUNT}:deploys", "TopicArn"),
    (f"{ARN}:1", "TopicArn"),
]


async def test_what_is_no_topic_of_the_region_is_refused(harness, owner):
    for arn, message in _NO_TOPIC_OF_THE_REGION:
        for operation in ("GetTopicAttributes", "DeleteTopic"):
            assert await refused(sns(harness, owner, operation, TopicArn=arn)) == (
                "InvalidParameter",
                f"Invalid parameter: {message}",
            )


async def test_permissions_are_statements_of_the_policy(harness, owner):
    await sns(harness, owner, "CreateTopic", Name="deploys")
    given = {"TopicArn": ARN, "Label": "them", "AWSAccountId": [OTHER], "ActionName": ["GetTopicAttributes"]}
    stranger = await harness.administrator(OTHER)
    assert (await refused(attributes(harness, stranger)))[0] == "AccessDenied"
    await sns(harness, owner, "AddPermission", **given)
    added = json.loads((await attributes(harness, owner))["Policy"])["Statement"][1]
    assert added == {
        "Sid": "them",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"},
        "Action": "SNS:GetTopicAttributes",
        "Resource": ARN,
    }
    assert (await attributes(harness, stranger))["Owner"] == ACCOUNT
    for more, message in (
        ({}, "Statement already exists"),
        ({"Label": "b", "ActionName": ["Fly"]}, "Policy statement action out of service scope!"),
        ({"Label": "b", "AWSAccountId": ["1"]}, "AWSAccountId"),
    ):
        assert await refused(sns(harness, owner, "AddPermission", **given | more)) == (
            "InvalidParameter",
            f"Invalid parameter: {message}",
        )
    for _ in range(2):
        await sns(harness, owner, "RemovePermission", TopicArn=ARN, Label="them")
    assert (await refused(attributes(harness, stranger)))[0] == "AccessDenied"


async def test_a_policy_speaks_of_its_topic_only(harness, owner):
    await sns(harness, owner, "CreateTopic", Name="deploys")
    good = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": ARN,
    }
    await set_one(harness, owner, "Policy", document(good))
    assert json.loads((await attributes(harness, owner))["Policy"]) == json.loads(document(good))
    for bad, message in (
        (document(good | {"Action": "s3:GetObject"}), "Invalid parameter: Policy statement action out of service scope!"),
        (document(good | {"Resource": f"{ARN}2"}), f"Invalid parameter: Policy Reason: it speaks of {ARN}2. Write the ARN of the topic."),
        (document(good | {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/none"}}), "Invalid parameter: Policy Error: PrincipalNotFound"),
        ("{", "Invalid parameter: Policy Error: "),
        (" " * 30_721, "Invalid parameter: Policy Reason: it is larger than 30720 bytes"),
    ):  # fmt: skip
        code, said = await refused(set_one(harness, owner, "Policy", bad))
        assert code == "InvalidParameter"
        assert said.startswith(message)


async def test_services_publish_by_the_policy_and_alarms_by_the_first_one(harness, owner):
    """What publishing asks; the operation itself is tested where messages are."""
    await sns(harness, owner, "CreateTopic", Name="deploys")
    alarms = service_session("cloudwatch.amazonaws.com", ACCOUNT, f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:a")
    theirs = service_session("cloudwatch.amazonaws.com", OTHER, f"arn:aws:cloudwatch:{REGION}:{OTHER}:alarm:a")
    rules = service_session("events.amazonaws.com", ACCOUNT, f"arn:aws:events:{REGION}:{ACCOUNT}:rule/r")

    async def may(session, action="sns:Publish"):
        return await refused_or_none(harness.may(session, action, ARN))

    assert [await may(one) for one in (alarms, theirs, rules)] == [None, "AccessDenied", "AccessDenied"]
    assert await may(alarms, "sns:DeleteTopic") == "AccessDenied"
    condition = {"ArnEquals": {"aws:SourceArn": rules.source_arn}}
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": ARN,
    }
    await set_one(harness, owner, "Policy", document(statement | {"Condition": condition}))
    other_rule = service_session("events.amazonaws.com", ACCOUNT, f"{rules.source_arn}2")
    assert [await may(one) for one in (alarms, rules, other_rule)] == ["AccessDenied", None, "AccessDenied"]


async def refused_or_none(awaitable):
    try:
        await awaitable
    except Exception as error:  # noqa: BLE001 - which one is what the test asks
        return type(error).__name__
    return None


async def test_tags_are_added_removed_and_asked_of_policies(harness, owner):
    await sns(harness, owner, "CreateTopic", Name="deploys", Tags=[{"Key": "team", "Value": "a"}])
    reader = await harness.user(
        "reader",
        document(
            {"Effect": "Allow", "Action": "sns:GetTopicAttributes", "Resource": "*", "Condition": {"StringEquals": {"aws:ResourceTag/team": "b"}}}
        ),
    )  # fmt: skip
    assert (await refused(attributes(harness, reader)))[0] == "AccessDenied"
    await sns(
        harness, owner, "TagResource", ResourceArn=ARN, Tags=[{"Key": "team", "Value": "b"}, {"Key": "x", "Value": ""}]
    )
    assert (await attributes(harness, reader))["TopicArn"] == ARN
    await sns(harness, owner, "UntagResource", ResourceArn=ARN, TagKeys=["x", "y"])
    assert await sns(harness, owner, "ListTagsForResource", ResourceArn=ARN) == {
        "Tags": [{"Key": "team", "Value": "b"}]
    }
    for operation, more in (
        ("ListTagsForResource", {}),
        ("TagResource", {"Tags": []}),
        ("UntagResource", {"TagKeys": []}),
    ):
        assert await refused(sns(harness, owner, operation, ResourceArn=f"{ARN}2", **more)) == (
            "ResourceNotFound",
            "Resource does not exist",
        )
    maker = await harness.user("maker", allow("sns:CreateTopic"))
    await sns(harness, maker, "CreateTopic", Name="plain")
    tagged = sns(harness, maker, "CreateTopic", Name="tagged", Tags=[{"Key": "a", "Value": "b"}])
    assert (await refused(tagged))[0] == "AccessDenied"


async def test_topics_come_a_page_at_a_time(harness, owner):
    for number in range(101):
        await sns(harness, owner, "CreateTopic", Name=f"t{number:03}")
    first = await sns(harness, owner, "ListTopics")
    rest = await sns(harness, owner, "ListTopics", NextToken=first["NextToken"])
    names = [one["TopicArn"].rpartition(":")[2] for page in (first, rest) for one in page["Topics"]]
    assert (len(first["Topics"]), names, "NextToken" in rest) == (100, [f"t{n:03}" for n in range(101)], False)
    assert (await refused(sns(harness, owner, "ListTopics", NextToken="x")))[1] == "Invalid parameter: NextToken"


def pauses(**policy):
    whole = retries.effective(json.dumps({"http": {"defaultHealthyRetryPolicy": policy}}))["http"][
        "defaultHealthyRetryPolicy"
    ]
    found = []
    while (pause := retries.pause_s(whole, len(found) + 1)) is not None:
        found.append(round(pause, 1))
    return found


def test_retries_go_through_their_four_phases():
    assert pauses() == [20, 20, 20]
    phases = {"numRetries": 8, "numNoDelayRetries": 2, "numMinDelayRetries": 1, "numMaxDelayRetries": 2}
    assert pauses(**phases, minDelayTarget=10, maxDelayTarget=30) == [0, 0, 10, 10, 20, 30, 30, 30]
    assert pauses(numRetries=3, minDelayTarget=0 + 1, maxDelayTarget=101, backoffFunction="geometric") == [1, 26, 101]
    assert pauses(numRetries=3, minDelayTarget=1, maxDelayTarget=101, backoffFunction="arithmetic") == [1, 38.5, 101]
    assert pauses(numRetries=3, minDelayTarget=1, maxDelayTarget=101, backoffFunction="exponential") == [1, 12.9, 101]
    mail = [retries.mail_pause_s(failures) for failures in range(1, 52)]
    assert (mail[:3], mail[11:13], mail[-2:]) == ([10, 10, 10], [600, 600], [600, None])


_NO_DELIVERY_POLICIES = [
        "{", "[]", '"x"', '{"x":1}', '{"http":1}', '{"http":{"y":1}}', '{"http":{"disableSubscriptionOverrides":"no"}}',
        '{"http":{"defaultThrottlePolicy":{"maxReceivesPerSecond":1}}}',
        *(
            '{"http":{"defaultHealthyRetryPolicy":' + one + "}}"
            for one in (
                "[]", '{"z":1}', '{"numRetries":101}', '{"numRetries":-1}', '{"numRetries":true}', '{"numRetries":1.5}', '{"minDelayTarget":0}',
                '{"minDelayTarget":21}', '{"backoffFunction":"x"}', '{"numNoDelayRetries":4}', '{"numRetries":100,"minDelayTarget":37,"maxDelayTarget":37}',
            )
        ),
        *('{"http":{"defaultRequestPolicy":' + one + "}}" for one in ('{"headerContentType":"a\\r\\nX: y"}', '{"headerContentType":"text/plain\\r\\n"}', '{"headerContentType":1}', "[]", '{"h":1}')),
    ]  # fmt: skip


async def test_what_is_no_delivery_policy_is_refused(harness, owner):
    await sns(harness, owner, "CreateTopic", Name="deploys")
    for policy in _NO_DELIVERY_POLICIES:
        code, said = await refused(set_one(harness, owner, "DeliveryPolicy", policy))
        assert (code, said.startswith("Invalid parameter: DeliveryPolicy Reason: ")) == ("InvalidParameter", True)
