"""Log groups under keys of KMS: what they hold lies sealed in its files, and CloudWatch Logs reads it as long as the key lets it."""

import json
from types import SimpleNamespace

import penstock_identity_harness
import pytest
from penstock_identity_harness import ACCOUNT, OTHER, allow
from penstock_keys import kms, new_key, refused

import penstock.keys
import penstock.logs
from penstock.identity.operations import security_tokens  # noqa: F401 - sts
from penstock.logs.group_keys import OpenedKeys

GROUP = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:app"
REFUSAL = f"The specified KMS key does not exist or is not allowed to be used with Arn '{GROUP}'"
NAMES = {"logGroupName": "app", "logStreamName": "one"}
MINUTE = 60_000
ON_SQLITE = pytest.mark.parametrize(
    "any_url", ["sqlite"], indirect=True
)  # what it reads and writes is as in the first test


@pytest.fixture
async def harness(any_store, clock, tmp_path):
    components = (penstock.keys.component, penstock.logs.component)
    async with penstock_identity_harness.harness_on(any_store, clock, tmp_path, *components) as made:
        yield made
        for stop in made.app.stops:
            await stop()


@pytest.fixture
async def owner(harness):
    return await harness.administrator()


def policy(*actions, group=GROUP):
    """The policy of a key that its account administers, and CloudWatch Logs may use for a group."""
    service = {
        "Effect": "Allow",
        "Principal": {"Service": "logs.us-east-1.amazonaws.com"},
        "Action": [f"kms:{action}" for action in actions or ("Encrypt*", "Decrypt*", "GenerateDataKey*")],
        "Resource": "*",
        "Condition": {"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": group}},
    }
    account = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [account, service]})


async def logs(harness, by, operation, **input):
    return await harness.app.invoke(by, "logs", operation, input, region="us-east-1")


async def put(harness, by, *texts, token="", **more):
    now = harness.app.clock.now()
    events = [{"timestamp": now, "message": text} for text in texts]
    sequence = {"sequenceToken": token} if token else {}
    await logs(harness, by, "PutLogEvents", **NAMES, logEvents=events, **sequence, **more)


async def read(harness, by, **more):
    return [event["message"] for event in (await logs(harness, by, "GetLogEvents", **NAMES, **more))["events"]]


async def search(harness, by, pattern=""):
    found = await logs(harness, by, "FilterLogEvents", logGroupName="app", filterPattern=pattern)
    return [event["message"] for event in found["events"]]


def on_disk(tmp_path):
    return b"".join(path.read_bytes() for path in tmp_path.rglob("*.log"))


async def test_what_is_written_under_a_key_is_read_while_the_key_lets_logs_decrypt(harness, owner, tmp_path):
    key = await new_key(harness, owner, Policy=policy())
    await logs(harness, owner, "CreateLogGroup", logGroupName="app")
    await logs(harness, owner, "CreateLogStream", **NAMES)
    await put(harness, owner, "plain 1")
    await logs(harness, owner, "AssociateKmsKey", logGroupName="app", kmsKeyId=key)
    (group,) = (await logs(harness, owner, "DescribeLogGroups"))["logGroups"]
    assert group["kmsKeyId"] == key
    for number in range(2):  # the second comes again, as after a lost answer
        await put(harness, owner, f"sealed {number}", token=f"t{number}")
    await put(harness, owner, "sealed 1", token="t1")
    other = await new_key(harness, owner, Policy=policy())
    await logs(harness, owner, "AssociateKmsKey", resourceIdentifier=GROUP, kmsKeyId=other)
    await put(harness, owner, "sealed 2", "sealed 3")
    await logs(harness, owner, "DisassociateKmsKey", logGroupName="app")
    (group,) = (await logs(harness, owner, "DescribeLogGroups"))["logGroups"]
    assert group.get("kmsKeyId") is None
    await put(harness, owner, "plain 2")
    everything = ["plain 1", "sealed 0", "sealed 1", "sealed 2", "sealed 3", "plain 2"]
    assert await read(harness, owner, startFromHead=True) == await read(harness, owner) == everything
    first = await logs(harness, owner, "GetLogEvents", **NAMES, startFromHead=True, limit=4)
    rest = await logs(harness, owner, "GetLogEvents", **NAMES, nextToken=first["nextForwardToken"])
    assert [event["message"] for one in (first, rest) for event in one["events"]] == everything
    assert await search(harness, owner, "sealed") == everything[1:5]
    content = on_disk(tmp_path)
    assert b"plain 2" in content
    assert b"sealed" not in content
    # The key is asked again after a minute: from then on there is nothing of what it has sealed.
    await kms(harness, owner, "DisableKey", KeyId=key)
    harness.app.clock.advance(MINUTE)
    for reading in (read(harness, owner), search(harness, owner)):
        assert await refused(reading) == ("AccessDeniedException", REFUSAL)
    await kms(harness, owner, "EnableKey", KeyId=key)
    assert await read(harness, owner) == everything
    await kms(harness, owner, "PutKeyPolicy", KeyId=other, Policy=policy("GenerateDataKey"))
    harness.app.clock.advance(MINUTE)
    assert await refused(read(harness, owner)) == ("AccessDeniedException", REFUSAL)
    assert (await logs(harness, owner, "GetLogEvents", **NAMES, startFromHead=True, limit=2))["events"]


