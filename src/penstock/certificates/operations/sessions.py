"""CreateSession: temporary credentials of a role for whoever has the key of a trusted certificate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cryptography import x509

from penstock.application import App, Call
from penstock.certificates import authority, chains, records
from penstock.certificates.errors import AccessDeniedException, ResourceNotFoundException, ValidationException
from penstock.certificates.mappings import session_tags
from penstock.certificates.operations import subjects, with_certificate
from penstock.certificates.operations.anchors import ANCHORS
from penstock.certificates.operations.authorities import shown
from penstock.certificates.operations.profiles import PROFILES, rules_of
from penstock.certificates.subjects import serial_of, source_identity
from penstock.wire.call import Certified, Input, Output, Reply, service_session
from penstock.wire.certified import CHAIN_HEADER, chain_of
from penstock.wire.errors import Refused, ServiceError
from penstock.wire.registry import Access

SERVICE = "rolesanywhere.amazonaws.com"
# AWS's helper writes each ARN into the query, its documentation into the body.
_ARNS = {"trustAnchorArn": "trustAnchorArnInBody", "profileArn": "profileArnInBody", "roleArn": "roleArnInBody"}
_REVOKED = "Untrusted certificate: the host has been revoked, or has joined again since. Invite it again with penstock hosts join."


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """A certificate that a trust anchor leads to."""

    certificate: x509.Certificate
    anchor: Any  # its row
    host: Any  # row of the host of our own authority that it belongs to, or None


@with_certificate("CreateSession", access=Access.CERTIFICATE)
async def create_session(app: App, call: Call, input: Input) -> Reply:
    """Credentials of a role that a profile names and that trusts `rolesanywhere.amazonaws.com`, for a certificate's holder."""
    asked = {name: _arn(input, name, in_body) for name, in_body in _ARNS.items()}
    call.memo["resources"] = tuple(asked.values())
    try:
        answer = await _session(app, call, input, asked)
    except (ServiceError, Refused) as refused:
        if not isinstance(refused, ServiceError) or not refused.server_fault:
            await subjects.note(app, call, input, failed=True)
        raise
    return Reply({**answer, "subjectArn": await subjects.note(app, call, input, failed=False)}, status=201)


async def _session(app: App, call: Call, input: Input, asked: Mapping[str, str]) -> Output:
    """The credentials that are asked for. Raises the reason against it."""
    trusted = await trust(app, call, asked["trustAnchorArn"])
    certificate, anchor, role = trusted.certificate, trusted.anchor, asked["roleArn"]
    profile = await app.store.read(_owned, PROFILES.table, call, asked["profileArn"], anchor.account)
    if profile is None:
        raise ResourceNotFoundException(kind="profile", id=asked["profileArn"])
    if not profile.enabled:
        raise AccessDeniedException(f"The profile {profile.arn} is disabled.")
    if role not in profile.roles or (trusted.host is not None and trusted.host.role != role):
        raise AccessDeniedException(f"The profile {profile.arn} does not let this certificate assume the role {role}.")
    if profile.with_properties and not input.get("instanceProperties"):
        raise ValidationException("The profile requires instanceProperties.")
    tags, identity = session_tags(certificate, role, rules_of(profile)), source_identity(certificate)
    name = _session_name(input, profile, trusted)
    session = replace(service_session(SERVICE, anchor.account, anchor.arn), tags=tags)
    request: Input = {
        "RoleArn": role,
        "RoleSessionName": name,
        "DurationSeconds": min(input.get("durationSeconds", profile.seconds), profile.seconds),
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        "SourceIdentity": identity,
    }
    if profile.policy:
        request["Policy"] = profile.policy
    if profile.policy_arns:
        request["PolicyArns"] = [{"arn": arn} for arn in profile.policy_arns]
    try:
        given = await app.invoke(session, "sts", "AssumeRole", request, region=call.region)
    except ServiceError as refused:
        if refused.server_fault:
            raise
        raise AccessDeniedException(f"Unable to assume role for {role}. {refused.message}") from None
    # Who revokes a host and invites it again meanwhile gives no session to what it was before.
    if trusted.host is not None and not await _still_joined(app, trusted.host):
        raise AccessDeniedException(_REVOKED)
    credentials = given["Credentials"]
    one: Output = {
        "assumedRoleUser": {
            "arn": given["AssumedRoleUser"]["Arn"],
            "assumedRoleId": given["AssumedRoleUser"]["AssumedRoleId"],
        },
        "credentials": {
            "accessKeyId": credentials["AccessKeyId"],
            "secretAccessKey": credentials["SecretAccessKey"],
            "sessionToken": credentials["SessionToken"],
            "expiration": credentials["Expiration"],
        },
        "packedPolicySize": given.get("PackedPolicySize", 0),
        "roleArn": role,
        "sourceIdentity": identity,
    }
    return {"credentialSet": [one]}


