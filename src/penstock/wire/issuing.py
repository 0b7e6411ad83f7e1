"""Certificates that an installation signs itself: those of its authorities, and those that they issue. Keys are of the curve P-256."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey


def new_authority(
    name: str, *, begins: dt.datetime, ends: dt.datetime, serial: int | None = None
) -> tuple[x509.Certificate, Key]:
    """The certificate and the key of a new authority, which may issue to nobody who issues."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = _named(name)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def issued(
    authority: x509.Certificate,
    authority_key: Key,
    key: ec.EllipticCurvePublicKey,
    *,
    name: str,
    alternatives: Iterable[x509.GeneralName],
    purpose: x509.ObjectIdentifier,
    begins: dt.datetime,
    ends: dt.datetime,
) -> x509.Certificate:
    """A certificate for a key, which outlives its authority's in no case."""
    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(authority.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(min(ends, authority.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What a key is for: certificates and revocation lists, or else whatever its owner signs."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
