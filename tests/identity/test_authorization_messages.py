"""What is behind a denial: told to those who may decode it, and to nobody else."""

import json

import pytest
from penstock_identity_harness import ACCOUNT, OTHER, REGION, allow, document, harness_on, refused, trusting

import penstock.objects
from penstock.identity import denials
from penstock.identity.errors import AccessDeniedException
from penstock.identity.policy import Denying
from penstock.store.sealing import Sealer
from penstock.wire.call import Call
from penstock.wire.errors import AccessDenied

BUCKET = "arn:aws:s3:::vault"
KEY = f"{BUCKET}/key"
DENY = {"Sid": "NoSecrets", "Effect": "Deny", "Action": ["s3:Get*", "s3:List*"], "Resource": f"{BUCKET}/*"}
ALLOW = {"Effect": "Allow", "Action": "*", "Resource": "*"}
BAD = "InvalidAuthorizationMessageException"


@pytest.fixture
async def harness(store, clock, tmp_path):
    async with harness_on(store, clock, tmp_path, penstock.objects.component) as found:
        yield found


async def denied(harness, session, action="s3:GetObject", resource=KEY):
    with pytest.raises(AccessDenied) as caught:
        await harness.may(session, action, resource)
    return caught.value.authorization


async def decoded(harness, message, account=ACCOUNT):
    admin = await harness.administrator(account)
    return json.loads(
        (await harness.sts("DecodeAuthorizationMessage", by=admin, EncodedMessage=message))["DecodedMessage"]
    )


def values(items):
    return [one["value"] for one in items["items"]]


def conditions(said):
    return {one["key"]: values(one["values"]) for one in said["context"]["conditions"]["items"]}


