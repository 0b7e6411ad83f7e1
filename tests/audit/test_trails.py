"""Trails: what was recorded lies in their buckets, each record once, and nobody's who has no policy for it."""

import asyncio
import gzip
import json
from types import SimpleNamespace

import botocore.exceptions
import penstock_identity_harness
import pytest
import sqlalchemy as sa
from penstock_identity_harness import ACCOUNT, OTHER, allow
from penstock_keys import refused
from penstock_trails import lines_of, move, record

import penstock.audit
import penstock.keys
import penstock.objects
from penstock.audit import delivery, trail_rows, trail_rules
from penstock.audit.records import positions
from penstock.fleet import MODEL
from penstock.store.records import jobs
from penstock.store.work import Retry
from penstock.wire.services import Service

ARN = f"arn:aws:cloudtrail:us-east-1:{ACCOUNT}:trail/all"
TRAIL = {"Name": "all", "S3BucketName": "records", "S3KeyPrefix": "p"}


def lets(*, arn: str = ARN, bucket: str = "records") -> str:
    """The policy that AWS's guide gives a trail's bucket."""
    who = {"Principal": {"Service": "cloudtrail.amazonaws.com"}, "Effect": "Allow"}
    source = {"aws:SourceArn": arn}
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {**who, "Action": "s3:GetBucketAcl", "Resource": f"arn:aws:s3:::{bucket}", "Condition": {"StringEquals": source}},
                {
                    **who,
                    "Action": "s3:PutObject",
                    "Resource": f"arn:aws:s3:::{bucket}/p/AWSLogs/{ACCOUNT}/*",
                    "Condition": {"StringEquals": {**source, "s3:x-amz-acl": "bucket-owner-full-control"}},
                },
            ],
        }
    )  # fmt: skip


@pytest.fixture
async def harness(any_store, clock, tmp_path):
    components = (penstock.keys.component, penstock.objects.component, penstock.audit.component)
    async with penstock_identity_harness.harness_on(any_store, clock, tmp_path, *components) as made:
        made.app.services.add(Service("penstock", MODEL))  # whose GetObjectDigest belongs to objects
        yield made


@pytest.fixture
async def owner(harness):
    by = await harness.administrator()
    await s3(harness, by, "CreateBucket", Bucket="records")
    await s3(harness, by, "PutBucketPolicy", Bucket="records", Policy=lets())
    return by


async def s3(harness, by, operation, **input):
    return await harness.app.invoke(by, "s3", operation, input, region="us-east-1")


async def call(harness, by, operation, **input):
    return await harness.app.invoke(by, "cloudtrail", operation, input, region="us-east-1")


async def record_some(harness, folder, found):
    """A chain with these records in the database; its name."""
    chain, lines = lines_of(folder, found)
    await harness.app.store.write(move, harness.app.sealer, chain, lines, size=3)
    return chain


async def deliver(harness):
    """The job of every trail."""
    rows = await harness.app.store.read(trail_rows.of_account, ACCOUNT, None, 100)
    for row in rows:
        with pytest.raises(Retry):
            await delivery.deliver(SimpleNamespace(app=harness.app), SimpleNamespace(payload={"trail": row.id}))


async def files(harness, by, bucket="records"):
    """{key: records}"""
    found = {}
    for one in (await s3(harness, by, "ListObjectsV2", Bucket=bucket)).get("Contents") or ():
        if one["Size"]:
            body = await (await s3(harness, by, "GetObject", Bucket=bucket, Key=one["Key"]))["Body"].read()
            found[one["Key"]] = json.loads(gzip.decompress(body))["Records"]
    return found


async def ids(harness, by):
    return sorted(one["eventID"] for records in (await files(harness, by)).values() for one in records)


def numbered(*numbers):
    return [f"{number:032x}" for number in numbers]


