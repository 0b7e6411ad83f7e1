"""Tokens of OpenID Connect: read, checked against an issuer's keys, and what roles may ask of them. Pure.

(RFC 7515, 7517, 7519; AWS: IAM User Guide, "Create an OpenID Connect identity provider", "Available keys for AWS OIDC federation", "Pass
session tags in AWS STS".)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson

from penstock.identity.errors import ExpiredTokenException, InvalidIdentityTokenException
from penstock.identity.variables import Value
from penstock.identity.wildcards import MAX_TEXT

if TYPE_CHECKING:
    from jwt.api_jws import PyJWS

MAX_KEYS = 100  # of each kind in one set (AWS: "a maximum of 100 RSA keys and 100 EC keys")
SKEW_S = 300  # that the clock of an issuer may be ahead of ours
# Which keys sign with what: those that AWS takes. One key never serves an algorithm of another kind.
ALGORITHMS = {
    "RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "ES256": "P-256", "ES384": "P-384", "ES512": "P-521",
}  # fmt: skip
_CURVES = frozenset(ALGORITHMS.values()) - {"RSA"}
_RSA_BITS = range(2048, 8193)
_NUMBER = 1368  # characters of base64url: 8,192 bits
_LAST_S = 1 << 53
_KID = 1024  # characters
_IDENTITY = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_ISSUER = re.compile(r"https://[\x21-\x7e]{1,255}")

SIGNATURE = "Token signature invalid"
_MISSING = "Missing a required claim: {}"
AUDIENCE = "Incorrect token audience"
NO_KEY = (
    "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for "
    "requirements"
)

_TAGS = "https://aws.amazon.com/tags"
_NO_TAGS = f"The claims {_TAGS} must name each tag with one value: a text, or a list of one"
_SOURCE_IDENTITY = "https://aws.amazon.com/source_identity"
# What conditions may ask of the tokens of any issuer, and of one issuer's more. Claims that are not named here never match.
_CLAIMS = ("sub", "amr")
_CLAIMS_OF = {
    "token.actions.githubusercontent.com": (
        "actor", "actor_id", "enterprise_id", "environment", "job_workflow_ref", "ref", "repository", "repository_id",
        "repository_owner_id", "workflow",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WebToken:
    """A token as it claims to be: nothing of it is known to be true."""

    text: str
    issuer: str  # without https://
    algorithm: str
    kid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebIdentity:
    """What a token says that its issuer has signed."""

    subject: str
    audience: str
    claims: Mapping[str, Any]

    def keys(self, provider: str, more: Collection[str] = ()) -> dict[str, Value]:
        """The condition keys that begin with the provider's host and path; of the claims in `more` too."""
        found: dict[str, Value] = {f"{provider}:aud".lower(): self.audience}
        for name in (*_CLAIMS, *_CLAIMS_OF.get(provider, ()), *more):
            value = _value(self.claims.get(name))
            if value:
                found[f"{provider}:{name}".lower()] = value
        return found

    @property
    def source_identity(self) -> str:
        """Who is behind it, as the issuer says; empty when it says nothing. Raises InvalidIdentityToken."""
        said = self.claims.get(_SOURCE_IDENTITY, "")
        if said != "" and not (isinstance(said, str) and _IDENTITY.fullmatch(said)):
            raise InvalidIdentityTokenException(
                f"The claim {_SOURCE_IDENTITY} must be a text of 2 to 64 letters, digits and the characters _+=,.@-"
            )
        return said

    @property
    def tags(self) -> list[tuple[str, str]]:
        """Session tags, in either of the two forms. Raises InvalidIdentityToken."""
        found: list[tuple[str, str]] = []
        nested = self._nested().get("principal_tags", {})
        if not isinstance(nested, dict):
            raise InvalidIdentityTokenException(_NO_TAGS)
        flat = {key.removeprefix(f"{_TAGS}/principal_tags/"): value for key, value in self.claims.items()
                if key.startswith(f"{_TAGS}/principal_tags/")}  # fmt: skip
        for key, value in (*nested.items(), *flat.items()):
            one = value[0] if isinstance(value, list) and len(value) == 1 else value
            if not isinstance(one, str):
                raise InvalidIdentityTokenException(_NO_TAGS)
            found.append((key, one))
        return found

    @property
    def transitive(self) -> list[str]:
        """Keys of those tags that go on along a chain of roles. Raises InvalidIdentityToken."""
        listed = [
            *_listed(self._nested().get("transitive_tag_keys")),
            *_listed(self.claims.get(f"{_TAGS}/transitive_tag_keys")),
        ]
        return list(dict.fromkeys(listed))

    def _nested(self) -> dict[str, Any]:
        nested = self.claims.get(_TAGS, {})
        if not isinstance(nested, dict):
            raise InvalidIdentityTokenException(_NO_TAGS)
        return nested


@cache
def _jws() -> PyJWS:
    # Imported here and below by who needs it: most installations have no issuer, and a start would pay for it.
    from jwt.api_jws import PyJWS  # noqa: PLC0415

    return PyJWS(algorithms=list(ALGORITHMS))


def read(text: str) -> WebToken:
    """A token's head and issuer. Raises InvalidIdentityToken."""
    import jwt  # noqa: PLC0415

    text = text.strip()  # of a file that a shell has written
    try:
        found = _jws().decode_complete(text, options={"verify_signature": False})
        issuer = _claims(found["payload"]).get("iss")
    except (jwt.PyJWTError, UnicodeError):
        raise InvalidIdentityTokenException from None
    if not isinstance(issuer, str) or not _ISSUER.fullmatch(issuer):
        raise InvalidIdentityTokenException("Issuer must be a valid URL")
    algorithm, kid = found["header"].get("alg"), found["header"].get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise InvalidIdentityTokenException(SIGNATURE)
    if not isinstance(kid, str) or not 0 < len(kid) <= _KID:
        raise InvalidIdentityTokenException(NO_KEY)
    return WebToken(text=text, issuer=issuer.removeprefix("https://"), algorithm=algorithm, kid=kid)


