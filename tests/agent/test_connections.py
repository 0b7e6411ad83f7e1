"""The HTTP client below everything: TLS, kept connections, odd answers, clocks that differ."""

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from agent_harness import appspec, tgz
from command_service_stub import IN_PLACE, CommandServiceStub
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from penstock_waiting import until

from penstock_agent import agent, commands
from penstock_agent.connection import Address, Connection, Pool, Unreachable
from penstock_agent.layout import Layout
from penstock_agent.replays import Replays
from penstock_agent.service import CommandService, Refused, Signer
from penstock_agent.sigv4 import Credentials
from penstock_agent.spool import Spool


def tls_files(path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (path / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path / "ca.pem", path / "key.pem"


def secured(stub, path):
    certificate, key = tls_files(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    stub.server.socket = context.wrap_socket(stub.server.socket, server_side=True, do_handshake_on_connect=False)
    stub.scheme = "https"
    return certificate


@pytest.fixture
def service(tmp_path):
    stub = CommandServiceStub()
    stub.certificate = secured(stub, tmp_path)
    with stub:
        yield stub


def test_a_deployment_over_tls(machine, service):
    machine.configure(ca_file=service.certificate)
    machine.agent()
    service.deploy("d-1", tgz({"appspec.yml": appspec(), "app/a": "1"}))
    results = service.finish("d-1")
    assert len(results) == len(IN_PLACE)
    assert machine.installed() == {"/srv/app/a": "1"}


def test_an_authority_that_nobody_knows_is_not_trusted(machine, service):
    machine.agent()
    until(lambda: "CERTIFICATE_VERIFY_FAILED" in machine.log())
    assert service.polls == 0


class Answering:
    """A server that gives each request the next of some raw answers; None closes the connection."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.seen = []
        self.accepted = 0
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    @property
    def address(self):
        return Address(f"http://127.0.0.1:{self.listener.getsockname()[1]}")

    def run(self):
        while self.answers:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            with connection, contextlib.suppress(ConnectionResetError):  # the client left while there was more to read
                while self.answers:
                    data = b""
                    while b"\r\n\r\n" not in data:
                        more = connection.recv(65536)
                        if not more:
                            break
                        data += more
                    if not data:
                        break
                    self.seen.append(data)
                    answer = self.answers.pop(0)
                    if answer is None:
                        break
                    connection.sendall(answer)
                    if b"Connection: close" in answer or b"HTTP/1.0" in answer or answer.endswith(b"END"):
                        break


def get(connection, limit=1 << 20, timeout_s=5.0):
    response = connection.request("GET", "/", {"host": "x"}, b"", timeout_s)
    return response.status, response.read(limit)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def closing(server, *answers):
    connection = Connection(server.address)
    try:
        return [get(connection) for _ in answers], server.accepted
    finally:
        connection.close()


def test_one_connection_serves_many_requests():
    with Answering(OK, OK, OK) as server:
        assert closing(server, 1, 2, 3) == ([(200, b"ok")] * 3, 1)


def test_a_connection_that_was_closed_while_idle_is_opened_again():
    with Answering(OK, None, OK) as server:
        assert closing(server, 1, 2) == ([(200, b"ok")] * 2, 2)


@pytest.mark.parametrize("broken", [None, "reusable", "owing", "socket"])
def test_only_a_connection_that_can_serve_again_is_kept(broken):
    pool = Pool(Address("http://127.0.0.1:1"))
    connection = pool.acquire()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection.used, connection.socket = time.monotonic(), ours
        connection.reusable, connection.owing = broken != "reusable", broken == "owing"
        if broken == "socket":
            connection.socket = None
        pool.release(connection)
        assert (pool.acquire() is connection) == (broken is None)
        assert (connection.socket is ours) == (broken is None)


def test_two_idle_connections_are_kept_and_none_for_long(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("penstock_agent.connection.time.monotonic", lambda: now[0])
    pool = Pool(Address("http://127.0.0.1:1"))
    made = [pool.acquire() for _ in range(3)]
    for connection in made:
        connection.used, connection.socket, connection.reusable = now[0], SimpleNamespace(close=lambda: None), True
        pool.release(connection)
    assert [connection.socket is not None for connection in made] == [True, True, False]
    now[0] += 50.0
    assert pool.acquire() is made[1]
    now[0] += 0.1
    assert pool.acquire() not in made
    assert made[0].socket is None
    pool.release(made[1])
    pool.close()
    assert made[1].socket is None


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (OK, True),
        (OK.replace(b"Content-Length", b"Connection: close\r\nContent-Length"), False),
        (OK.replace(b"Content-Length", b"Connection: Close\r\nContent-Length"), False),
        (OK.replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (OK.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Content-Length", b"Connection: Keep-Alive\r\nContent-Length"), True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", True),
    ],
)  # fmt: skip
def test_who_ends_the_connection_of_an_answer(answer, kept):
    with Answering(answer) as server:
        connection = Connection(server.address)
        status, body = get(connection)
        assert (connection.socket is not None) is kept
        assert (status, body) == ((200, b"ok") if b"ok" in answer else (int(answer[9:12]), b""))
        connection.close()


def test_what_is_left_of_a_body_is_never_taken_for_an_answer():
    bundle = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + OK * (300_000 // len(OK) + 1)
    with Answering(bundle[: -len(OK)], OK) as server:
        pool = Pool(server.address)
        connection = pool.acquire()
        blocks = connection.request("GET", "/", {"host": "x"}, b"", 5.0).blocks()
        assert len(next(blocks)) < 300_000
        blocks.close()
        pool.release(connection)
        other = pool.acquire()
        assert get(other) == (200, b"ok")
        other.close()
        assert server.accepted == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\n\r\nok",
    ],
)
def test_bodies_of_every_kind(answer):
    with Answering(answer, OK) as server:
        assert closing(server, 1, 2)[0] == [(200, b"ok")] * 2


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"no http at all\r\n\r\n", "the answer is not HTTP/1.1"),
        (b"HTTP/1.1 abc OK\r\n\r\n", "the answer is not HTTP/1.1"),
        (b"HTTP/1.1 20\xb2 OK\r\n\r\n", "the answer is not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\nEND", "Content-Length is not a number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"1" * 5000 + b"\r\n\r\nEND", "Content-Length is not a number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nEND", "Content-Length is not a number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nEND", "the answer ended 47 bytes early"),
        (CHUNKED + b"zz\r\nEND", "a chunk's size is not a hexadecimal number"),
        (CHUNKED + b"-1\r\nEND", "a chunk's size is not a hexadecimal number"),
        (CHUNKED + b"0x1\r\naEND", "a chunk's size is not a hexadecimal number"),
        (CHUNKED + b"1" * 17 + b"\r\naEND", "a chunk's size is not a hexadecimal number"),
        (CHUNKED + b"ffff\r\nEND", "the answer ended 65532 bytes early"),
        (CHUNKED + b"1\r\naEND", "the answer ended within a chunk"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"END", "the answer's headers are longer than"),
        (b"HTTP/1.1 200 OK\r\nX: END", "the answer ends within its headers"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000,
            "the answer is longer than 1048576 bytes",
        ),
        (None, "closed the connection without an answer"),
    ],
    ids=lambda each: str(each)[:50],
)
def test_answers_that_cannot_be_used_are_reported_apart(answer, said):
    with Answering(answer) as server:
        connection = Connection(server.address)
        with pytest.raises(Unreachable, match=said):
            get(connection)
        connection.close()


def test_a_server_that_speaks_no_tls_is_named():
    def answer():
        there, _ = listener.accept()
        with there:
            there.recv(1)
            there.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        connection = Connection(Address(url), ssl.create_default_context())
        with pytest.raises(Unreachable) as refused:
            connection.open()
        thread.join(60)
    assert str(refused.value).startswith(f"cannot speak TLS with {url}: ")
    assert connection.socket is None


def test_an_aborted_wait_ends_at_once():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection(Address(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        threading.Timer(0.1, connection.abort).start()
        started = time.monotonic()
        with pytest.raises(Unreachable):
            get(connection, timeout_s=100)
        assert time.monotonic() - started < 60
        with pytest.raises(Unreachable, match="the agent is stopping"):
            get(connection)
        connection.close()


def refused(date=""):
    body = b'{"__type":"com.amazon#InvalidSignatureException:http://x","message":"Signature expired"}'
    return b"HTTP/1.1 403 X\r\nDate: %s\r\nContent-Length: %d\r\n\r\n%s" % (date.encode(), len(body), body)


def test_a_clock_that_differs_is_made_up_for():
    away = time.time() + 7200
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(away))
    with Answering(refused(date), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as server:
        signer = Signer(lambda: Credentials("A", "B"), "us-east-1")
        pool = Pool(server.address)
        service = CommandService(pool, signer, "host")
        assert service.call("PollHostCommand", {}) == {}
        assert abs(signer.offset_s - 7200) < 5
        pool.acquire().close()


@pytest.mark.parametrize(
    ("answer", "code", "passing"),
    [
        (refused(), "InvalidSignatureException", True),
        (b"HTTP/1.1 400 X\r\nContent-Length: 27\r\n\r\n" + b'{"__type":"ClientException"', "HTTP400", False),
        (b'HTTP/1.1 400 X\r\nContent-Length: 28\r\n\r\n{"__type":"ClientException"}', "ClientException", False),
        (b'HTTP/1.1 400 X\r\nContent-Length: 32\r\n\r\n{"__type":"ThrottlingException"}', "ThrottlingException", True),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", "HTTP502", True),
        (b"HTTP/1.1 501 Not\r\nContent-Length: 0\r\n\r\n", "HTTP501", False),
    ],
)
def test_refusals_are_reported_apart(answer, code, passing):
    with Answering(answer) as server:
        pool = Pool(server.address)
        service = CommandService(pool, Signer(lambda: Credentials("A", "B"), "us-east-1"), "host")
        with pytest.raises(Refused) as caught:
            service.call("PutHostCommandComplete", {})
        assert (caught.value.code, caught.value.passing) == (code, passing)
        pool.acquire().close()


def test_a_specification_that_is_denied_for_good_fails_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "DENIALS_S", 0.0)
    Layout(str(tmp_path)).prepare()
    reported = []

    class Service:
        def specification(self, _):
            raise Refused("AccessDeniedException", "The host is not part of this deployment.", 400)

        def call(self, operation, body):
            reported.append((operation, body["CommandStatus"], body["Diagnostics"]["Payload"]))
            return {}

    replays = Replays(str(tmp_path), "host", required=False)
    runner = commands.Commands(Service(), None, Spool(str(tmp_path)), (), threading.Event(), replays)
    runner.run({"HostCommandIdentifier": "x", "DeploymentExecutionId": "a/b/c/d", "CommandName": "Install"})
    assert [each[:2] for each in reported] == [("PutHostCommandComplete", "Failed")]
    assert "The deployment specification was refused: AccessDeniedException" in reported[0][2]


@pytest.mark.parametrize(("took", "waits"), [(0.0, [0.1, 0.2, 0.4, 0.8]), (60.0, [0.1, 0.1, 0.1, 0.1])])
def test_a_poll_that_was_held_and_cut_is_no_reason_to_wait_longer(monkeypatch, took, waits):
    now, waited = [0.0], []
    monkeypatch.setattr(commands.os, "urandom", lambda count: b"\x80\0"[:count])  # no jitter
    monkeypatch.setattr(agent.time, "monotonic", lambda: now[0])

    def poll(_running):
        now[0] += took
        raise Unreachable("closed the connection without an answer")

    stop = SimpleNamespace(is_set=lambda: len(waited) == 4, wait=waited.append)
    config = SimpleNamespace(max_commands=1)
    agent.Agent._poll(
        SimpleNamespace(
            _stop=stop, _lock=threading.Condition(), _running={}, _config=config,
            _service=SimpleNamespace(poll=poll), _note=lambda **_: None,
        )
    )  # fmt: skip
    assert waited == waits
