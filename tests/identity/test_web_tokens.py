"""Tokens of OpenID Connect: what is believed of them, and what is not."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import example, given, settings
from hypothesis import strategies as st
from penstock_issuer import CURVES, jwk, private_key

from penstock.identity.errors import ExpiredTokenException, InvalidIdentityTokenException
from penstock.identity.web_tokens import AUDIENCE, NO_KEY, SIGNATURE, Keys, WebIdentity, read, verify
from penstock.wire.errors import ServiceError

NOW = 1_800_000_000
CLAIMS = {"iss": "https://issuer.example", "aud": "us", "sub": "somebody", "iat": NOW, "exp": NOW + 300}
RSA_KEYS = ("RS256", "RS384", "RS512")


def token(alg="RS256", *, key=None, kid="k1", drop=(), header=None, **claims):
    said = {name: value for name, value in {**CLAIMS, **claims}.items() if name not in drop}
    headers = {**({} if kid is None else {"kid": kid}), **(header or {})}
    return jwt.encode(said, private_key(alg) if key is None else key, algorithm=alg, headers=headers)


def keys(*members):
    return Keys(json.dumps({"keys": members or [jwk(private_key(), "k1")]}).encode())


def checked(text, known=None, clients=("us",), now=NOW * 1000):
    found = read(text)
    key = (known or keys()).find(found)
    if key is None:
        raise InvalidIdentityTokenException(NO_KEY)
    return verify(found, key, clients=clients, now=now)


def refusal(text, *more, **how):
    with pytest.raises(ServiceError) as caught:
        checked(text, *more, **how)
    assert type(caught.value) in (InvalidIdentityTokenException, ExpiredTokenException)
    return caught.value.message


@pytest.mark.parametrize("alg", [*RSA_KEYS, *CURVES])
def test_what_aws_takes_is_taken_and_nothing_of_another_key(alg):
    key = private_key(alg)
    assert checked(token(alg), keys(jwk(key, "k1"))).subject == "somebody"
    assert checked(token(alg), keys(jwk(key, "k1", alg=alg))).subject == "somebody"
    other = private_key(alg, number=1)
    assert refusal(token(alg, key=other), keys(jwk(key, "k1"))) == SIGNATURE
    assert refusal(token(alg), keys(jwk(key, "k2"))) == NO_KEY
    assert refusal(token(alg), keys(jwk(key, "k1", use="enc"))) == NO_KEY
    assert refusal(token(alg), keys(jwk(key, "k1", key_ops=["sign"]))) == NO_KEY
    assert refusal(token(alg), keys(jwk(key, "k1", alg="RS256" if alg != "RS256" else "RS512"))) == NO_KEY


@pytest.mark.parametrize("alg", ["PS256", "HS256", "EdDSA", "ES256K", "none", "NONE", "", None, 7, ["RS256"], {}])
def test_other_algorithms_are_refused(alg):
    head, payload, signature = token().split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    made = base64.urlsafe_b64encode(json.dumps({**header, "alg": alg}).encode()).decode().rstrip("=")
    for text in (f"{made}.{payload}.{signature}", f"{made}.{payload}."):
        refusal(text)


def test_a_public_key_is_no_secret_for_hmac():
    public = (
        private_key()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    head = {"alg": "HS256", "kid": "k1", "typ": "JWT"}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, CLAIMS)]
    signed = hmac.digest(public, b".".join(parts), hashlib.sha256)
    text = b".".join([*parts, base64.urlsafe_b64encode(signed).rstrip(b"=")]).decode()
    assert refusal(text) == SIGNATURE
    secret = {"kty": "oct", "kid": "k1", "k": base64.urlsafe_b64encode(public).decode()}
    assert refusal(text, keys(secret)) == SIGNATURE


def test_a_key_of_one_kind_checks_no_signature_of_another():
    elliptic = jwk(private_key("ES256"), "k1")
    assert refusal(token(), keys(elliptic)) == NO_KEY
    assert refusal(token("ES384"), keys(elliptic)) == NO_KEY
    assert checked(token(), keys(elliptic, jwk(private_key(), "k1"))).subject == "somebody"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"drop": ("exp",)}, "Missing a required claim: exp"), ({"exp": None}, "Missing a required claim: exp"),
        ({"exp": True}, "Missing a required claim: exp"), ({"exp": 1e300}, "Missing a required claim: exp"),
        ({"exp": "9999999999"}, "Missing a required claim: exp"), ({"drop": ("iat",)}, "Missing a required claim: iat"),
        ({"nbf": "soon"}, "Missing a required claim: nbf"), ({"drop": ("sub",)}, "Missing a required claim: sub"),
        ({"sub": ""}, "Missing a required claim: sub"), ({"sub": ["a"]}, "Missing a required claim: sub"),
        ({"sub": "a" * 2049}, "Missing a required claim: sub"),
        ({"iat": NOW + 301}, f"Token is not valid yet: current date/time {NOW} must not be before its date/time {NOW + 301}"),
        ({"nbf": NOW + 301}, f"Token is not valid yet: current date/time {NOW} must not be before its date/time {NOW + 301}"),
        ({"exp": NOW}, f"Token expired: current date/time {NOW} must be before the expiration date/time {NOW}"),
        ({"drop": ("aud",)}, AUDIENCE), ({"aud": "them"}, AUDIENCE), ({"aud": ["them"]}, AUDIENCE), ({"aud": [["us"]]}, AUDIENCE),
        ({"aud": {"us": 1}}, AUDIENCE), ({"aud": []}, AUDIENCE), ({"azp": "them"}, AUDIENCE), ({"azp": None}, AUDIENCE),
        ({"drop": ("iss",)}, "Issuer must be a valid URL"), ({"iss": "http://issuer.example"}, "Issuer must be a valid URL"),
        ({"iss": 7}, "Issuer must be a valid URL"), ({"iss": "https://a\0b"}, "Issuer must be a valid URL"),
        ({"iss": "https://" + "a" * 300}, "Issuer must be a valid URL"), ({"kid": None}, NO_KEY), ({"kid": ""}, NO_KEY),
        ({"kid": "k" * 2000}, NO_KEY),
    ],
)  # fmt: skip
def test_claims_that_are_not_right(changed, message):
    # PyJWT makes no token whose issuer is no text.
    made = dict(changed)
    if not isinstance(made.get("iss", ""), str):
        text = jwt.api_jws.PyJWS().encode(
            json.dumps({**CLAIMS, **made}).encode(), private_key(), algorithm="RS256", headers={"kid": "k1"}
        )
    else:
        text = token(**made)
    assert refusal(text) == message


def test_times_have_the_tolerance_that_they_have():
    assert checked(token(iat=NOW + 300, nbf=NOW + 300)).subject == "somebody"
    assert checked(token(exp=NOW + 1)).subject == "somebody"
    assert checked(token(), now=(NOW + 299) * 1000).subject == "somebody"


def test_the_audience_is_the_party_that_the_token_names():
    assert checked(token(aud=["them", "us"])).audience == "us"
    assert checked(token(aud="them", azp="us")).audience == "us"
    assert refusal(token(aud="us", azp="them")) == AUDIENCE
    assert refusal(token(), clients=()) == AUDIENCE


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "a.b.c.d", "....", "é.ü.ö", "\0.\0.\0"])
def test_what_is_no_token(text):
    assert "is not a valid JWT" in refusal(text)


def test_a_token_that_a_shell_has_written_ends_with_a_line():
    assert checked(f"{token()}\n").subject == "somebody"


def test_deep_and_strange_documents_are_refused_like_others():
    deep = base64.urlsafe_b64encode(b"[" * 14_000).decode().rstrip("=")
    head, payload, signature = token().split(".")
    for text in (f"{deep}.{payload}.{signature}", f"{head}.{deep}.{signature}", f"{head}.e30.{signature}"):
        refusal(text)
    for header in ({"crit": ["exp"], "exp": 1}, {"crit": "b64"}, {"b64": False, "crit": ["b64"]}):
        made = (
            base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "kid": "k1", **header}).encode()).decode().rstrip("=")
        )
        refusal(f"{made}.{payload}.{signature}")


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"keys":[]}', b'{"keys":{}}', b'{"keys":7}', b"[" * 2000, b"\xff"],
)
def test_what_is_no_set_of_keys(document):
    with pytest.raises(ValueError):  # noqa: PT011 - of several makes
        Keys(document)


def test_a_set_has_a_hundred_keys_of_a_kind():
    rsa, elliptic = jwk(private_key(), "k1"), jwk(private_key("ES256"), "k1")
    assert checked(token(), keys(*[rsa] * 100, *[elliptic] * 100)).subject == "somebody"
    for more in ([rsa] * 101, [elliptic] * 101):
        with pytest.raises(ValueError, match="at most 100"):
            keys(*more)


def test_keys_that_are_of_no_use_are_left_out_at_no_cost():
    long = jwk(private_key(), "long")
    long["n"] = "A" * 900_000
    short = jwk(private_key(bits=1024), "short")
    began = time.thread_time()
    found = keys(
        long, short, {"kid": "x", "kty": "RSA", "n": "!", "e": "AQAB"}, {"kid": 7, "kty": []}, jwk(private_key(), "k1")
    )
    assert time.thread_time() - began < 0.5
    assert checked(token(), found).subject == "somebody"
    assert refusal(token(kid="long"), found) == NO_KEY
    assert refusal(token(kid="short"), found) == NO_KEY


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
_MEMBER = st.fixed_dictionaries(
    {},
    optional={
        name: _JSON | st.sampled_from(["RSA", "EC", "P-256", "k1", "AQAB", "sig"])
        for name in ("kty", "crv", "kid", "n", "e", "x", "y", "use", "alg", "key_ops")
    },
)


@settings(max_examples=40)
@given(st.lists(_MEMBER | _JSON, max_size=3))
@example([{"kid": "k1", "kty": "RSA", "key_ops": 5, "n": "AQAB", "e": ""}])
def test_no_set_of_keys_breaks_anything(members):
    try:
        found = Keys(json.dumps({"keys": members}).encode())
    except ValueError:
        return
    refusal(token(), found)


_SPECIAL = st.sampled_from(
    [
        "iss",
        "aud",
        "azp",
        "sub",
        "exp",
        "iat",
        "nbf",
        "amr",
        "https://aws.amazon.com/tags",
        "https://aws.amazon.com/source_identity",
    ]
)


@settings(max_examples=40)
@given(st.dictionaries(_SPECIAL, _JSON, max_size=5))
@example({"https://aws.amazon.com/tags": {"transitive_tag_keys": 5}})
@example({"https://aws.amazon.com/tags": {"principal_tags": {"a": ["b", "c"]}}})
def test_no_claims_break_anything(claims):
    text = jwt.api_jws.PyJWS().encode(
        json.dumps({**CLAIMS, **claims}).encode(), private_key(), algorithm="RS256", headers={"kid": "k1"}
    )
    try:
        found = checked(text)
        assert all(isinstance(key, str) and isinstance(value, str) for key, value in found.tags)
        assert all(isinstance(key, str) for key in found.transitive)
        assert isinstance(found.source_identity, str)
        assert all(isinstance(value, str | tuple) for value in found.keys("issuer.example").values())
    except (InvalidIdentityTokenException, ExpiredTokenException):
        pass


def identity(**claims):
    return WebIdentity(subject="s", audience="us", claims={"sub": "s", **claims})


def test_the_keys_of_conditions():
    claims = {"amr": ["pwd", "mfa"], "ref": "refs/heads/main", "actor": "ann", "email": "a@b", "workflow": {"a": 1}}
    assert identity(**claims).keys("Issuer.example/Path") == {
        "issuer.example/path:aud": "us", "issuer.example/path:sub": "s", "issuer.example/path:amr": ("pwd", "mfa"),
    }  # fmt: skip
    github = "token.actions.githubusercontent.com"
    assert identity(**claims).keys(github) == {
        f"{github}:aud": "us", f"{github}:sub": "s", f"{github}:amr": ("pwd", "mfa"), f"{github}:ref": "refs/heads/main",
        f"{github}:actor": "ann",
    }  # fmt: skip


def test_tags_of_both_forms():
    tags = "https://aws.amazon.com/tags"
    nested = identity(**{tags: {"principal_tags": {"team": ["a"], "env": "b"}, "transitive_tag_keys": ["team"]}})
    assert (nested.tags, nested.transitive) == ([("team", "a"), ("env", "b")], ["team"])
    flat = identity(**{f"{tags}/principal_tags/team": "a", f"{tags}/transitive_tag_keys": "team"})
    assert (flat.tags, flat.transitive) == ([("team", "a")], ["team"])
    assert (identity().tags, identity().transitive, identity().source_identity) == ([], [], "")
    assert identity(**{"https://aws.amazon.com/source_identity": "ann"}).source_identity == "ann"
    for wrong in ("a", "a b", "ü" * 3, 7, "a" * 65):
        with pytest.raises(InvalidIdentityTokenException, match="source_identity must be"):
            _ = identity(**{"https://aws.amazon.com/source_identity": wrong}).source_identity
