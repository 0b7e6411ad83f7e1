"""Hosts that join: invitations, certificates of our own authority, and their end. Operations of our own service."""

from __future__ import annotations

import contextlib
import hashlib
import re
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from penstock.application import App, Call
from penstock.certificates import authority, records
from penstock.certificates.errors import (
    HostJoinedException,
    HostNotFoundException,
    InvalidInvitationException,
    ValidationException,
)
from penstock.certificates.operations import PAGES, ours, place
from penstock.certificates.operations.anchors import ANCHORS
from penstock.certificates.operations.authorities import authority_of, forget_former
from penstock.certificates.operations.sessions import SERVICE, trust
from penstock.certificates.settings import CertificateSettings
from penstock.certificates.subjects import serial_of
from penstock.store.sealed_tokens import open_token, seal_token
from penstock.store.sealing import SealError
from penstock.wire.call import Certified, Input, Output
from penstock.wire.errors import Refused, ServiceError
from penstock.wire.registry import Access
from penstock.wire.scalars import iso

LASTS_MS = 24 * 3600_000
_PAGE = 100
_CONTEXT = "x509/invitation"
_MAX_TOKEN = 2048  # characters, as the model has it
_DELETED = "was for hosts of an authority that was deleted"
_ROLE = re.compile(r"arn:(aws|aws-us-gov|aws-cn):iam::([0-9]{12}):role/([\x21-\x7e]+)")


def _host(call: Call, input: Input) -> str:
    return call.arn("penstock", f"host/{input['name']}")


@ours("InviteHost", resource=_host)
async def invite_host(app: App, call: Call, input: Input) -> Output:
    """A token with which a host joins, as an on-premises instance that is registered for its sessions.

    The caller must be allowed to pass the role, to register the instance and to tag it. A host that has joined must be revoked first: an
    invitation is no way to take its place.
    """
    name, role = input["name"], _ROLE.fullmatch(input["roleArn"])
    if role is None:
        raise ValidationException(f"{input['roleArn'][:1024]} is not the ARN of a role.")
    await app.identity.pass_role(call, role[0], source_arn="", service=SERVICE)
    if await app.identity.id_of(role[0]) is None:
        raise ValidationException(f"There is no role {role[0]}.")
    own = await authority_of(app, call)
    known = await app.store.read(records.host, place(call), name)
    _refuse_joined(known, call.now)
    await app.store.read(_refuse_namesakes, call, name, role[0])
    session = _session_arn(role[0], name)
    registered = await _register(app, call, name, session)
    invitation, until = app.ids.uuid(), call.now + LASTS_MS
    by = ANCHORS.arn(call, own.anchor)

    def tx(conn: sa.Connection) -> None:
        _refuse_namesakes(conn, call, name, role[0])
        profile = records.find(conn, records.profiles, place(call), own.profile, locked=True)
        if profile is None:
            raise ValidationException(
                "The profile of hosts was deleted. Delete its trust anchor too, and invite again."
            )
        if role[0] not in profile.roles:
            if len(profile.roles) >= 250:
                raise ValidationException("The hosts of a region have at most 250 different roles.")
            records.change(conn, records.profiles, profile.id, roles=[*profile.roles, role[0]], updated=call.now)
        fresh = {"role": role[0], "invitation": invitation, "key": "", "joining": "", "serial": "", "expires": 0}
        key = {"account": call.account, "region": call.region, "name": name}
        if not records.insert_host(conn, **key, **fresh, created=call.now, joined=0):
            former = records.host(conn, place(call), name, locked=True)
            _refuse_joined(former, call.now)
            records.change_host(conn, place(call), name, **fresh)
            if _session_arn(former.role, name) != session:
                app.identity.release_sessions(conn, former.role, name, by=by)
        app.identity.reserve_session(conn, role[0], name, by=by, since=call.now)

    try:
        await _tag(app, call, name, input.get("tags", ()))
        await app.identity.change(tx)
    except (ServiceError, Refused):
        known = await app.store.read(records.host, place(call), name)
        if registered and (known is None or not (known.invitation or known.joining)):
            # Deployments would wait for a host that nobody can be. Who may not deregister it sees it at least.
            with contextlib.suppress(ServiceError, Refused):
                await _deregister(app, call, name, session)
        raise
    content = (call.account, call.region, name, invitation, until)
    return {"token": seal_token(app.sealer, content, _CONTEXT), "expires": until, "sessionArn": session}