async def test_each_record_is_in_the_bucket_once_whatever_broke_off(harness, owner, clock, tmp_path, monkeypatch):
    await call(harness, owner, "CreateTrail", **TRAIL)
    early = [(clock.now(), record(0))]
    clock.advance(1000)
    await call(harness, owner, "StartLogging", Name="all")
    taken = [(clock.now() + number, record(number)) for number in range(1, 60)]
    foreign = [(clock.now(), record(900, recipientAccountId=OTHER)), (clock.now(), record(901, awsRegion="us-west-2"))]
    chain = await record_some(harness, tmp_path / "one", [*early, *taken[:40], *foreign])
    clock.advance(10_000)

    def dies(*_args, **_kwargs):
        raise RuntimeError("the process was killed")

    # It dies behind its first file, which nobody has noted. Then more is recorded, and the job runs again, twice.
    rows = await harness.app.store.read(trail_rows.of_account, ACCOUNT, None, 1)
    with monkeypatch.context() as patched, pytest.raises(RuntimeError):
        patched.setattr(trail_rows, "deliver", dies)
        await delivery.deliver(SimpleNamespace(app=harness.app), SimpleNamespace(payload={"trail": rows[0].id}))
    (key,) = await files(harness, owner)
    await record_some(harness, tmp_path / "two", taken[40:])
    for _ in range(2):
        await deliver(harness)
    assert key in await files(harness, owner)
    assert await ids(harness, owner) == numbered(*range(1, 60))
    assert chain not in key
    assert key.startswith(f"p/AWSLogs/{ACCOUNT}/CloudTrail/us-east-1/")
    status = await call(harness, owner, "GetTrailStatus", Name="all")
    assert (status["IsLogging"], status["LatestDeliveryTime"]) == (True, clock.now())
    assert "LatestDeliveryError" not in status


async def test_workers_that_hold_the_job_at_once_write_each_record_once(harness, owner, clock, tmp_path):
    """A lease that was lost is held by two for a while, and each process has a chain of its own."""
    await call(harness, owner, "CreateTrail", **TRAIL)
    await call(harness, owner, "StartLogging", Name="all")
    for process in range(3):
        numbers = range(30 * process, 30 * process + 30)
        found = [(clock.now() + number, record(number)) for number in numbers]
        await record_some(harness, tmp_path / str(process), found)
    clock.advance(10_000)
    await asyncio.gather(*(deliver(harness) for _ in range(4)))
    await deliver(harness)
    assert await ids(harness, owner) == numbered(*range(90))


async def test_no_record_is_lost_to_starts_and_stops(harness, owner, clock, tmp_path, monkeypatch):
    monkeypatch.setattr(trail_rules, "_MAX_PERIODS", 3)
    await call(harness, owner, "CreateTrail", **TRAIL)
    taken = []
    for number in range(8):
        await call(harness, owner, "StartLogging", Name="all")
        taken.append((clock.now() + 1, record(number)))
        clock.advance(10)
        await call(harness, owner, "StopLogging", Name="all")
        clock.advance(1000 + 100 * number)
    await record_some(harness, tmp_path / "one", taken)
    clock.advance(10_000)
    await deliver(harness)
    assert await ids(harness, owner) == numbered(*range(8))
    row = (await harness.app.store.read(trail_rows.of_account, ACCOUNT, None, 1))[0]
    assert len(row.periods) == 3


def test_of_too_many_periods_those_with_the_shortest_pause_become_one():
    periods = []
    for number in range(150):
        periods = trail_rules.stopped(
            trail_rules.started(periods, 1000 * number), 1000 * number + (990 if number == 7 else 500)
        )
    assert (len(periods), periods[-1]) == (100, [149_000, 149_500])
    assert [7000, 7990] not in periods
    assert all(
        any(begin <= 1000 * number and end >= 1000 * number + 500 for begin, end in periods) for number in range(150)
    )
    assert trail_rules.started([], 5) == trail_rules.started([[5, None]], 9) == [[5, None]]


async def test_a_bucket_of_another_account_by_its_policy(harness, owner, clock, tmp_path):
    theirs = await harness.administrator(OTHER)
    await s3(harness, theirs, "CreateBucket", Bucket="safe")
    trail = TRAIL | {"S3BucketName": "safe"}
    for policy in (None, lets(arn=ARN.replace("trail/all", "trail/other"), bucket="safe")):
        if policy is not None:
            await s3(harness, theirs, "PutBucketPolicy", Bucket="safe", Policy=policy)
        assert (await refused(call(harness, owner, "CreateTrail", **trail)))[0] == "InsufficientS3BucketPolicyException"
    await s3(harness, theirs, "PutBucketPolicy", Bucket="safe", Policy=lets(bucket="safe"))
    await call(harness, owner, "CreateTrail", **trail)
    await call(harness, owner, "StartLogging", Name="all")
    await record_some(harness, tmp_path / "one", [(clock.now() + number, record(number)) for number in range(5)])
    clock.advance(10_000)
    await deliver(harness)
    found = await files(harness, theirs, "safe")
    assert sorted(one["eventID"] for records in found.values() for one in records) == numbered(*range(5))
    assert (await refused(files(harness, owner, "safe")))[0] == "AccessDenied"
    # Who lets it no more has said so for the next file, and what waits is kept.
    await s3(harness, theirs, "DeleteBucketPolicy", Bucket="safe")
    await record_some(harness, tmp_path / "two", [(clock.now() + number, record(10 + number)) for number in range(5)])
    clock.advance(10_000)
    await deliver(harness)
    assert (await call(harness, owner, "GetTrailStatus", Name="all"))["LatestDeliveryError"] == "AccessDenied"
    await s3(harness, theirs, "PutBucketPolicy", Bucket="safe", Policy=lets(bucket="safe"))
    await deliver(harness)
    found = await files(harness, theirs, "safe")
    assert len([one for records in found.values() for one in records]) == 10


