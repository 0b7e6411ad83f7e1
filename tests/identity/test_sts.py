"""Sessions: who may assume what, for how long, and what a session may do."""

import base64
import json
from dataclasses import replace

import pytest
from penstock_identity_harness import ACCOUNT, OTHER, REGION, allow, document, trusting

from penstock.identity import naming
from penstock.identity.errors import AccessDeniedException, ValidationErrorException
from penstock.identity.guarded import Guarded
from penstock.identity.policy import Named
from penstock.identity.sessions import unseal
from penstock.store.sealing import Sealer
from penstock.wire.call import PrincipalKind, Session, service_session
from penstock.wire.errors import AccessDenied, ExpiredSession, InvalidSessionToken, ServiceError, UnknownAccessKey
from penstock.wire.identity import ResourcePolicy

PIPELINE = "codepipeline.amazonaws.com"


async def test_who_am_i(harness):
    ann = await harness.user("ann")
    said = await harness.sts("GetCallerIdentity", by=ann)
    assert said == {"UserId": ann.principal_id, "Account": ACCOUNT, "Arn": "arn:aws:iam::111111111111:user/ann"}
    role = await harness.role("r", trusting(AWS=ann.arn))
    session = await harness.assumed(role, by=ann)
    said = await harness.sts("GetCallerIdentity", by=session)
    assert said["Arn"] == "arn:aws:sts::111111111111:assumed-role/r/testing"
    assert said["UserId"].startswith("AROA")
    assert said["UserId"].endswith(":testing")


async def test_trust_of_the_principal_suffices_and_trust_of_its_account_does_not(harness):
    ann = await harness.user("ann")
    named = await harness.role("named", trusting(AWS=ann.arn))
    rooted = await harness.role("rooted", trusting(AWS=f"arn:aws:iam::{ACCOUNT}:root"))
    await harness.assumed(named, by=ann)
    with pytest.raises(AccessDeniedException) as caught:
        await harness.assumed(rooted, by=ann)
    assert caught.value.message == f"User: {ann.arn} is not authorized to perform: sts:AssumeRole on resource: {rooted}"
    await harness.iam(
        "PutUserPolicy", UserName="ann", PolicyName="p", PolicyDocument=allow("sts:AssumeRole", resource=rooted)
    )
    await harness.assumed(rooted, by=ann)
    deny = document({"Effect": "Deny", "Action": "sts:*", "Resource": "*"})
    await harness.iam("PutUserPolicy", UserName="ann", PolicyName="q", PolicyDocument=deny)
    for role in (named, rooted):
        with pytest.raises(AccessDeniedException):
            await harness.assumed(role, by=ann)


async def test_across_accounts_both_sides_must_allow(harness):
    theirs = await harness.user("eve", account=OTHER)
    role = await harness.role("r", trusting(AWS=theirs.arn))
    with pytest.raises(AccessDeniedException):
        await harness.assumed(role, by=theirs)
    admin = await harness.administrator(OTHER)
    await harness.iam(
        "PutUserPolicy", UserName="eve", PolicyName="p", PolicyDocument=allow("sts:AssumeRole", resource=role), by=admin
    )
    assert (await harness.assumed(role, by=theirs)).account == ACCOUNT
    closed = await harness.role("closed", trusting(AWS=f"arn:aws:iam::{ACCOUNT}:root"))
    with pytest.raises(AccessDeniedException):
        await harness.assumed(closed, by=admin)


async def test_a_user_of_the_same_name_later_is_somebody_else(harness):
    ann = await harness.user("ann")
    role = await harness.role("r", trusting(AWS=ann.arn))
    await harness.assumed(role, by=ann)
    await harness.iam("DeleteAccessKey", UserName="ann", AccessKeyId=ann.access_key_id)
    await harness.iam("DeleteUser", UserName="ann")
    again = await harness.user("ann")
    assert again.arn == ann.arn
    with pytest.raises(AccessDeniedException):
        await harness.assumed(role, by=again)


