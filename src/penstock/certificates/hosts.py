"""Hosts of our own authority: whose certificate a certificate is."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from cryptography import x509
from cryptography.x509.oid import NameOID

from penstock.certificates import records

_JOINING = "urn:uuid:"


def holder(conn: sa.Connection, place: records.Place, certificate: x509.Certificate) -> Any:
    """The row of the host whose certificate this is, as long as the host is trusted; else None.

    Our authority has issued the certificate. It bears the id of the joining that it belongs to, so that a host that is revoked, or has
    joined again, is trusted with none of its older certificates.
    """
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    row = records.host(conn, place, str(names[0].value)) if names else None
    return row if row is not None and row.joining and row.joining == _joining(certificate) else None


def _joining(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    found = [name.removeprefix(_JOINING) for name in names.get_values_for_type(x509.UniformResourceIdentifier)]
    return found[0] if len(found) == 1 else ""