async def test_a_trail_has_one_job_which_a_start_brings_back(harness, owner):
    def alive(conn, state=None):
        if state is not None:
            conn.execute(jobs.update().where(jobs.c.kind == delivery.DELIVERY).values(state=state))
        where = (jobs.c.kind == delivery.DELIVERY, jobs.c.state == "ready")
        return conn.execute(sa.select(sa.func.count()).select_from(jobs).where(*where)).scalar_one()

    await call(harness, owner, "CreateTrail", **TRAIL)
    for _ in range(2):
        await call(harness, owner, "StartLogging", Name="all")
    assert await harness.app.store.read(alive) == 1
    assert await harness.app.store.write(alive, "dead") == 0
    await call(harness, owner, "StartLogging", Name="all")
    assert await harness.app.store.read(alive) == 1


async def test_what_a_trail_takes(harness, owner, clock, tmp_path):
    await call(harness, owner, "CreateTrail", **TRAIL, IncludeGlobalServiceEvents=False)
    selectors = [{"ReadWriteType": "WriteOnly", "ExcludeManagementEventSources": ["kms.amazonaws.com"]}]
    put = await call(harness, owner, "PutEventSelectors", TrailName=ARN, EventSelectors=selectors)
    assert put == await call(harness, owner, "GetEventSelectors", TrailName="all")
    assert put["EventSelectors"][0]["IncludeManagementEvents"] is True
    now = clock.now()
    await call(harness, owner, "StartLogging", Name="all")
    some = [
        (now, record(1)),
        (now, record(2)),  # reads
        (now, record(3, eventSource="kms.amazonaws.com")),
        (now, record(5, eventSource="iam.amazonaws.com")),
        (now + 5000, record(7)),  # while it is stopped
        (now + 10_000, record(9)),
    ]
    clock.advance(4000)
    await call(harness, owner, "StopLogging", Name="all")
    clock.advance(5000)
    await call(harness, owner, "StartLogging", Name="all")
    clock.advance(5000)
    await record_some(harness, tmp_path / "chain", some)
    await deliver(harness)
    assert await ids(harness, owner) == numbered(1, 9)
    await call(harness, owner, "UpdateTrail", Name="all", IncludeGlobalServiceEvents=True, IsMultiRegionTrail=True)
    more = [
        (clock.now(), record(11, awsRegion="us-west-2")),
        (clock.now(), record(13, eventSource="iam.amazonaws.com")),
    ]
    await record_some(harness, tmp_path / "more", more)
    clock.advance(1)
    await deliver(harness)
    assert await ids(harness, owner) == numbered(1, 9, 11, 13)
    assert sum("/CloudTrail/us-west-2/" in key for key in await files(harness, owner)) == 1


