"""AssumeRoleWithWebIdentity: whom a token lets in, as what, and what everybody else is answered."""

import base64
import json
from dataclasses import replace

import pytest
from penstock_identity_harness import ACCOUNT, OTHER, allow, document, harness_on
from penstock_issuer import issuer_at, jwk, private_key

from penstock.egress import EgressSettings
from penstock.identity import addresses, authority, issuers
from penstock.identity.errors import (
    AccessDeniedException,
    ExpiredTokenException,
    InvalidIdentityTokenException,
    InvalidParameterValueException,
    PackedPolicyTooLargeException,
    ValidationErrorException,
)
from penstock.identity.web_tokens import AUDIENCE, NO_KEY, SIGNATURE
from penstock.wire.call import ANONYMOUS, PrincipalKind
from penstock.wire.errors import AccessDenied, ExpiredSession, ServiceError, Throttled

ACTION = "sts:AssumeRoleWithWebIdentity"
REFUSED = f"Not authorized to perform {ACTION}"
TAGS = "https://aws.amazon.com/tags"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with issuer_at(tmp_path_factory.mktemp("issuer"), path="/ci") as issuer:
        yield issuer


@pytest.fixture
def issuer(running, monkeypatch):
    monkeypatch.setattr(issuers, "TIMEOUT_S", 60)
    running.asked.clear()
    running.instead.clear()
    running.keys[:] = [jwk(private_key(), "k1")]
    return running


@pytest.fixture
async def harness(any_store, clock, tmp_path, issuer):
    chosen = EgressSettings(egress_networks=("127.0.0.0/8",), egress_ca_file=str(issuer.ca_file))
    async with harness_on(any_store, clock, tmp_path, chosen=(chosen,)) as made:
        await made.administrator()
        await made.iam("CreateOpenIDConnectProvider", Url=issuer.url, ClientIDList=["sts.amazonaws.com", "other"])
        yield made


def arn(issuer, account=ACCOUNT):
    return f"arn:aws:iam::{account}:oidc-provider/{issuer.provider}"


def trust(issuer, *actions, principal=None, **conditions):
    statement = {
        "Effect": "Allow", "Principal": principal or {"Federated": arn(issuer)}, "Action": [ACTION, *actions],
    }  # fmt: skip
    return document({**statement, **({"Condition": conditions} if conditions else {})})


