"""The authority of an account's hosts in a region: made when it is first asked for, and followed by another without a host noticing."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from cryptography import x509

from penstock.application import App, Call
from penstock.certificates import authority, records
from penstock.certificates.chains import MAX_ROOTS, roots_of
from penstock.certificates.errors import ValidationException
from penstock.certificates.operations import ours, place
from penstock.certificates.operations.anchors import ANCHORS
from penstock.certificates.operations.profiles import DEFAULT_SECONDS, PROFILES
from penstock.wire.call import Input, Output


@ours("CreateHostAuthority")
async def create_host_authority(app: App, call: Call, input: Input) -> Output:
    """The authority of the account and region, made unless there is one."""
    own = await authority_of(app, call)
    call.memo["resources"] = (ANCHORS.arn(call, own.anchor), PROFILES.arn(call, own.profile))
    return {
        "trustAnchorArn": ANCHORS.arn(call, own.anchor),
        "profileArn": PROFILES.arn(call, own.profile),
        "certificate": own.certificate,
    }


@ours("RotateHostAuthority")
async def rotate_host_authority(app: App, call: Call, input: Input) -> Output:
    """Give the authority another key and certificate, with which hosts renew theirs by themselves.

    Until all of them have, or those that did not have expired, the former one is trusted too; unless the input says that it is not, since
    somebody else may have its key: then every host has to join again, and the sessions that hosts have are over.
    """
    own, where = await authority_of(app, call), place(call)
    trusts = input.get("trustFormer", True)
    pem, key = _new(app, call, own.anchor)

    def tx(conn: sa.Connection) -> int:
        anchor = records.find(conn, records.anchors, where, own.anchor, locked=True)
        if anchor is None:
            raise ValidationException("The authority was deleted this moment. Ask again.")
        former = anchor.bundle if trusts else ""
        if former and len(roots_of(former)) >= MAX_ROOTS:
            raise ValidationException(
                f"Hosts hold certificates of {MAX_ROOTS} authorities still. Wait until they have renewed theirs, or rotate without trusting"
                " the former ones."
            )
        records.change(conn, records.anchors, own.anchor, bundle=pem + former, updated=call.now)
        records.change_authority(conn, where, certificate=pem, key=key, rotated=call.now if trusts else None)
        if not trusts:
            records.revoke_joined(conn, where)
            app.identity.revoke_all_sessions(conn, by=anchor.arn)
            return 0
        forget_former(conn, where, call.now)
        return records.of_former_authority(conn, where, authority.serial_of_authority(pem), call.now)

    waiting = await app.identity.change(tx)
    call.memo["resources"] = (ANCHORS.arn(call, own.anchor),)
    return {"trustAnchorArn": ANCHORS.arn(call, own.anchor), "certificate": pem, "hosts": waiting}


async def shown(app: App, host: Any, own: Any, issuer: x509.Certificate, now: int) -> None:
    """Note that a host has a certificate of the present authority, after the former one: only what it has shown has surely reached it."""
    where, serial = (host.account, host.region), authority.serial_of_authority(issuer)
    if own.rotated is None or host.issuer == serial or serial != authority.serial_of_authority(own.certificate):
        return

    def tx(conn: sa.Connection) -> None:
        records.find(conn, records.anchors, where, own.anchor, locked=True)
        known = records.host(conn, where, host.name, locked=True)
        if known is not None and known.joining == host.joining:
            records.change_host(conn, where, host.name, issuer=serial)
            forget_former(conn, where, now)

    await app.store.write(tx)


def forget_former(conn: sa.Connection, where: records.Place, now: int) -> None:
    """Trust the former authorities of a place no more, once every host whose certificate is good has one of the present. `now` in ms.

    The caller holds the lock of the authority's trust anchor.
    """
    own = records.authority(conn, where)
    if own is None or own.rotated is None:
        return
    if not records.has_former(conn, where, authority.serial_of_authority(own.certificate), now):
        records.change(conn, records.anchors, own.anchor, bundle=own.certificate, updated=now)
        records.change_authority(conn, where, rotated=None)


def _new(app: App, call: Call, anchor: str) -> tuple[str, bytes]:
    """The certificate (PEM) of an authority, and its sealed key."""
    pem, der = authority.new_authority(f"Penstock hosts {call.account} {call.region}"[:64], now=call.now)
    return pem, app.sealer.seal(der, records.authority_context(anchor))


async def authority_of(app: App, call: Call) -> Any:
    """The row of the place's authority, which is made unless there is one."""
    known = await app.store.read(records.authority, place(call))
    if known is not None:
        return known
    anchor, profile = app.ids.uuid(), app.ids.uuid()
    pem, key = _new(app, call, anchor)
    shared = {
        "account": call.account,
        "region": call.region,
        "name": "hosts",
        "enabled": True,
        "tags": {},
        "created": call.now,
        "updated": call.now,
    }

    def tx(conn: sa.Connection) -> Any:
        where = {"account": call.account, "region": call.region}
        made = {"anchor": anchor, "profile": profile, "certificate": pem, "key": key, "created": call.now}
        if records.insert_authority(conn, **where, **made):
            records.insert(conn, records.anchors, **shared, id=anchor, arn=ANCHORS.arn(call, anchor), bundle=pem)
            records.insert(
                conn, records.profiles, **shared, id=profile, arn=PROFILES.arn(call, profile), roles=[], policy="", policy_arns=[],
                seconds=DEFAULT_SECONDS, named=False, with_properties=False, created_by=call.session.arn,
            )  # fmt: skip
        return records.authority(conn, place(call))

    return await app.store.write(tx)