async def test_a_bucket_that_lets_nobody_write_is_said_and_loses_nothing(harness, owner, clock, tmp_path):
    bad = "InsufficientS3BucketPolicyException", "Incorrect S3 bucket policy is detected for bucket: records"
    for policy in (lets(arn=ARN + "s"), lets().replace("cloudtrail.", "codebuild."), lets().replace("/p/", "/")):
        await s3(harness, owner, "PutBucketPolicy", Bucket="records", Policy=policy)
        assert await refused(call(harness, owner, "CreateTrail", **TRAIL)) == bad
    await s3(harness, owner, "DeleteBucketPolicy", Bucket="records")
    assert await refused(call(harness, owner, "CreateTrail", **TRAIL)) == bad
    assert (await call(harness, owner, "ListTrails"))["Trails"] == []
    await s3(harness, owner, "PutBucketPolicy", Bucket="records", Policy=lets())
    await call(harness, owner, "CreateTrail", **TRAIL)
    await call(harness, owner, "StartLogging", Name="all")
    await record_some(harness, tmp_path / "chain", [(clock.now(), record(1))])
    clock.advance(1)
    await s3(harness, owner, "DeleteBucketPolicy", Bucket="records")
    await deliver(harness)
    status = await call(harness, owner, "GetTrailStatus", Name="all")
    assert (status["LatestDeliveryError"], status["LatestDeliveryAttemptSucceeded"]) == ("AccessDenied", "")
    await s3(harness, owner, "PutBucketPolicy", Bucket="records", Policy=lets())
    await deliver(harness)
    assert await ids(harness, owner) == numbered(1)
    assert "LatestDeliveryError" not in await call(harness, owner, "GetTrailStatus", Name="all")
    await call(harness, owner, "DeleteTrail", Name="all")
    assert await files(harness, owner)
    assert (await refused(call(harness, owner, "GetTrail", Name="all"))) == (
        "TrailNotFoundException",
        f"Unknown trail: all for the user: {ACCOUNT}",
    )


async def test_files_under_a_key_that_lets_cloudtrail_use_it(harness, owner, clock, tmp_path):
    async def kms(operation, **input):
        return await harness.app.invoke(owner, "kms", operation, input, region="us-east-1")

    key = (await kms("CreateKey"))["KeyMetadata"]["Arn"]
    code, _ = await refused(call(harness, owner, "CreateTrail", **TRAIL, KmsKeyId=key))
    assert code == "InsufficientEncryptionPolicyException"
    policy = json.loads((await kms("GetKeyPolicy", KeyId=key, PolicyName="default"))["Policy"])
    policy["Statement"].append(
        {
            "Effect": "Allow",
            "Principal": {"Service": "cloudtrail.amazonaws.com"},
            "Action": "kms:GenerateDataKey*",
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:SourceArn": ARN}},
        }
    )
    await kms("PutKeyPolicy", KeyId=key, PolicyName="default", Policy=json.dumps(policy))
    assert (await call(harness, owner, "CreateTrail", **TRAIL, KmsKeyId=key))["KmsKeyId"] == key
    await call(harness, owner, "StartLogging", Name="all")
    await record_some(harness, tmp_path / "chain", [(clock.now(), record(1))])
    clock.advance(1)
    await deliver(harness)
    (name,) = await files(harness, owner)
    reader = await harness.user("reader", allow("s3:*"))
    assert (await s3(harness, owner, "HeadObject", Bucket="records", Key=name))["SSEKMSKeyId"] == key
    assert (await refused(s3(harness, reader, "GetObject", Bucket="records", Key=name)))[0] == "AccessDenied"


async def test_which_trails_are_described(harness, owner, monkeypatch):
    """A trail of all regions is seen from the others, unless shadows are left out or a region has one of its name."""
    monkeypatch.setattr(type(harness.app.settings), "all_regions", lambda _: ("us-east-1", "eu-west-1", "us-west-2"))
    for name, region, wide in (("all", "eu-west-1", False), ("all", "us-east-1", True), ("one", "us-east-1", False)):
        arn = f"arn:aws:cloudtrail:{region}:{ACCOUNT}:trail/{name}"
        await s3(harness, owner, "PutBucketPolicy", Bucket="records", Policy=lets(arn=arn))
        given = TRAIL | {"Name": name, "IsMultiRegionTrail": wide}
        await harness.app.invoke(owner, "cloudtrail", "CreateTrail", given, region=region)

    async def described(region, **input):
        found = await harness.app.invoke(owner, "cloudtrail", "DescribeTrails", input, region=region)
        return [(one["Name"], one["HomeRegion"]) for one in found["trailList"]]

    home, one, abroad = ("all", "us-east-1"), ("one", "us-east-1"), ("all", "eu-west-1")
    for region, input, found in (
        ("us-east-1", {}, [home, one]), ("eu-west-1", {}, [abroad, home]), ("us-west-2", {}, [home]),
        ("us-west-2", {"includeShadowTrails": False}, []), ("us-east-1", {"includeShadowTrails": False}, [home, one]),
        ("us-west-2", {"trailNameList": ["all", "one", "none"]}, [home]), ("eu-west-1", {"trailNameList": ["all"]}, [abroad]),
        ("us-west-2", {"trailNameList": ["all"], "includeShadowTrails": False}, []),
        ("us-east-1", {"trailNameList": ["one", "all", "one"]}, [home, one]),
        ("us-east-1", {"trailNameList": [ARN.replace(ACCOUNT, OTHER)]}, []), ("us-west-2", {"trailNameList": [ARN]}, [home]),
    ):  # fmt: skip
        assert await described(region, **input) == found, (region, input)
    listed = (await call(harness, owner, "ListTrails"))["Trails"]
    assert [(one["Name"], one["HomeRegion"]) for one in listed] == [abroad, home, one]