class Keys:
    """The public keys of an issuer."""

    def __init__(self, document: bytes) -> None:
        """Raises ValueError for what is no set of keys, for an empty one and one that is too large.

        What cannot check a signature here is left out: others may use it.
        """
        found = orjson.loads(document)
        listed = found.get("keys") if isinstance(found, dict) else None
        if not isinstance(listed, list) or not listed:
            raise ValueError("a set of keys has at least one")
        for kind in ("RSA", "EC"):
            if sum(isinstance(one, dict) and one.get("kty") == kind for one in listed) > MAX_KEYS:
                raise ValueError(f"a set has at most {MAX_KEYS} keys of the kind {kind}")
        self._keys: dict[tuple[str, str], tuple[Any, object]] = {}  # kid and kind → key, and the algorithm it is for
        for one in listed:
            if isinstance(one, dict):
                self._add(one)

    def _add(self, one: dict[str, Any]) -> None:
        kid, kind = one.get("kid"), one.get("kty")
        kind = one.get("crv") if kind == "EC" else kind
        if not isinstance(kid, str) or not isinstance(kind, str):
            return
        purposes = one.get("key_ops", ["verify"])
        if one.get("use", "sig") != "sig" or not isinstance(purposes, list) or "verify" not in purposes:
            return
        key = _public_key(kind, one)
        if key is not None:
            self._keys.setdefault((kid, kind), (key, one.get("alg")))

    def find(self, token: WebToken) -> Any:
        """The key that a token names, for its algorithm; None when there is none."""
        key, algorithm = self._keys.get((token.kid, ALGORITHMS[token.algorithm]), (None, None))
        return key if algorithm in (None, token.algorithm) else None


def verify(token: WebToken, key: Any, *, clients: Collection[str], now: int) -> WebIdentity:
    """What a token says, whose signature, time and audience are right. `now` is in ms.

    Raises InvalidIdentityToken or ExpiredTokenException.
    """
    import jwt  # noqa: PLC0415

    try:
        payload = _jws().decode(token.text, key=key, algorithms=[token.algorithm])
    except jwt.InvalidSignatureError:
        raise InvalidIdentityTokenException(SIGNATURE) from None
    except jwt.PyJWTError:
        raise InvalidIdentityTokenException from None
    claims = _claims(payload)
    _check_times(claims, now // 1000)
    return WebIdentity(subject=_text(claims, "sub"), audience=_audience(claims, clients), claims=claims)


def _check_times(claims: Mapping[str, Any], now: int) -> None:
    expires, issued, begins = (claims.get(name, None if name != "nbf" else 0) for name in ("exp", "iat", "nbf"))
    for name, time in (("exp", expires), ("iat", issued), ("nbf", begins)):
        if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time < _LAST_S:
            raise InvalidIdentityTokenException(_MISSING.format(name))
    if expires <= now:
        raise ExpiredTokenException(now=now, expired=int(expires))
    if max(issued, begins) > now + SKEW_S:
        raise InvalidIdentityTokenException(
            f"Token is not valid yet: current date/time {now} must not be before its date/time {int(max(issued, begins))}"
        )


def _audience(claims: Mapping[str, Any], clients: Collection[str]) -> str:
    """For whom the token is: the party that it names as authorised, or else an audience that the provider has."""
    if "azp" in claims:
        named: Sequence[Any] = [claims["azp"]]
    else:
        named = claims["aud"] if isinstance(claims.get("aud"), list) else [claims.get("aud")]
    for one in named:
        if isinstance(one, str) and one in clients:
            return one
    raise InvalidIdentityTokenException(AUDIENCE)


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise InvalidIdentityTokenException from None
    if not isinstance(claims, dict):
        raise InvalidIdentityTokenException
    return claims


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise InvalidIdentityTokenException(_MISSING.format(name))
    return value


def _value(claim: Any) -> Value:
    """What conditions compare; empty for what they cannot."""
    if isinstance(claim, str):
        return claim if len(claim) <= MAX_TEXT else ""
    return (
        tuple(one for one in claim if isinstance(one, str) and len(one) <= MAX_TEXT) if isinstance(claim, list) else ""
    )


def _listed(value: Any) -> list[str]:
    listed = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in listed):
        raise InvalidIdentityTokenException(_NO_TAGS)
    return listed


def _public_key(kind: str, one: Mapping[str, Any]) -> Any:
    """The key of its public numbers; None for one that is not of use here."""
    import jwt  # noqa: PLC0415
    from jwt import algorithms as jose  # noqa: PLC0415

    names = ("n", "e") if kind == "RSA" else ("x", "y")
    numbers = {name: one.get(name) for name in names}
    if not all(isinstance(number, str) and len(number) <= _NUMBER for number in numbers.values()):
        return None
    try:
        if kind == "RSA":
            key = jose.RSAAlgorithm.from_jwk({"kty": "RSA", **numbers})
            return key if key.key_size in _RSA_BITS else None
        return jose.ECAlgorithm.from_jwk({"kty": "EC", "crv": kind, **numbers}) if kind in _CURVES else None
    except (jwt.PyJWTError, ValueError):
        return None
