"""Secrets Manager in process, on both databases: versions and stages, who may read what, and what is asked of keys."""

import asyncio
import json
import re
import uuid
from types import SimpleNamespace

import sqlalchemy as sa
from penstock_identity_harness import ACCOUNT, OTHER, allow, document
from penstock_keys import kms, new_key, refused

from penstock.secrets import records, values
from penstock.secrets.operations import life
from penstock.store.records import jobs

REGION = "us-east-1"
DAY = 86_400_000
NONE = "Secrets Manager can't find the specified secret."
MARKED = "You can't perform this operation on the secret because it was marked for deletion."


def token():
    return str(uuid.uuid4())


async def call(harness, by, operation, **input):
    return await harness.app.invoke(by, "secretsmanager", operation, input, region=REGION)


async def create(harness, by, name, value=None, **input):
    """As clients do it, which make up the id of a version."""
    input = {"ClientRequestToken": token(), **({} if value is None else {"SecretString": value}), **input}
    return await call(harness, by, "CreateSecret", Name=name, **input)


async def put(harness, by, secret, value, **input):
    input = {"ClientRequestToken": token(), "SecretString": value, **input}
    return await call(harness, by, "PutSecretValue", SecretId=secret, **input)


async def value(harness, by, secret, **input):
    return (await call(harness, by, "GetSecretValue", SecretId=secret, **input))["SecretString"]


async def stages(harness, by, secret):
    return (await call(harness, by, "DescribeSecret", SecretId=secret)).get("VersionIdsToStages")


async def test_a_secret_is_found_by_name_arn_and_partial_arn(harness, owner, clock, monkeypatch):
    made = await create(harness, owner, "prod/db-Ab3dE9", "hush", Description="", Tags=[{"Key": "a", "Value": "b"}])
    arn = made["ARN"]
    assert re.fullmatch(rf"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:prod/db-Ab3dE9-[A-Za-z0-9]{{6}}", arn)
    for named in ("prod/db-Ab3dE9", arn, arn[:-7]):
        read = await call(harness, owner, "GetSecretValue", SecretId=named)
        assert read == {**made, "SecretString": "hush", "VersionStages": ["AWSCURRENT"], "CreatedDate": clock.now()}
    described = await call(harness, owner, "DescribeSecret", SecretId=arn)
    assert described == {
        "ARN": arn, "Name": made["Name"], "Description": "", "Tags": [{"Key": "a", "Value": "b"}], "CreatedDate": clock.now(),
        "LastChangedDate": clock.now(), "LastAccessedDate": clock.now() - clock.now() % DAY,
        "VersionIdsToStages": {made["VersionId"]: ["AWSCURRENT"]},
    }  # fmt: skip
    day = clock.now() - clock.now() % DAY
    for at in (day + DAY - 1, day + DAY, day + DAY + 5):
        clock.advance(at - clock.now())
        with monkeypatch.context() as patch:
            if at == day + DAY + 5:  # the day is noted once, and reading is no writing
                patch.setattr(harness.app.store, "write", None)
            await value(harness, owner, arn)
        described = await call(harness, owner, "DescribeSecret", SecretId=arn)
        assert described["LastAccessedDate"] == at - at % DAY
    for absent in (
        "prod/db",
        arn[:-1] + "!",
        arn[:-8],
        arn.replace(REGION, "eu-west-1"),
        f"{arn}-xxxxxx",
        "arn:aws:s3:::x",
    ):
        for operation in ("GetSecretValue", "DescribeSecret", "RestoreSecret", "ListSecretVersionIds"):
            answer = await refused(call(harness, owner, operation, SecretId=absent))
            assert answer == ("ResourceNotFoundException", NONE), (absent, operation)
    # A secret whose name is another one's ARN: the complete ARN counts before what it is a part of.
    other = await create(harness, owner, arn.rpartition(":")[2], "other")
    assert await value(harness, owner, arn) == "hush"
    assert await value(harness, owner, other["ARN"]) == "other"
    bare = await create(harness, owner, "bare")
    assert set(bare) == {"ARN", "Name"}
    assert set(await call(harness, owner, "DescribeSecret", SecretId="bare")) == {
        "ARN",
        "Name",
        "CreatedDate",
        "LastChangedDate",
    }
    assert await refused(value(harness, owner, "bare")) == (
        "ResourceNotFoundException",
        "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
    )


