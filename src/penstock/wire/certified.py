"""Requests that the key of a certificate signs: Signature Version 4 with X.509 (AWS: IAM Roles Anywhere, "Signing process").

That a signature holds says that whoever sent the request has the key of the certificate in it. Whether anybody trusts the certificate is
for the operation to say.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from penstock.wire.errors import IncompleteSignature, SignatureMismatch, UnsupportedAuthorization
from penstock.wire.message import RequestHead
from penstock.wire.signature import Signature, SigningRules
from penstock.wire.sigv4 import canonical_requests, string_to_sign

HEADER = "x-amz-x509"
CHAIN_HEADER = "x-amz-x509-chain"
MAX_CERTIFICATES = 5  # of a chain (AWS: "Signing process")
_RSA, _ECDSA = "AWS4-X509-RSA-SHA256", "AWS4-X509-ECDSA-SHA256"
_MAX_TEXT = 16 << 10  # characters of one certificate
_MAX_SIGNATURE = 1024  # bytes; that of a key of 4096 bits has 512
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
T = TypeVar("T")
BROKEN = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises for X.509 that it cannot read, or for a part of it when that is asked for."""


def parsed(load: Callable[[bytes], T], data: bytes) -> T:
    """What a function of `cryptography` reads: a certificate, several of them, a signing request or a revocation list.

    Their names are read as well, which it leaves for later itself. Raises ValueError for what cannot be read.
    """
    try:
        found = load(data)
        for one in found if isinstance(found, list) else (found,):
            for name in ("subject", "issuer"):
                getattr(one, name, None)
    except BROKEN as error:
        raise ValueError(str(error)) from None
    return found


def certificate_of(text: str, header: str = HEADER) -> x509.Certificate:
    """The certificate (DER, base64) of a header. Raises IncompleteSignature."""
    try:
        if len(text) <= _MAX_TEXT:
            return parsed(x509.load_der_x509_certificate, base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        pass
    raise IncompleteSignature(f"The header {header} holds no X.509 certificate in DER form and base64.")


def chain_of(text: str) -> list[x509.Certificate]:
    """The certificates of the header of a chain, none for an empty one. Raises IncompleteSignature."""
    parts = [part.strip() for part in text.split(",", MAX_CERTIFICATES)] if text else []
    if len(parts) > MAX_CERTIFICATES:
        raise IncompleteSignature(f"The header {CHAIN_HEADER} holds more than {MAX_CERTIFICATES} certificates.")
    return [certificate_of(part, CHAIN_HEADER) for part in parts]


def acceptable_key(
    certificate: x509.Certificate | x509.CertificateSigningRequest,
) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | None:
    """The public key of a certificate when it is strong enough and costs little to verify with, else None.

    RSA of 2048 to 4096 bits with a usual exponent, and the curves P-256, P-384 and P-521.
    """
    try:
        key = certificate.public_key()
    except BROKEN:
        return None
    if isinstance(key, rsa.RSAPublicKey):
        return key if 2048 <= key.key_size <= 4096 and key.public_numbers().e < 1 << 32 else None
    return key if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES) else None


def verify(signature: Signature, head: RequestHead, payload_hash: str, rules: SigningRules) -> bytes:
    """DER of the certificate in a request whose key has signed it. `payload_hash` is the SHA-256 (hex) of the body.

    The claims of the signature were checked when the request arrived. Raises IncompleteSignature, UnsupportedAuthorization or
    SignatureMismatch.
    """
    if signature.algorithm not in (_RSA, _ECDSA):
        raise UnsupportedAuthorization(
            f"The signing algorithm is not supported. Please use AWS4-HMAC-SHA256, {_RSA} or {_ECDSA}."
        )
    certificate = certificate_of(head.headers.get(HEADER, ""))
    key = acceptable_key(certificate)
    if key is None:
        raise IncompleteSignature(
            "The key of the certificate is of a kind that is not taken: RSA of 2048 to 4096 bits, or the curves P-256, P-384 and P-521."
        )
    if signature.access_key_id != str(certificate.serial_number):
        raise SignatureMismatch("The Credential does not begin with the serial number of the certificate.")
    try:
        claimed = bytes.fromhex(signature.signature) if len(signature.signature) <= 2 * _MAX_SIGNATURE else b""
    except ValueError:
        claimed = b""
    for request in canonical_requests(signature, head, payload_hash, rules):
        if _holds(key, signature.algorithm, claimed, string_to_sign(signature, request).encode("latin-1", "replace")):
            return certificate.public_bytes(serialization.Encoding.DER)
    raise SignatureMismatch(
        "The request signature does not match the key of the certificate. Check the private key and the signing method."
    )


def _holds(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, algorithm: str, claimed: bytes, signed: bytes) -> bool:
    try:
        if isinstance(key, rsa.RSAPublicKey) and algorithm == _RSA:
            key.verify(claimed, signed, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm == _ECDSA:
            key.verify(claimed, signed, ec.ECDSA(hashes.SHA256()))
        else:
            return False
    except InvalidSignature:
        return False
    return True