@ours("JoinHost", access=Access.UNSIGNED)
async def join_host(app: App, call: Call, input: Input) -> Output:
    """A certificate for the key of a host that shows an invitation. The first key has it; asked again with the same, it answers again."""
    account, region, name, invitation = _opened(app, input["token"], call.now)
    key, digest = _requested(input)
    where = (account, region)
    own = await app.store.read(records.authority, where)
    joining = app.ids.uuid()

    def tx(conn: sa.Connection) -> Any:
        row = records.host(conn, where, name, locked=True)
        why = _void(row if own is not None else None, invitation, digest)
        if why:
            raise InvalidInvitationException(why=why, name=name)
        if not row.key:
            records.change_host(conn, where, name, key=digest, joining=joining, joined=call.now, issuer=None)
        return records.host(conn, where, name)

    row = await app.store.write(tx)
    issued = await _issue(app, own, row, key, call.now)
    call.memo["who"] = Certified(account, f"CN={name}", issued["serial"])
    role = _ROLE.fullmatch(row.role)
    assert role is not None
    call.memo["resources"] = (f"arn:{role[1]}:penstock:{region}:{account}:host/{name}",)
    arn = f"arn:{role[1]}:rolesanywhere:{region}:{account}"
    return {
        "certificate": issued["certificate"],
        "expires": issued["expires"],
        "region": region,
        "trustAnchorArn": f"{arn}:trust-anchor/{own.anchor}",
        "profileArn": f"{arn}:profile/{own.profile}",
        "roleArn": row.role,
        "sessionArn": _session_arn(row.role, name),
    }


@ours("RenewHostCertificate", access=Access.CERTIFICATE)
async def renew_host_certificate(app: App, call: Call, input: Input) -> Output:
    """A newer certificate for a host, whose present one has signed the request."""
    trusted = await trust(app, call, input["trustAnchorArn"])
    if trusted.host is None:
        raise ValidationException(
            "Certificates of another authority than that of the installation's hosts are renewed there."
        )
    host = trusted.host
    call.memo["resources"] = (f"arn:{call.partition}:penstock:{host.region}:{host.account}:host/{host.name}",)
    key, _digest = _requested(input)
    own = await app.store.read(records.authority, (trusted.host.account, trusted.host.region))
    issued = await _issue(app, own, trusted.host, key, call.now)
    return {"certificate": issued["certificate"], "expires": issued["expires"]}


@ours("RevokeHost", resource=_host)
async def revoke_host(app: App, call: Call, input: Input) -> None:
    """Trust a host no more: it gets no commands, and its sessions are over at once (in other processes within a second)."""
    name = input["name"]

    def tx(conn: sa.Connection) -> None:
        row = records.host(conn, place(call), name, locked=True)
        own = records.authority(conn, place(call))
        if row is None or own is None:
            raise HostNotFoundException(name=name)
        records.change_host(conn, place(call), name, invitation="", key="", joining="")
        app.identity.revoke_sessions(conn, row.role, name, by=ANCHORS.arn(call, own.anchor))

    await app.identity.change(tx)
    await _instances(app, call, "DeregisterOnPremisesInstance", {"instanceName": name})