def token(harness, issuer, **how):
    return issuer.token(at=harness.app.clock.now() // 1000, **how)


async def shown(harness, role, text, **input):
    input = {"RoleSessionName": "run-1", **input}
    return await harness.sts("AssumeRoleWithWebIdentity", by=ANONYMOUS, RoleArn=role, WebIdentityToken=text, **input)


async def refusal(harness, role, text, **input):
    with pytest.raises(ServiceError) as caught:
        await shown(harness, role, text, **input)
    return type(caught.value), caught.value.message


async def entered(harness, made):
    return await harness.session(made["Credentials"]["AccessKeyId"], made["Credentials"]["SessionToken"])


async def test_a_token_gives_a_session_of_the_role(harness, issuer):
    role = await harness.role("ci", trust(issuer), allow("s3:GetObject"))
    made = await shown(harness, role, token(harness, issuer, sub="repo:o/r:ref:refs/heads/main"))
    row = await harness.app.identity.role(role)
    assert {name: value for name, value in made.items() if name != "Credentials"} == {
        "AssumedRoleUser": {"AssumedRoleId": f"{row.id}:run-1", "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/ci/run-1"},
        "SubjectFromWebIdentityToken": "repo:o/r:ref:refs/heads/main", "Provider": arn(issuer), "Audience": "sts.amazonaws.com",
    }  # fmt: skip
    assert set(made["Credentials"]) == {"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}
    assert made["Credentials"]["Expiration"] == harness.app.clock.now() + 3_600_000
    session = await entered(harness, made)
    assert (session.kind, session.role_arn, session.provider, session.account) == (
        PrincipalKind.ROLE, role, arn(issuer), ACCOUNT,
    )  # fmt: skip
    await harness.may(session, "s3:GetObject", "arn:aws:s3:::b/k")
    with pytest.raises(AccessDenied):
        await harness.may(session, "s3:PutObject", "arn:aws:s3:::b/k")


async def test_a_role_that_is_missing_and_one_that_trusts_somebody_else_are_refused_alike(harness, issuer):
    text = token(harness, issuer)
    user = await harness.user("ann")
    strange = arn(issuer).replace("oidc-provider/", "oidc-provider/x")
    trusts = {
        "user": document({"Effect": "Allow", "Principal": {"AWS": user.arn}, "Action": "sts:*"}),
        "account": document({"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:*"}),
        "service": document(
            {"Effect": "Allow", "Principal": {"Service": "codebuild.amazonaws.com"}, "Action": "sts:*"}
        ),
        "other": document({"Effect": "Allow", "Principal": {"Federated": strange}, "Action": ACTION}),
        "elsewhere": document({"Effect": "Allow", "Principal": {"Federated": arn(issuer, OTHER)}, "Action": ACTION}),
        "action": document({"Effect": "Allow", "Principal": {"Federated": arn(issuer)}, "Action": "sts:AssumeRole"}),
        "denied": document(
            {"Effect": "Allow", "Principal": {"Federated": arn(issuer)}, "Action": ACTION},
            {"Effect": "Deny", "Principal": "*", "Action": "sts:*"},
        ),
    }
    for name, policy in trusts.items():
        role = await harness.role(name, policy)
        assert await refusal(harness, role, text) == (AccessDeniedException, REFUSED), name
    assert await refusal(harness, f"arn:aws:iam::{ACCOUNT}:role/none", text) == (AccessDeniedException, REFUSED)
    # Who signs the request is nobody to the token's role.
    with pytest.raises(AccessDeniedException, match=REFUSED):
        await harness.sts(
            "AssumeRoleWithWebIdentity", by=user, WebIdentityToken=text, RoleSessionName="run-1",
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/user",
        )  # fmt: skip


async def test_a_user_cannot_take_what_is_for_web_identities(harness, issuer):
    role = await harness.role("ci", trust(issuer, "sts:AssumeRole"))
    admin = await harness.administrator()
    with pytest.raises(AccessDeniedException):
        await harness.assumed(role, by=admin)
    with pytest.raises(AccessDeniedException):
        await harness.assumed(role, by=replace(admin, provider=arn(issuer)))


async def test_conditions_on_claims_hold(harness, issuer):
    prefix = issuer.provider
    role = await harness.role(
        "main",
        trust(
            issuer,
            StringEquals={f"{prefix}:aud": "sts.amazonaws.com", "aws:FederatedProvider": arn(issuer)},
            StringLike={f"{prefix.upper()}:sub": "repo:o/r:*"},
            **{"ForAnyValue:StringEquals": {f"{prefix}:amr": "mfa"}},
        ),
    )
    good = {"sub": "repo:o/r:environment:prod", "amr": ["pwd", "mfa"]}
    await shown(harness, role, token(harness, issuer, **good))
    for wrong in ({"sub": "repo:o/x:environment:prod"}, {"aud": "other"}, {"amr": ["pwd"]}, {"amr": None}):
        text = token(harness, issuer, **{**good, **wrong})
        assert await refusal(harness, role, text) == (AccessDeniedException, REFUSED)
    # A claim that is not a key never matches, and a negated condition on it always holds.
    closed = await harness.role("claim", trust(issuer, StringEquals={f"{prefix}:email": "a@b"}))
    assert (await refusal(harness, closed, token(harness, issuer, email="a@b")))[0] is AccessDeniedException
    named = await harness.role("named", trust(issuer, StringLike={"sts:RoleSessionName": "run-*"}))
    await shown(harness, named, token(harness, issuer))


async def test_what_is_no_right_token(harness, issuer):
    role = await harness.role("ci", trust(issuer))
    now = harness.app.clock.now() // 1000
    cases = [
        ({"exp": now}, ExpiredTokenException, f"Token expired: current date/time {now} must be before the expiration date/time {now}"),
        ({"aud": "them"}, InvalidIdentityTokenException, AUDIENCE),
        ({"azp": "them"}, InvalidIdentityTokenException, AUDIENCE),
        ({"iss": "https://nobody.example"}, InvalidIdentityTokenException,
         "No OpenIDConnect provider found in your account for https://nobody.example"),
        ({"iss": f"{issuer.url}/"}, InvalidIdentityTokenException,
         f"No OpenIDConnect provider found in your account for {issuer.url}/"),
        ({"kid": "k2"}, InvalidIdentityTokenException, NO_KEY),
        ({"key": private_key(number=1)}, InvalidIdentityTokenException, SIGNATURE),
    ]  # fmt: skip
    for how, kind, message in cases:
        assert await refusal(harness, role, token(harness, issuer, **how)) == (kind, message)
    none = json.loads('{"alg":"none"}')
    unsigned = issuer.token().split(".")
    head = base64.urlsafe_b64encode(json.dumps(none).encode()).decode().rstrip("=")
    assert (await refusal(harness, role, f"{head}.{unsigned[1]}."))[0] is InvalidIdentityTokenException


async def test_the_provider_is_the_one_of_the_roles_account(harness, issuer):
    await harness.administrator(OTHER)
    policy = document({"Effect": "Allow", "Principal": {"Federated": arn(issuer)}, "Action": ACTION})
    role = await harness.role("ci", policy, account=OTHER)
    text = token(harness, issuer)
    message = f"No OpenIDConnect provider found in your account for {issuer.url}"
    assert await refusal(harness, role, text) == (InvalidIdentityTokenException, message)
    for account in ("333333333333", OTHER):  # an account that is not there says the same
        nothing = f"arn:aws:iam::{account}:role/none"
        assert await refusal(harness, nothing, text) == (InvalidIdentityTokenException, message)
    mine = await harness.role("ci", trust(issuer))
    await shown(harness, mine, text)
    await harness.iam("DeleteOpenIDConnectProvider", OpenIDConnectProviderArn=arn(issuer))
    assert await refusal(harness, mine, text) == (InvalidIdentityTokenException, message)


async def test_tags_and_source_identity_need_the_roles_trust(harness, issuer):
    plain = await harness.role(
        "plain", trust(issuer), Tags=[{"Key": "team", "Value": "role"}, {"Key": "stay", "Value": "s"}]
    )
    tagging = await harness.role("tagging", trust(issuer, "sts:TagSession", "sts:SetSourceIdentity"))
    tagged = {TAGS: {"principal_tags": {"Team": ["a"]}, "transitive_tag_keys": ["Team"]}}
    named = {"https://aws.amazon.com/source_identity": "ann"}
    assert await refusal(harness, plain, token(harness, issuer, **tagged)) == (
        AccessDeniedException, "Not authorized to perform sts:TagSession",
    )  # fmt: skip
    assert await refusal(harness, plain, token(harness, issuer, **named)) == (
        AccessDeniedException, "Not authorized to perform sts:SetSourceIdentity",
    )  # fmt: skip
    made = await shown(harness, tagging, token(harness, issuer, **tagged, **named))
    assert made["SourceIdentity"] == "ann"
    assert made["PackedPolicySize"] == 1
    session = await entered(harness, made)
    assert (session.tags, session.transitive, session.source_identity) == ({"Team": "a"}, ("Team",), "ann")
    # What goes along a chain came from the token.
    further = await harness.role(
        "further",
        document({"Effect": "Allow", "Principal": {"AWS": tagging}, "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]}),
    )  # fmt: skip
    chained = await harness.assumed(further, by=session)
    assert (chained.tags, chained.source_identity, chained.provider) == ({"Team": "a"}, "ann", "")
    conditional = await harness.role(
        "conditional",
        trust(
            issuer, "sts:TagSession",
            StringEquals={"aws:RequestTag/team": "a"}, **{"ForAllValues:StringEquals": {"aws:TagKeys": ["Team"]}},
        ),
    )  # fmt: skip
    await shown(harness, conditional, token(harness, issuer, **tagged))
    other = {TAGS: {"principal_tags": {"Team": ["b"]}}}
    assert (await refusal(harness, conditional, token(harness, issuer, **other)))[0] is AccessDeniedException
    for wrong, kind in (
        ({TAGS: {"principal_tags": {"a": "1", "A": "2"}}}, InvalidParameterValueException),
        ({TAGS: {"principal_tags": {"a": "1"}, "transitive_tag_keys": ["b"]}}, InvalidParameterValueException),
        ({TAGS: {"principal_tags": {"a": ["1", "2"]}}}, InvalidIdentityTokenException),
        ({TAGS: {"principal_tags": {str(n): "x" for n in range(51)}}}, ValidationErrorException),
        ({TAGS: {"principal_tags": {str(n): "x" * 256 for n in range(20)}}}, PackedPolicyTooLargeException),
        ({TAGS: 7}, InvalidIdentityTokenException),
    ):
        assert (await refusal(harness, tagging, token(harness, issuer, **wrong)))[0] is kind, wrong


async def test_the_name_of_a_host_is_no_name_for_a_web_identity(harness, issuer):
    role = await harness.role("ci", trust(issuer))
    reserve = harness.app.identity.reserve_session
    arn = "arn:aws:rolesanywhere:us-east-1:111111111111:trust-anchor/x"
    made = await shown(harness, role, token(harness, issuer), RoleSessionName="web-1")
    await harness.app.identity.change(lambda conn: reserve(conn, role, "web-1", by=arn, since=0))
    with pytest.raises(ExpiredSession):
        await entered(harness, made)
    kind, message = await refusal(harness, role, token(harness, issuer), RoleSessionName="web-1")
    assert (kind, "belongs to a host that has joined" in message) == (AccessDeniedException, True)
    await entered(harness, await shown(harness, role, token(harness, issuer), RoleSessionName="web-2"))


async def test_a_session_lasts_and_may_what_was_asked_for(harness, issuer):
    role = await harness.role("ci", trust(issuer), allow("s3:*"))
    text = token(harness, issuer)
    made = await shown(harness, role, text, DurationSeconds=900, Policy=allow("s3:GetObject"))
    assert made["Credentials"]["Expiration"] == harness.app.clock.now() + 900_000
    assert made["PackedPolicySize"] > 0
    session = await entered(harness, made)
    await harness.may(session, "s3:GetObject", "arn:aws:s3:::b/k")
    with pytest.raises(AccessDenied):
        await harness.may(session, "s3:PutObject", "arn:aws:s3:::b/k")
    assert await refusal(harness, role, text, DurationSeconds=3601) == (
        ValidationErrorException, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    )  # fmt: skip
    # What a role may last is said to those only whom it trusts.
    closed = await harness.role("closed", trust(issuer, StringEquals={f"{issuer.provider}:sub": "x"}))
    assert (await refusal(harness, closed, text, DurationSeconds=43_200))[0] is AccessDeniedException
    assert (await refusal(harness, role, text, ProviderId="www.amazon.com"))[0] is ValidationErrorException
    assert await refusal(harness, "nonsense-that-is-long-enough", text) == (
        ValidationErrorException, "nonsense-that-is-long-enough is invalid",
    )  # fmt: skip


async def test_an_address_is_refused_so_often_in_a_minute(harness, issuer, monkeypatch):
    monkeypatch.setattr(harness.app.identity.refusals, "_most", 5)
    role = await harness.role("ci", trust(issuer))
    for _ in range(5):
        await refusal(harness, role, "no.such.token")
    with pytest.raises(Throttled):
        await shown(harness, role, token(harness, issuer))
    harness.app.clock.advance(addresses.WINDOW_MS)
    await shown(harness, role, token(harness, issuer))
    assert authority._REFUSALS >= 100  # runners of a provider share addresses