async def test_no_policy_allows(harness):
    ann = await harness.user("ann", allow("s3:PutObject"))
    said = await decoded(harness, await denied(harness, ann))
    assert (said["allowed"], said["explicitDeny"], said["deniedBy"]) == (False, False, "identity-based policy")
    assert said["matchedStatements"] == said["failures"] == {"items": []}
    assert said["context"]["principal"] == {"id": ann.principal_id, "arn": ann.arn, "name": "ann"}
    assert (said["context"]["action"], said["context"]["resource"]) == ("s3:GetObject", KEY)
    assert conditions(said) == {"aws:EpochTime": [str(harness.app.clock.now() // 1000)]}


async def test_the_statement_of_the_policy_that_denies(harness):
    """As AWS's documentation shows it (AWS CLI reference, decode-authorization-message), and which policy it stands in."""
    condition = {
        "StringNotEquals": {"aws:PrincipalTag/team": ["ops", "root"]},
        "Bool": {"aws:SecureTransport": "false"},
    }
    ann = await harness.user("ann", document(ALLOW), document(ALLOW, {**DENY, "Condition": condition}))
    said = await decoded(harness, await denied(harness, ann))
    assert (said["explicitDeny"], said["deniedBy"]) == (True, "identity-based policy")
    (statement,) = said["matchedStatements"]["items"]
    assert statement["statementId"] == "NoSecrets"
    assert (statement["effect"], statement["statementNumber"]) == ("DENY", 2)
    assert values(statement["principals"]) == [ann.principal_id]
    assert values(statement["actions"]) == DENY["Action"]
    assert values(statement["resources"]) == [DENY["Resource"]]
    assert [(one["operator"], one["key"], values(one["values"])) for one in statement["conditions"]["items"]] == [
        ("StringNotEquals", "aws:PrincipalTag/team", ["ops", "root"]),
        ("Bool", "aws:SecureTransport", ["false"]),
    ]
    assert (statement["sourcePolicyId"], statement["sourcePolicyType"]) == ("user_ann_p1", "IAM Policy")
    # What the policies ask for: a tag that the user does not have, and how the call came.
    assert conditions(said).items() >= {"aws:PrincipalTag/team": [], "aws:SecureTransport": ["false"]}.items()
    await harness.iam("DeleteUserPolicy", UserName="ann", PolicyName="p1")
    await harness.iam("PutUserPolicy", UserName="ann", PolicyName="p0", PolicyDocument=document(DENY))
    (gone,) = (await decoded(harness, await denied(harness, ann)))["matchedStatements"]["items"]
    assert gone["sourcePolicyId"] == "user_ann_p0"


async def test_a_policy_that_was_changed_since_is_not_shown_for_the_one_that_denied(harness):
    ann = await harness.user("ann", document(DENY))
    message = await denied(harness, ann)
    changed = document({**DENY, "Sid": "Another"})
    await harness.iam("PutUserPolicy", UserName="ann", PolicyName="p0", PolicyDocument=changed)
    for _ in range(2):
        said = await decoded(harness, message)
        assert said["explicitDeny"] is True
        assert said["matchedStatements"] == {"items": [{"statementNumber": 1, "effect": "DENY"}]}
        if await harness.app.identity.id_of(ann.arn) is not None:
            await harness.iam("DeleteUserPolicy", UserName="ann", PolicyName="p0")
            await harness.iam("DeleteAccessKey", UserName="ann", AccessKeyId=ann.access_key_id)
            await harness.iam("DeleteUser", UserName="ann")


async def test_policies_of_every_kind_are_named(harness):
    arn = f"arn:aws:iam::{ACCOUNT}:policy/denying"
    await harness.iam("CreatePolicy", PolicyName="denying", PolicyDocument=document(ALLOW, DENY))
    ann, ben, cas, dan = [await harness.user(name, document(ALLOW)) for name in ("ann", "ben", "cas", "dan")]
    await harness.iam("AttachUserPolicy", UserName="ann", PolicyArn=arn)
    await harness.iam("CreateGroup", GroupName="crew")
    await harness.iam("PutGroupPolicy", GroupName="crew", PolicyName="p", PolicyDocument=document(DENY))
    await harness.iam("AddUserToGroup", GroupName="crew", UserName="ben")
    await harness.iam("PutUserPermissionsBoundary", UserName="cas", PermissionsBoundary=arn)
    owner = await harness.administrator()
    await harness.app.invoke(owner, "s3", "CreateBucket", {"Bucket": "vault"}, region=REGION)
    theirs = document({**DENY, "Sid": "Theirs", "Principal": {"AWS": dan.arn}})
    await harness.app.invoke(owner, "s3", "PutBucketPolicy", {"Bucket": "vault", "Policy": theirs}, region=REGION)
    named = {}
    for session in (ann, ben, cas, dan):
        (statement,) = (await decoded(harness, await denied(harness, session)))["matchedStatements"]["items"]
        named[session.arn.rpartition("/")[2]] = tuple(
            statement[member] for member in ("sourcePolicyType", "sourcePolicyId", "statementId")
        )
    assert named == {
        "ann": ("IAM Policy", arn, "NoSecrets"),
        "ben": ("IAM Policy", "group_crew_p", "NoSecrets"),
        "cas": ("Permissions Boundary Policy", arn, "NoSecrets"),
        "dan": ("Resource Policy", BUCKET, "Theirs"),
    }


async def test_what_narrows_a_session_is_told_by_its_kind(harness):
    ann = await harness.user("ann", document(ALLOW))
    trust = document({"Effect": "Allow", "Principal": {"AWS": ann.arn}, "Action": "sts:AssumeRole"})
    role = await harness.role("r", trust, document(ALLOW))
    session = await harness.assumed(role, by=ann, Policy=document(ALLOW, DENY))
    said = await decoded(harness, await denied(harness, session))
    assert said["deniedBy"] == "session policy"
    assert said["matchedStatements"] == {"items": [{"statementNumber": 2, "effect": "DENY"}]}
    assert said["context"]["principal"] == {"id": session.principal_id, "arn": session.arn}


async def test_only_who_may_decode_it_in_its_account_reads_a_message(harness):
    ann = await harness.user("ann")
    message = await denied(harness, ann)
    with pytest.raises(AccessDenied, match="allows the sts:DecodeAuthorizationMessage action"):
        await harness.sts("DecodeAuthorizationMessage", by=ann, EncodedMessage=message)
    stranger = await harness.administrator(OTHER)
    code, _ = await refused(harness.sts("DecodeAuthorizationMessage", by=stranger, EncodedMessage=message))
    assert code == BAD


async def test_what_is_no_message_is_refused(harness):
    ann = await harness.user("ann")
    admin = await harness.administrator()
    message = await denied(harness, ann)
    flipped = f"{message[:40]}{'A' if message[40] != 'A' else 'B'}{message[41:]}"
    for text in (
        message[:-4],
        message[4:],
        flipped,
        message + "\n",
        message + "AAAA",
        "x",
        "=",
        "é",
        "A" * 16,
        "A" * 10_240,
        "A" * 10_239,
    ):
        code, said = await refused(harness.sts("DecodeAuthorizationMessage", by=admin, EncodedMessage=text))
        assert (code, said[:21]) == (BAD, "Message is not valid."), text
    code, said = await refused(harness.sts("DecodeAuthorizationMessage", by=admin, EncodedMessage="A" * 10_241))
    assert code == "ValidationError"
    assert "length less than or equal to 10240" in said


async def test_the_length_of_a_message_says_nothing_of_policies(harness):
    many = {"StringLike": {f"aws:PrincipalTag/{number}": "x" for number in range(50)}}
    policies = {"ann": (), "ben": (document(DENY),), "cas": (document({**ALLOW, "Condition": many}),)}
    messages = {name: await denied(harness, await harness.user(name, *given)) for name, given in policies.items()}
    assert len(set(map(len, messages.values()))) == 1
    said = await decoded(harness, messages["cas"])
    assert said["conditionsLeftOut"] == 51 - len(conditions(said)) > 0  # one is always told


async def test_a_stranger_to_a_resource_learns_nothing_of_its_account(harness):
    owner = await harness.administrator()
    await harness.app.invoke(owner, "s3", "CreateBucket", {"Bucket": "vault"}, region=REGION)
    messages = []
    eve = await harness.user("eve", document(ALLOW), account=OTHER)
    for statement in (None, {**DENY, "Principal": {"AWS": eve.arn}}):
        if statement is not None:
            given = {"Bucket": "vault", "Policy": document(statement)}
            await harness.app.invoke(owner, "s3", "PutBucketPolicy", given, region=REGION)
        messages.append(await denied(harness, eve))
    told = [await decoded(harness, message, OTHER) for message in messages]
    assert told[0] == told[1]
    assert (told[0]["explicitDeny"], told[0]["deniedBy"]) == (False, "")


async def test_what_no_text_can_hold_does_not_keep_a_denial_from_being_answered(harness):
    policy = document({**ALLOW, "Condition": {"StringEquals": {"aws:RequestTag/a": "b", "aws:TagKeys": "c"}}})
    ann = await harness.user("ann", policy)
    call = Call(
        app=harness.app, session=ann, account=ACCOUNT, region=REGION, service="s3", operation="X", request_id="r",
        now=harness.app.clock.now(), via="invoke",
    )  # fmt: skip
    call.memo["asked"] = lambda: {"aws:requesttag/a": f"\ud800{'ü' * 120}", "aws:tagkeys": ("\ud801", "x" * 1000)}
    with pytest.raises(AccessDenied) as caught:
        await harness.app.identity.authorize(call, "s3:GetObject", (f"{BUCKET}/{'ü' * 1024}",))
    message = caught.value.authorization
    assert len(message) <= 4000
    said = await decoded(harness, message)
    assert conditions(said)["aws:RequestTag/a"] == [f"\ud800{'ü' * 120}"]
    assert said["conditionsLeftOut"] == 1
    assert said["context"]["resource"].startswith(f"{BUCKET}/üüü")


def test_messages_of_an_older_master_key_are_read_as_long_as_it_is_there():
    denial = denials.Denial(
        entity="AIDAX", principal="AIDAX", arn="arn", action="a:B", resource="*", at=1, source="", kind="session policy",
        explicit=True, by=Denying("0" * 16, 3), conditions={"aws:tagkeys": ("a", "b"), "aws:username": None}, left_out=0,
    )  # fmt: skip
    old, new = (b"old_", b"1" * 32), (b"new_", b"2" * 32)
    message = denials.encode(Sealer([old]), ACCOUNT, denial)
    assert denials.decode(Sealer([old, new]), ACCOUNT, message) == denial
    assert denials.decode(Sealer([new]), ACCOUNT, message) is None
    assert denials.decode(Sealer([old]), OTHER, message) is None


async def test_a_role_that_is_missing_or_does_not_trust_the_caller(harness):
    ann = await harness.user("ann", document(ALLOW))
    arn = f"arn:aws:iam::{ACCOUNT}:role/r"

    async def assuming(session=ann, role=arn):
        with pytest.raises(AccessDeniedException) as caught:
            await harness.assumed(role, by=session)
        return caught.value.authorization

    missing = await assuming()
    await harness.role("r", trusting(Service="codepipeline.amazonaws.com"))
    distrusted = await assuming()
    assert len(missing) == len(distrusted)
    told = await decoded(harness, missing)
    assert told == await decoded(harness, distrusted)
    assert (told["explicitDeny"], told["deniedBy"]) == (False, "resource-based policy")
    assert told["context"]["action"] == "sts:AssumeRole"
    statement = {"Effect": "Deny", "Principal": {"AWS": ann.arn}, "Action": "sts:AssumeRole", "Sid": "NotAnn"}
    await harness.iam("UpdateAssumeRolePolicy", RoleName="r", PolicyDocument=document(statement))
    told = await decoded(harness, await assuming())
    (matched,) = told["matchedStatements"]["items"]
    assert (matched["statementId"], matched["sourcePolicyId"], told["explicitDeny"]) == ("NotAnn", arn, True)
    eve = await harness.user("eve", document(ALLOW), account=OTHER)
    told = [await decoded(harness, await assuming(eve, role), OTHER) for role in (arn, arn + "q")]
    assert [(one["explicitDeny"], one["deniedBy"]) for one in told] == [(False, "")] * 2
