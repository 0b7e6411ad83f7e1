"""An OpenID Connect issuer on loopback, over https, that can be every issuer and that misbehaves when it is asked to.

    with issuer_at("token.actions.githubusercontent.com") as issuer:
        token = issuer.token(sub="repo:o/r:ref:refs/heads/main")

Names are answered by a table instead of a name server (`answering`), so that examples can be taken as they are.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import functools
import hashlib
import html
import http.server
import ipaddress
import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from penstock import egress

DISCOVERY = "/.well-known/openid-configuration"
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def private_key(algorithm: str = "RS256", number: int = 0, bits: int = 2048) -> Any:
    """A key for an algorithm, the same in each test; of another number another one."""
    return _private_key(algorithm if algorithm in CURVES else "RSA", number, bits)


@functools.cache
def _private_key(kind: str, _number: int, bits: int) -> Any:
    curve = CURVES.get(kind)
    return rsa.generate_private_key(65537, bits) if curve is None else ec.generate_private_key(curve)


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    """The public half of a key as a member of a set."""
    kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**json.loads(kind.to_jwk(key.public_key())), "kid": kid, "use": "sig", **more}


@dataclass
class Issuer:
    """A running issuer."""

    url: str  # what tokens name
    port: int
    ca_file: Path
    thumbprint: str  # SHA-1 of its authority's certificate
    keys: list[dict[str, Any]]
    asked: list[str] = field(default_factory=list)  # paths, in order
    # path below the issuer's → what answers instead of the document that belongs there
    instead: dict[str, Callable[[http.server.BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    released: threading.Event = field(default_factory=threading.Event)  # of requests that hang
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1"})  # claims of whom its sign-in page lets in
    secret: str = ""  # of the client that signs people in, where it has one
    codes: dict[str, dict[str, str]] = field(default_factory=dict)  # code → what was asked for; each is good once

    @property
    def provider(self) -> str:
        """What an ARN and condition keys name."""
        return self.url.removeprefix("https://")

    def token(
        self, *, key: Any = None, kid: str | None = "k1", alg: str = "RS256", at: int | None = None, **claims: Any
    ) -> str:
        """A token for five minutes from `at`, in seconds; a claim that is None is left out."""
        now = int(time.time()) if at is None else at
        said = {
            "iss": self.url, "aud": "sts.amazonaws.com", "sub": "somebody", "iat": now, "exp": now + 300, **claims,
        }  # fmt: skip
        said = {name: value for name, value in said.items() if value is not None}
        chosen = private_key(alg) if key is None else key
        headers = {} if kid is None else {"kid": kid}
        return jwt.encode(said, chosen, algorithm=alg, headers=headers)

    def document(self, path: str) -> Any:
        """What belongs at a path."""
        if path.endswith(DISCOVERY):
            below = self.url.removesuffix("/")
            ends = {f"{name}_endpoint": f"{below}/{name}" for name in ("authorization", "token")}
            return {"issuer": self.url, "jwks_uri": f"{below}/keys", **ends}
        return {"keys": self.keys}

    def let_in(self, address: str) -> str:
        """Where the browser goes that came to this address of the sign-in page, once somebody has signed in there."""
        asked = dict(parse_qsl(urlsplit(address).query))
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'iss': self.url})}"

    def redeem(self, fields: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """The answer for a code: status and document."""
        asked = self.codes.pop(fields.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(fields.get("code_verifier", "").encode()).digest())
        pair = base64.b64decode(authorization.removeprefix("Basic ")).decode() if authorization else ":"
        good = (
            asked is not None
            and fields["grant_type"] == "authorization_code"
            and fields["client_id"] == asked["client_id"]
            and fields["redirect_uri"] == asked["redirect_uri"]
            and challenge.decode().rstrip("=") == asked["code_challenge"]
            and pair.partition(":")[2] == self.secret
        )
        if not good or asked is None:
            return 400, {"error": "invalid_grant"}
        claims = {"aud": asked["client_id"], "nonce": asked["nonce"], **self.person}
        return 200, {"token_type": "Bearer", "access_token": "x", "id_token": self.token(**claims)}


def _authority(folder: Path, names: tuple[str, ...]) -> tuple[Path, Path, str]:
    """The authority's certificate, and a server's certificate with its key, of `names`."""
    now = dt.datetime.now(tz=dt.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    subjects = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (f"authority of {names[0]}", "issuer")
    ]
    hosts: list[x509.GeneralName] = []
    for name in names:
        try:
            hosts.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            hosts.append(x509.DNSName(name))
    made = []
    for number, subject in enumerate(subjects):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subjects[0])
            .public_key(keys[number].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=number == 0, path_length=None), critical=True)
        )
        if number == 1:
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        made.append(builder.sign(keys[0], hashes.SHA256()))
    pem = [one.public_bytes(serialization.Encoding.PEM) for one in made]
    secret = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    ca, chain = folder / "authority.pem", folder / "issuer.pem"
    ca.write_bytes(pem[0])
    chain.write_bytes(pem[1] + pem[0] + secret)
    return ca, chain, hashlib.sha1(made[0].public_bytes(serialization.Encoding.DER)).hexdigest()


class _Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave are what some tests are about."""


@contextlib.contextmanager
def issuer_at(folder: Path, host: str = "127.0.0.1", path: str = "") -> Iterator[Issuer]:
    """An issuer whose address is the host and path, on a free port of loopback. A name has no port in the address."""
    ca, chain, thumbprint = _authority(folder, tuple(dict.fromkeys((host, "127.0.0.1"))))
    issuer: Issuer

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            instead = issuer.instead.get(self.path.removeprefix(path.removesuffix("/")))
            if instead is not None:
                instead(self)
                return
            if self.path.partition("?")[0].endswith("/authorization"):
                page = f'<!doctype html><title>Issuer</title><a href="{html.escape(issuer.let_in(self.path))}">Let me in</a>'
                answer(self, page.encode(), content_type="text/html")
                return
            answer(self, json.dumps(issuer.document(self.path)).encode())

        def do_POST(self) -> None:
            issuer.asked.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, document = issuer.redeem(dict(parse_qsl(body)), self.headers.get("Authorization", ""))
            answer(self, json.dumps(document).encode(), status)

        def log_message(self, *_: Any) -> None:
            pass

    server = _Quiet(("127.0.0.1", 0), Handler)
    port = server.server_address[1]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    # The handshake is the thread's that serves the connection, so that no client keeps others waiting.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    named = f"{host}:{port}" if host == "127.0.0.1" else host
    issuer = Issuer(f"https://{named}{path}", port, ca, thumbprint, [jwk(private_key(), "k1")])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        issuer.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def answer(handler: http.server.BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    """Answer a request."""
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def answering(monkeypatch: pytest.MonkeyPatch, **hosts: Issuer) -> None:
    """Have the names of hosts lead to issuers, as a name server would; other names are resolved as ever."""
    real = egress.resolve

    def resolve(host: str, port: int) -> list[tuple[str, int]]:
        known = hosts.get(host)
        return real(host, port) if known is None else [("127.0.0.1", known.port)]

    monkeypatch.setattr(egress, "resolve", resolve)