async def test_stages_move_as_versions_come(harness, owner):
    first = (await create(harness, owner, "s", "1"))["VersionId"]
    made = await put(harness, owner, "s", "2")
    second = made["VersionId"]
    assert made["VersionStages"] == ["AWSCURRENT"]
    assert await stages(harness, owner, "s") == {first: ["AWSPREVIOUS"], second: ["AWSCURRENT"]}
    third = (await put(harness, owner, "s", "3", VersionStages=["AWSPENDING", "mine"]))["VersionId"]
    assert await value(harness, owner, "s") == "2"
    assert await value(harness, owner, "s", VersionStage="mine") == "3"
    await call(
        harness,
        owner,
        "UpdateSecretVersionStage",
        SecretId="s",
        VersionStage="AWSCURRENT",
        RemoveFromVersionId=second,
        MoveToVersionId=third,
    )
    assert await stages(harness, owner, "s") == {second: ["AWSPREVIOUS"], third: ["AWSPENDING", "mine", "AWSCURRENT"]}
    assert (await value(harness, owner, "s"), await value(harness, owner, "s", VersionStage="AWSPREVIOUS")) == (
        "3",
        "2",
    )
    assert await value(harness, owner, "s", VersionId=first) == "1"  # it has no stage, and is kept for a while
    listed = await call(harness, owner, "ListSecretVersionIds", SecretId="s")
    assert [one["VersionId"] for one in listed["Versions"]] == [third, second]
    assert listed["Versions"][0]["KmsKeyIds"] == ["DefaultEncryptionKey"]
    found, more = [], {}
    while True:
        page = await call(
            harness, owner, "ListSecretVersionIds", SecretId="s", IncludeDeprecated=True, MaxResults=1, **more
        )
        found += [one["VersionId"] for one in page["Versions"]]
        if "NextToken" not in page:
            break
        more = {"NextToken": page["NextToken"]}
    assert found == [third, second, first]
    for input, code, message in (
        ({"VersionId": first, "VersionStage": "AWSCURRENT"}, "InvalidRequestException", "You provided a VersionStage that is not associated to the provided VersionId."),
        ({"VersionId": token()}, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for VersionId: "),
        ({"VersionStage": "none"}, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: none"),
    ):  # fmt: skip
        answer = await refused(value(harness, owner, "s", **input))
        assert (answer[0], answer[1].startswith(message)) == (code, True)


async def test_a_request_that_is_sent_again_does_nothing_again(harness, owner):
    same = {"ClientRequestToken": token()}
    made = await create(harness, owner, "s", "1", **same)
    assert await create(harness, owner, "s", "1", **same) == made
    exists = "The operation failed because the secret s already exists."
    assert await refused(create(harness, owner, "s", "1")) == ("ResourceExistsException", exists)
    assert await refused(create(harness, owner, "s", "2", **same)) == ("ResourceExistsException", exists)
    bare = await create(harness, owner, "bare", **same)
    assert await create(harness, owner, "bare", **same) == bare
    again = {"ClientRequestToken": token()}
    for _ in range(2):
        assert (await put(harness, owner, "s", "2", **again))["VersionStages"] == ["AWSCURRENT"]
    for description in ("once", "twice"):
        said = {"Description": description, "SecretString": "2", **again}
        assert await call(harness, owner, "UpdateSecret", SecretId="s", **said) == {
            **{member: made[member] for member in ("ARN", "Name")},
            "VersionId": again["ClientRequestToken"],
        }
        assert (await call(harness, owner, "DescribeSecret", SecretId="s"))["Description"] == description
    assert await stages(harness, owner, "s") == {
        made["VersionId"]: ["AWSPREVIOUS"],
        again["ClientRequestToken"]: ["AWSCURRENT"],
    }
    for other in ({"SecretString": "3"}, {"SecretBinary": b"2"}):
        for operation in ("PutSecretValue", "UpdateSecret"):
            answer = await refused(call(harness, owner, operation, SecretId="s", **other, **again))
            assert answer == (
                "ResourceExistsException",
                "You can't modify an existing version, you can only create new versions.",
            )
    at_once = {"ClientRequestToken": token()}
    await asyncio.gather(*(put(harness, owner, "s", "4", **at_once) for _ in range(3)))
    await asyncio.gather(*(put(harness, owner, "s", str(number)) for number in range(3)))
    held = [label for of_it in (await stages(harness, owner, "s")).values() for label in of_it]
    assert sorted(held) == ["AWSCURRENT", "AWSPREVIOUS"]
    assert (
        len((await call(harness, owner, "ListSecretVersionIds", SecretId="s", IncludeDeprecated=True))["Versions"]) == 6
    )


REFUSED = [
    ("CreateSecret", {"Name": "a b"}, "ValidationException", "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!"),
    ("CreateSecret", {"Name": "a:b"}, "ValidationException", "Invalid name."),
    ("CreateSecret", {"Name": "n", "SecretString": "v", "ClientRequestToken": None}, "InvalidRequestException", "You must provide a ClientRequestToken value. We recommend a UUID-type value."),
    ("CreateSecret", {"Name": "n", "SecretString": "v", "SecretBinary": b"v"}, "InvalidParameterException", "You can't specify both a binary secret value and a string secret value in the same secret."),
    ("CreateSecret", {"Name": "n", "SecretString": "v" * 65537}, "ValidationException", "1 validation error detected: Value at 'secretString'"),
    ("CreateSecret", {"Name": "n", "AddReplicaRegions": [{"Region": "eu-west-1"}]}, "InvalidRequestException", "Secrets are not replicated"),
    ("CreateSecret", {"Name": "n", "Type": "x"}, "InvalidRequestException", "Secrets of partners"),
    ("CreateSecret", {"Name": "n", "Tags": [{"Key": "aws:a", "Value": ""}]}, "InvalidParameterException", "Tag keys that begin with aws: are reserved: aws:a"),
    ("CreateSecret", {"Name": "n", "SecretString": "v", "KmsKeyId": "alias/none"}, "EncryptionFailure", "Secrets Manager can't encrypt"),
    ("PutSecretValue", {}, "InvalidRequestException", "You must provide either SecretString or SecretBinary."),
    ("PutSecretValue", {"SecretString": "v", "ClientRequestToken": None}, "InvalidRequestException", "You must provide a ClientRequestToken value."),
    ("PutSecretValue", {"SecretString": "v", "RotationToken": "x" * 36}, "InvalidRequestException", "Secrets are rotated by their own account"),
    ("UpdateSecret", {"SecretString": "v", "ClientRequestToken": None}, "InvalidRequestException", "You must provide a ClientRequestToken value."),
    ("UpdateSecret", {"KmsKeyId": "alias/none"}, "EncryptionFailure", "Secrets Manager can't encrypt"),
    ("UpdateSecret", {"Type": "x"}, "InvalidRequestException", "Secrets of partners"),
    ("DeleteSecret", {"RecoveryWindowInDays": 6}, "InvalidParameterException", "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive)."),
    ("DeleteSecret", {"RecoveryWindowInDays": 7, "ForceDeleteWithoutRecovery": True}, "InvalidParameterException", "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays."),
    ("UpdateSecretVersionStage", {"VersionStage": "x"}, "InvalidParameterException", "You must provide a value"),
    ("UpdateSecretVersionStage", {"VersionStage": "AWSCURRENT", "RemoveFromVersionId": "f" * 32}, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for VersionId: ff"),
    ("TagResource", {"Tags": [{"Key": "a", "Value": ""}] * 2}, "InvalidParameterException", "The tag key a is given twice."),
    ("TagResource", {"Tags": [{"Key": f"k{number}", "Value": ""} for number in range(51)]}, "InvalidParameterException", "A secret can have no more than 50 tags."),
    ("BatchGetSecretValue", {}, "InvalidParameterException", "Provide either SecretIdList or Filters"),
    ("BatchGetSecretValue", {"SecretIdList": ["a"], "MaxResults": 3}, "InvalidParameterException", "MaxResults and NextToken are for Filters"),
    ("ListSecrets", {"NextToken": "x"}, "InvalidNextTokenException", "The NextToken value is not valid."),
    ("ListSecrets", {"Filters": [{"Key": "colour", "Values": ["red"]}]}, "ValidationException", "1 validation error detected: Value 'colour' at 'filters.1.member.key'"),
    ("GetRandomPassword", {"PasswordLength": 3}, "InvalidParameterException", "The password length 3 is too short"),
    ("GetRandomPassword", {f"Exclude{kind}": True for kind in ("Numbers", "Punctuation", "Uppercase", "Lowercase")}, "InvalidParameterException", "There is no character left"),
]  # fmt: skip


async def test_what_is_not_taken(harness, owner):
    await create(harness, owner, "there", "v")
    for operation, input, code, message in REFUSED:
        with_token = operation in ("CreateSecret", "PutSecretValue", "UpdateSecret")
        given = {"ClientRequestToken": token(), **input} if with_token else dict(input)
        if operation not in ("CreateSecret", "ListSecrets", "BatchGetSecretValue", "GetRandomPassword"):
            given["SecretId"] = "there"
        before = await call(harness, owner, "DescribeSecret", SecretId="there")
        answer = await refused(call(harness, owner, operation, **{m: v for m, v in given.items() if v is not None}))
        assert (answer[0], answer[1].startswith(message)) == (code, True), (operation, input, answer)
        assert await call(harness, owner, "DescribeSecret", SecretId="there") == before
        assert [one["Name"] for one in (await call(harness, owner, "ListSecrets"))["SecretList"]] == ["there"]


async def test_deleted_after_its_window_at_once_or_not_at_all(harness, owner, clock):
    arn = (await create(harness, owner, "s", "1"))["ARN"]
    gone = await call(harness, owner, "DeleteSecret", SecretId="s")
    assert gone == {"ARN": arn, "Name": "s", "DeletionDate": clock.now() + 30 * DAY}
    assert (await call(harness, owner, "DescribeSecret", SecretId="s"))["DeletedDate"] == gone["DeletionDate"]
    for operation, input in (
        ("GetSecretValue", {}), ("PutSecretValue", {"SecretString": "2", "ClientRequestToken": token()}), ("UpdateSecret", {}), ("DeleteSecret", {}),
        ("UpdateSecretVersionStage", {"VersionStage": "x"}), ("TagResource", {"Tags": [{"Key": "a", "Value": ""}]}), ("UntagResource", {"TagKeys": ["a"]}),
        ("PutResourcePolicy", {"ResourcePolicy": "{}"}), ("DeleteResourcePolicy", {}),
    ):  # fmt: skip
        assert await refused(call(harness, owner, operation, SecretId="s", **input)) == (
            "InvalidRequestException",
            MARKED,
        ), operation
    scheduled = "You can't create this secret because a secret with this name is already scheduled for deletion."
    assert await refused(create(harness, owner, "s", "1")) == ("InvalidRequestException", scheduled)
    assert (await call(harness, owner, "ListSecrets"))["SecretList"] == []
    (listed,) = (await call(harness, owner, "ListSecrets", IncludePlannedDeletion=True))["SecretList"]
    assert listed["DeletedDate"] == gone["DeletionDate"]
    for _ in range(2):
        assert await call(harness, owner, "RestoreSecret", SecretId="s") == {"ARN": arn, "Name": "s"}
    assert await value(harness, owner, "s") == "1"
    clock.advance(DAY)
    await call(harness, owner, "DeleteSecret", SecretId="s", RecoveryWindowInDays=7)
    queued = await harness.app.store.read(
        lambda conn: conn.execute(
            sa.select(jobs.c.payload, jobs.c.due).where(jobs.c.kind == life.DELETION).order_by(jobs.c.due)
        ).all()
    )
    assert [job.due for job in queued] == [clock.now() + 7 * DAY, gone["DeletionDate"]]
    clock.advance(7 * DAY - 1)
    for job in queued:
        await life.delete(harness.app, SimpleNamespace(payload=job.payload))
    assert "DeletedDate" in await call(harness, owner, "DescribeSecret", SecretId="s")
    clock.advance(1)
    for job in (queued[1], queued[0], queued[0]):
        await life.delete(harness.app, SimpleNamespace(payload=job.payload))
    assert await refused(call(harness, owner, "DescribeSecret", SecretId=arn)) == ("ResourceNotFoundException", NONE)
    again = (await create(harness, owner, "s", "2"))["ARN"]
    assert again != arn
    await life.delete(harness.app, SimpleNamespace(payload=queued[0].payload))  # the job of the former one
    await call(harness, owner, "DeleteSecret", SecretId="s")
    assert (await call(harness, owner, "DeleteSecret", SecretId="s", ForceDeleteWithoutRecovery=True))[
        "DeletionDate"
    ] == clock.now()
    assert await refused(call(harness, owner, "DescribeSecret", SecretId="s")) == ("ResourceNotFoundException", NONE)
    missing = await call(harness, owner, "DeleteSecret", SecretId="s", ForceDeleteWithoutRecovery=True)
    assert missing["Name"] == "s"
    assert (
        await harness.app.store.read(
            lambda conn: conn.execute(sa.select(sa.func.count()).select_from(records.versions)).scalar()
        )
        == 0
    )


async def test_the_oldest_versions_without_a_stage_go_after_a_day(harness, owner, clock):
    first = (await create(harness, owner, "s", "0"))["VersionId"]
    await call(harness, owner, "UpdateSecretVersionStage", SecretId="s", VersionStage="kept", MoveToVersionId=first)

    def many(conn, number):
        secret = records.secret(conn, (ACCOUNT, REGION), "s")
        for one in range(number):
            records.insert_version(conn, secret, id=f"{one:032}", created=clock.now(), stages=[], key=None, binary=False, value=b"")  # fmt: skip

    async def ids():
        return [
            one.id
            for one in await harness.app.store.read(
                records.kept, SimpleNamespace(account=ACCOUNT, region=REGION, name="s")
            )
        ]

    await harness.app.store.write(many, 105)
    latest = (await put(harness, owner, "s", "1"))["VersionId"]
    assert len(await ids()) == 107
    clock.advance(DAY)
    last = (await put(harness, owner, "s", "2"))["VersionId"]
    assert await ids() == [first, *(f"{one:032}" for one in range(7, 105)), latest, last]


async def test_what_a_key_says_counts_for_the_secret(harness, owner, clock):
    """The value is sealed for one secret and version; whoever reads it needs the key, by way of the service or not at all."""
    key = await new_key(harness, owner)
    arn = (await create(harness, owner, "s", "hush", KmsKeyId=key))["ARN"]
    assert (await call(harness, owner, "DescribeSecret", SecretId="s"))["KmsKeyId"] == key
    context = {"kms:EncryptionContext:SecretARN": arn, "kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"}
    use = {"Effect": "Allow", "Action": "kms:*", "Resource": key, "Condition": {"StringEquals": context}}
    everything = {"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*"}
    reader = await harness.user("reader", document(everything, use))
    keyless = await harness.user("keyless", document(everything))
    assert await value(harness, reader, "s") == "hush"
    for refusal in (
        value(harness, keyless, "s"),
        put(harness, keyless, "s", "2"),
        create(harness, keyless, "s2", "2", KmsKeyId=key),
    ):
        assert await refused(refusal) == ("AccessDeniedException", "Access to KMS is not allowed")
    await create(harness, keyless, "own", "by the service's own key")
    assert await value(harness, reader, "own") == "by the service's own key"
    row = await harness.app.store.read(records.secret, (ACCOUNT, REGION), "s")
    version = await harness.app.store.read(records.version, row, next(iter(await stages(harness, owner, "s"))))
    assert b"hush" not in version.value
    blob = version.value[3 : 3 + int.from_bytes(version.value[1:3], "big")]
    asked = {"SecretARN": arn, "SecretVersionId": version.id}
    assert len((await kms(harness, owner, "Decrypt", CiphertextBlob=blob, EncryptionContext=asked))["Plaintext"]) == 32
    # A description that nobody may seal the value for changes nothing else; another key is for all versions in use.
    assert await call(harness, keyless, "UpdateSecret", SecretId="s", Description="d") == {"ARN": arn, "Name": "s"}
    other = await new_key(harness, owner)
    await put(harness, owner, "s", "2")
    await call(harness, owner, "UpdateSecret", SecretId="s", KmsKeyId=other)
    await kms(harness, owner, "DisableKey", KeyId=key)
    assert (await value(harness, owner, "s"), await value(harness, owner, "s", VersionStage="AWSPREVIOUS")) == (
        "2",
        "hush",
    )
    listed = (await call(harness, owner, "ListSecretVersionIds", SecretId="s"))["Versions"]
    assert [one["KmsKeyIds"] for one in listed] == [[other], [other]]
    await kms(harness, owner, "DisableKey", KeyId=other)
    assert (await refused(value(harness, owner, "s"))) == ("DecryptionFailure", f"Secrets Manager can't decrypt the protected secret text using the provided KMS key: {other} is disabled.")  # fmt: skip
    await kms(harness, owner, "EnableKey", KeyId=other)
    await call(harness, owner, "UpdateSecret", SecretId="s", KmsKeyId="", SecretString="3", ClientRequestToken=token())
    assert "KmsKeyId" not in await call(harness, owner, "DescribeSecret", SecretId="s")
    assert await value(harness, keyless, "s") == "3"


async def test_a_new_key_and_a_new_value_at_once_end_under_the_new_key(harness, owner, monkeypatch):
    """Whichever comes first: else the former key is still needed, and disabling it takes the secret away."""
    sealed = values.sealed

    def amid(other):
        """Let another request come while this one has sealed a value and not kept it yet."""

        async def overtaken(*arguments, **given):
            made = await sealed(*arguments, **given)
            monkeypatch.setattr(values, "sealed", sealed)
            await other
            return made

        monkeypatch.setattr(values, "sealed", overtaken)

    keys = [await new_key(harness, owner) for _ in range(5)]
    await create(harness, owner, "s", "0", KmsKeyId=keys[0])

    async def check(key, current, previous):
        assert (await call(harness, owner, "DescribeSecret", SecretId="s"))["KmsKeyId"] == key
        listed = (await call(harness, owner, "ListSecretVersionIds", SecretId="s"))["Versions"]
        assert [one["KmsKeyIds"] for one in listed] == [[key], [key]]
        assert [await value(harness, owner, "s", VersionStage=stage) for stage in ("AWSCURRENT", "AWSPREVIOUS")] == [
            current,
            previous,
        ]

    def rekey(key, **more):
        return call(harness, owner, "UpdateSecret", SecretId="s", KmsKeyId=key, **more)

    def update(text, **more):
        return call(harness, owner, "UpdateSecret", SecretId="s", SecretString=text, ClientRequestToken=token(), **more)

    amid(rekey(keys[1]))
    await put(harness, owner, "s", "1")
    await check(keys[1], "1", "0")
    amid(put(harness, owner, "s", "2"))
    await rekey(keys[2])
    await check(keys[2], "2", "1")
    amid(rekey(keys[3]))
    await update("3")
    await check(keys[3], "3", "2")
    amid(put(harness, owner, "s", "4"))
    await update("5", KmsKeyId=keys[4])
    await check(keys[4], "5", "4")


async def test_another_account_needs_the_policies_of_the_secret_and_of_its_key(harness, owner):
    own = document(
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
    )
    both = json.loads(own)
    both["Statement"].append(
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"},
            "Action": "kms:Decrypt",
            "Resource": "*",
        }
    )
    key = await new_key(harness, owner, Policy=own)
    await kms(harness, owner, "CreateAlias", AliasName="alias/shared", TargetKeyId=key)
    arn = (await create(harness, owner, "s", "hush", KmsKeyId="alias/shared"))["ARN"]
    foreign = await harness.administrator(OTHER)
    absent = arn.replace("secret:s-", "secret:t-")
    denied = [await refused(value(harness, foreign, one)) for one in (arn, absent, arn[:-7])]
    assert [code for code, _ in denied] == ["AccessDenied"] * 3
    assert denied[0][1].replace(arn, "ARN") == denied[1][1].replace(absent, "ARN")  # what there is, nobody is told
    assert await refused(value(harness, foreign, "s")) == ("ResourceNotFoundException", NONE)
    let = document(
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"},
            "Action": "secretsmanager:GetSecretValue",
            "Resource": arn,
        }
    )
    await call(harness, owner, "PutResourcePolicy", SecretId="s", ResourcePolicy=let)
    assert (await call(harness, owner, "GetResourcePolicy", SecretId="s"))["ResourcePolicy"] == let
    assert await refused(value(harness, foreign, arn)) == ("AccessDeniedException", "Access to KMS is not allowed")
    await kms(harness, owner, "PutKeyPolicy", KeyId=key, Policy=json.dumps(both))
    assert await value(harness, foreign, arn) == "hush"
    assert (await refused(call(harness, foreign, "DeleteSecret", SecretId=arn, ForceDeleteWithoutRecovery=True)))[
        0
    ] == "AccessDenied"
    assert (await refused(call(harness, foreign, "DeleteSecret", SecretId=absent, ForceDeleteWithoutRecovery=True)))[
        0
    ] == "AccessDenied"
    default = (await create(harness, owner, "default", "hush"))["ARN"]
    await call(harness, owner, "PutResourcePolicy", SecretId="default", ResourcePolicy=let.replace(arn, "*"))
    assert await refused(value(harness, foreign, default)) == (
        "InvalidRequestException",
        "You can't access a secret from a different AWS account if you encrypt the secret with the default KMS service key.",
    )
    for _ in range(2):
        await call(harness, owner, "DeleteResourcePolicy", SecretId="s")
    assert set(await call(harness, owner, "GetResourcePolicy", SecretId="s")) == {"ARN", "Name"}
    assert (await refused(value(harness, foreign, arn)))[0] == "AccessDenied"


async def test_which_policies_a_secret_takes(harness, owner):
    arn = (await create(harness, owner, "s", "v"))["ARN"]

    def policy(**more):
        return document({"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "secretsmanager:*", "Resource": "*", **more})  # fmt: skip

    public = policy(Principal="*")
    for text, code, message in (
        ("no JSON", "MalformedPolicyDocumentException", ""),
        (policy(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:user/none"}), "MalformedPolicyDocumentException", "This resource policy contains an unsupported principal."),
        (policy(Action="s3:*"), "MalformedPolicyDocumentException", "This resource policy contains an unsupported action: s3:*."),
        (policy(Resource=f"{arn}x"), "MalformedPolicyDocumentException", "This resource policy contains an unsupported resource: "),
        (public, "PublicPolicyException", "You can't attach a resource policy that allows broad access to the secret."),
    ):  # fmt: skip
        answer = await refused(call(harness, owner, "PutResourcePolicy", SecretId="s", ResourcePolicy=text))
        assert (answer[0], answer[1].startswith(message)) == (code, True), answer
        if code == "MalformedPolicyDocumentException":
            assert (
                await refused(call(harness, owner, "ValidateResourcePolicy", SecretId="s", ResourcePolicy=text))
                == answer
            )
    assert set(await call(harness, owner, "GetResourcePolicy", SecretId="s")) == {"ARN", "Name"}
    assert await call(harness, owner, "ListResourcePolicies", SecretId="s") == {"ResourcePolicies": []}
    for operation, code in (
        ("Put", "InvalidParameterException"),
        ("Delete", "InvalidParameterException"),
        ("Get", "ResourceNotFoundException"),
    ):
        named = {"SecretId": "s", "PolicyName": "mine"} | ({"ResourcePolicy": policy()} if operation == "Put" else {})
        assert (await refused(call(harness, owner, f"{operation}ResourcePolicy", **named)))[0] == code
    checked = await call(harness, owner, "ValidateResourcePolicy", ResourcePolicy=public)
    assert (checked["PolicyValidationPassed"], len(checked["ValidationErrors"])) == (False, 1)
    assert await call(harness, owner, "ValidateResourcePolicy", SecretId="s", ResourcePolicy=policy()) == {"PolicyValidationPassed": True, "ValidationErrors": []}  # fmt: skip
    await call(harness, owner, "PutResourcePolicy", SecretId="s", ResourcePolicy=public, BlockPublicPolicy=False)
    tied = policy(Principal="*", Condition={"StringEquals": {"aws:PrincipalAccount": ACCOUNT}}, Resource=arn)
    assert await call(harness, owner, "PutResourcePolicy", SecretId="s", ResourcePolicy=tied) == {
        "ARN": arn,
        "Name": "s",
    }
    assert await call(harness, owner, "ListResourcePolicies", SecretId="s") == {
        "ResourcePolicies": [{"PolicyName": "default"}]
    }
    denied = document({"Effect": "Deny", "Principal": "*", "Action": "secretsmanager:GetSecretValue", "Resource": "*"})
    await call(harness, owner, "PutResourcePolicy", SecretId="s", ResourcePolicy=denied)
    code, message = await refused(value(harness, owner, "s"))
    assert (code, message.endswith("with an explicit deny in a resource-based policy")) == ("AccessDenied", True)


async def test_who_may_read_what(harness, owner):
    """Policies are asked about the ARN whatever the spelling, for one that is not there about what it would be."""
    arn = (await create(harness, owner, "app/a", "1", Tags=[{"Key": "team", "Value": "red"}]))["ARN"]
    await create(harness, owner, "app/b", "2", Tags=[{"Key": "team", "Value": "blue"}])
    prefix = arn.partition("app/")[0]
    exact = await harness.user("exact", allow("secretsmanager:GetSecretValue", resource=arn))
    pattern = await harness.user("pattern", allow("secretsmanager:*", resource=f"{prefix}app/?-??????"))
    by_tag = await harness.user(
        "tag",
        document(
            {
                "Effect": "Allow",
                "Action": "secretsmanager:*",
                "Resource": "*",
                "Condition": {"StringEquals": {"secretsmanager:ResourceTag/team": "red"}},
            }
        ),
    )
    current = await harness.user(
        "current",
        document(
            {
                "Effect": "Allow",
                "Action": "secretsmanager:*",
                "Resource": "*",
                "Condition": {"StringEquals": {"secretsmanager:VersionStage": "AWSCURRENT"}},
            }
        ),
    )
    for by in (exact, pattern, by_tag, current):
        for named in ("app/a", arn, arn[:-7]):
            assert await value(harness, by, named) == "1"
    assert (
        (await refused(value(harness, exact, "app/b")))[0]
        == (await refused(value(harness, by_tag, "app/b")))[0]
        == "AccessDenied"
    )
    assert await value(harness, pattern, "app/b") == "2"
    assert await refused(value(harness, pattern, "app/c")) == ("ResourceNotFoundException", NONE)
    assert (await refused(value(harness, pattern, "other")))[0] == "AccessDenied"
    assert (await refused(create(harness, pattern, "other")))[0] == "AccessDenied"
    await create(harness, pattern, "app/d")
    for input in ({"VersionStage": "AWSPREVIOUS"}, {"VersionId": token()}):
        assert (await refused(value(harness, current, "app/a", **input)))[0] == "AccessDenied"
    may_read = document(
        {
            "Effect": "Allow",
            "Action": ["secretsmanager:BatchGetSecretValue", "secretsmanager:ListSecrets"],
            "Resource": "*",
        }
    )
    batch = await harness.user("batch", may_read, allow("secretsmanager:GetSecretValue", resource=f"{prefix}app/a*"))
    for asked in (
        {"SecretIdList": ["app/b", "app/a", "none", "app/a"]},
        {"Filters": [{"Key": "name", "Values": ["app/"]}]},
    ):
        read = await call(harness, batch, "BatchGetSecretValue", **asked)
        assert [(one["Name"], one["SecretString"]) for one in read["SecretValues"]] == [("app/a", "1")]
        assert {one["ErrorCode"] for one in read["Errors"]} == {"AccessDeniedException"}
        assert len(read["Errors"]) == 2
    tagless = await harness.user("tagless", allow("secretsmanager:CreateSecret"))
    assert (await refused(create(harness, tagless, "tagged", Tags=[{"Key": "a", "Value": "b"}])))[0] == "AccessDenied"


async def test_lists_filters_and_pages(harness, owner, clock):
    made = [
        ("db/prod", "The main DB", {"team": "red"}),
        ("db/test", "for tests", {"team": "blue", "Temp": ""}),
        ("web", "cookie key", {}),
    ]
    for name, text, tags in made:
        await create(
            harness,
            owner,
            name,
            "v",
            Description=text,
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
        clock.advance(1000)

    async def names(*filters, **input):
        found, more, asked = (
            [],
            {},
            {"Filters": [{"Key": key, "Values": list(values)} for key, *values in filters]} if filters else {},
        )
        for _ in range(9):
            page = await call(harness, owner, "ListSecrets", **asked, **input, **more)
            found += [one["Name"] for one in page["SecretList"]]
            if "NextToken" not in page:
                return found
            more = {"NextToken": page["NextToken"]}
        raise AssertionError("the pages have no end")

    for size in ({}, {"MaxResults": 1}, {"MaxResults": 2}):
        assert await names(**size) == ["web", "db/test", "db/prod"]
        assert await names(SortOrder="asc", **size) == ["db/prod", "db/test", "web"]
        assert await names(SortBy="name", SortOrder="asc", **size) == ["db/prod", "db/test", "web"]
        assert sorted(await names(SortBy="last-accessed-date", **size)) == ["db/prod", "db/test", "web"]
        assert await names(("name", "db/"), **size) == ["db/test", "db/prod"]
    await put(harness, owner, "db/prod", "v2")
    assert await names(SortBy="last-changed-date") == ["db/prod", "web", "db/test"]
    for filters, found in (
        ([("name", "db/p", "web")], ["web", "db/prod"]),
        ([("name", "!db/")], ["web"]),
        ([("name", "db/"), ("tag-value", "blue")], ["db/test"]),
        ([("name", "DB/")], []),
        ([("description", "MAIN db")], ["db/prod"]),
        ([("description", "ain")], []),
        ([("tag-key", "team")], ["db/test", "db/prod"]),
        ([("tag-key", "temp")], []),
        ([("all", "temp")], ["db/test"]),
        ([("all", "red")], ["db/prod"]),
        ([("all", "!red")], ["web", "db/test"]),
        ([("owning-service", "x")], []),
    ):
        assert await names(*filters) == found, filters
    (listed,) = (await call(harness, owner, "ListSecrets", Filters=[{"Key": "name", "Values": ["db/prod"]}]))[
        "SecretList"
    ]
    assert sorted(label for of_it in listed["SecretVersionsToStages"].values() for label in of_it) == [
        "AWSCURRENT",
        "AWSPREVIOUS",
    ]
    batch = await call(
        harness, owner, "BatchGetSecretValue", Filters=[{"Key": "name", "Values": ["db/"]}], MaxResults=1
    )
    more = await call(
        harness,
        owner,
        "BatchGetSecretValue",
        Filters=[{"Key": "name", "Values": ["db/"]}],
        MaxResults=1,
        NextToken=batch["NextToken"],
    )
    assert [one["Name"] for page in (batch, more) for one in page["SecretValues"]] == ["db/test", "db/prod"]
    await call(harness, owner, "UntagResource", SecretId="db/prod", TagKeys=["team", "none"])
    assert (await call(harness, owner, "DescribeSecret", SecretId="db/prod"))["Tags"] == []
    for tag in ({"Key": "a", "Value": "b"}, {"Key": "c", "Value": ""}, {"Key": "a", "Value": "d"}):
        await call(harness, owner, "TagResource", SecretId="web", Tags=[tag])
    tags = [{"Key": "c", "Value": ""}, {"Key": "a", "Value": "d"}]
    assert (await call(harness, owner, "DescribeSecret", SecretId="web"))["Tags"] == tags
    await call(harness, owner, "UntagResource", SecretId="web", TagKeys=["c"])
    assert (await call(harness, owner, "DescribeSecret", SecretId="web"))["Tags"] == tags[1:]
