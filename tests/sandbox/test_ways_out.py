"""The ways out of a sandbox, spoken to over pairs of sockets: what each answers, and what passes through it."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.sandbox import relay

ENDPOINTS: Any = SimpleNamespace(
    private=(), token="token", subject="build", target=("127.0.0.1", 1), credentials_file="/nowhere/credentials.json"
)
PUBLIC = "93.184.216.34"


def exchange(handler: Any, sent: bytes, endpoints: Any = ENDPOINTS) -> bytes:
    """What a handler answers to a client that says this and then waits."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(sent)
        ours.shutdown(socket.SHUT_WR)
        relay._guarded(handler, theirs, endpoints)
        answer = b""
        while piece := ours.recv(65536):
            answer += piece
        return answer


def answered(status: str, body: bytes, kind: str = "text/plain") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


# --- heads ------------------------------------------------------------------------------------------------------------


class Said:
    """A client that says these pieces, and how long it was given to."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = [*pieces, b""]
        self.timeouts: list[float | None] = []

    def settimeout(self, seconds: float | None) -> None:
        self.timeouts.append(seconds)

    def recv(self, _size: int) -> bytes:
        return self.pieces.pop(0)


def test_a_head_comes_in_pieces_and_has_a_minute():
    client: Any = Said(b"GET / HTTP/1.1\r\nA: b\r", b"\n\r", b"\nrest\r\n\r\n")
    assert relay._head(client) == (b"GET / HTTP/1.1\r\nA: b", b"rest\r\n\r\n")
    assert client.timeouts == [60, None]


@pytest.mark.parametrize(
    ("pieces", "read"),
    [
        ([b"x" * 65_536, b"\r\n\r\n"], True),
        ([b"x" * 65_537, b"\r\n\r\n"], False),
        ([b"x"], False),
        ([], False),
    ],
)
def test_a_head_has_64_kb_before_its_last_piece(pieces, read):
    client: Any = Said(*pieces)
    if read:
        assert relay._head(client) == (pieces[0], b"")
        return
    with pytest.raises(ValueError, match="^no request$"):
        relay._head(client)


# --- credentials ------------------------------------------------------------------------------------------------------

WRONG = answered("401 Unauthorized", b"the Authorization token of this build is missing or wrong\n")


@pytest.mark.parametrize(
    "fields", [b"", b"Authorization: tokens\r\n", b"X-Authorization: token\r\n", b"Authorization: tok\xe9n\r\n"]
)
def test_credentials_are_for_who_knows_the_token(fields):
    assert exchange(relay._credentials, b"GET / HTTP/1.1\r\n" + fields + b"\r\n") == WRONG


def test_the_session_that_is_there_now_is_given_out(tmp_path: Path):
    kept = tmp_path / "credentials.json"
    endpoints = SimpleNamespace(**vars(ENDPOINTS) | {"credentials_file": str(kept)})
    request = b"GET / HTTP/1.1\r\nHost: x\r\nAUTHORIZATION :  token \r\n\r\n"
    assert exchange(relay._credentials, request, endpoints) == answered(
        "404 Not Found", b"this build has no role session\n"
    )
    for content in (b'{"a": 1}', b'{"b": 2}'):
        kept.write_bytes(content)
        assert exchange(relay._credentials, request, endpoints) == answered("200 OK", content, "application/json")
    assert relay.credentials_file("/x") == "/x/credentials.json"


# --- the proxy --------------------------------------------------------------------------------------------------------


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the proxy dialled, and what came there; there it is answered `reply`, and at once."""
    found = SimpleNamespace(dialled=[], server=None)

    def dial(host: str, port: int, _endpoints: Any) -> socket.socket:
        found.dialled.append((host, port))
        found.server, theirs = socket.socketpair()
        found.server.sendall(b"reply")
        found.server.shutdown(socket.SHUT_WR)
        return theirs

    monkeypatch.setattr(relay, "_dial", dial)
    yield found
    if found.server is not None:
        found.server.close()


