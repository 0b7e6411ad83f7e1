"""Signature verification in plain Python: RSA PKCS #1 v1.5 (RFC 8017) and ECDSA on P-256 and P-384 (FIPS 186-4).

Only public values are handled, so nothing here needs to run in constant time.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple, Optional, Tuple, Union

MAX_RSA_BITS = 8192
MAX_RSA_EXPONENT = 1 << 32

# DigestInfo up to the digest itself (RFC 8017, section 9.2, note 1).
_DIGEST_INFO = {
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}


class RsaKey(NamedTuple):
    """Modulus and exponent."""

    modulus: int
    exponent: int


class Curve(NamedTuple):
    """A short Weierstrass curve with a = -3: field prime, b, base point, order."""

    name: str
    p: int
    b: int
    x: int
    y: int
    n: int


class EcKey(NamedTuple):
    """A point on a curve."""

    curve: Curve
    x: int
    y: int


PublicKey = Union[RsaKey, EcKey]
Point = Tuple[int, int, int]

P256 = Curve(
    "P-256",
    0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF,
    0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
)
P384 = Curve(
    "P-384",
    0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFF0000000000000000FFFFFFFF,
    0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
    0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
    0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
)
CURVES = {"1.2.840.10045.3.1.7": P256, "1.3.132.0.34": P384}


def verify(key: PublicKey, digest_name: str, data: bytes, signature: bytes, rs: Optional[Tuple[int, int]]) -> bool:
    """Whether `signature` of `data` holds. `rs` is the decoded ECDSA pair (None with RSA)."""
    digest = hashlib.new(digest_name, data).digest()
    if isinstance(key, RsaKey):
        return _verify_rsa(key, _DIGEST_INFO[digest_name] + digest, signature)
    return rs is not None and _verify_ecdsa(key, digest, rs)


def _verify_rsa(key: RsaKey, info: bytes, signature: bytes) -> bool:
    bits = key.modulus.bit_length()
    size = (bits + 7) // 8
    if bits < 1024 or bits > MAX_RSA_BITS or not 3 <= key.exponent < MAX_RSA_EXPONENT or not key.exponent & 1:
        return False
    value = int.from_bytes(signature, "big")
    padding = size - len(info) - 3
    if len(signature) != size or value >= key.modulus or padding < 8:
        return False
    # The whole block is built and compared: nothing is parsed that a forger could stretch.
    expected = b"\x00\x01" + b"\xff" * padding + b"\x00" + info
    return pow(value, key.exponent, key.modulus).to_bytes(size, "big") == expected


def _inverse(value: int, modulus: int) -> int:
    return pow(value, -1, modulus)


def _double(curve: Curve, point: Point) -> Point:
    x, y, z = point
    p = curve.p
    if not y or not z:
        return (0, 1, 0)
    square = y * y % p
    s = 4 * x * square % p
    zz = z * z % p
    m = 3 * (x - zz) * (x + zz) % p
    rx = (m * m - 2 * s) % p
    return (rx, (m * (s - rx) - 8 * square * square) % p, 2 * y * z % p)


def _add(curve: Curve, first: Point, second: Point) -> Point:
    if not first[2]:
        return second
    if not second[2]:
        return first
    p = curve.p
    x1, y1, z1 = first
    x2, y2, z2 = second
    z1z1, z2z2 = z1 * z1 % p, z2 * z2 % p
    u1, u2 = x1 * z2z2 % p, x2 * z1z1 % p
    s1, s2 = y1 * z2 * z2z2 % p, y2 * z1 * z1z1 % p
    if u1 == u2:
        return _double(curve, first) if s1 == s2 else (0, 1, 0)
    h, r = (u2 - u1) % p, (s2 - s1) % p
    hh = h * h % p
    hhh = h * hh % p
    v = u1 * hh % p
    x = (r * r - hhh - 2 * v) % p
    return (x, (r * (v - x) - s1 * hhh) % p, h * z1 * z2 % p)


def _verify_ecdsa(key: EcKey, digest: bytes, rs: Tuple[int, int]) -> bool:
    curve = key.curve
    r, s = rs
    if not (0 < r < curve.n and 0 < s < curve.n) or not on_curve(key):
        return False
    e = int.from_bytes(digest, "big")
    excess = len(digest) * 8 - curve.n.bit_length()
    if excess > 0:
        e >>= excess
    w = _inverse(s, curve.n)
    u1, u2 = e * w % curve.n, r * w % curve.n
    base: Point = (curve.x, curve.y, 1)
    other: Point = (key.x, key.y, 1)
    both = _add(curve, base, other)
    total: Point = (0, 1, 0)
    for bit in range(max(u1.bit_length(), u2.bit_length()) - 1, -1, -1):
        total = _double(curve, total)
        pair = (u1 >> bit & 1, u2 >> bit & 1)
        if pair != (0, 0):
            total = _add(curve, total, both if pair == (1, 1) else base if pair[0] else other)
    if not total[2]:
        return False
    zz = total[2] * total[2] % curve.p
    return total[0] * _inverse(zz, curve.p) % curve.p % curve.n == r


def on_curve(key: EcKey) -> bool:
    """Whether the key is a point of its curve."""
    curve = key.curve
    if not (0 <= key.x < curve.p and 0 <= key.y < curve.p):
        return False
    return (key.y * key.y - (key.x * key.x * key.x - 3 * key.x + curve.b)) % curve.p == 0