@ON_SQLITE
async def test_what_cannot_be_sealed_is_not_written(harness, owner, tmp_path, monkeypatch):
    key = await new_key(harness, owner, Policy=policy())
    await logs(harness, owner, "CreateLogGroup", logGroupName="app", kmsKeyId=key)
    await logs(harness, owner, "CreateLogStream", **NAMES)
    await put(harness, owner, "sealed")
    await kms(harness, owner, "DisableKey", KeyId=key)
    harness.app.clock.advance(MINUTE)
    assert await refused(put(harness, owner, "too late")) == ("InvalidParameterException", REFUSAL)
    await kms(harness, owner, "EnableKey", KeyId=key)
    assert await search(harness, owner) == ["sealed"]
    await logs(harness, owner, "DeleteLogGroup", logGroupName="app")
    await logs(harness, owner, "CreateLogGroup", logGroupName="app")
    await logs(harness, owner, "CreateLogStream", **NAMES)
    await put(harness, owner, "plain")
    assert b"plain" in on_disk(tmp_path)
    await logs(harness, owner, "AssociateKmsKey", logGroupName="app", kmsKeyId=key)
    # The group is deleted at this moment.
    monkeypatch.setattr(penstock.logs.records, "data_keys_of", lambda *_: {})
    assert (await refused(put(harness, owner, "too late")))[0] == "ResourceNotFoundException"


