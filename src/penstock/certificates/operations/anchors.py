"""Trust anchors: the authorities whose certificates an account trusts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.certificates import records
from penstock.certificates.chains import Untrusted, roots_of
from penstock.certificates.errors import ValidationException
from penstock.certificates.operations import Kind, anywhere, place, refuse_aliases
from penstock.wire.call import Input, Output


def _to_api(_call: Call, row: Any) -> Output:
    return {
        "trustAnchorId": row.id,
        "trustAnchorArn": row.arn,
        "name": row.name,
        "source": {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": row.bundle}},
        "enabled": row.enabled,
        "createdAt": row.created,
        "updatedAt": row.updated,
    }


ANCHORS = Kind("trust-anchor", "trust anchor", records.anchors, "trustAnchorId", "trustAnchor", _to_api)


@anywhere("CreateTrustAnchor")
async def create_trust_anchor(app: App, call: Call, input: Input) -> Output:
    """Trust what some authorities issue. It is off unless it is created enabled."""
    _refuse_unserved(input)
    bundle = _bundle(input)
    enabled = input.get("enabled", False)
    return await ANCHORS.create(call, input, lambda conn: _refuse_hosts(conn, bundle), bundle=bundle, enabled=enabled)


@anywhere("GetTrustAnchor", resource=ANCHORS.resource)
async def get_trust_anchor(app: App, call: Call, input: Input) -> Output:
    """A trust anchor."""
    return await ANCHORS.get(call, input)


@anywhere("ListTrustAnchors")
async def list_trust_anchors(app: App, call: Call, input: Input) -> Output:
    """The trust anchors of a region."""
    return await ANCHORS.listed(call, input, "trustAnchors")


@anywhere("UpdateTrustAnchor", resource=ANCHORS.resource)
async def update_trust_anchor(app: App, call: Call, input: Input) -> Output:
    """Rename it, or replace its certificates. Those of our own authority stay: hosts of no other one are its hosts."""
    _refuse_unserved(input)
    bundle = _bundle(input) if "source" in input else None

    def values(conn: sa.Connection, row: Any) -> Mapping[str, Any]:
        own = records.authority(conn, place(call))
        if bundle is not None and own is not None and own.anchor == row.id:
            raise ValidationException(
                "This is the trust anchor of the installation's own hosts, whose certificates only RotateHostAuthority changes."
                " Make another trust anchor for another authority."
            )
        if bundle is not None:
            _refuse_hosts(conn, bundle)
        return {"name": input.get("name", row.name), "bundle": row.bundle if bundle is None else bundle}

    return await ANCHORS.change(call, input, values)


@anywhere("EnableTrustAnchor", resource=ANCHORS.resource)
@anywhere("DisableTrustAnchor", resource=ANCHORS.resource)
async def switch_trust_anchor(app: App, call: Call, input: Input) -> Output:
    """Let its certificates obtain sessions, or none of them."""
    return await ANCHORS.switch(call, input)


@anywhere("DeleteTrustAnchor", resource=ANCHORS.resource)
async def delete_trust_anchor(app: App, call: Call, input: Input) -> Output:
    """Forget it with its revocation lists. Sessions that it gave last until their end, but for those of the installation's own hosts."""

    def forget(conn: sa.Connection, row: Any) -> None:
        if records.delete_anchor(conn, row):
            app.identity.revoke_all_sessions(conn, by=row.arn)

    return await ANCHORS.delete(call, input, forget)


def _bundle(input: Input) -> str:
    """The certificates of an input's source. Raises ValidationException."""
    source = input["source"]
    if source.get("sourceType", "CERTIFICATE_BUNDLE") != "CERTIFICATE_BUNDLE" or "acmPcaArn" in source.get(
        "sourceData", {}
    ):
        raise ValidationException(
            "The source of a trust anchor is a CERTIFICATE_BUNDLE here, with x509CertificateData."
        )
    pem = source.get("sourceData", {}).get("x509CertificateData", "")
    try:
        roots_of(pem)
    except Untrusted as refused:
        raise ValidationException(f"The x509CertificateData is not taken: {refused}.") from None
    return pem


def _refuse_hosts(conn: sa.Connection, bundle: str) -> None:
    """Raises ValidationException where somebody would trust hosts of ours by another trust anchor: hosts that are revoked would be trusted too."""
    given = [one.public_key() for one in roots_of(bundle)]
    for ours in records.bundles_of_hosts(conn):
        if any(one.public_key() in given for one in roots_of(ours)):
            raise ValidationException(
                "One of these certificates is that of the installation's own hosts, who are trusted by their own trust anchor alone: it knows"
                " which of them are revoked. CreateHostAuthority answers its ARN."
            )


def _refuse_unserved(input: Input) -> None:
    refuse_aliases(input)
    if input.get("crlDpRevocationEnabled"):
        raise ValidationException(
            "Distribution points of revocation lists are not asked: leave out crlDpRevocationEnabled, and use ImportCrl."
        )
    if input.get("notificationSettings"):
        raise ValidationException("Nobody is notified of certificates that expire: leave out notificationSettings.")
