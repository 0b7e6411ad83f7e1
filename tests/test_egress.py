"""The way out: what is sent, what is taken of an answer, and what is never asked. Its certificates are tried in identity/test_issuers."""

import asyncio
import contextlib
import socket

import pytest

from penstock.egress import Answer, Egress, EgressSettings, Late, Occupied, Request, Unreachable, Unusable, resolve
from penstock.pools import NAMES
from penstock.wire.errors import Throttled

LOOPBACK = Egress(EgressSettings(egress_networks=("127.0.0.0/8",)))


@contextlib.asynccontextmanager
async def answering(answer: bytes, *, endless: bytes = b""):
    """A server that notes what it is sent and sends the same to all. Yields its address and the list."""
    heard = []

    async def answer_one(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")), 0)
        heard.append(head + await reader.readexactly(length))
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            while endless:
                writer.write(endless)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer_one, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard


OK = b"HTTP/1.1 200 OK\r\nX-Kind: first\r\nx-kind: last\r\nContent-Length: 5\r\n\r\nhello"


async def test_a_request_is_sent_as_it_was_given():
    async with answering(OK) as (url, heard):
        request = Request(
            f"{url}/a/b?c=%20", "POST", (("User-Agent", "mine"), ("X-More", "ä 1")), b"\0content", plain=True
        )
        assert await LOOPBACK.send(request) == Answer(200, {"x-kind": "last", "content-length": "5"}, b"hello")
    host = url.removeprefix("http://")
    assert heard == [
        (
            f"POST /a/b?c=%20 HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n"
            "Content-Length: 8\r\nUser-Agent: mine\r\nX-More: ä 1\r\n\r\n\0content"
        ).encode()
    ]


async def test_a_get_has_no_length_and_the_root_by_itself():
    async with answering(OK) as (url, heard):
        await LOOPBACK.send(Request(url, plain=True))
    assert heard[0].startswith(b"GET / HTTP/1.1\r\n")
    assert b"Content-Length" not in heard[0]


@pytest.mark.parametrize("status", [301, 404, 500])
async def test_another_answer_is_an_answer_and_no_redirect_is_followed(status):
    async with answering(f"HTTP/1.1 {status} X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".encode()) as (
        url,
        heard,
    ):
        answer = await LOOPBACK.send(Request(url, plain=True))
    assert (answer.status, answer.headers["location"], len(heard)) == (status, "/elsewhere", 1)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/", "http://user@127.0.0.1/", "http://127.0.0.1:0/", "http://127.0.0.1:65536/", "http://127.0.0.1/a b",
        "http://127.0.0.1/a\r\nX: 1", "http://127.0.0.1/#here", "http:///", "http://127.0.0.1\\@example.com/", "//127.0.0.1/", "",
    ],
)  # fmt: skip
async def test_what_is_no_address(url):
    with pytest.raises(Unusable):
        await LOOPBACK.send(Request(url, plain=True))


async def test_http_only_where_it_will_do():
    with pytest.raises(Unusable, match="is no address of https$"):
        await LOOPBACK.send(Request("http://127.0.0.1:1/"))


@pytest.mark.parametrize("header", [("X", "1\r\nY: 2"), ("X\nY", "1"), ("X", "\0"), ("X", "1\x7f"), ("X", "\ud800")])
async def test_no_header_becomes_two(header):
    async with answering(OK) as (url, heard):
        with pytest.raises(Unusable, match="not one line of text"):
            await LOOPBACK.send(Request(url, headers=(header,), plain=True))
    assert heard == []


async def test_loopback_is_asked_where_the_operator_says_so_only():
    async with answering(OK) as (url, heard):
        with pytest.raises(Unreachable, match="has no address that may be asked"):
            await Egress(EgressSettings()).send(Request(url, plain=True))
    assert heard == []


async def test_an_answer_without_end_is_refused_or_cut():
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    async with answering(head, endless=b"x" * 10_000) as (url, _):
        with pytest.raises(Unusable, match="answers with more than 50000 bytes"):
            await LOOPBACK.send(Request(url, plain=True), most=50_000)
        answer = await LOOPBACK.send(Request(url, plain=True), most=50_000, cut=True)
    assert answer.status == 200
    assert 0 < len(answer.body) <= 50_000
    assert set(answer.body) == {ord("x")}


async def test_a_head_without_end_is_refused_in_any_case():
    async with answering(b"HTTP/1.1 200 OK\r\n", endless=b"X-More: 1\r\n" * 1000) as (url, _):
        with pytest.raises(Unusable):
            await LOOPBACK.send(Request(url, plain=True), most=50_000, cut=True)


_UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
_ANNOUNCED = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX", _UPGRADED, _ANNOUNCED]
)
async def test_what_is_no_answer(answer):
    async with answering(answer) as (url, _):
        with pytest.raises(Unusable):
            await LOOPBACK.send(Request(url, plain=True))


async def test_what_only_announces_an_answer_is_none():
    async with answering(b"HTTP/1.1 100 Continue\r\n\r\n" + _ANNOUNCED + OK) as (url, _):
        answer = await LOOPBACK.send(Request(url, plain=True))
    assert answer == Answer(200, {"x-kind": "last", "content-length": "5"}, b"hello")


async def test_nobody_listens():
    with pytest.raises(Unreachable, match=r"^127\.0\.0\.1 at 127\.0\.0\.1: Connection refused$"):
        await LOOPBACK.send(Request("http://127.0.0.1:1/", plain=True))


def test_a_name_that_nobody_can_have():
    with pytest.raises(Unreachable, match="^a{64} cannot be resolved: it is no name of a host$"):
        resolve("a" * 64, 80)


def test_why_a_name_has_no_address_is_said_in_words(monkeypatch):
    error: OSError

    def fail(*_args, **_more):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    for error, why in (
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "there is no such name, or it has no address",
        ),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "the name server does not answer"),
        (socket.gaierror(socket.EAI_FAMILY, "Address family not supported"), "Address family not supported"),
    ):
        with pytest.raises(Unreachable, match=f"^shop cannot be resolved: {why}$"):
            resolve("shop", 80)


async def test_an_answer_that_is_not_complete_in_time_is_late():
    slow = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
    quiet = asyncio.Event()

    async def begin(_, writer):
        writer.write(slow)
        await quiet.wait()
        writer.close()

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    async with server:
        request = Request(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", plain=True)
        for seconds, said in ((1, "1 second"), (0.25, "0.25 seconds")):
            with pytest.raises(Late, match=f"^127.0.0.1 has not answered within {said}$"):
                await LOOPBACK.send(request, seconds=seconds)
        quiet.set()


async def test_too_many_names_at_once_are_said_as_too_many_requests(monkeypatch):
    async def full(*_):
        raise Throttled

    monkeypatch.setattr(NAMES, "run", full)
    with pytest.raises(Occupied):
        await LOOPBACK.send(Request("http://127.0.0.1:9", plain=True))