@ours("ForgetHost", resource=_host)
async def forget_host(app: App, call: Call, input: Input) -> None:
    """Leave no trace of a host that was revoked: its name, and the name of its sessions, are anybody's again."""
    name = input["name"]
    known, _anchor = await app.store.read(_revoked, call, name)
    # Whoever takes the name of its sessions then must not be the instance that it was.
    await _deregister(app, call, name, _session_arn(known.role, name))

    def tx(conn: sa.Connection) -> None:
        row, anchor = _revoked(conn, call, name)
        records.delete_host(conn, place(call), name)
        app.identity.release_sessions(conn, row.role, name, by=anchor)

    await app.identity.change(tx)


@ours("ListHostCertificates")
async def list_host_certificates(app: App, call: Call, input: Input) -> Output:
    """Hosts by name."""
    after = PAGES.after(call, input)
    rows = await app.store.read(records.page_of_hosts, place(call), after, _PAGE + 1)
    found = PAGES.page(call, input, rows, limit=_PAGE, keyset=lambda row: [row.name])
    return {"hosts": [_to_api(row, call.now) for row in found.rows], **found.more}


def _to_api(row: Any, now: int) -> Output:
    if not row.joining:
        state = "Invited" if row.invitation else "Revoked"
    else:
        state = "Joined" if row.expires > now else "Expired"
    shown: Output = {"name": row.name, "state": state, "roleArn": row.role}
    if row.joined:
        shown |= {"serialNumber": row.serial, "joined": row.joined, "expires": row.expires}
    return shown


def _revoked(conn: sa.Connection, call: Call, name: str) -> tuple[Any, str]:
    """The row of a host that nobody trusts, and the ARN of its trust anchor. Raises HostNotFoundException or ValidationException."""
    row, own = records.host(conn, place(call), name), records.authority(conn, place(call))
    if row is None or own is None:
        raise HostNotFoundException(name=name)
    if row.invitation or row.joining:
        raise ValidationException(f"{name} was invited or has joined. Revoke it first: penstock hosts revoke {name}")
    return row, ANCHORS.arn(call, own.anchor)


def _refuse_joined(row: Any, now: int) -> None:
    """Raises HostJoinedException for a host whose certificate is good."""
    if row is not None and row.joining and row.expires > now:
        raise HostJoinedException(name=row.name)


def _refuse_namesakes(conn: sa.Connection, call: Call, name: str, role: str) -> None:
    """Raises ValidationException where another region has such a host: sessions say no region, so each could be the other."""
    for one in records.namesakes(conn, call.account, name, role):
        if one.region != call.region and (one.invitation or one.joining):
            raise ValidationException(
                f"The region {one.region} has a host {name} of this role, and both would have the same session."
                " Choose another name or another role, or revoke that host first."
            )


async def _register(app: App, call: Call, name: str, session: str) -> bool:
    """Register the on-premises instance of a host. False when it is registered for the same session. Raises what CodeDeploy refuses with."""
    try:
        await _instances(app, call, "RegisterOnPremisesInstance", {"instanceName": name, "iamSessionArn": session})
    except ServiceError as refused:
        if refused.wire_code not in (
            "InstanceNameAlreadyRegisteredException",
            "IamSessionArnAlreadyRegisteredException",
        ):
            raise
        known = await _instances(app, call, "GetOnPremisesInstance", {"instanceName": name})
        if known["instanceInfo"].get("iamSessionArn") != session:
            raise ValidationException(
                f"The on-premises instance {name} is registered for somebody else. Deregister it first, or choose another name."
            ) from None
        return False
    return True


async def _tag(app: App, call: Call, name: str, tags: Any) -> None:
    if tags:
        given = [{"Key": tag.get("Key", ""), "Value": tag.get("Value", "")} for tag in tags]
        await _instances(app, call, "AddTagsToOnPremisesInstances", {"instanceNames": [name], "tags": given})


