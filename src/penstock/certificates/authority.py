"""The authority that issues certificates to hosts: what it signs, and with which key.

Its key rests sealed under the installation's master key. What it issues bears the name of a host and the id of its joining.
"""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from penstock.wire import issuing
from penstock.wire.certified import acceptable_key, parsed

_DAYS = 3650
_EARLIER = dt.timedelta(minutes=5)  # how far the clocks of an installation's processes may be apart
_JOINING = "urn:uuid:"  # begins the name in a certificate that says to which joining it belongs


def new_authority(name: str, *, now: int) -> tuple[str, bytes]:
    """The certificate (PEM) and the key (DER) of a new authority. `now` in ms."""
    today = _moment(now)
    certificate, key = issuing.new_authority(name, begins=today - _EARLIER, ends=today + dt.timedelta(days=_DAYS))
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return _pem(certificate), der


def requested_key(pem: str) -> ec.EllipticCurvePublicKey | None:
    """The public key of a signing request whose sender has the private one; None for what is no such request."""
    try:
        request = parsed(x509.load_pem_x509_csr, pem.encode())
        key = acceptable_key(request)
        return key if isinstance(key, ec.EllipticCurvePublicKey) and request.is_signature_valid else None
    except (ValueError, TypeError):
        return None


def issue(
    authority_pem: str,
    authority_der: bytes,
    key: ec.EllipticCurvePublicKey,
    *,
    host: str,
    joining: str,
    days: int,
    now: int,
) -> tuple[str, x509.Certificate]:
    """A certificate of a host for `days`, in PEM form and as it is. `now` in ms."""
    authority = x509.load_pem_x509_certificate(authority_pem.encode())
    authority_key = serialization.load_der_private_key(authority_der, None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    today = _moment(now)
    certificate = issuing.issued(
        authority,
        authority_key,
        key,
        name=host,
        alternatives=[x509.UniformResourceIdentifier(f"{_JOINING}{joining}")],
        purpose=ExtendedKeyUsageOID.CLIENT_AUTH,
        begins=today - _EARLIER,
        ends=today + dt.timedelta(days=days),
    )
    return _pem(certificate), certificate


def belongs_to(certificate: x509.Certificate) -> tuple[str, str]:
    """The host and the joining of a certificate that our authority has issued."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = alternatives.get_values_for_type(x509.UniformResourceIdentifier)
    return str(names[0].value), uris[0].removeprefix(_JOINING)


def serial_of_authority(certificate: str | x509.Certificate) -> str:
    """The serial number of an authority's certificate (or its PEM), in hexadecimal digits."""
    found = x509.load_pem_x509_certificate(certificate.encode()) if isinstance(certificate, str) else certificate
    return f"{found.serial_number:x}"


def ends(certificate: x509.Certificate) -> int:
    """When a certificate expires, in ms."""
    return int(certificate.not_valid_after_utc.timestamp()) * 1000


def _moment(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms // 1000, dt.UTC)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