async def test_nothing_is_begun_for_a_trail_before_its_time(harness, owner, clock, tmp_path):
    await call(harness, owner, "CreateTrail", **TRAIL)
    (row,) = await harness.app.store.read(trail_rows.of_account, ACCOUNT, None, 100)
    now = clock.now()
    chain = await record_some(harness, tmp_path / "one", [(now + number, record(number)) for number in range(7)])

    async def part(before):
        return await harness.app.store.write(trail_rows.next_part, row.id, before)

    assert [await part(before) for before in (now, now + 2)] == [None, None]
    first = await part(now + 3)  # blocks of three lines
    assert first == trail_rows.Part(chain, 0, 3) == await part(now + 100)  # which is begun, and so is repeated
    await harness.app.store.write(trail_rows.deliver, row.id, first, now, written=True)
    assert await part(now + 3) is None
    policy = lets(arn=ARN.replace("/all", "/*")).replace("StringEquals", "StringLike")
    await s3(harness, owner, "PutBucketPolicy", Bucket="records", Policy=policy)
    await call(harness, owner, "CreateTrail", **TRAIL | {"Name": "two"})
    await call(harness, owner, "DeleteTrail", Name="two")  # which takes nothing of the other along
    known = await harness.app.store.read(lambda conn: conn.execute(sa.select(positions.c.trail)).scalars().all())
    assert set(known) == {row.id}
    assert await part(now + 100) == trail_rows.Part(chain, 3, 7)
    assert await harness.app.store.write(trail_rows.next_part, "none", now + 100) is None


async def test_trails_that_are_not_made(harness, owner):
    for more, code in (
        ({"Name": "ab"}, "InvalidTrailNameException"),
        ({"Name": "a" * 129}, "InvalidTrailNameException"),
        ({"Name": "a b c"}, "InvalidTrailNameException"),
        ({"Name": "-abc"}, "InvalidTrailNameException"),
        ({"Name": "10.0.0.1"}, "InvalidTrailNameException"),
        ({"S3BucketName": "none-of-that-name"}, "S3BucketDoesNotExistException"),
        ({"S3BucketName": "No_Bucket"}, "S3BucketDoesNotExistException"),
        ({"S3KeyPrefix": "x" * 201}, "InvalidS3PrefixException"),
        ({"SnsTopicName": "t"}, "UnsupportedOperationException"),
        ({"CloudWatchLogsLogGroupArn": "arn"}, "UnsupportedOperationException"),
        ({"CloudWatchLogsRoleArn": "arn"}, "UnsupportedOperationException"),
        ({"IsOrganizationTrail": True}, "UnsupportedOperationException"),
        ({"EnableLogFileValidation": True}, "UnsupportedOperationException"),
        ({"RecursiveLogging": True}, "UnsupportedOperationException"),
        ({"IsMultiRegionTrail": True, "IncludeGlobalServiceEvents": False}, "InvalidParameterCombinationException"),
        ({"KmsKeyId": "11111111-1111-1111-1111-111111111111"}, "KmsKeyNotFoundException"),
        ({"TagsList": [{"Key": "aws:x", "Value": "y"}]}, "InvalidTagParameterException"),
        ({"TagsList": [{"Key": f"k{n}", "Value": "y"} for n in range(51)]}, "TagsLimitExceededException"),
    ):
        assert (await refused(call(harness, owner, "CreateTrail", **TRAIL | more)))[0] == code, more
    assert (await call(harness, owner, "DescribeTrails"))["trailList"] == []


