"""Whether a certificate is trusted: from it to a certificate of a trust anchor, every step is checked. No I/O and no clock.

Sources: RFC 5280, section 6; AWS: IAM Roles Anywhere, "Signature validation" (what certificates of hosts and authorities must say).
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Sequence
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from penstock.wire.certified import BROKEN, acceptable_key, parsed

E = TypeVar("E", bound=x509.ExtensionType)
MAX_ROOTS = 10  # certificates of one trust anchor
_MAX_VERIFIED = 16  # signatures; five certificates in a row need six
_WEAK = (hashes.MD5, hashes.SHA1)
_CLIENT = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
# What is looked at here, or says nothing about whom to trust. A certificate that insists on more than this is not trusted.
_KNOWN = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.CERTIFICATE_POLICIES,
}
# They narrow whom an authority may speak for, which is not worked out here.
_NARROWING = (ExtensionOID.NAME_CONSTRAINTS, ExtensionOID.POLICY_CONSTRAINTS, ExtensionOID.INHIBIT_ANY_POLICY)


class Untrusted(Exception):
    """A certificate that is not trusted, with the reason as a sentence."""


def roots_of(pem: str) -> list[x509.Certificate]:
    """The certificates of a trust anchor: authorities that may issue. Raises Untrusted for what cannot be one."""
    try:
        found = parsed(x509.load_pem_x509_certificates, pem.encode())
    except ValueError:
        raise Untrusted("it is not one or more X.509 certificates in PEM form") from None
    if len(found) > MAX_ROOTS:
        raise Untrusted(f"it holds more than {MAX_ROOTS} certificates")
    for one in found:
        _check_authority(one)
    return found


def trusted_path(
    leaf: x509.Certificate, chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], *, now: int
) -> list[x509.Certificate]:
    """The certificates from `leaf` to one of `roots`, both included; `now` in ms. Raises Untrusted.

    Each certificate of `chain` is tried once, and signatures are verified so often at most that strangers who let all of them name each
    other cost little.
    """
    today = dt.datetime.fromtimestamp(now / 1000, dt.UTC)
    _check_time(leaf, today)
    _check_leaf(leaf)
    waiting = [[leaf]]
    unused = list(chain)
    verified = 0
    why = "it leads to none of the trust anchor's authorities. Send the certificates between them as its chain"
    while waiting:
        path = waiting.pop(0)
        for issuer in [*roots, *unused]:
            root = issuer in roots
            if path[-1].issuer != issuer.subject or path[-1] == issuer:
                continue
            verified += 1
            if verified > _MAX_VERIFIED:
                raise Untrusted("too many certificates of the chain and the trust anchor have the same name")
            try:
                if not _issued(path[-1], issuer):
                    continue
                _check_time(issuer, today)
                _check_authority(issuer, below=len(path) - 1)
            except Untrusted as refused:
                why = str(refused)
                continue
            if root:
                return [*path, issuer]
            unused.remove(issuer)
            waiting.append([*path, issuer])
    raise Untrusted(why)


def revoked(path: Sequence[x509.Certificate], lists: Iterable[bytes]) -> bool:
    """Whether one of revocation lists (PEM) names a certificate of a path."""
    for pem in lists:
        found = x509.load_pem_x509_crl(pem)
        for one, issuer in itertools.pairwise(path):
            if found.issuer == one.issuer and _signed(found, issuer):
                entry = found.get_revoked_certificate_by_serial_number(one.serial_number)
                if entry is not None:
                    return True
    return False


def revocation_list(data: bytes, roots: Iterable[x509.Certificate]) -> bytes:
    """A revocation list in PEM form, which one of `roots` has signed. Raises Untrusted."""
    try:
        in_pem = data.lstrip().startswith(b"-----")
        found = parsed(x509.load_pem_x509_crl if in_pem else x509.load_der_x509_crl, data)
    except ValueError:
        raise Untrusted("it is not a certificate revocation list of X.509 in PEM form") from None
    if not any(found.issuer == root.subject and _signed(found, root) for root in roots):
        raise Untrusted("none of the trust anchor's authorities has signed it")
    return found.public_bytes(serialization.Encoding.PEM)


def name_of(name: x509.Name) -> str:
    """A distinguished name as people read it."""
    return name.rfc4514_string()


def _signed(found: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        return found.is_signature_valid(issuer.public_key())  # type: ignore[arg-type] - other kinds of keys raise TypeError
    except BROKEN:
        return False


def _issued(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the key of `issuer` has signed a certificate. Raises Untrusted for one that is signed in a weak way."""
    try:
        algorithm = one.signature_hash_algorithm
        if isinstance(algorithm, _WEAK):
            raise Untrusted(
                f"the certificate of {name_of(one.subject)} is signed with {algorithm.name}, which is too weak"
            )
        one.verify_directly_issued_by(issuer)
    except (InvalidSignature, *BROKEN):
        return False
    return True