async def trust(app: App, call: Call, anchor_arn: str) -> Trusted:
    """The certificate that has signed a call, as a trust anchor leads to it. Raises ResourceNotFoundException or AccessDeniedException.

    From here on the call is recorded in the account of the trust anchor.
    """
    anchor, revocations, own = await app.store.read(_anchor, call, anchor_arn)
    if anchor is None:
        raise ResourceNotFoundException(kind="trust anchor", id=anchor_arn)
    certificate = x509.load_der_x509_certificate(call.certificate)
    chain = chain_of(call.headers.get(CHAIN_HEADER, ""))
    try:
        path = chains.trusted_path(certificate, chain, chains.roots_of(anchor.bundle), now=call.now)
    except chains.Untrusted as refused:
        raise AccessDeniedException(f"Untrusted certificate: {refused}.") from None
    call.memo["who"] = Certified(anchor.account, chains.name_of(certificate.subject)[:1024], serial_of(certificate))
    if not anchor.enabled:
        raise AccessDeniedException(f"The trust anchor {anchor.arn} is disabled.")
    if chains.revoked(path, revocations):
        raise AccessDeniedException("Untrusted certificate: it, or an authority behind it, is revoked.")
    host = None
    if own is not None:
        name, joining = authority.belongs_to(certificate)
        host = await app.store.read(records.host, (anchor.account, anchor.region), name)
        # A host that was revoked, or has joined again, is trusted with none of its older certificates.
        if host is None or not joining or host.joining != joining:
            raise AccessDeniedException(_REVOKED)
        await shown(app, host, own, path[-1], call.now)
    return Trusted(certificate=certificate, anchor=anchor, host=host)


async def _still_joined(app: App, host: Any) -> bool:
    known = await app.store.read(records.host, (host.account, host.region), host.name)
    return known is not None and known.joining == host.joining


def _anchor(conn: Any, call: Call, arn: str) -> tuple[Any, Sequence[bytes], Any]:
    """A trust anchor of the call's region, its revocation lists, and the authority of our own hosts where it is their anchor, else None."""
    row = _owned(conn, ANCHORS.table, call, arn, "")
    if row is None:
        return None, (), None
    own = records.authority(conn, (row.account, row.region))
    revocations = [found.pem for found in records.lists_of(conn, row.id)]
    return row, revocations, own if own is not None and own.anchor == row.id else None


def _owned(conn: Any, table: Any, call: Call, arn: str, account: str) -> Any:
    """What an ARN of the call's region names, of `account` unless that is ""; None for what is not there."""
    owner = arn.split(":", 5)[4] if arn.count(":") >= 5 else ""
    row = records.find(conn, table, (account or owner, call.region), arn.rpartition("/")[2])
    return row if row is not None and row.arn == arn else None


def _arn(input: Input, name: str, in_body: str) -> str:
    """An ARN of the query or the body. Raises ValidationException."""
    given = {input[member] for member in (name, in_body) if member in input}
    if len(given) != 1:
        raise ValidationException(f"Exactly one {name} is required." if given else f"The {name} is missing.")
    return given.pop()


def _session_name(input: Input, profile: Any, trusted: Trusted) -> str:
    """The name of the session: the host's; what the request says, where the profile takes that; else the serial number."""
    if trusted.host is not None:
        return trusted.host.name
    if "roleSessionName" in input:
        if not profile.named:
            raise AccessDeniedException(
                f"The profile {profile.arn} does not accept names of sessions: leave out roleSessionName, or set acceptRoleSessionName."
            )
        return input["roleSessionName"]
    return serial_of(trusted.certificate)