async def _deregister(app: App, call: Call, name: str, session: str) -> None:
    """Deregister the on-premises instance of a host, unless it is somebody else's by now."""
    try:
        info = (await _instances(app, call, "GetOnPremisesInstance", {"instanceName": name}))["instanceInfo"]
    except ServiceError as refused:
        if refused.wire_code != "InstanceNotRegisteredException":
            raise
        return
    if info.get("iamSessionArn") == session and info.get("deregisterTime") is None:
        await _instances(app, call, "DeregisterOnPremisesInstance", {"instanceName": name})


async def _instances(app: App, call: Call, operation: str, input: Input) -> Output:
    """An operation of CodeDeploy as the caller. Its errors are the answer."""
    return await app.invoke(call.session, "codedeploy", operation, input, region=call.region, origin=call.origin)


def _session_arn(role: str, name: str) -> str:
    """Of the sessions of a host, which takes the role of an ARN."""
    _, partition, _, _, account, path = role.split(":", 5)
    return f"arn:{partition}:sts::{account}:assumed-role/{path.rpartition('/')[2]}/{name}"


def _opened(app: App, token: str, now: int) -> tuple[str, str, str, str]:
    """Account, region, name and invitation of a token. Raises InvalidInvitationException."""
    try:
        account, region, name, invitation, until = open_token(app.sealer, token, _CONTEXT, most=_MAX_TOKEN)
    except SealError:
        why = "is not one of this installation: it was not copied completely, or another installation has made it"
        raise InvalidInvitationException(why=why, name="NAME") from None
    if until <= now:
        raise InvalidInvitationException(why=f"has expired at {iso(until)}", name=name)
    return account, region, name, invitation


def _void(row: Any, invitation: str, key: str) -> str:
    """Why an invitation of this installation does not let the owner of a key (digest) join; "" when it does."""
    if row is None:
        return _DELETED
    if row.invitation == invitation:
        return "was used already, with another key than this host has" if row.key not in ("", key) else ""
    return "was followed by a newer one" if row.invitation else "was revoked"


def _requested(input: Input) -> tuple[ec.EllipticCurvePublicKey, str]:
    """The key of an input's signing request, and its digest. Raises ValidationException."""
    key = authority.requested_key(input["certificateSigningRequest"])
    if key is None:
        raise ValidationException(
            "The certificateSigningRequest is not one of PKCS #10 in PEM form, signed by its key on the curve P-256, P-384 or P-521."
        )
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key, hashlib.sha256(der).hexdigest()


async def _issue(app: App, own: Any, row: Any, key: ec.EllipticCurvePublicKey, now: int) -> Output:
    """A certificate of a host as members of an answer, noted as its newest. Raises InvalidInvitationException when it is trusted no more."""
    where = (row.account, row.region)
    lasts = app.settings.of(CertificateSettings).host_certificate_days
    while own is not None:
        der = app.sealer.open(own.key, records.authority_context(own.anchor))
        pem, made = authority.issue(own.certificate, der, key, host=row.name, joining=row.joining, days=lasts, now=now)
        newest = {"serial": serial_of(made), "expires": authority.ends(made), "issued": now}
        if row.issuer is None:  # it has no other one; later it tells by showing one that it has it
            newest["issuer"] = authority.serial_of_authority(own.certificate)

        def tx(conn: sa.Connection, signed: Any = own, newest: Any = newest) -> Any:
            # Who has its anchor's lock knows that nobody gives the authority another key meanwhile.
            records.find(conn, records.anchors, where, signed.anchor, locked=True)
            current = records.authority(conn, where)
            if current is None or current.certificate != signed.certificate:
                return current
            known = records.host(conn, where, row.name, locked=True)
            if known is None or known.joining != row.joining:
                raise InvalidInvitationException(why="was revoked this moment", name=row.name)
            records.change_host(conn, where, row.name, **newest)
            forget_former(conn, where, now)
            return current

        current = await app.store.write(tx)
        if current is not None and current.certificate == own.certificate:
            return {"certificate": pem, "serial": newest["serial"], "expires": newest["expires"]}
        own = current
    raise InvalidInvitationException(why=_DELETED, name=row.name)
