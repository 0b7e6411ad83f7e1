"""Single sign-on: who comes back from the issuer, as what, and everybody who is sent away."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import sqlalchemy as sa
from penstock_identity_harness import ACCOUNT, OTHER, allow, document, harness_on
from penstock_issuer import answer, issuer_at, jwk, private_key

from penstock.egress import EgressSettings
from penstock.identity import issuers, sign_in_records
from penstock.identity.settings import IdentitySettings
from penstock.wire.call import Origin, PrincipalKind
from penstock.wire.errors import AccessDenied

ACTION = "sts:AssumeRoleWithWebIdentity"
CLIENT = "penstock-console"
ORIGIN = Origin(via="console", source_ip="192.0.2.1")

# What either database may do differently is tested on both; the others take the quicker one.
SQLITE = pytest.mark.parametrize("any_url", ["sqlite"], indirect=True)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with issuer_at(tmp_path_factory.mktemp("issuer"), path="/people") as issuer:
        yield issuer


@pytest.fixture
def issuer(running, monkeypatch):
    monkeypatch.setattr(issuers, "TIMEOUT_S", 60)
    running.instead.clear()
    running.codes.clear()
    running.secret, running.person = "", {"sub": "u-1", "groups": ["deployers"]}
    running.keys[:] = [jwk(private_key(), "k1")]
    return running


def chosen(issuer, **more) -> tuple[EgressSettings, IdentitySettings]:
    return (
        EgressSettings(egress_networks=("127.0.0.0/8",), egress_ca_file=str(issuer.ca_file)),
        IdentitySettings(sign_in_issuer=issuer.url, sign_in_client=CLIENT, sign_in_label="Acme", **more),
    )


@pytest.fixture
async def harness(any_store, clock, tmp_path, issuer, monkeypatch):
    async with harness_on(any_store, clock, tmp_path, chosen=chosen(issuer)) as made:
        monkeypatch.setattr(
            issuer, "token", lambda real=issuer.token, **how: real(at=clock.now() // 1000, **how), raising=False
        )
        await made.administrator()
        await made.iam("CreateOpenIDConnectProvider", Url=issuer.url, ClientIDList=[CLIENT])
        await made.role("deployer", trust(issuer, groups="deployers"), allow("codedeploy:*"))
        yield made


def trust(issuer, account=ACCOUNT, **claims):
    federated = f"arn:aws:iam::{account}:oidc-provider/{issuer.provider}"
    asked = {f"{issuer.provider}:{claim}": value for claim, value in claims.items()}
    condition = {"ForAnyValue:StringEquals": asked} if "groups" in claims else {"StringEquals": asked}
    statement = {"Effect": "Allow", "Principal": {"Federated": federated}, "Action": ACTION, "Condition": condition}
    return document(statement)


async def come_back(harness, issuer, **changes):
    """The offer for whom the issuer has let in, whose way back says something else than the issuer did where `changes` says so."""
    sso = harness.app.identity.single_sign_on
    address, held = await sso.begin("/console/pipelines")
    query = dict(parse_qsl(urlsplit(issuer.let_in(address)).query)) | changes
    return held, await sso.finish(held, {name: value for name, value in query.items() if value is not None}, ORIGIN)


async def refusal(harness, issuer, **changes) -> str:
    with pytest.raises(AccessDenied) as caught:
        await come_back(harness, issuer, **changes)
    return caught.value.message


async def test_somebody_gets_in_as_the_role_that_trusts_the_claims(harness, issuer, clock):
    sso, identity = harness.app.identity.single_sign_on, harness.app.identity
    held, offer = await come_back(harness, issuer)
    assert (offer.name, offer.target) == ("u-1", "/console/pipelines")
    (role,) = offer.roles
    assert role == f"arn:aws:iam::{ACCOUNT}:role/deployer"
    user = await sso.enter(held, offer.token, role, ORIGIN)
    assert user.session.kind is PrincipalKind.ROLE
    assert user.session.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/u-1"
    id_ = await identity.begin_session(user, address="192.0.2.1", agent="")
    found = await identity.session_user(id_, active=True)
    assert (found.user_name, found.session.arn) == ("u-1", user.session.arn)
    await harness.may(found.session, "codedeploy:CreateDeployment")
    with pytest.raises(AccessDenied):
        await harness.may(found.session, "iam:CreateUser")
    clock.advance(59 * 60_000)
    assert await identity.session_user(id_, active=True)
    clock.advance(60_001)  # the role's longest session
    assert await identity.session_user(id_, active=True) is None


@SQLITE
async def test_a_session_ends_with_its_role(harness, issuer):
    identity = harness.app.identity
    held, offer = await come_back(harness, issuer)
    user = await identity.single_sign_on.enter(held, offer.token, offer.roles[0], ORIGIN)
    id_ = await identity.begin_session(user, address="", agent="")
    rows = await harness.app.store.read(lambda conn: conn.execute(sa.select(sign_in_records.console_sessions)).all())
    assert id_ not in repr(rows)
    await harness.iam("DeleteRolePolicy", RoleName="deployer", PolicyName="p0")
    await harness.iam("DeleteRole", RoleName="deployer")
    assert await identity.session_user(id_, active=True) is None


async def test_roles_of_several_accounts_are_offered_and_no_others(harness, issuer):
    await harness.iam("CreateOpenIDConnectProvider", Url=issuer.url, ClientIDList=[CLIENT], by=await harness.administrator(OTHER))  # fmt: skip
    await harness.role("reader", trust(issuer, account=OTHER, sub="u-1"), account=OTHER)
    await harness.role("boss", trust(issuer, sub="u-2"))
    await harness.role("machines", trust(issuer, aud="somebody-else"))
    # Of an account that knows the issuer for another client, and one whose trust only mentions it.
    third = "333333333333"
    await harness.iam("CreateOpenIDConnectProvider", Url=issuer.url, ClientIDList=["ci"], by=await harness.administrator(third))  # fmt: skip
    await harness.role("ci", trust(issuer, account=third, sub="u-1"), account=third)
    _, offer = await come_back(harness, issuer)
    assert offer.roles == [f"arn:aws:iam::{ACCOUNT}:role/deployer", f"arn:aws:iam::{OTHER}:role/reader"]


async def test_a_role_that_was_not_offered_is_not_entered(harness, issuer):
    boss = await harness.role("boss", trust(issuer, sub="u-2"))
    held, offer = await come_back(harness, issuer)
    for role in (boss, f"arn:aws:iam::{ACCOUNT}:role/nobody", f"{boss}\0", "x", ""):
        with pytest.raises(AccessDenied):
            await harness.app.identity.single_sign_on.enter(held, offer.token, role, ORIGIN)


@SQLITE
async def test_nobody_whom_no_role_trusts_gets_in(harness, issuer):
    for person in ({"sub": "u-1"}, {"sub": "u-1", "groups": ["readers"]}, {"sub": "u-1", "groups": "deployers-too"}):
        issuer.person = person
        assert "no role here lets you in" in await refusal(harness, issuer)


COMES_BACK: list[tuple[dict[str, Any], str]] = [
    ({"state": "x"}, "not begun in this browser"),
    ({"state": None}, "not begun in this browser"),
    ({"state": "é"}, "not begun in this browser"),
    ({"iss": "https://other.example"}, "Another issuer"),
    ({"error": "access_denied", "error_description": "no"}, "Acme has refused: no"),
    ({"code": None}, "without a code"),
    ({"code": "x" * 5000}, "without a code"),
    ({"code": "made-up"}, "has not answered as it should"),
]


@SQLITE
async def test_what_comes_back_is_checked(harness, issuer):
    for changes, said in COMES_BACK:
        assert said in await refusal(harness, issuer, **changes), changes


CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"nonce": "x"}, "another sign-in"),
    ({"nonce": None}, "another sign-in"),
    ({"nonce": 7}, "another sign-in"),
    ({"aud": "other"}, "Incorrect token audience"),
    ({"aud": ["other", "another"]}, "Incorrect token audience"),
    ({"aud": "other", "azp": CLIENT}, "for somebody else"),
    ({"aud": [CLIENT, "other"], "azp": "other"}, "Incorrect token audience"),
    ({"iss": "https://other.example"}, "of another issuer"),
    ({"exp": 1}, "Token expired"),
    ({"iat": 4_000_000_000}, "not valid yet"),
    ({"sub": None}, "sub"),
]


@SQLITE
async def test_an_id_token_must_be_for_this_very_sign_in(harness, issuer):
    for claims, said in CLAIMS:
        issuer.person = {"sub": "u-1", "groups": ["deployers"], **claims}
        assert said in await refusal(harness, issuer), claims


@SQLITE
async def test_a_token_by_another_key_or_by_none_is_not_taken(harness, issuer):
    real = issuer.token
    for how in ({"key": private_key(number=9)}, {"kid": "k9"}):
        issuer.token = lambda how=how, **claims: real(**how, **claims)
        assert "is not taken" in await refusal(harness, issuer)
    issuer.token = lambda **claims: real(key="", alg="none", **claims)
    assert "is not taken" in await refusal(harness, issuer)


@SQLITE
async def test_a_code_and_its_verifier_belong_together(harness, issuer):
    """Who slips a code of another sign-in into a browser gets nowhere: PKCE binds it to the browser that asked."""
    sso = harness.app.identity.single_sign_on
    mine, theirs = await sso.begin("/console/"), await sso.begin("/console/")
    query = dict(parse_qsl(urlsplit(issuer.let_in(theirs[0])).query))
    state = dict(parse_qsl(urlsplit(mine[0]).query))["state"]
    with pytest.raises(AccessDenied, match="has not answered as it should"):
        await sso.finish(mine[1], query | {"state": state}, ORIGIN)


@SQLITE
async def test_what_the_browser_holds_is_sealed_and_bound_and_ends(harness, issuer, clock):
    sso = harness.app.identity.single_sign_on
    address, held = await sso.begin("/console/")
    query = dict(parse_qsl(urlsplit(issuer.let_in(address)).query))
    for wrong in ("", "x", held[:-2], "x" * 100_000):
        with pytest.raises(AccessDenied, match="not begun in this browser"):
            await sso.finish(wrong, query, ORIGIN)
    (_, offer), (other, _) = await come_back(harness, issuer), await come_back(harness, issuer)
    with pytest.raises(AccessDenied, match="not begun in this browser"):
        await sso.enter(other, offer.token, offer.roles[0], ORIGIN)  # somebody else's offer
    with pytest.raises(AccessDenied, match="not begun in this browser"):
        await sso.enter(held, held, offer.roles[0], ORIGIN)
    clock.advance(10 * 60_000)
    with pytest.raises(AccessDenied, match="took too long"):
        await sso.finish(held, query, ORIGIN)


@SQLITE
async def test_an_issuer_that_fails_is_said_so(harness, issuer):
    sso = harness.app.identity.single_sign_on
    broken = {
        "no JSON": lambda handler: answer(handler, b"<html>"),
        "another issuer": lambda handler: answer(handler, json.dumps({"issuer": "https://x.example"}).encode()),
        "500": lambda handler: answer(handler, b"", 500),
    }
    for what in broken.values():
        issuer.instead["/.well-known/openid-configuration"] = what
        with pytest.raises(AccessDenied, match="Acme has not answered as it should"):
            await sso.begin("/console/")
    issuer.instead["/.well-known/openid-configuration"] = lambda handler: answer(
        handler, json.dumps({"issuer": issuer.url}).encode()
    )
    with pytest.raises(AccessDenied, match="does not say where to sign in"):
        await sso.begin("/console/")
    issuer.instead.clear()
    held, _offer = await come_back(harness, issuer)
    assert held


@SQLITE
async def test_a_secret_of_the_client_and_names_by_email(any_store, clock, tmp_path, issuer, monkeypatch):
    issuer.secret = "s%3At"  # as it stands in the header: names and secrets are encoded before they are joined
    settings = chosen(issuer, sign_in_client_secret="s:t", sign_in_claim="email")
    async with harness_on(any_store, clock, tmp_path, chosen=settings) as harness:
        real = issuer.token
        monkeypatch.setattr(issuer, "token", lambda **how: real(at=clock.now() // 1000, **how), raising=False)
        await harness.administrator()
        await harness.iam("CreateOpenIDConnectProvider", Url=issuer.url, ClientIDList=[CLIENT])
        await harness.role("deployer", trust(issuer, sub="u-1"))
        for verified in (False, None, "true"):
            issuer.person = {"sub": "u-1", "email": "ann@example.com", "email_verified": verified}
            assert "does not say the claim email" in await refusal(harness, issuer)
        issuer.person["email_verified"] = True
        _, offer = await come_back(harness, issuer)
        assert offer.name == "ann@example.com"
        issuer.secret = "another"
        assert "has not answered as it should" in await refusal(harness, issuer)
