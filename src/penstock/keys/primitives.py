"""What keys of each spec are made of, sign, verify, authenticate and encrypt with. Pure but for new keys. (AWS: KMS Developer Guide, "Key spec reference".)"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from penstock.keys.errors import InvalidKeyUsageException, UnsupportedOperationException, ValidationException

SYMMETRIC_DEFAULT = "SYMMETRIC_DEFAULT"
ENCRYPT_DECRYPT, SIGN_VERIFY, GENERATE_VERIFY_MAC = "ENCRYPT_DECRYPT", "SIGN_VERIFY", "GENERATE_VERIFY_MAC"
_HASHES: dict[str, Any] = {"SHA_256": hashes.SHA256, "SHA_384": hashes.SHA384, "SHA_512": hashes.SHA512}
_RSA_SIGNING = tuple(f"RSASSA_{scheme}_{name}" for scheme in ("PKCS1_V1_5", "PSS") for name in _HASHES)
_EDWARDS = "ED25519_SHA_512"
_OAEP: dict[str, Any] = {"RSAES_OAEP_SHA_1": hashes.SHA1, "RSAES_OAEP_SHA_256": hashes.SHA256}
_RSA = {SIGN_VERIFY: _RSA_SIGNING, ENCRYPT_DECRYPT: tuple(_OAEP)}


@dataclass(frozen=True, slots=True)
class Spec:
    """What a key of a spec is for."""

    algorithms: Mapping[str, tuple[str, ...]]  # by usage
    bits: int = 0  # of RSA
    curve: type[ec.EllipticCurve] | None = None
    mac: str = ""  # hashlib's name
    size: int = 32  # bytes of a secret that is random

    @property
    def is_pair(self) -> bool:
        """Whether its keys have a public half."""
        return SIGN_VERIFY in self.algorithms


SPECS = {
    SYMMETRIC_DEFAULT: Spec({ENCRYPT_DECRYPT: (SYMMETRIC_DEFAULT,)}),
    "RSA_2048": Spec(_RSA, bits=2048),
    "RSA_3072": Spec(_RSA, bits=3072),
    "RSA_4096": Spec(_RSA, bits=4096),
    "ECC_NIST_P256": Spec({SIGN_VERIFY: ("ECDSA_SHA_256",)}, curve=ec.SECP256R1),
    "ECC_NIST_P384": Spec({SIGN_VERIFY: ("ECDSA_SHA_384",)}, curve=ec.SECP384R1),
    "ECC_NIST_P521": Spec({SIGN_VERIFY: ("ECDSA_SHA_512",)}, curve=ec.SECP521R1),
    "ECC_SECG_P256K1": Spec({SIGN_VERIFY: ("ECDSA_SHA_256",)}, curve=ec.SECP256K1),
    "ECC_NIST_EDWARDS25519": Spec({SIGN_VERIFY: (_EDWARDS,)}),
    "HMAC_224": Spec({GENERATE_VERIFY_MAC: ("HMAC_SHA_224",)}, mac="sha224", size=28),
    "HMAC_256": Spec({GENERATE_VERIFY_MAC: ("HMAC_SHA_256",)}, mac="sha256", size=32),
    "HMAC_384": Spec({GENERATE_VERIFY_MAC: ("HMAC_SHA_384",)}, mac="sha384", size=48),
    "HMAC_512": Spec({GENERATE_VERIFY_MAC: ("HMAC_SHA_512",)}, mac="sha512", size=64),
}


def new_secret(spec: str) -> bytes:
    """The secret of a new key: random bytes, or a private key (DER, PKCS #8). An RSA key takes seconds of a processor."""
    kind = SPECS[spec]
    if not kind.is_pair:
        return os.urandom(kind.size)
    made: Any = ed25519.Ed25519PrivateKey.generate()
    if kind.bits:
        made = rsa.generate_private_key(public_exponent=65537, key_size=kind.bits)
    elif kind.curve is not None:
        made = ec.generate_private_key(kind.curve())
    form = (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.private_bytes(*form)


def loaded(spec: str, secret: bytes) -> Any:
    """What a secret is used by: a cipher, a private key, or the bytes of a MAC's key."""
    if spec == SYMMETRIC_DEFAULT:
        return AESGCM(secret)
    if SPECS[spec].is_pair:
        # It was made here and kept sealed: looking once more for whether it is one takes a tenth of a second.
        return serialization.load_der_private_key(secret, None, unsafe_skip_rsa_key_validation=True)
    return secret


def public_key(private: Any) -> bytes:
    """The public key (DER, SubjectPublicKeyInfo) of a private one."""
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.public_key().public_bytes(*form)


def check_new(spec: str, usage: str | None) -> str:
    """The usage of a new key. Raises ValidationException, or UnsupportedOperationException for what is not served."""
    known = SPECS.get(spec)
    if known is None:
        raise UnsupportedOperationException(
            f"Keys of the spec {spec} are not served here. Choose one of {', '.join(SPECS)}."
        )
    if usage is None and spec != SYMMETRIC_DEFAULT:
        raise ValidationException(
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."
        )
    if usage is not None and usage not in known.algorithms:
        raise ValidationException(f"KeyUsage {usage} is not compatible with KeySpec {spec}")
    return usage or ENCRYPT_DECRYPT


def algorithms_of(key: Any) -> tuple[str, ...]:
    """The algorithms that a key can be used with."""
    return SPECS[key.spec].algorithms[key.usage]


def check_algorithm(key: Any, algorithm: str) -> None:
    """Raises InvalidKeyUsageException when a key cannot be used with an algorithm."""
    if algorithm not in algorithms_of(key):
        raise InvalidKeyUsageException(
            f"Algorithm {algorithm} and key spec {key.spec} are incompatible. The key takes {', '.join(algorithms_of(key))}."
        )


def check_message(algorithm: str, message: bytes, *, digest: bool) -> None:
    """Raises ValidationException for a digest that is not one of the algorithm."""
    if not digest:
        return
    if algorithm == _EDWARDS:
        raise ValidationException(f"Algorithm {algorithm} signs messages of the type RAW.")
    if len(message) != _hash_of(algorithm).digest_size:
        raise ValidationException(f"Digest is invalid length for algorithm {algorithm}.")


def sign(private: Any, algorithm: str, message: bytes, *, digest: bool) -> bytes:
    """A signature: of ECDSA as DER (X9.62), of PSS with a salt as long as the digest."""
    if algorithm == _EDWARDS:
        return private.sign(message)
    hashed = _hashed(algorithm, digest=digest)
    if algorithm.startswith("ECDSA"):
        return private.sign(message, ec.ECDSA(hashed))
    return private.sign(message, _padding(algorithm), hashed)


def verify(private: Any, algorithm: str, message: bytes, signature: bytes, *, digest: bool) -> bool:
    """Whether a signature is one of the key for a message."""
    public = private.public_key()
    try:
        if algorithm == _EDWARDS:
            public.verify(signature, message)
        elif algorithm.startswith("ECDSA"):
            public.verify(signature, message, ec.ECDSA(_hashed(algorithm, digest=digest)))
        else:
            public.verify(signature, message, _padding(algorithm), _hashed(algorithm, digest=digest))
    except InvalidSignature:
        return False
    return True


def authenticate(secret: bytes, algorithm: str, message: bytes) -> bytes:
    """The MAC of a message."""
    return hmac.digest(secret, message, algorithm.removeprefix("HMAC_").replace("_", "").lower())


def encrypt(private: Any, algorithm: str, plaintext: bytes) -> bytes:
    """A ciphertext for the public half of an RSA key. Raises ValidationException for a plaintext that is too long."""
    used = _oaep(algorithm)
    # RFC 8017, section 7.1.1: what the padding leaves of the modulus.
    most = private.key_size // 8 - 2 * _OAEP[algorithm].digest_size - 2
    if len(plaintext) > most:
        raise ValidationException(
            f"The plaintext has {len(plaintext)} bytes: with {algorithm} a key of {private.key_size} bits encrypts {most} at most. "
            "Encrypt more with a data key."
        )
    return private.public_key().encrypt(plaintext, used)


def decrypt(private: Any, algorithm: str, ciphertext: bytes) -> bytes | None:
    """The plaintext of a ciphertext that `encrypt` or others have made for the key; None for anything else."""
    try:
        return private.decrypt(ciphertext, _oaep(algorithm))
    except ValueError:
        return None


def _oaep(algorithm: str) -> padding.OAEP:
    chosen = _OAEP[algorithm]
    return padding.OAEP(mgf=padding.MGF1(chosen()), algorithm=chosen(), label=None)


def _hash_of(algorithm: str) -> hashes.HashAlgorithm:
    return cast("hashes.HashAlgorithm", _HASHES[algorithm[-len("SHA_256") :]]())


def _hashed(algorithm: str, *, digest: bool) -> Any:
    found = _hash_of(algorithm)
    return utils.Prehashed(found) if digest else found


def _padding(algorithm: str) -> Any:
    if "PKCS1" in algorithm:
        return padding.PKCS1v15()
    return padding.PSS(mgf=padding.MGF1(_hash_of(algorithm)), salt_length=padding.PSS.DIGEST_LENGTH)
