"""CMS signed data (RFC 5652) as deployment specifications come in it: parsed and verified without a library.

BER with indefinite lengths and constructed strings is read, since some signers stream it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from penstock_agent.signature import CURVES, EcKey, PublicKey, RsaKey, verify

MAX_DEPTH = 40
MAX_CHAIN = 5
_SIGNED_DATA = "1.2.840.113549.1.7.2"
_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_BASIC_CONSTRAINTS = "2.5.29.19"
_KEY_USAGE = "2.5.29.15"
_EXTENDED_KEY_USAGE = "2.5.29.37"
_CODE_SIGNING = "1.3.6.1.5.5.7.3.3"
_DIGITAL_SIGNATURE, _KEY_CERT_SIGN = 0x80, 0x04  # bits of the key usage
_RSA = "1.2.840.113549.1.1.1"
_EC = "1.2.840.10045.2.1"
_DIGESTS = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_SIGNATURE_DIGESTS = {
    "1.2.840.113549.1.1.5": "sha1",
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
    "1.2.840.10045.4.1": "sha1",
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
}


class EnvelopeInvalid(Exception):
    """The envelope is not signed data, or its signature does not hold; the message says which."""


class Node(NamedTuple):
    """One element: identifier octet, bytes of the contents, children when constructed, and the whole encoding."""

    tag: int
    value: bytes
    children: Tuple[Any, ...]
    encoded: bytes


class Certificate(NamedTuple):
    """What is needed of an X.509 certificate; times are epoch seconds."""

    encoded: bytes
    tbs: bytes
    issuer: bytes
    subject: bytes
    serial: int
    not_before: float
    not_after: float
    key: PublicKey
    digest: str
    signature: bytes
    authority: bool
    path_length: Optional[int] = None  # authorities that may follow below; None: any number
    usage: Optional[int] = None  # the first octet of the key usage; None: not restricted
    purposes: Optional[Tuple[str, ...]] = None  # extended key usage; None: not restricted
    unknown: str = ""  # a critical extension that is not understood


# --- BER ---------------------------------------------------------------------------------------------------------


def parse(data: bytes) -> Node:
    """The one element that `data` is. Raises EnvelopeInvalid."""
    node, end = _element(data, 0, len(data), 0)
    if end != len(data):
        raise EnvelopeInvalid("bytes follow after the signed data")
    return node


def _element(data: bytes, start: int, limit: int, depth: int) -> Tuple[Node, int]:
    if depth > MAX_DEPTH:
        raise EnvelopeInvalid("the signed data is nested too deep")
    if start + 2 > limit:
        raise EnvelopeInvalid("the signed data is cut short")
    tag, length, at = data[start], data[start + 1], start + 2
    if tag & 0x1F == 0x1F:
        raise EnvelopeInvalid("the signed data has a tag number beyond 30")
    children: List[Node] = []
    if length == 0x80:
        if not tag & 0x20:
            raise EnvelopeInvalid("the signed data has an indefinite length on a primitive element")
        first = at
        while data[at : at + 2] != b"\x00\x00":
            child, at = _element(data, at, limit, depth + 1)
            children.append(child)
        return Node(tag, data[first:at], tuple(children), data[start : at + 2]), at + 2
    if length & 0x80:
        size = length & 0x7F
        if size > 4 or at + size > limit:
            raise EnvelopeInvalid("the signed data is cut short")
        length = int.from_bytes(data[at : at + size], "big")
        at += size
    end = at + length
    if end > limit:
        raise EnvelopeInvalid("the signed data is cut short")
    if tag & 0x20:
        inner = at
        while inner < end:
            child, inner = _element(data, inner, end, depth + 1)
            children.append(child)
    return Node(tag, data[at:end], tuple(children), data[start:end]), end


def _oid(node: Node) -> str:
    if node.tag != 0x06 or not node.value or node.value[-1] & 0x80:
        raise EnvelopeInvalid("the signed data lacks an object identifier")
    numbers = [min(node.value[0] // 40, 2)]
    numbers.append(node.value[0] - 40 * numbers[0])
    number = 0
    for byte in node.value[1:]:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    return ".".join(map(str, numbers))


def _integer(node: Node) -> int:
    if node.tag != 0x02 or not node.value:
        raise EnvelopeInvalid("the signed data lacks a number")
    return int.from_bytes(node.value, "big", signed=True)


def _octets(node: Node) -> bytes:
    if node.tag == 0x04:
        return node.value
    if node.tag == 0x24:
        return b"".join(_octets(child) for child in node.children)
    raise EnvelopeInvalid("the signed data lacks an octet string")


def _at(node: Node, index: int) -> Node:
    if index >= len(node.children):
        raise EnvelopeInvalid("the signed data lacks a field")
    return node.children[index]


# --- certificates ------------------------------------------------------------------------------------------------


def _time(node: Node) -> float:
    text = node.value.decode("ascii", "replace")
    if node.tag == 0x17 and re.match(r"^\d{12}Z$", text):
        text = ("20" if text[:2] < "50" else "19") + text
    if not re.match(r"^\d{14}Z$", text):
        raise EnvelopeInvalid("the certificate's validity cannot be read")
    import calendar  # brings datetime and locale: a megabyte that an idle agent does not need

    try:
        return float(calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ")))
    except ValueError:
        raise EnvelopeInvalid("the certificate's validity cannot be read") from None


def _public_key(node: Node) -> PublicKey:
    algorithm = _at(node, 0)
    kind, bits = _oid(_at(algorithm, 0)), _at(node, 1).value[1:]
    if kind == _RSA:
        pair = parse(bits)
        return RsaKey(_integer(_at(pair, 0)), _integer(_at(pair, 1)))
    if kind == _EC:
        curve = CURVES.get(_oid(_at(algorithm, 1)))
        if curve is None:
            raise EnvelopeInvalid("the certificate's key is on a curve other than P-256 and P-384")
        size = (curve.p.bit_length() + 7) // 8
        if len(bits) != 1 + 2 * size or bits[0] != 4:
            raise EnvelopeInvalid("the certificate's key is not an uncompressed point")
        return EcKey(curve, int.from_bytes(bits[1 : 1 + size], "big"), int.from_bytes(bits[1 + size :], "big"))
    raise EnvelopeInvalid("the certificate's key is neither RSA nor ECDSA")


def _extensions(fields: Sequence[Node]) -> Dict[str, Any]:
    """What the extensions of a certificate say of what its key may do."""
    found: Dict[str, Any] = {}
    for extension in (each for field in fields if field.tag == 0xA3 for each in _at(field, 0).children):
        kind, value = _oid(_at(extension, 0)), _octets(extension.children[-1])
        critical = len(extension.children) > 2 and extension.children[1].value != b"\x00"
        if kind == _BASIC_CONSTRAINTS:
            for child in parse(value).children:
                if child.tag == 0x01:
                    found["authority"] = child.value != b"\x00"
                else:
                    found["path_length"] = _integer(child)
        elif kind == _KEY_USAGE:
            bits = parse(value).value
            found["usage"] = bits[1] if len(bits) > 1 else 0
        elif kind == _EXTENDED_KEY_USAGE:
            found["purposes"] = tuple(_oid(child) for child in parse(value).children)
        elif critical:
            found["unknown"] = kind
    return found


def certificate(node: Node) -> Certificate:
    """Read an X.509 certificate. Raises EnvelopeInvalid."""
    tbs = _at(node, 0)
    fields = list(tbs.children)
    if fields and fields[0].tag == 0xA0:
        fields.pop(0)
    if len(fields) < 6:
        raise EnvelopeInvalid("the certificate lacks a field")
    serial, _, issuer, validity, subject, key = fields[:6]
    return Certificate(
        encoded=node.encoded,
        tbs=tbs.encoded,
        issuer=issuer.encoded,
        subject=subject.encoded,
        serial=_integer(serial),
        not_before=_time(_at(validity, 0)),
        not_after=_time(_at(validity, 1)),
        key=_public_key(key),
        digest=_SIGNATURE_DIGESTS.get(_oid(_at(_at(node, 1), 0)), ""),
        signature=_at(node, 2).value[1:],
        **{"authority": False, **_extensions(fields[6:])},
    )


def certificates_of_pem(text: str) -> List[Certificate]:
    """All certificates of a PEM file. Raises EnvelopeInvalid when it is missing."""
    found = [certificate(parse(_base64(body))) for body in _armoured(text, "CERTIFICATE")]
    if not found:
        raise EnvelopeInvalid("there is no certificate in PEM form")
    return found


def _armoured(text: str, label: str) -> List[str]:
    begin, end = "-----BEGIN " + label + "-----", "-----END " + label + "-----"
    return [part.split(end, 1)[0] for part in text.split(begin)[1:] if end in part]


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise EnvelopeInvalid("the envelope is not base64") from None


def _holds(key: PublicKey, digest: str, data: bytes, signature: bytes) -> bool:
    pair: Optional[Tuple[int, int]] = None
    if isinstance(key, EcKey):
        try:
            node = parse(signature)
            pair = (_integer(_at(node, 0)), _integer(_at(node, 1)))
        except EnvelopeInvalid:
            return False
    return bool(digest) and verify(key, digest, data, signature, pair)


# --- signed data -------------------------------------------------------------------------------------------------


def open_envelope(pem: str, pinned: Sequence[Certificate] = (), now: Optional[float] = None) -> bytes:
    """The content of a PEM signed-data envelope whose signature holds.

    Without `pinned` the certificate in the envelope is taken as it is: the signature proves that the content is whole,
    TLS and the host's key prove where it comes from. With `pinned` the signer must be one of these certificates or
    lead to one of them by a valid chain, and SHA-1 is not accepted. A certificate that a pinned authority issued must be
    one for signing code: others that the authority has issued, such as those of web servers, do not sign deployments.

    Raises:
        EnvelopeInvalid, with the reason.
    """
    bodies = _armoured(pem, "PKCS7") or _armoured(pem, "CMS")
    if len(bodies) != 1:
        raise EnvelopeInvalid("the envelope is not one PEM block of PKCS7")
    info = parse(_base64(bodies[0]))
    if _oid(_at(info, 0)) != _SIGNED_DATA:
        raise EnvelopeInvalid("the envelope is not signed data")
    data = _at(_at(info, 1), 0)
    encapsulated = _at(data, 2)
    if len(encapsulated.children) < 2:
        raise EnvelopeInvalid("the envelope has no content attached")
    content = _octets(_at(encapsulated.children[1], 0))
    embedded = [
        certificate(child)
        for field in data.children[3:]
        if field.tag == 0xA0
        for child in field.children
        if child.tag == 0x30
    ]
    signers = data.children[-1]
    if signers.tag != 0x31 or len(signers.children) != 1:
        raise EnvelopeInvalid("the envelope must have exactly one signer")
    signer, digest = _verified_signer(signers.children[0], encapsulated, content, [*embedded, *pinned])
    if pinned:
        if digest == "sha1":
            raise EnvelopeInvalid("the signature uses SHA-1, which a pinned signer may not")
        _check_chain(signer, embedded, pinned, time.time() if now is None else now)
    return content


def _verified_signer(
    info: Node, encapsulated: Node, content: bytes, known: Sequence[Certificate]
) -> Tuple[Certificate, str]:
    fields = list(info.children)
    if len(fields) < 5:
        raise EnvelopeInvalid("the signer lacks a field")
    name, digest = fields[1], _DIGESTS.get(_oid(_at(fields[2], 0)), "")
    if not digest:
        raise EnvelopeInvalid("the signature uses a digest other than SHA-1, SHA-256, SHA-384 and SHA-512")
    rest = fields[3:]
    signed = content
    if rest[0].tag == 0xA0:
        attributes = {_oid(_at(each, 0)): _at(each, 1) for each in rest[0].children}
        found = attributes.get(_MESSAGE_DIGEST)
        if found is None or _octets(_at(found, 0)) != hashlib.new(digest, content).digest():
            raise EnvelopeInvalid("the content is not what was signed (digest failure)")
        kind = attributes.get(_CONTENT_TYPE)
        if kind is None or _oid(_at(kind, 0)) != _oid(_at(encapsulated, 0)):
            raise EnvelopeInvalid("the signed content type is another one")
        # RFC 5652, 5.4: what is signed is the SET OF encoding, not the implicit tag in the message.
        signed = b"\x31" + rest[0].encoded[1:]
        rest = rest[1:]
    if len(rest) < 2:
        raise EnvelopeInvalid("the signer lacks a signature")
    signature = _octets(rest[1])
    signer = next((each for each in known if _is_named(each, name)), None)
    if signer is None:
        raise EnvelopeInvalid("the envelope does not hold its signer's certificate")
    if not _holds(signer.key, digest, signed, signature):
        raise EnvelopeInvalid("the signature does not hold")
    return signer, digest


def _is_named(cert: Certificate, name: Node) -> bool:
    if name.tag == 0x30:
        return cert.issuer == _at(name, 0).encoded and cert.serial == _integer(_at(name, 1))
    return False


def _check_chain(
    signer: Certificate, embedded: Sequence[Certificate], pinned: Sequence[Certificate], now: float
) -> None:
    current = signer
    for below in range(MAX_CHAIN):
        if not current.not_before <= now <= current.not_after:
            raise EnvelopeInvalid("a certificate of the signer's chain is not valid now")
        if any(current.encoded == each.encoded for each in pinned):
            if current is not signer:
                _check_leaf(signer)
            return
        if current.unknown:
            raise EnvelopeInvalid("a certificate of the signer's chain has a critical extension that is not understood")
        issuer = next(
            (
                each
                for each in [*pinned, *embedded]
                if each.subject == current.issuer
                and each.authority
                and (each.usage is None or each.usage & _KEY_CERT_SIGN)
                and (each.path_length is None or each.path_length >= below)
                and current.digest not in ("", "sha1")
                and _holds(each.key, current.digest, current.tbs, current.signature)
            ),
            None,
        )
        if issuer is None or issuer.encoded == current.encoded:
            break
        current = issuer
    raise EnvelopeInvalid("the signer is not the pinned one and no chain leads to it")


def _check_leaf(signer: Certificate) -> None:
    if signer.authority:
        raise EnvelopeInvalid("the signer's certificate is that of an authority, which does not sign deployments")
    if signer.usage is None or not signer.usage & _DIGITAL_SIGNATURE:
        raise EnvelopeInvalid("the signer's certificate lacks the key usage digitalSignature")
    if signer.purposes is None or _CODE_SIGNING not in signer.purposes:
        raise EnvelopeInvalid("the signer's certificate lacks the extended key usage codeSigning")