@pytest.mark.parametrize(
    ("request_line", "dialled", "line"),
    [
        (b"GET http://host HTTP/1.1", ("host", 80), b"GET / HTTP/1.1"),
        (b"GET HTTP://host:8080/a?b=/c HTTP/1.0", ("host", 8080), b"GET /a?b=/c HTTP/1.0"),
        (b"POST http://user:pass@host/ HTTP/1.1", ("host", 80), b"POST / HTTP/1.1"),
        (b"GET http://[::1]:81/ HTTP/1.1", ("::1", 81), b"GET / HTTP/1.1"),
        (b"GET http://[2606::1]/ HTTP/1.1", ("2606::1", 80), b"GET / HTTP/1.1"),
    ],
)
def test_a_plain_request_is_handed_on_without_what_is_the_proxys(reached, request_line, dialled, line):
    fields = b"Host: h\r\nProxy-Authorization: x\r\nconnection : x\r\nKeep-Alive: 1\r\nProxy-Connection: y\r\nB: c\r\n"
    assert exchange(relay._egress, request_line + b"\r\n" + fields + b"\r\nbody") == b"reply"
    assert reached.dialled == [dialled]
    assert reached.server.recv(4096) == line + b"\r\nHost: h\r\nB: c\r\nConnection: close\r\n\r\nbody"


@pytest.mark.parametrize(
    ("target", "dialled"), [(b"host", ("host", 443)), (b"host:444", ("host", 444)), (b"[::1]", ("::1", 443))]
)
def test_a_tunnel_begins_with_what_came_behind_its_head(reached, target, dialled):
    sent = b"CONNECT " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n\x16hello"
    assert exchange(relay._egress, sent) == b"HTTP/1.1 200 Connection established\r\n\r\nreply"
    assert reached.dialled == [dialled]
    assert reached.server.recv(4096) == b"\x16hello"


@pytest.mark.parametrize("target", [b"/path", b"https://host/", b"ftp://host/"])
def test_what_is_no_request_to_a_proxy(reached, target):
    said = b"this is a proxy: ask it for http:// addresses or CONNECT\n"
    assert exchange(relay._egress, b"GET " + target + b" HTTP/1.1\r\n\r\n") == answered("400 Bad Request", said)
    assert reached.dialled == []


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (PermissionError("a build may not reach it"), answered("403 Forbidden", b"a build may not reach it\n")),
        (OSError(111, "Connection refused"), answered("502 Bad Gateway", b"host:443: Connection refused\n")),
        (OSError("odd"), answered("502 Bad Gateway", b"host:443: odd\n")),
    ],
)
def test_why_a_host_is_not_reached(monkeypatch, error, answer):
    def dial(*_: object) -> None:
        raise error

    monkeypatch.setattr(relay, "_dial", dial)
    assert exchange(relay._egress, b"CONNECT host HTTP/1.1\r\n\r\n") == answer


@pytest.mark.parametrize(
    "sent", [b"CONNECT host:http HTTP/1.1\r\n\r\n", b"GET\r\n\r\n", b"CONNECT h\xe9 HTTP/1.1\r\n\r\n"]
)
def test_what_cannot_be_read_ends_its_connection_only(reached, sent):
    assert exchange(relay._egress, sent) == b""
    assert reached.dialled == []


# --- who is dialled ---------------------------------------------------------------------------------------------------


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[str, int]]]:
    """Addresses by name; those that are no loopback are refused as what they are."""
    known: dict[str, list[tuple[str, int]]] = {}

    def resolve(host: str, _port: int, *, type: int) -> list[Any]:  # noqa: A002
        return [(socket.AF_INET, type, 0, "", address) for address in known.get(host, [])]

    monkeypatch.setattr(relay.socket, "getaddrinfo", resolve)
    return known