async def test_what_else_is_refused(harness, owner):
    await call(harness, owner, "CreateTrail", **TRAIL)
    assert await refused(call(harness, owner, "CreateTrail", **TRAIL)) == (
        "TrailAlreadyExistsException",
        f"Trail all already exists for customer: {ACCOUNT}",
    )
    other = await harness.administrator(OTHER)
    foreign, data = ARN.replace("us-east-1", "us-west-2"), [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3"]}]
    for by, operation, input, code in (
        (other, "GetTrail", {"Name": ARN}, "TrailNotFoundException"),
        (owner, "GetTrail", {"Name": foreign}, "TrailNotFoundException"),
        (owner, "GetTrail", {"Name": "arn:aws:s3:::records"}, "CloudTrailARNInvalidException"),
        (owner, "StartLogging", {"Name": "none"}, "TrailNotFoundException"),
        (owner, "PutEventSelectors", {"TrailName": "all"}, "InvalidEventSelectorsException"),
        (owner, "PutEventSelectors", {"TrailName": "all", "EventSelectors": [{"DataResources": data}]}, "InvalidEventSelectorsException"),
        (owner, "PutEventSelectors", {"TrailName": "all", "EventSelectors": [{"IncludeManagementEvents": False}]}, "InvalidEventSelectorsException"),
        (owner, "PutEventSelectors", {"TrailName": "all", "EventSelectors": [{"ExcludeManagementEventSources": ["s3.amazonaws.com"]}]}, "InvalidEventSelectorsException"),
        (owner, "PutEventSelectors", {"TrailName": "all", "AdvancedEventSelectors": [{"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}]}]}, "UnsupportedOperationException"),
        (owner, "AddTags", {"ResourceId": foreign, "TagsList": []}, "ResourceNotFoundException"),
        (owner, "ListTags", {"ResourceIdList": [foreign]}, "ResourceNotFoundException"),
        (owner, "ListTrails", {"NextToken": "x"}, "InvalidTokenException"),
    ):  # fmt: skip
        assert (await refused(call(harness, by, operation, **input)))[0] == code, (operation, input)
    for number in range(4):
        await s3(harness, owner, "PutBucketPolicy", Bucket="records", Policy=lets(arn=ARN.replace("/all", "/*")).replace("StringEquals", "StringLike"))  # fmt: skip
        await call(harness, owner, "CreateTrail", **TRAIL | {"Name": f"trail{number}"})
    assert (await refused(call(harness, owner, "CreateTrail", **TRAIL | {"Name": "sixth"}))) == (
        "MaximumNumberOfTrailsExceededException",
        f"User: {ACCOUNT} already has 5 trails in us-east-1.",
    )


def test_a_round_with_boto3(live):
    trails, buckets = live.client("cloudtrail"), live.client("s3")
    buckets.create_bucket(Bucket="trail-round")
    named = ARN.replace("/all", "/round")
    buckets.put_bucket_policy(Bucket="trail-round", Policy=lets(arn=named, bucket="trail-round"))
    made = trails.create_trail(
        Name="round", S3BucketName="trail-round", S3KeyPrefix="p", TagsList=[{"Key": "team", "Value": "a"}]
    )
    del made["ResponseMetadata"]
    assert made == {
        "Name": "round", "S3BucketName": "trail-round", "S3KeyPrefix": "p", "IncludeGlobalServiceEvents": True, "IsMultiRegionTrail": False,
        "TrailARN": named, "LogFileValidationEnabled": False, "IsOrganizationTrail": False,
    }  # fmt: skip
    (shown,) = trails.describe_trails(trailNameList=["round"])["trailList"]
    more = {"HomeRegion": "us-east-1", "HasCustomEventSelectors": False, "HasInsightSelectors": False}
    assert shown == made | more
    assert trails.get_trail(Name=named)["Trail"] == shown
    trails.add_tags(ResourceId=named, TagsList=[{"Key": "stage", "Value": "b"}])
    trails.remove_tags(ResourceId=named, TagsList=[{"Key": "team"}])
    assert trails.list_tags(ResourceIdList=[named])["ResourceTagList"][0]["TagsList"] == [
        {"Key": "stage", "Value": "b"}
    ]
    assert trails.get_trail_status(Name="round")["IsLogging"] is False
    trails.start_logging(Name="round")
    status = trails.get_trail_status(Name="round")
    assert (status["IsLogging"], bool(status["StartLoggingTime"])) == (True, True)
    trails.stop_logging(Name="round")
    assert trails.get_trail_status(Name="round")["IsLogging"] is False
    assert named in [one["TrailARN"] for one in trails.list_trails()["Trails"]]
    trails.delete_trail(Name="round")
    with pytest.raises(botocore.exceptions.ClientError, match="Unknown trail"):
        trails.get_trail(Name="round")
