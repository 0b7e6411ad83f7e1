"""The installation's own authority."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import stat
import threading

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from penstock.store.sealing import Sealer
from penstock.wire.tls import KEY_LABEL, TlsError, own_authority, server_context

NOW = dt.datetime.now(tz=dt.UTC)
OLD, NEW = (b"oldk", b"o" * 32), (b"newk", b"n" * 32)
SEALER = Sealer([OLD])


def handshake(ca, cert, key, name):
    server, client = socket.socketpair()
    context = ssl.create_default_context(cafile=str(ca))

    def serve():
        with server_context(cert, key, SEALER.derive(KEY_LABEL)).wrap_socket(server, server_side=True) as secured:
            secured.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with context.wrap_socket(client, server_hostname=name) as secured:
            secured.send(b"x")
            return secured.version()
    finally:
        client.close()
        thread.join()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "bucket.s3.localhost"])
def test_clients_that_trust_the_authority_accept_the_server(tmp_path, name):
    ca, cert, key = own_authority(tmp_path, ("localhost", "127.0.0.1", "*.s3.localhost"), SEALER, now=NOW)
    assert handshake(ca, cert, key, name) == "TLSv1.3"


def test_keys_are_private_and_kept_over_starts(tmp_path):
    names = ("localhost",)
    first = [path.read_bytes() for path in own_authority(tmp_path, names, SEALER, now=NOW)]
    assert [path.read_bytes() for path in own_authority(tmp_path, names, SEALER, now=NOW)] == first
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ca.key", "server.key")} == {0o600}


def test_the_folder_gives_nothing_without_the_master_key(tmp_path):
    own_authority(tmp_path, ("localhost",), SEALER, now=NOW)
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        assert b"PRIVATE KEY-----" not in content or b"BEGIN ENCRYPTED PRIVATE KEY" in content, path
        with pytest.raises((ValueError, TypeError)):
            load_pem_private_key(content, password=None)


def test_after_a_rotation_the_authority_stays_and_the_servers_key_is_new(tmp_path):
    ca, _, key = own_authority(tmp_path, ("localhost",), SEALER, now=NOW)
    authority, first = ca.read_bytes(), key.read_bytes()
    rotated = Sealer([OLD, NEW])
    ca, cert, key = own_authority(tmp_path, ("localhost",), rotated, now=NOW)
    assert ca.read_bytes() == authority
    assert key.read_bytes() != first
    server_context(cert, key, rotated.derive(KEY_LABEL))


def test_a_new_name_or_a_late_day_gives_a_new_certificate_of_the_same_authority(tmp_path):
    ca, cert, _ = own_authority(tmp_path, ("localhost",), SEALER, now=NOW)
    authority, first = ca.read_bytes(), cert.read_bytes()
    own_authority(tmp_path, ("localhost", "penstock.example"), SEALER, now=NOW)
    second = cert.read_bytes()
    own_authority(tmp_path, ("localhost", "penstock.example"), SEALER, now=NOW + dt.timedelta(days=380))
    assert len({first, second, cert.read_bytes()}) == 3
    assert ca.read_bytes() == authority


def test_a_certificate_that_cannot_be_used_is_said_with_a_reason(tmp_path):
    (tmp_path / "cert.pem").write_text("nothing")
    (tmp_path / "key.pem").write_text("nothing")
    with pytest.raises(TlsError, match="cannot use the certificate"):
        server_context(tmp_path / "cert.pem", tmp_path / "key.pem")