def test_the_first_address_that_may_be_reached_and_answers_is_taken(names, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as open_one, socket.create_server(("127.0.0.1", 0)) as closed:
        there, gone = open_one.getsockname(), closed.getsockname()
        closed.close()
        names["host"] = [("10.0.0.1", 80), gone, there]
        monkeypatch.setattr(relay, "refusal", lambda ip, private: "it is private" if ip == "10.0.0.1" else "")
        with relay._dial("host", 80, ENDPOINTS) as server:
            assert server.getpeername() == there
            assert server.gettimeout() is None
        names["host"] = [("10.0.0.1", 80), gone]
        with pytest.raises(ConnectionRefusedError):
            relay._dial("host", 80, ENDPOINTS)
        names["host"] = [("10.0.0.1", 80)]
        with pytest.raises(PermissionError, match="^a build may not reach host: it is private$"):
            relay._dial("host", 80, ENDPOINTS)
        with pytest.raises(PermissionError, match="^a build may not reach nothing: it has no address$"):
            relay._dial("nothing", 80, ENDPOINTS)


def test_a_host_that_says_nothing_has_twenty_seconds(names, monkeypatch):
    timeouts: list[float | None] = []

    class Silent:
        closed = False

        def __init__(self, *_: object) -> None:
            pass

        def settimeout(self, seconds: float | None) -> None:
            timeouts.append(seconds)

        def connect(self, _address: object) -> None:
            raise TimeoutError("timed out")

        def close(self) -> None:
            Silent.closed = True

    names["host"] = [(PUBLIC, 80)]
    monkeypatch.setattr(relay, "refusal", lambda *_: "")
    monkeypatch.setattr(relay.socket, "socket", Silent)
    with pytest.raises(TimeoutError):
        relay._dial("host", 80, ENDPOINTS)
    assert timeouts == [20]
    assert Silent.closed


@pytest.mark.parametrize(
    ("address", "private", "reason"),
    [
        ("127.0.0.1", (), "127.0.0.1"),
        (PUBLIC, (), ""),
        ("10.1.2.3", ("10.0.0.0/8",), ""),
        ("10.1.2.3", ("10.9.0.0/16", "10.1.2.3/8"), ""),
        ("10.1.2.3", (), "10.1.2.3"),
        ("fe80::1%eth0", (), "fe80::1"),
    ],
)
def test_what_a_refusal_names(address, private, reason):
    said = relay.refusal(address, private)
    assert said.startswith(reason)
    assert bool(said) is bool(reason)


def test_this_host_is_refused_by_every_address_that_it_has(monkeypatch):
    monkeypatch.setattr(relay, "_is_own", lambda ip: ip == PUBLIC)
    assert relay.refusal(PUBLIC, ()) == f"{PUBLIC} is this host itself"
    assert relay.refusal(f"::ffff:{PUBLIC}", ("0.0.0.0/0",)) == f"{PUBLIC} is this host itself"
    monkeypatch.undo()
    assert relay._is_own("127.0.0.1")
    assert not relay._is_own(PUBLIC)
    assert not relay._is_own("2606:4700::1111")


# --- bytes ------------------------------------------------------------------------------------------------------------


def test_bytes_pass_both_ways_until_both_sides_have_ended():
    (one, ours), (other, theirs) = socket.socketpair(), socket.socketpair()
    with one, other, ours, theirs:
        for end in (ours, theirs):
            end.settimeout(60)
        passing = threading.Thread(target=relay.splice, args=(ours, other), daemon=True)
        passing.start()
        one.sendall(b"question")
        one.shutdown(socket.SHUT_WR)
        theirs.settimeout(60)
        assert theirs.recv(100) == b"question"
        assert theirs.recv(100) == b""
        theirs.sendall(b"answer")
        one.settimeout(60)
        assert one.recv(100) == b"answer"
        assert passing.is_alive()
        theirs.close()
        assert one.recv(100) == b""
        passing.join(60)
        assert not passing.is_alive()


def test_calls_to_the_server_are_handed_on_as_they_are(monkeypatch):
    server, theirs = socket.socketpair()
    dialled = []

    def connected(target: tuple[str, int]) -> socket.socket:
        dialled.append(target)
        theirs.settimeout(20)
        return theirs

    monkeypatch.setattr(relay, "_connected", connected)
    with server:
        server.sendall(b"from the server")
        server.shutdown(socket.SHUT_WR)
        assert exchange(relay._endpoint, b"GET / HTTP/1.1\r\n\r\n") == b"from the server"
        assert dialled == [("127.0.0.1", 1)]
        assert server.recv(100) == b"GET / HTTP/1.1\r\n\r\n"
    assert theirs.fileno() == -1


def test_a_server_is_tried_at_all_its_addresses(monkeypatch):
    tried = []

    def connect(address: tuple[str, int], seconds: float, *, source_address: object) -> str:
        tried.append((address, seconds, source_address))
        if address[0] != "127.0.0.2":
            raise ConnectionRefusedError(address[0])
        return "connected"

    found = [
        (socket.AF_INET6, 1, 6, "", ("::1", 5, 0, 0)),
        (socket.AF_INET, 1, 6, "", ("10.0.0.1", 5)),
        (socket.AF_INET, 1, 6, "", ("127.0.0.2", 5)),
    ]
    monkeypatch.setattr(relay.socket, "getaddrinfo", lambda *_, type: found)  # noqa: A006
    monkeypatch.setattr(relay.socket, "create_connection", connect)
    assert relay._connected(("host", 5)) == "connected"
    assert tried == [
        (("::1", 5), 20, None),
        (("10.0.0.1", 5), 20, None),
        (("127.0.0.2", 5), 20, ("127.77.0.1", 0)),
    ]
    del found[2]
    with pytest.raises(ConnectionRefusedError, match="^10.0.0.1$"):
        relay._connected(("host", 5))
    found.clear()
    with pytest.raises(OSError, match="^the server's address has no address$"):
        relay._connected(("host", 5))


class Over(BaseException):
    """Ends what has no end."""


def test_too_many_connections_cost_no_listener(monkeypatch):
    """One that cannot be taken is waited for; each that comes is served by a thread of its own."""
    served, pauses = [], []
    taken = iter([OSError(24, "Too many open files"), ("client", None), Over()])

    def accept() -> Any:
        step = next(taken)
        if isinstance(step, BaseException):
            raise step
        return step

    class Thread:
        def __init__(self, *, target: Any, args: tuple[Any, ...], daemon: bool) -> None:
            assert daemon
            self.started = (target, args)

        def start(self) -> None:
            served.append(self.started)

    monkeypatch.setattr(relay, "time", SimpleNamespace(sleep=pauses.append))
    monkeypatch.setattr(relay.threading, "Thread", Thread)
    with pytest.raises(Over):
        relay._accept(SimpleNamespace(accept=accept), relay._endpoint, ENDPOINTS)  # type: ignore[arg-type]
    assert pauses == [0.05]
    assert served == [(relay._guarded, (relay._endpoint, "client", ENDPOINTS))]


def test_listeners_are_served_by_their_names_until_the_channel_ends(monkeypatch):
    started: list[Any] = []

    class Thread:
        def __init__(self, *, target: Any, args: tuple[Any, ...], daemon: bool) -> None:
            started.append((target, args[1], args[2], daemon))
            args[0].close()

        def start(self) -> None:
            pass

    monkeypatch.setattr(relay.threading, "Thread", Thread)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listener:
        for name in (b"endpoint", b"credentials", b"egress"):
            socket.send_fds(ours, [name], [listener.fileno()])
        ours.shutdown(socket.SHUT_WR)
        relay.serve(theirs, ENDPOINTS)
    handlers = (relay._endpoint, relay._credentials, relay._egress)
    assert started == [(relay._accept, handler, ENDPOINTS, True) for handler in handlers]