def _check_time(one: x509.Certificate, now: dt.datetime) -> None:
    who = name_of(one.subject)
    if now < one.not_valid_before_utc:
        raise Untrusted(f"the certificate of {who} is not valid before {one.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
    if now > one.not_valid_after_utc:
        raise Untrusted(f"the certificate of {who} has expired on {one.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")


def _extensions(one: x509.Certificate) -> x509.Extensions:
    """Those of a certificate, of which none asks for what is not looked at. Raises Untrusted."""
    who = name_of(one.subject)
    if one.version is not x509.Version.v3:
        raise Untrusted(f"the certificate of {who} is not of X.509 version 3")
    try:
        found = one.extensions
    except BROKEN:
        raise Untrusted(f"the extensions of the certificate of {who} cannot be read") from None
    for extension in found:
        if extension.oid in _NARROWING or (extension.critical and extension.oid not in _KNOWN):
            raise Untrusted(
                f"the certificate of {who} has the extension {extension.oid.dotted_string}, which is not looked at here"
            )
    usage = _value(found, x509.ExtendedKeyUsage)
    if usage is not None and not _CLIENT & set(usage):
        raise Untrusted(f"the extended key usage of the certificate of {who} has no clientAuth")
    if acceptable_key(one) is None and not _is_ed25519(one):
        raise Untrusted(f"the key of the certificate of {who} is too weak, or of a kind that is not taken")
    return found


def _is_ed25519(one: x509.Certificate) -> bool:
    try:
        return isinstance(one.public_key(), ed25519.Ed25519PublicKey)
    except BROKEN:
        return False


def _value(found: x509.Extensions, kind: type[E]) -> E | None:
    try:
        return found.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _check_leaf(leaf: x509.Certificate) -> None:
    """Raises Untrusted unless a certificate is one of a host or a program, which may sign requests."""
    who, found = name_of(leaf.subject), _extensions(leaf)
    constraints, usage = _value(found, x509.BasicConstraints), _value(found, x509.KeyUsage)
    if not list(leaf.subject):
        raise Untrusted("the certificate has no subject, by which its holder is known")
    if constraints is not None and constraints.ca:
        raise Untrusted(f"the certificate of {who} is that of an authority; sign with one that it has issued")
    if usage is None or not usage.digital_signature:
        raise Untrusted(f"the key usage of the certificate of {who} has no digitalSignature")


def _check_authority(one: x509.Certificate, *, below: int = 0) -> None:
    """Raises Untrusted unless a certificate is one of an authority that may issue with `below` authorities beneath it."""
    who, found = name_of(one.subject), _extensions(one)
    constraints, usage = _value(found, x509.BasicConstraints), _value(found, x509.KeyUsage)
    if constraints is None or not constraints.ca:
        raise Untrusted(f"the certificate of {who} is not that of an authority (basic constraints: CA)")
    if usage is not None and not usage.key_cert_sign:
        raise Untrusted(f"the key usage of the certificate of {who} has no keyCertSign")
    if constraints.path_length is not None and below > constraints.path_length:
        raise Untrusted(f"the certificate of {who} allows fewer authorities beneath it (path length)")
