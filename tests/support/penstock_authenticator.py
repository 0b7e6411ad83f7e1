"""An authenticator in software, and the answers that a browser would send of it: right ones, and each thing wrong with them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from webauthn.helpers import encode_cbor

PRESENT, VERIFIED, ELIGIBLE, BACKED_UP, ATTESTED, EXTENDED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80


def text_of(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def bytes_of(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8)


class Authenticator:
    """One passkey. `flags`, `origin` and the like are what it says, which tests may change."""

    def __init__(self, origin: str = "http://localhost:8470", *, algorithm: int = -7, counts: bool = True) -> None:
        self.origin = origin
        self.party = origin.partition("//")[2].partition(":")[0]
        self.algorithm = algorithm
        self.counts = counts
        self.count = 0
        self.flags = PRESENT | VERIFIED
        self.id = os.urandom(32)
        self.user = b""
        self.key: Any = {
            -7: lambda: ec.generate_private_key(ec.SECP256R1()),
            -8: ed25519.Ed25519PrivateKey.generate,
            -257: lambda: rsa.generate_private_key(65537, 2048),
        }[algorithm]()

    @property
    def cose(self) -> dict[int, Any]:
        public = self.key.public_key()
        if self.algorithm == -7:
            numbers = public.public_numbers()
            return {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}
        if self.algorithm == -8:
            return {1: 1, 3: -8, -1: 6, -2: public.public_bytes_raw()}
        numbers = public.public_numbers()
        return {1: 3, 3: -257, -1: number(numbers.n), -2: number(numbers.e)}

    def data(self, more: bytes = b"", flags: int = 0) -> bytes:
        party = hashlib.sha256(self.party.encode()).digest()
        return party + struct.pack(">BI", self.flags | flags, self.count) + more

    def attested(self, key: bytes | None = None, id_: bytes | None = None) -> bytes:
        id_, key = self.id if id_ is None else id_, encode_cbor(self.cose) if key is None else key
        return self.data(bytes(16) + struct.pack(">H", len(id_)) + id_ + key, ATTESTED)

    def client(self, kind: str, options: dict[str, Any], **more: Any) -> bytes:
        said = {"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps(said | more).encode()

    def make(self, options: str, **changed: Any) -> dict[str, Any]:
        """The answer to `navigator.credentials.create`."""
        asked = json.loads(options)
        self.user = bytes_of(asked["user"]["id"])
        stated = {"fmt": "none", "attStmt": {}, "authData": changed.pop("data", self.attested())}
        return self._answer(
            clientDataJSON=self.client("webauthn.create", asked, **changed.pop("client", {})),
            attestationObject=encode_cbor(stated | changed),
        )

    def show(self, options: str, **changed: Any) -> dict[str, Any]:
        """The answer to `navigator.credentials.get`."""
        if self.counts:
            self.count += 1
        client = self.client("webauthn.get", json.loads(options), **changed.pop("client", {}))
        data = changed.pop("data", self.data())
        signed = data + hashlib.sha256(client).digest()
        how = {-7: (ec.ECDSA(hashes.SHA256()),), -8: (), -257: (padding.PKCS1v15(), hashes.SHA256())}[self.algorithm]
        said = {"clientDataJSON": client, "authenticatorData": data, "signature": self.key.sign(signed, *how)}
        return self._answer(**(said | {"userHandle": self.user} | changed))

    def _answer(self, **response: bytes) -> dict[str, Any]:
        said = {name: text_of(value) for name, value in response.items()}
        return {"id": text_of(self.id), "rawId": text_of(self.id), "type": "public-key", "response": said}
