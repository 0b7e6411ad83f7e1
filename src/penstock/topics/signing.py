"""The signature of what is sent over HTTP, as SNS makes it, under a key of the installation and a certificate that everybody can fetch.

(AWS: SNS Developer Guide, "Verifying the signatures of Amazon SNS messages".)
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from penstock.pools import FILES
from penstock.store.upsert import upsert
from penstock.topics.records import SIGNER_CONTEXT, signers

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from penstock.application import App

PREFIX = "/v1/topics/"
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_YEARS = 10
_REMEMBERED = 256  # signatures: all subscriptions of a topic are sent the same one
_BITS = 2048


def signed_text(body: Mapping[str, Any]) -> bytes:
    """What is signed of a body: names and values, each on a line."""
    names = _SIGNED.get(body["Type"], _SIGNED[""])
    return "".join(f"{name}\n{body[name]}\n" for name in names if name in body).encode()


class Signer:
    """Signs with the key of the installation, which is made when it is first needed."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._key: RSAPrivateKey | None = None
        self._id = ""
        self._loading = asyncio.Lock()
        self._made: OrderedDict[tuple[str, bytes], str] = OrderedDict()

    async def sign(self, body: dict[str, Any], version: str) -> dict[str, str]:
        """The members that prove a body: SignatureVersion, Signature, SigningCertURL."""
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - no server needs it at its start
        from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415

        key = await self._loaded()
        text = signed_text(body)
        about = version, hashlib.sha256(text).digest()  # the text itself may be as long as a message
        known = self._made.get(about)
        if known is None:
            digest = hashes.SHA256() if version == "2" else hashes.SHA1()  # noqa: S303 - AWS's first version
            known = base64.b64encode(key.sign(text, padding.PKCS1v15(), digest)).decode()
            self._made[about] = known
            if len(self._made) > _REMEMBERED:
                self._made.popitem(last=False)
        url = f"{self._app.public_url}{PREFIX}SimpleNotificationService-{self._id}.pem"
        return {"SignatureVersion": version, "Signature": known, "SigningCertURL": url}

    async def certificate(self, id: str) -> str | None:
        """The certificate of an id, in PEM."""
        row = await self._app.store.read(_row)
        return row.certificate if row is not None and row.id == id else None

    async def _loaded(self) -> RSAPrivateKey:
        if self._key is not None:
            return self._key
        async with self._loading:  # a key takes a tenth of a second: many deliveries begin at once
            if self._key is not None:
                return self._key
            from cryptography.hazmat.primitives.serialization import load_der_private_key  # noqa: PLC0415

            row = await self._app.store.read(_row)
            if row is None:
                made = await FILES.run(_made, self._app)
                await self._app.store.write(lambda conn: upsert(conn, signers, made))  # another process may be first
                row = await self._app.store.read(_row)
            key: Any = load_der_private_key(self._app.sealer.open(row.key, SIGNER_CONTEXT), None)
            self._key, self._id = key, row.id
            return key


def _row(conn: sa.Connection) -> Any:
    return conn.execute(sa.select(signers)).first()


def _made(app: App) -> dict[str, Any]:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    key = rsa.generate_private_key(public_exponent=65_537, key_size=_BITS)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = dt.datetime.fromtimestamp(app.clock.now() / 1000, tz=dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365 * _YEARS))
        .sign(key, hashes.SHA256())
    )
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "slot": 1,
        "id": app.ids.hex(32),
        "certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
        "key": app.sealer.seal(der, SIGNER_CONTEXT),
    }
