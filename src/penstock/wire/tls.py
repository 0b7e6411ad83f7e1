"""TLS for `--tls`: an authority of the installation's own, and a server certificate that it issues.

The authority's certificate (`ca.pem`) is what clients trust (`AWS_CA_BUNDLE`, the agent's `ca_file`). The server certificate is issued
again when it runs out within 30 days or when the names it must carry have changed.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from penstock import durable
from penstock.wire.issuing import issued, new_authority

_AUTHORITY_DAYS = 3650
_SERVER_DAYS = 397  # the longest that browsers accept
_RENEW_DAYS = 30
_EARLIER = dt.timedelta(hours=1)  # by which clocks of clients may be behind
AUTHORITY_CONTEXT = "tls/ca.key"
KEY_LABEL = "tls-server-key"
"""What the passphrase of the server's key is derived for."""


class TlsError(Exception):
    """The certificate or key cannot be used."""


class KeySealer(Protocol):
    """Seals keys under the installation's master key."""

    def seal(self, plaintext: bytes, context: str) -> bytes: ...
    def open(self, sealed: bytes, context: str) -> bytes: ...
    def derive(self, label: str) -> bytes: ...


def server_context(cert: Path, key: Path, passphrase: bytes | None = None) -> ssl.SSLContext:
    """A server context of TLS 1.2 and later; `passphrase` opens the key. Raises TlsError with a reason."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, None if passphrase is None else passphrase.hex())
    except ssl.SSLError as error:
        why = error.reason.lower().replace("_", " ") if error.reason else "one of them is not PEM"
        raise TlsError(
            f"cannot use the certificate {cert} with the key {key}: {why}. Both are PEM files, and the key is the certificate's own"
        ) from error
    except OSError as error:
        path = next((path for path in (cert, key) if not os.access(path, os.R_OK)), cert)
        raise TlsError(f"cannot read {path}: {error.strerror}") from error
    return context


def own_authority(
    directory: Path, names: tuple[str, ...], sealer: KeySealer, *, now: dt.datetime
) -> tuple[Path, Path, Path]:
    """Paths of (authority certificate, server certificate, server key) below `directory`, made or renewed as needed.

    `names` are host names and addresses that the server is reached by. The folder belongs to the data dir, whose copies must give nothing
    without the master key: the authority's key is sealed, the server's is encrypted with a passphrase that is derived (KEY_LABEL).
    """
    durable.make_folder(directory)
    ca_path, ca_key_path = directory / "ca.pem", directory / "ca.key"
    cert_path, key_path = directory / "server.pem", directory / "server.key"
    if not (ca_path.exists() and ca_key_path.exists()):
        _make_authority(ca_path, ca_key_path, sealer, now)
    passphrase = sealer.derive(KEY_LABEL).hex().encode()
    if not (_opens(key_path, passphrase) and _still_good(cert_path, ca_path, names, now)):
        authority_key = sealer.open(ca_key_path.read_bytes(), AUTHORITY_CONTEXT)
        _issue(
            ca_path, authority_key, cert_path=cert_path, key_path=key_path, names=names, passphrase=passphrase, now=now
        )
    return ca_path, cert_path, key_path


def _make_authority(ca_path: Path, ca_key_path: Path, sealer: KeySealer, now: dt.datetime) -> None:
    serial = x509.random_serial_number()
    certificate, key = new_authority(
        f"Penstock installation {serial:x}"[:40],
        begins=now - _EARLIER,
        ends=now + dt.timedelta(days=_AUTHORITY_DAYS),
        serial=serial,
    )
    durable.write(ca_key_path, sealer.seal(_pem(key, serialization.NoEncryption()), AUTHORITY_CONTEXT))
    durable.write(ca_path, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _issue(
    ca_path: Path,
    authority_pem: bytes,
    *,
    cert_path: Path,
    key_path: Path,
    names: tuple[str, ...],
    passphrase: bytes,
    now: dt.datetime,
) -> None:
    authority = x509.load_pem_x509_certificate(ca_path.read_bytes())
    authority_key = serialization.load_pem_private_key(authority_pem, password=None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = issued(
        authority,
        authority_key,
        key.public_key(),
        name=names[0][:64],
        alternatives=[_general_name(name) for name in names],
        purpose=ExtendedKeyUsageOID.SERVER_AUTH,
        begins=now - _EARLIER,
        ends=now + dt.timedelta(days=_SERVER_DAYS),
    )
    durable.write(key_path, _pem(key, serialization.BestAvailableEncryption(passphrase)))
    durable.write(cert_path, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _opens(key_path: Path, passphrase: bytes) -> bool:
    """Whether the server's key is there, under the newest master key."""
    try:
        serialization.load_pem_private_key(key_path.read_bytes(), password=passphrase)
    except (OSError, ValueError, TypeError):
        return False
    return True


def _still_good(cert_path: Path, ca_path: Path, names: tuple[str, ...], now: dt.datetime) -> bool:
    if not cert_path.exists():
        return False
    certificate = x509.load_pem_x509_certificate(cert_path.read_bytes())
    authority = x509.load_pem_x509_certificate(ca_path.read_bytes())
    carried = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    wanted = [_general_name(name) for name in names]
    return (
        certificate.issuer == authority.subject
        and certificate.not_valid_after_utc > now + dt.timedelta(days=_RENEW_DAYS)
        and all(name in carried for name in wanted)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