@ON_SQLITE
async def test_keys_that_logs_may_not_use_for_the_group(harness, owner):
    await logs(harness, owner, "CreateLogGroup", logGroupName="app")
    eve = await harness.user("eve", allow("kms:*"), account=OTHER)
    foreign = await new_key(harness, eve)
    for key in (
        await new_key(harness, owner),  # whose policy does not name the service
        await new_key(harness, owner, Policy=policy(group=f"{GROUP}-2")),
        await new_key(harness, owner, Policy=policy("GenerateDataKey*")),
        await new_key(harness, owner, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY"),
        foreign,
        f"arn:aws:kms:us-east-1:{ACCOUNT}:key/11111111-1111-1111-1111-111111111111",
    ):
        for operation, name in (("AssociateKmsKey", "app"), ("CreateLogGroup", "new")):
            code, message = await refused(logs(harness, owner, operation, logGroupName=name, kmsKeyId=key))
            assert (code, message) == ("AccessDeniedException", REFUSAL.replace(":app", f":{name}")), key
    disabled = await new_key(harness, owner, Policy=policy())
    await kms(harness, owner, "DisableKey", KeyId=disabled)
    asked = logs(harness, owner, "AssociateKmsKey", logGroupName="app", kmsKeyId=disabled)
    assert await refused(asked) == ("InvalidParameterException", REFUSAL)
    groups = (await logs(harness, owner, "DescribeLogGroups"))["logGroups"]
    assert [(one["logGroupName"], one.get("kmsKeyId")) for one in groups] == [("app", None)]
    for wrong in (
        {},
        {"logGroupName": "app", "resourceIdentifier": GROUP},
        {"resourceIdentifier": f"{GROUP[:-14]}query-result:*"},
    ):
        asked = logs(harness, owner, "AssociateKmsKey", **wrong, kmsKeyId=foreign)
        assert (await refused(asked))[0] == "InvalidParameterException"
    for operation, more in (("AssociateKmsKey", {"kmsKeyId": foreign}), ("DisassociateKmsKey", {})):
        asked = logs(harness, owner, operation, logGroupName="none", **more)
        assert (await refused(asked))[0] == "ResourceNotFoundException"


@ON_SQLITE
async def test_a_group_has_so_many_keys_at_most(harness, owner, monkeypatch):
    monkeypatch.setattr("penstock.logs.operations.groups._KEYS", 2)
    await logs(harness, owner, "CreateLogGroup", logGroupName="app")
    keys = [await new_key(harness, owner, Policy=policy()) for _ in range(3)]
    for key in (keys[0], keys[0], keys[1]):
        await logs(harness, owner, "AssociateKmsKey", logGroupName="app", kmsKeyId=key)
    asked = logs(harness, owner, "AssociateKmsKey", logGroupName="app", kmsKeyId=keys[2])
    assert (await refused(asked))[0] == "InvalidParameterException"


async def test_an_opened_key_is_kept_for_a_minute_and_so_many_in_memory(monkeypatch):
    """A build that writes many times a second does not ask KMS each time."""
    opened, kept = [], {"a": b"a"}

    async def invoke(_session, _service, _operation, input, **_more):
        opened.append(input["CiphertextBlob"])
        return {"Plaintext": input["CiphertextBlob"] * 2}

    async def read(_records, *_group):
        return dict(kept)

    def call(now):
        app = SimpleNamespace(invoke=invoke, store=SimpleNamespace(read=read))
        return SimpleNamespace(
            app=app, now=now, account="1" * 12, region="us-east-1", arn=lambda *parts: ":".join(parts)
        )

    keys = OpenedKeys()
    for now, asked in ((0, 1), (59_999, 1), (60_000, 2), (119_999, 2)):
        assert await keys.to_read(call(now), "g") == {"a": b"aa".hex()}
        assert len(opened) == asked
    monkeypatch.setattr("penstock.logs.group_keys._MOST", 2)
    keys = OpenedKeys()
    kept["b"] = b"b"
    for _ in range(2):
        opened.clear()
        await keys.to_read(call(0), "g")
    assert opened == []
    kept["c"] = b"c"
    for expected in (1, 3):  # the third made room by dropping the others
        opened.clear()
        await keys.to_read(call(0), "g")
        assert len(opened) == expected


@ON_SQLITE
async def test_streams_are_found_and_deleted_by_their_names(harness, owner):
    await logs(harness, owner, "CreateLogGroup", logGroupName="app")
    for name in ("one", "two"):
        await logs(harness, owner, "CreateLogStream", logGroupName="app", logStreamName=name)
        at = {"logGroupName": "app", "logStreamName": name}
        await logs(harness, owner, "PutLogEvents", **at, logEvents=[{"timestamp": harness.app.clock.now(), "message": name}])  # fmt: skip

    async def streams(**more):
        found = await logs(harness, owner, "DescribeLogStreams", logGroupName="app", **more)
        return [one["logStreamName"] for one in found["logStreams"]]

    assert await streams(orderBy="LastEventTime") == ["one", "two"]
    assert await streams(logStreamNamePrefix="t") == ["two"]
    both = streams(orderBy="LastEventTime", logStreamNamePrefix="t")
    assert await refused(both) == (
        "InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix.",
    )  # fmt: skip
    for names, found in ((["one", "two"], ["one", "two"]), (["two", "two"], ["two"]), (["one", "none"], None)):
        asked = logs(harness, owner, "FilterLogEvents", logGroupName="app", logStreamNames=names)
        if found is None:
            assert (await refused(asked))[0] == "ResourceNotFoundException"
        else:
            assert [event["message"] for event in (await asked)["events"]] == found
    seen, more = [], {}
    for _ in range(3):  # whether there is more shows in the page that has it no more
        page = await logs(harness, owner, "FilterLogEvents", logGroupName="app", limit=1, **more)
        seen += [event["message"] for event in page["events"]]
        if "nextToken" not in page:
            break
        more = {"nextToken": page["nextToken"]}
    assert (seen, "nextToken" in page) == (["one", "two"], False)
    await logs(harness, owner, "DeleteLogStream", logGroupName="app", logStreamName="one")
    assert await streams() == ["two"]
    results = "arn:aws:logs:us-east-1:111111111111:query-result:*"
    code, message = await refused(logs(harness, owner, "AssociateKmsKey", resourceIdentifier=results, kmsKeyId="k"))
    assert (code, message.startswith("Keys for results of queries are not served")) == (
        "InvalidParameterException", True,
    )  # fmt: skip


@ON_SQLITE
async def test_groups_are_protected_tagged_and_named(harness, owner):
    await logs(harness, owner, "CreateLogGroup", logGroupName="app")
    for protected in (True, False):
        await logs(harness, owner, "PutLogGroupDeletionProtection", logGroupIdentifier="app", deletionProtectionEnabled=protected)  # fmt: skip
        (group,) = (await logs(harness, owner, "DescribeLogGroups"))["logGroups"]
        assert group["deletionProtectionEnabled"] is protected
        if protected:
            code, message = await refused(logs(harness, owner, "DeleteLogGroup", logGroupName="app"))
            assert (code, "is protected from deletion" in message) == ("ValidationException", True)
    await logs(harness, owner, "TagResource", resourceArn=GROUP, tags={"a": "b", "c": "d"})
    await logs(harness, owner, "UntagResource", resourceArn=GROUP, tagKeys=["c", "e"])
    assert (await logs(harness, owner, "ListTagsForResource", resourceArn=GROUP))["tags"] == {"a": "b"}
    for other in ("logGroupNamePrefix", "logGroupNamePattern", "logGroupClass"):
        asked = logs(harness, owner, "DescribeLogGroups", logGroupIdentifiers=["app"], **{other: "STANDARD"})
        assert await refused(asked) == (
            "InvalidParameterException", "logGroupIdentifiers cannot be combined with other filters.",
        )  # fmt: skip
    await logs(harness, owner, "DeleteLogGroup", logGroupName="app")
    assert (await logs(harness, owner, "DescribeLogGroups"))["logGroups"] == []
