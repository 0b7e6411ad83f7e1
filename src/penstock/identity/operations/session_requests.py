"""What all requests for temporary credentials have in common: session policies, tags, and the credentials themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from penstock.application import Call
from penstock.identity import records, second_factors, sessions
from penstock.identity.document_texts import size
from penstock.identity.documents import identity_policy
from penstock.identity.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    MalformedPolicyDocumentException,
    PackedPolicyTooLargeException,
    ValidationErrorException,
)
from penstock.identity.managed import managed_policy
from penstock.identity.operations.entities import SESSION_TAGS
from penstock.identity.variables import Value
from penstock.wire.call import Input, Output, PrincipalKind, Session
from penstock.wire.errors import AccessDenied
from penstock.wire.tags import pairs_of

MAX_POLICY = 2048  # characters of a session policy, as AWS counts them
MAX_POLICY_ARNS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """The tags of a session that is asked for."""

    given: Mapping[str, str]  # with the request
    transitive: tuple[str, ...]  # of those, the keys that go on along a chain
    inherited: Mapping[str, str]  # from the session that asks

    @property
    def all(self) -> dict[str, str]:
        """Those that the session has."""
        return {**self.inherited, **self.given}

    @property
    def keys(self) -> dict[str, Value]:
        """What conditions may ask of them (AWS: IAM User Guide, "Pass session tags in AWS STS")."""
        found: dict[str, Value] = {f"aws:requesttag/{key.lower()}": value for key, value in self.given.items()}
        if self.given:
            found["aws:tagkeys"] = tuple(self.given)
        if self.transitive:
            found["sts:transitivetagkeys"] = self.transitive
        return found


def requested_tags(input: Input, session: Session) -> Tags:
    """The tags of an input. Raises what `tags_of` raises."""
    return tags_of(pairs_of(input.get("Tags")), input.get("TransitiveTagKeys", ()), session)


def tags_of(pairs: Iterable[tuple[str, str]], transitive: Iterable[str], session: Session) -> Tags:
    """The tags of a session that `session` asks for. Raises InvalidParameterValue or ValidationError."""
    given = SESSION_TAGS.check(pairs)
    spelt = {key.lower(): key for key in given}
    asked = {key.lower() for key in transitive}
    if not asked <= spelt.keys():
        raise InvalidParameterValueException("The specified transitive tag key must be included in the requested tags.")
    inherited = {key: session.tags[key] for key in session.transitive}
    if spelt.keys() & {key.lower() for key in inherited}:
        raise InvalidParameterValueException(
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the "
            "calling session."
        )
    return Tags(given=given, transitive=tuple(spelt[key] for key in spelt if key in asked), inherited=inherited)


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """The session policies of a request, and what they take of their room together with the tags."""

    policies: tuple[str, ...]
    arns: tuple[str, ...]
    percent: int


async def narrowing(call: Call, input: Input, account: str, tags: Tags) -> Narrowing:
    """The session policies of an input, whose own managed policies are those of `account`.

    Raises MalformedPolicyDocument, ValidationError or PackedPolicyTooLarge.
    """
    document: str = input.get("Policy", "")
    arns = tuple(one.get("arn", "") for one in input.get("PolicyArns", ()))
    if len(arns) > MAX_POLICY_ARNS:
        raise ValidationErrorException(f"The number of policy ARNs exceeds {MAX_POLICY_ARNS}.")
    if len(document) > MAX_POLICY:
        raise PackedPolicyTooLargeException(percent=-(-len(document) * 100 // MAX_POLICY))
    if document:
        identity_policy(document)
    for arn in arns:
        if managed_policy(arn, call.partition) is None:
            row = await call.app.store.read(records.policy, arn)
            if row is None or row.account != account:
                raise MalformedPolicyDocumentException(f"Policy {arn} does not exist or is not attachable.")
    tagged = len(orjson.dumps(tags.all)) if tags.all else 0
    used = size(document) + sum(map(len, arns)) + tagged
    percent = -(-used * 100 // sessions.MAX_PACKED)
    if percent > 100:
        raise PackedPolicyTooLargeException(percent=percent)
    return Narrowing(policies=(document,) if document else (), arns=arns, percent=percent)


async def second_factor(call: Call, input: Input) -> int:
    """When the caller has shown a second factor with this request, in ms; 0 when it showed none.

    Raises AccessDenied for a code that is not one of a device of the calling user's own.
    """
    serial, code = input.get("SerialNumber"), input.get("TokenCode")
    if serial is None and code is None:
        return 0
    if serial is None or code is None:
        raise AccessDeniedException(
            "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code."
        )
    session = call.session
    own = session.kind is PrincipalKind.USER and not session.issued
    try:
        if own and await second_factors.check_device(call.app, session.principal_id, serial, code):
            return call.now
    except AccessDenied as paused:
        raise AccessDeniedException(paused.message) from None
    raise AccessDeniedException("MultiFactorAuthentication failed with invalid MFA one time pass code.")


def credentials(call: Call, grant: sessions.Grant) -> Output:
    """The `Credentials` of an answer."""
    return {
        "AccessKeyId": grant.access_key_id,
        "SecretAccessKey": grant.secret,
        "SessionToken": sessions.seal(call.app.sealer, grant),
        "Expiration": grant.expires,
    }
