"""The installation's signer of deployment specifications: an RSA key kept sealed, and its self-signed certificate.

Agents take any certificate in the envelope; ours may pin this one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from collections import OrderedDict
from collections.abc import Hashable

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from penstock.application import App
from penstock.deployments.hostcommands.specification import Issue
from penstock.deployments.records import SIGNER_CONTEXT, signers
from penstock.pools import FILES
from penstock.store.upsert import upsert
from penstock.wire.issuing import key_usage

_BITS = 3072
_YEARS = 20
# Each host asks for its specification at every lifecycle event. 40 MB are those of about 10,000 hosts; with fewer than the fleet has
# hosts, all of them would be signed again for each event.
_CACHED_BYTES = 40 << 20
_MAX_ENVELOPE = 8192  # what the protocol allows


class SpecificationTooLong(Exception):
    """The signed specification does not fit the protocol's envelope."""


class Signer:
    """Signs specifications; the key is made at the first one."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lock = asyncio.Lock()
        self._key: rsa.RSAPrivateKey | None = None
        self._certificate: x509.Certificate | None = None
        # By what was issued, or by the digest of what is signed.
        self._signed: OrderedDict[Hashable, str] = OrderedDict()
        self._signed_bytes = 0

    def issued(self, issue: Issue) -> str | None:
        """The envelope of a specification that was final when it was issued; None when it is not kept."""
        known = self._signed.get(issue)
        if known is not None:
            self._signed.move_to_end(issue)
        return known

    async def envelope(self, issue: Issue, document: bytes, *, final: bool) -> str:
        """`document` as signed data in PEM, the signer's certificate included. Raises SpecificationTooLong.

        `final` says that the same issue will always have this document.
        """
        key: Hashable = issue if final else hashlib.sha256(document).digest()
        known = self._signed.get(key)
        if known is not None:
            self._signed.move_to_end(key)
            return known
        await self._ready()
        signed = await FILES.run(self._sign, document)
        if len(signed) > _MAX_ENVELOPE:
            raise SpecificationTooLong(f"{len(signed)} bytes")
        if key not in self._signed:  # the same host may have asked twice meanwhile
            self._signed[key] = signed
            self._signed_bytes += len(signed)
        while self._signed_bytes > _CACHED_BYTES:
            self._signed_bytes -= len(self._signed.popitem(last=False)[1])
        return signed

    async def certificate(self) -> str:
        """The certificate in PEM, for agents that pin it."""
        await self._ready()
        assert self._certificate is not None
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    async def _ready(self) -> None:
        if self._key is not None:
            return
        async with self._lock:
            if self._key is not None:
                return
            row = await self._app.store.read(_load)
            if row is None:
                made = await FILES.run(_make, self._app.clock.now())
                sealed = self._app.sealer.seal(made[0], SIGNER_CONTEXT)
                await self._app.store.write(_keep, made[1], sealed, self._app.clock.now())
                row = await self._app.store.read(_load)  # another server's may have been first
                assert row is not None
            # It was sealed here, so that nobody else has made it: to look once more for whether it is one takes a tenth of a second.
            key = serialization.load_der_private_key(
                self._app.sealer.open(row.sealed_key, SIGNER_CONTEXT), None, unsafe_skip_rsa_key_validation=True
            )
            assert isinstance(key, rsa.RSAPrivateKey)
            self._key, self._certificate = key, x509.load_pem_x509_certificate(row.certificate.encode())

    def _sign(self, document: bytes) -> str:
        assert self._key is not None
        assert self._certificate is not None
        from cryptography.hazmat.primitives.serialization import pkcs7  # noqa: PLC0415 - for who has hosts

        builder = pkcs7.PKCS7SignatureBuilder().set_data(document)
        builder = builder.add_signer(self._certificate, self._key, hashes.SHA256())
        options = [pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.NoCapabilities]
        return builder.sign(serialization.Encoding.PEM, options).decode("ascii")


def _load(conn: sa.Connection) -> sa.Row[tuple[object, ...]] | None:
    return conn.execute(sa.select(signers).where(signers.c.id == 1)).first()


def _keep(conn: sa.Connection, certificate: str, sealed: bytes, now: int) -> None:
    upsert(conn, signers, {"id": 1, "certificate": certificate, "sealed_key": sealed, "created": now})


def _make(now: int) -> tuple[bytes, str]:
    """A new private key (DER) and its certificate (PEM)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Penstock deployment signer")])
    begins = dt.datetime.fromtimestamp(now / 1000, tz=dt.UTC) - dt.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + dt.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .sign(key, hashes.SHA256())
    )
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return der, certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