async def test_services_assume_only_what_trusts_them(harness):
    role = await harness.role("r", trusting(Service=PIPELINE), allow("s3:*"))
    session, credentials = await harness.app.identity.assume(
        role_arn=role, service=PIPELINE, session_name="run-1", region=REGION, account=ACCOUNT, source_arn=""
    )
    assert (session.kind, session.role_arn) == (PrincipalKind.ROLE, role)
    assert set(credentials) == {"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}
    assert credentials["AccessKeyId"].startswith("ASIA")
    await harness.may(session, "s3:PutObject", "arn:aws:s3:::b/k")
    with pytest.raises(AccessDenied):
        await harness.may(session, "iam:CreateUser")
    with pytest.raises(AccessDenied, match="codebuild.amazonaws.com is not authorized to perform: sts:AssumeRole"):
        await harness.app.identity.assume(
            role_arn=role,
            service="codebuild.amazonaws.com",
            session_name="x1",
            region=REGION,
            account=ACCOUNT,
            source_arn="",
        )
    with pytest.raises(AccessDenied):
        await harness.app.identity.assume(
            role_arn=role.replace("role/r", "role/none"),
            service=PIPELINE,
            session_name="x1",
            region=REGION,
            account=ACCOUNT,
            source_arn="",
        )
    assert await harness.app.identity.role_trusts(role, PIPELINE, account=ACCOUNT, source_arn="")
    assert not await harness.app.identity.role_trusts(role, "codebuild.amazonaws.com", account=ACCOUNT, source_arn="")
    assert not await harness.app.identity.role_trusts(role + "x", PIPELINE, account=ACCOUNT, source_arn="")
    assert not await harness.app.identity.role_trusts("nonsense", PIPELINE, account=ACCOUNT, source_arn="")
    with pytest.raises(AccessDenied):
        await harness.may(service_session(PIPELINE, ACCOUNT, ""), "s3:GetObject")


async def test_a_service_works_for_one_account(harness):
    await harness.administrator(OTHER)
    role = await harness.role("r", trusting(Service=PIPELINE), account=OTHER)
    assert await harness.app.identity.role_trusts(role, PIPELINE, account=OTHER, source_arn="")
    assert not await harness.app.identity.role_trusts(role, PIPELINE, account=ACCOUNT, source_arn="")
    with pytest.raises(AccessDenied):
        await harness.app.identity.assume(
            role_arn=role, service=PIPELINE, session_name="x1", region=REGION, account=ACCOUNT, source_arn=""
        )


async def test_the_service_of_one_region_is_ours(harness):
    role = await harness.role("r", trusting(Service="codedeploy.us-east-1.amazonaws.com"))
    assert await harness.app.identity.role_trusts(role, "codedeploy.amazonaws.com", account=ACCOUNT, source_arn="")
    far = await harness.role("far", trusting(Service="codedeploy.eu-west-1.amazonaws.com"))
    assert not await harness.app.identity.role_trusts(far, "codedeploy.amazonaws.com", account=ACCOUNT, source_arn="")


async def test_sessions_end(harness, clock):
    ann = await harness.user("ann")
    role = await harness.role("r", trusting(AWS=ann.arn), allow("s3:*"))
    made = (await harness.sts("AssumeRole", by=ann, RoleArn=role, RoleSessionName="testing", DurationSeconds=900))[
        "Credentials"
    ]
    session = await harness.session(made["AccessKeyId"], made["SessionToken"])
    assert made["Expiration"] == clock.now() + 900_000
    clock.advance(899_999)
    await harness.session(made["AccessKeyId"], made["SessionToken"])
    clock.advance(1)
    with pytest.raises(ExpiredSession):
        await harness.session(made["AccessKeyId"], made["SessionToken"])
    with pytest.raises(ExpiredSession):
        await harness.may(session, "s3:GetObject")


async def test_sessions_end_with_their_role(harness):
    ann = await harness.user("ann")
    role = await harness.role("r", trusting(AWS=ann.arn))
    made = (await harness.sts("AssumeRole", by=ann, RoleArn=role, RoleSessionName="testing"))["Credentials"]
    await harness.session(made["AccessKeyId"], made["SessionToken"])
    await harness.iam("DeleteRole", RoleName="r")
    for _ in range(2):
        with pytest.raises(InvalidSessionToken):
            await harness.session(made["AccessKeyId"], made["SessionToken"])
        await harness.role("r", trusting(AWS=ann.arn))
        await harness.iam("DeleteRole", RoleName="r")


async def test_tokens_are_not_to_be_tampered_with(harness):
    ann = await harness.user("ann")
    role = await harness.role("r", trusting(AWS=ann.arn))
    made = (await harness.sts("AssumeRole", by=ann, RoleArn=role, RoleSessionName="testing"))["Credentials"]
    other = (await harness.sts("AssumeRole", by=ann, RoleArn=role, RoleSessionName="other"))["Credentials"]
    token = made["SessionToken"]
    for bad in (
        "x",
        "é",
        token[:-4],
        token[:40] + ("A" if token[40] != "A" else "B") + token[41:],
        "A" * 100_000,
        token + "\n",
    ):
        with pytest.raises(InvalidSessionToken):
            await harness.session(made["AccessKeyId"], bad)
    with pytest.raises(InvalidSessionToken):
        await harness.session(other["AccessKeyId"], token)
    with pytest.raises(UnknownAccessKey):
        await harness.session(made["AccessKeyId"])
    with pytest.raises(InvalidSessionToken):
        await harness.session(ann.access_key_id, token)
    for key in ("", "AKIA" + "A" * 16, "x" * 1000):
        with pytest.raises(UnknownAccessKey):
            await harness.session(key)


async def test_session_policies_narrow(harness):
    ann = await harness.user("ann")
    role = await harness.role("r", trusting(AWS=ann.arn), allow("s3:*"))
    session = await harness.assumed(role, by=ann, Policy=allow("s3:Get*", "iam:*"))
    await harness.may(session, "s3:GetObject")
    with pytest.raises(AccessDenied, match="because no session policy allows the s3:PutObject action"):
        await harness.may(session, "s3:PutObject")
    with pytest.raises(AccessDenied, match="because no identity-based policy allows"):
        await harness.may(session, "iam:GetUser")
    session = await harness.assumed(
        role, by=ann, PolicyArns=[{"arn": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}]
    )
    await harness.may(session, "s3:GetObject")
    with pytest.raises(AccessDenied):
        await harness.may(session, "s3:PutObject")
    deny = document(
        {"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}
    )
    session = await harness.assumed(role, by=ann, Policy=deny)
    with pytest.raises(AccessDenied, match="with an explicit deny in a session policy"):
        await harness.may(session, "s3:GetObject")
    for bad, code in (
        ({"Policy": "{"}, "MalformedPolicyDocument"),
        ({"Policy": allow(*[f"s3:Get{'x' * 30}{n}" for n in range(80)])}, "PackedPolicyTooLarge"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/NoSuch"}]}, "MalformedPolicyDocument"),
    ):
        with pytest.raises(ServiceError) as caught:
            await harness.assumed(role, by=ann, **bad)
        assert caught.value.wire_code == code


async def test_durations(harness):
    ann = await harness.user("ann")
    long = await harness.role("long", trusting(AWS=ann.arn), allow("sts:AssumeRole"), MaxSessionDuration=43200)
    short = await harness.role("short", trusting(AWS=ann.arn))
    await harness.assumed(long, by=ann, DurationSeconds=43200)
    with pytest.raises(ValidationErrorException, match="exceeds the MaxSessionDuration set for this role"):
        await harness.assumed(short, by=ann, DurationSeconds=3601)
    chained = await harness.assumed(long, by=ann)
    target = await harness.role("target", trusting(AWS=long), MaxSessionDuration=43200)
    await harness.assumed(target, by=chained)
    with pytest.raises(ValidationErrorException, match="role chaining"):
        await harness.assumed(target, by=chained, DurationSeconds=3601)


async def test_tags_need_trust_of_their_own(harness):
    ann = await harness.user("ann")
    plain = await harness.role("plain", trusting(AWS=ann.arn))
    with pytest.raises(AccessDeniedException, match="sts:TagSession"):
        await harness.assumed(plain, by=ann, Tags=[{"Key": "a", "Value": "b"}])
    both = json.dumps(
        {
            "Statement": {
                "Effect": "Allow",
                "Principal": {"AWS": ann.arn},
                "Action": ["sts:AssumeRole", "sts:TagSession"],
            }
        }
    )
    tagged = await harness.role("tagged", both)
    assert (await harness.assumed(tagged, by=ann, Tags=[{"Key": "a", "Value": "b"}])).tags == {"a": "b"}


TAGS = [{"Key": "Team", "Value": "red"}, {"Key": "cost", "Value": "7"}]


@pytest.mark.parametrize(
    ("asked", "code", "reason"),
    [
        (
            {"ProvidedContexts": [{"ProviderArn": "arn:aws:iam::aws:contextProvider/x"}]},
            "ValidationError",
            "Provided contexts",
        ),
        (
            {"Tags": [{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]},
            "InvalidParameterValue",
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
        ),
        (
            {"Tags": TAGS, "TransitiveTagKeys": ["team", "other"]},
            "InvalidParameterValue",
            "The specified transitive tag key must be included in the requested tags.",
        ),
        ({"Tags": [{"Key": "aws:SourceArn", "Value": "1"}]}, "ValidationError", "reserved"),
        (
            {"Tags": [{"Key": f"{n:0100}", "Value": "v"} for n in range(50)]},
            "PackedPolicyTooLarge",
            r"Packed policy consumes 13\d% of allotted space, please use smaller policy.",
        ),
    ],
)
async def test_what_a_session_would_not_carry_is_refused(harness, asked, code, reason):
    ann = await harness.user("ann")
    trust = {"Effect": "Allow", "Principal": {"AWS": ann.arn}, "Action": ["sts:AssumeRole", "sts:TagSession"]}
    role = await harness.role("r", document(trust))
    with pytest.raises(ServiceError, match=reason) as caught:
        await harness.assumed(role, by=ann, **asked)
    assert caught.value.wire_code == code


def _chain_trust(arn, *actions):
    return document(
        {"Effect": "Allow", "Principal": {"AWS": arn}, "Action": ["sts:AssumeRole", "sts:TagSession", *actions]}
    )


async def test_transitive_tags_go_along_a_chain_and_cannot_be_changed(harness):
    ann = await harness.user("ann")
    first = await harness.role("first", _chain_trust(ann.arn), Tags=[{"Key": "team", "Value": "of the role"}])
    second = await harness.role("second", _chain_trust(first))
    third = await harness.role(
        "third", _chain_trust(second), allow("s3:*", resource="arn:aws:s3:::${aws:PrincipalTag/TEAM}/*")
    )
    silent = await harness.role("silent", trusting(AWS=first))
    session = await harness.assumed(first, by=ann, Tags=TAGS, TransitiveTagKeys=["TEAM"])
    assert (session.tags, session.transitive) == ({"Team": "red", "cost": "7"}, ("Team",))
    with pytest.raises(AccessDeniedException, match="sts:TagSession"):
        await harness.assumed(silent, by=session)
    for tags, keys in (([{"Key": "TEAM", "Value": "x"}], []), ([{"Key": "TEAM", "Value": "x"}], ["TEAM"])):
        with pytest.raises(ServiceError, match="conflicts with a transitive tag key from the calling session"):
            await harness.assumed(second, by=session, Tags=tags, TransitiveTagKeys=keys)
    session = await harness.assumed(second, by=session, Tags=[{"Key": "cost", "Value": "8"}])
    assert (session.tags, session.transitive) == ({"Team": "red", "cost": "8"}, ("Team",))
    session = await harness.assumed(third, by=session)
    assert (session.tags, session.transitive) == ({"Team": "red"}, ("Team",))
    await harness.may(session, "s3:GetObject", "arn:aws:s3:::red/k")
    with pytest.raises(AccessDenied):
        await harness.may(session, "s3:GetObject", "arn:aws:s3:::blue/k")


@pytest.mark.parametrize(
    ("condition", "good", "bad"),
    [
        ({"StringEquals": {"sts:ExternalId": "e1"}}, {"ExternalId": "e1"}, {"ExternalId": "e2"}),
        ({"StringEquals": {"sts:ExternalId": "e1"}}, {"ExternalId": "e1"}, {}),
        (
            {"StringLike": {"sts:RoleSessionName": "${aws:username}"}},
            {"RoleSessionName": "ann"},
            {"RoleSessionName": "bob"},
        ),
        ({"StringEquals": {"sts:SourceIdentity": "ann"}}, {"SourceIdentity": "ann"}, {"SourceIdentity": "bob"}),
        ({"StringEquals": {"aws:RequestTag/team": "red"}}, {"Tags": TAGS}, {"Tags": TAGS[1:]}),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["Team"]}}, {"Tags": TAGS[:1]}, {"Tags": TAGS}),
        (
            {"ForAllValues:StringEquals": {"sts:TransitiveTagKeys": ["Team"]}},
            {"Tags": TAGS, "TransitiveTagKeys": ["team"]},
            {"Tags": TAGS, "TransitiveTagKeys": ["cost"]},
        ),
    ],
)
async def test_what_trust_may_ask_of_a_request(harness, condition, good, bad):
    ann = await harness.user("ann")
    actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    statement = {"Effect": "Allow", "Principal": {"AWS": ann.arn}, "Action": actions, "Condition": condition}
    role = await harness.role("r", document(statement))
    named = {"RoleArn": role, "RoleSessionName": "testing"}
    await harness.sts("AssumeRole", by=ann, **{**named, **good})
    with pytest.raises(AccessDeniedException):
        await harness.sts("AssumeRole", by=ann, **{**named, **bad})


async def test_what_a_users_session_may_not_do_is_denied_whatever_names_the_user(harness):
    ann = await harness.user("ann", allow("*"))
    made = (await harness.sts("GetSessionToken", by=ann))["Credentials"]
    session = await harness.session(made["AccessKeyId"], made["SessionToken"])
    assert session.kind is PrincipalKind.USER
    for action in ("iam:GetUser", "sts:GetAccessKeyInfo"):
        decision = await harness.app.identity.decisions.decision(session, action, "*", {}, named=Named.ITSELF)
        assert (decision.allowed, decision.explicit, decision.kind) == (False, True, "session policy")
    for operation in ("GetSessionToken", "GetFederationToken"):
        input = {"Name": "bob"} if operation == "GetFederationToken" else {}
        with pytest.raises(AccessDeniedException, match=f"Cannot call {operation} with session credentials"):
            await harness.sts(operation, by=session, **input)


async def test_a_second_factor_opens_iam_to_a_users_session(harness, clock):
    ann = await harness.user("ann", allow("*"))
    made = (await harness.sts("GetSessionToken", by=ann))["Credentials"]
    session = await harness.session(made["AccessKeyId"], made["SessionToken"])
    await harness.may(replace(session, mfa=clock.now()), "iam:GetUser")
    with pytest.raises(AccessDenied, match="explicit deny in a session policy"):
        await harness.may(session, "iam:GetUser")


async def federated(harness, by, **input):
    made = await harness.sts("GetFederationToken", by=by, Name="bob", **input)
    key = made["Credentials"]
    return made, await harness.session(key["AccessKeyId"], key["SessionToken"])


async def test_get_federation_token(harness):
    ann = await harness.user("ann", allow("s3:*", "iam:*", "sts:*"))
    made, bob = await federated(harness, ann, Policy=allow("s3:Get*", "iam:*", "sts:*", "sqs:*"), Tags=TAGS)
    arn = f"arn:aws:sts::{ACCOUNT}:federated-user/bob"
    assert made["FederatedUser"] == {"FederatedUserId": f"{ACCOUNT}:bob", "Arn": arn}
    assert 0 < made["PackedPolicySize"] <= 100
    assert (bob.kind, bob.arn, bob.principal_id, bob.tags) == (
        PrincipalKind.FEDERATED, arn, f"{ACCOUNT}:bob", {"Team": "red", "cost": "7"},
    )  # fmt: skip
    assert (await harness.sts("GetCallerIdentity", by=bob))["Arn"] == arn
    await harness.may(bob, "s3:GetObject")
    for action in ("s3:PutObject", "sqs:SendMessage", "iam:GetUser", "sts:AssumeRole"):
        with pytest.raises(AccessDenied, match=f"User: {arn} is not authorized to perform: {action}"):
            await harness.may(bob, action)
    role = await harness.role("r", trusting(AWS=ann.arn))
    with pytest.raises(AccessDeniedException):
        await harness.assumed(role, by=bob)
    await harness.iam("PutUserPolicy", UserName="ann", PolicyName="p0", PolicyDocument=allow("sqs:*"))
    with pytest.raises(AccessDenied):
        await harness.may(bob, "s3:GetObject")


async def test_a_federated_user_without_a_session_policy_has_what_names_it(harness):
    ann = await harness.user("ann", allow("s3:*", "sts:GetFederationToken"))
    made, bob = await federated(harness, ann)
    assert made["PackedPolicySize"] == 0
    with pytest.raises(AccessDenied, match="because no session policy allows"):
        await harness.may(bob, "s3:GetObject")
    user = f"arn:aws:sts::{ACCOUNT}:federated-user/"
    for principal, how in (
        (f"{user}bob", Named.ITSELF), (f"{user}eve", Named.SILENT), (ann.arn, Named.BEHIND), (ACCOUNT, Named.ACCOUNT),
    ):  # fmt: skip
        text = document({"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "s3:*", "Resource": "*"})
        ids = await harness.app.store.read(harness.app.identity.check_policy, text)
        named = Guarded.of("arn:aws:s3:::b", ResourcePolicy(account=ACCOUNT, documents=(text,), ids=ids)).name(
            bob, "s3:GetObject", "arn:aws:s3:::b/k", REGION, {}
        )
        assert named is how
        decision = await harness.app.identity.decisions.decision(
            bob, "s3:GetObject", "arn:aws:s3:::b/k", {}, named=named
        )
        assert decision.allowed is (how is Named.ITSELF)


async def test_what_a_user_needs_to_vouch_for_others(harness):
    ann = await harness.user("ann", allow("sts:GetFederationToken"))
    with pytest.raises(AccessDenied, match="sts:TagSession on resource: arn:aws:sts::111111111111:federated-user/bob"):
        await federated(harness, ann, Tags=TAGS)
    eve = await harness.user("eve", allow("s3:*"))
    with pytest.raises(AccessDenied, match="sts:GetFederationToken on resource"):
        await federated(harness, eve)
    role = await harness.role("r", trusting(AWS=ann.arn), allow("*"))
    with pytest.raises(AccessDeniedException, match="Cannot call GetFederationToken with session credentials"):
        await federated(harness, await harness.assumed(role, by=ann))


async def test_whose_a_key_is(harness):
    ann = await harness.user("ann", allow("sts:*"))
    admin = await harness.administrator(OTHER)
    role = await harness.role("r", trusting(AWS=ann.arn))
    session = await harness.assumed(role, by=ann)
    for key, account in (
        (ann.access_key_id, ACCOUNT), (session.access_key_id, ACCOUNT), (admin.access_key_id, OTHER),
    ):  # fmt: skip
        assert await harness.sts("GetAccessKeyInfo", by=ann, AccessKeyId=key) == {"Account": account}
    for bad in (
        "AKIAIOSFODNN7EXAMPLE",
        "AROA" + ann.access_key_id[4:],
        "x" * 20,
        ann.access_key_id + "A",
        "AKIA" + "7" * 16,
        naming.access_key_id("AKIA", "999999999999"),  # of another installation
    ):
        with pytest.raises(ValidationErrorException, match=f"{bad} is no access key of an account"):
            await harness.sts("GetAccessKeyInfo", by=ann, AccessKeyId=bad)


def test_a_session_token_of_a_form_that_is_not_known_is_none():
    sealer = Sealer([(b"1234", b"k" * 32)])
    for content in (b'[1,"ASIA"]', b'{"v":9}', b'{"v":1}', b"7"):
        token = base64.urlsafe_b64encode(sealer.seal(content, "iam/session-token")).decode()
        assert unseal(sealer, token) is None


async def test_get_session_token(harness):
    ann = await harness.user("ann", allow("s3:*", "iam:*"))
    made = (await harness.sts("GetSessionToken", by=ann))["Credentials"]
    session = await harness.session(made["AccessKeyId"], made["SessionToken"])
    assert (session.arn, session.principal_id) == (ann.arn, ann.principal_id)
    await harness.may(session, "s3:GetObject")
    with pytest.raises(AccessDenied):
        await harness.may(session, "iam:GetUser")
    with pytest.raises(AccessDeniedException):
        await harness.sts("GetSessionToken", by=session)
    role = await harness.role("r", trusting(AWS=ann.arn))
    await harness.assumed(role, by=session)


async def test_a_narrowed_session_assumes_only_what_its_policy_lets_it(harness):
    ann = await harness.user("ann")
    first = await harness.role("first", trusting(AWS=ann.arn))
    second = await harness.role("second", trusting(AWS=first))
    await harness.assumed(second, by=await harness.assumed(first, by=ann))
    await harness.assumed(second, by=await harness.assumed(first, by=ann, Policy=allow("sts:AssumeRole")))
    with pytest.raises(AccessDeniedException):
        await harness.assumed(second, by=await harness.assumed(first, by=ann, Policy=allow("s3:*")))


async def test_root_may_all_but_assume_roles(harness):
    root = Session(account=ACCOUNT, kind=PrincipalKind.ROOT, arn=f"arn:aws:iam::{ACCOUNT}:root", principal_id=ACCOUNT)
    await harness.may(root, "anything:AtAll")
    role = await harness.role("r", trusting(AWS=ACCOUNT))
    with pytest.raises(AccessDeniedException, match="Roles may not be assumed by root accounts"):
        await harness.assumed(role, by=root)


async def test_what_assume_role_refuses(harness):
    ann = await harness.user("ann")
    role = await harness.role("r", trusting(AWS=ann.arn))
    with pytest.raises(ValidationErrorException, match="is invalid"):
        await harness.assumed("not an arn of any role", by=ann)
    with pytest.raises(AccessDeniedException, match="MultiFactorAuthentication"):
        await harness.assumed(role, by=ann, SerialNumber="arn:aws:iam::111111111111:mfa/ann", TokenCode="123456")
    with pytest.raises(AccessDeniedException):
        await harness.assumed(role.replace("role/r", "role/R2"), by=ann)
    with pytest.raises(
        ServiceError, match="1 validation error detected: Value '1' at 'durationSeconds' failed"
    ) as short:
        await harness.assumed(role, by=ann, DurationSeconds=1)
    assert short.value.wire_code == "ValidationError"


async def test_sts_repeats_the_value_that_it_refuses(harness):
    ann = await harness.user("ann")
    with pytest.raises(ServiceError) as caught:
        await harness.sts("AssumeRole", by=ann, RoleArn=f"arn:aws:iam::{ACCOUNT}:role/r", RoleSessionName="Session1:2")
    assert caught.value.message == (
        "1 validation error detected: Value 'Session1:2' at 'roleSessionName' failed to satisfy constraint: "
        r"Member must satisfy regular expression pattern: [\w+=,.@-]*"
    )


async def test_who_is_behind_a_chain_of_roles_stays(harness):
    ann = await harness.user("ann")
    both = ["sts:AssumeRole", "sts:SetSourceIdentity"]

    def trust_of(arn):
        return document({"Effect": "Allow", "Principal": {"AWS": arn}, "Action": both})

    first = await harness.role("first", trust_of(ann.arn), allow("sts:*"))
    second = await harness.role("second", trust_of(first))
    session = await harness.assumed(first, by=ann, SourceIdentity="ann")
    assert (await harness.assumed(second, by=session)).source_identity == "ann"
    with pytest.raises(AccessDeniedException, match="sts:SetSourceIdentity"):
        await harness.assumed(second, by=session, SourceIdentity="bob")


async def test_what_is_no_arn_is_attached_to_nobody(harness):
    await harness.user("ann")
    for operation in ("AttachUserPolicy", "DetachUserPolicy"):
        with pytest.raises(ValidationErrorException, match="ARN .* is not valid."):
            await harness.iam(operation, UserName="ann", PolicyArn="AdministratorAccess-and-more")
