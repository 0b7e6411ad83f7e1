"""Authorities and certificates of tests, and requests that their keys sign as AWS's credential helper does."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import http.client
import json
import urllib.parse
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


def name_of(common: str, **more: str) -> x509.Name:
    attributes = [x509.NameAttribute(getattr(NameOID, kind), value) for kind, value in more.items()]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def usage(**given: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
        "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: given.get(name, False) for name in names})


@dataclass
class Holder:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(
        self,
        common: str = "web-1",
        *,
        key: Any = None,
        authority: bool = False,
        before: dt.datetime = NOW - DAY,
        after: dt.datetime = NOW + DAY,
        extensions: tuple[tuple[x509.ExtensionType, bool], ...] | None = None,
        path_length: int | None = None,
        digest: Any = None,
        subject: x509.Name | None = None,
        issuer: x509.Name | None = None,
        serial: int = 0,
    ) -> Holder:
        """A certificate that this one has signed. `extensions` take the place of the usual ones."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        if extensions is None:
            may = usage(key_cert_sign=True, crl_sign=True) if authority else usage(digital_signature=True)
            constraints = x509.BasicConstraints(ca=authority, path_length=path_length if authority else None)
            extensions = ((constraints, True), (may, True))
        builder = (
            x509.CertificateBuilder()
            .subject_name(name_of(common) if subject is None else subject)
            .issuer_name(issuer or self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(before)
            .not_valid_after(after)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return Holder(builder.sign(self.key, digest or hashes.SHA256()), key)

    def revoke(self, *certificates: x509.Certificate) -> bytes:
        """A revocation list (PEM)."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(NOW)
            .next_update(NOW + DAY)
        )
        for one in certificates:
            entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(NOW).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def authority(common: str = "Root", *, key: Any = None, **more: Any) -> Holder:
    """One that has signed its own certificate."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    nobody = x509.CertificateBuilder().subject_name(name_of("x")).issuer_name(name_of("x"))
    made = (nobody.public_key(key.public_key()).serial_number(1).not_valid_before(NOW).not_valid_after(NOW + DAY)).sign(
        key, hashes.SHA256()
    )
    return Holder(made, key).issue(common, key=key, authority=True, issuer=name_of(common), **more)


def signed_headers(
    holder: Holder,
    method: str,
    url: str,
    body: bytes = b"",
    *,
    chain: tuple[Holder, ...] = (),
    service: str = "rolesanywhere",
    region: str = "us-east-1",
    at: dt.datetime | None = None,
    key: Any = None,
    serial: int | None = None,
    algorithm: str = "",
    headers: dict[str, str] | None = None,
) -> dict[str, str]:
    """The headers of a request that the key of a certificate signs. `key` and `serial` are those of an attacker."""
    parts = urllib.parse.urlsplit(url)
    stamp = (at or dt.datetime.now(dt.UTC)).strftime("%Y%m%dT%H%M%SZ")

    def der(one: Holder) -> str:
        return base64.b64encode(one.certificate.public_bytes(serialization.Encoding.DER)).decode()

    found = {"host": parts.netloc, "x-amz-date": stamp, "x-amz-x509": der(holder), **(headers or {})}
    if chain:
        found["x-amz-x509-chain"] = ",".join(der(one) for one in chain)
    names = sorted(found)
    query = "&".join(sorted(parts.query.split("&"))) if parts.query else ""
    canonical = "\n".join(
        [method, parts.path or "/", query, *(f"{name}:{found[name]}" for name in names), "", ";".join(names)]
        + [hashlib.sha256(body).hexdigest()]
    )
    rsa_key = isinstance(key or holder.key, rsa.RSAPrivateKey)
    algorithm = algorithm or f"AWS4-X509-{'RSA' if rsa_key else 'ECDSA'}-SHA256"
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = "\n".join([algorithm, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()]).encode()
    signer = key or holder.key
    made = (
        signer.sign(text, padding.PKCS1v15(), hashes.SHA256())
        if rsa_key
        else signer.sign(text, ec.ECDSA(hashes.SHA256()))
    )
    number = holder.certificate.serial_number if serial is None else serial
    found["authorization"] = (
        f"{algorithm} Credential={number}/{scope}, SignedHeaders={';'.join(names)}, Signature={made.hex()}"
    )
    return found


def send_any(url: str, headers: dict[str, str], body: bytes = b"", method: str = "POST") -> tuple[int, str]:
    """Status and text of an answer in any protocol."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def send(url: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, dict[str, Any]]:
    """Status and document of an answer."""
    status, text = send_any(url, headers, body)
    return status, json.loads(text or "{}")


def create_session(
    base: str,
    holder: Holder,
    arns: dict[str, str],
    *,
    in_body: bool = False,
    more: dict[str, Any] | None = None,
    **how: Any,
) -> tuple[int, dict[str, Any]]:
    """Status and document of CreateSession. `how` are options of `signed_headers`."""
    query = "" if in_body else "?" + urllib.parse.urlencode(arns)
    url, body = f"{base}/sessions{query}", json.dumps({**(arns if in_body else {}), **(more or {})}).encode()
    headers = signed_headers(holder, "POST", url, body, headers={"content-type": "application/json"}, **how)
    return send(url, headers, body)
