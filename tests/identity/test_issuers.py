"""Issuers that are asked for their keys: what is bounded, what is kept, and who is not asked."""

import asyncio
import contextlib
import json
import socket
import ssl
import threading
import time
import types

import pytest
from penstock_issuer import DISCOVERY, answer, answering, issuer_at, jwk, private_key

from penstock import egress
from penstock.component import options_of
from penstock.egress import Egress, EgressSettings, may_be_asked
from penstock.identity import issuers
from penstock.identity.errors import IDPCommunicationErrorException, InvalidIdentityTokenException
from penstock.identity.issuers import CERTIFICATE, FAILED_MS, FRESH_MS, STALE_MS, UNKNOWN_MS, Issuers
from penstock.identity.web_tokens import NO_KEY, read
from penstock.wire.errors import ServiceError

LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with issuer_at(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


@pytest.fixture
def issuer(running):
    running.asked.clear()
    running.instead.clear()
    running.keys[:] = [jwk(private_key(), "k1")]
    return running


@pytest.fixture(autouse=True)
def _patient(monkeypatch, request):
    """A busy machine is no issuer that hangs."""
    if "five_seconds" not in request.node.name:
        monkeypatch.setattr(issuers, "TIMEOUT_S", 60)


def asking(issuer, clock, tmp_path, *, networks=LOOPBACK, trusting=True):
    chosen = EgressSettings(egress_networks=networks, egress_ca_file=str(issuer.ca_file) if trusting else "")
    return Issuers(types.SimpleNamespace(egress=Egress(chosen), clock=clock))


async def key_of(asked, issuer, kid="k1", thumbprints=()):
    return await asked.key(read(issuer.token(kid=kid)), thumbprints)


async def refused(asked, issuer, kid="k1", thumbprints=()):
    with pytest.raises(ServiceError) as caught:
        await key_of(asked, issuer, kid, thumbprints)
    return type(caught.value), caught.value.message


async def test_keys_are_asked_for_once_and_kept_for_an_hour(issuer, clock, tmp_path):
    asked = asking(issuer, clock, tmp_path)
    found = await asyncio.gather(*(key_of(asked, issuer) for _ in range(20)))
    assert {key.public_numbers() for key in found} == {private_key().public_key().public_numbers()}
    assert issuer.asked == [DISCOVERY, "/keys"]
    clock.advance(FRESH_MS - 1)
    await key_of(asked, issuer)
    assert len(issuer.asked) == 2
    clock.advance(1)
    await key_of(asked, issuer)
    assert len(issuer.asked) == 4


async def test_a_new_key_is_found_and_forged_names_of_keys_ask_once_a_minute(issuer, clock, tmp_path):
    asked = asking(issuer, clock, tmp_path)
    await key_of(asked, issuer)
    issuer.keys[:] = [jwk(private_key(number=1), "k2")]
    for flood in range(3):
        refusals = await asyncio.gather(*(refused(asked, issuer, f"forged-{flood}-{n}") for n in range(30)))
        assert set(refusals) == {(InvalidIdentityTokenException, NO_KEY)}
        await key_of(asked, issuer)
    assert len(issuer.asked) == 2
    clock.advance(UNKNOWN_MS)
    await asyncio.gather(*(refused(asked, issuer, f"forged-{n}") for n in range(30)))
    assert len(issuer.asked) == 4
    assert (await key_of(asked, issuer, "k2")).public_numbers() == private_key(number=1).public_key().public_numbers()
    assert await refused(asked, issuer) == (InvalidIdentityTokenException, NO_KEY)  # it was taken away
    assert len(issuer.asked) == 4


async def test_an_issuer_that_fails_is_asked_again_later_and_its_keys_hold_for_a_day(issuer, clock, tmp_path):
    asked = asking(issuer, clock, tmp_path)
    issuer.instead["/keys"] = lambda request: answer(request, b"", 500)
    for _ in range(3):
        assert await refused(asked, issuer) == (InvalidIdentityTokenException, NO_KEY)
    assert len(issuer.asked) == 2
    issuer.instead.clear()
    clock.advance(FAILED_MS)
    await key_of(asked, issuer)
    issuer.instead["/keys"] = lambda request: answer(request, b"", 500)
    clock.advance(STALE_MS - 1)
    await key_of(asked, issuer)
    assert len(issuer.asked) == 6
    clock.advance(1)
    assert await refused(asked, issuer) == (InvalidIdentityTokenException, NO_KEY)


def answering_with(body, status=200, **headers):
    return lambda request: answer(request, body, status, **headers)


def moved(request):
    answer(request, b"", 302, Location="/elsewhere")


def endless(request):
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b" " * 65536)


def many_headers(request):
    request.send_response(200)
    while True:
        request.send_header("x-more", "x" * 1000)
        request.flush_headers()


GOOD = json.dumps({"keys": [jwk(private_key(), "k1")]}).encode()


@pytest.mark.parametrize(
    ("path", "instead"),
    [
        (DISCOVERY, answering_with(b"not json")), (DISCOVERY, answering_with(b"[]")), (DISCOVERY, answering_with(b"{}")),
        (DISCOVERY, answering_with(b"", 404)), (DISCOVERY, moved), (DISCOVERY, endless),
        ("/keys", answering_with(b'{"keys": []}')), ("/keys", moved), ("/keys", endless), ("/keys", many_headers),
        ("/keys", answering_with(json.dumps({"keys": [jwk(private_key(), "k1")] * 10_000}).encode()[: (1 << 20) - 500])),
        ("/keys", answering_with(json.dumps({"keys": [{"kty": "RSA"}] * 10_000}).encode())),
        ("/keys", answering_with(GOOD + b" " * (1 << 20))), ("/keys", answering_with(GOOD, Content_Encoding="gzip")),
        ("/keys", answering_with(GOOD, 201)), ("/keys", answering_with(b"[" * 100_000)),
    ],
)  # fmt: skip
async def test_an_answer_that_is_not_right(issuer, clock, tmp_path, path, instead):
    issuer.instead[path] = instead
    assert await refused(asking(issuer, clock, tmp_path), issuer) == (InvalidIdentityTokenException, NO_KEY)


class Times:
    """The time-outs of questions to issuers, which are over when a test says so."""

    def __init__(self):
        self.seconds = []
        self._last = None

    def timeout(self, seconds):
        self.seconds.append(seconds)
        self._last = asyncio.timeout(None)
        return self._last

    async def end_when(self, found_now):
        deadline = time.monotonic() + 60
        while not found_now():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)
        self._last.reschedule(0)


@pytest.fixture
def times(monkeypatch):
    made = Times()
    monkeypatch.setattr(issuers, "asyncio", types.SimpleNamespace(timeout=made.timeout, Lock=asyncio.Lock))
    return made


@pytest.mark.parametrize("path", [DISCOVERY, "/keys"])
@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
async def test_an_issuer_that_hangs(issuer, clock, tmp_path, times, path, beginning):
    hanging = threading.Event()

    def hang(request):
        request.wfile.write(beginning)
        hanging.set()
        issuer.released.wait(60)

    issuer.instead[path] = hang
    refusal, _ = await asyncio.gather(refused(asking(issuer, clock, tmp_path), issuer), times.end_when(hanging.is_set))
    assert refusal[0] is IDPCommunicationErrorException
    assert times.seconds == [issuers.TIMEOUT_S]  # one for discovery and keys together


async def test_a_name_server_that_hangs(issuer, clock, tmp_path, monkeypatch, times):
    hanging, released = threading.Event(), threading.Event()

    def resolve(*_):
        hanging.set()
        released.wait(60)
        return []

    monkeypatch.setattr(egress, "resolve", resolve)
    try:
        refusal, _ = await asyncio.gather(
            refused(asking(issuer, clock, tmp_path), issuer), times.end_when(hanging.is_set)
        )
    finally:
        released.set()
    assert refusal[0] is IDPCommunicationErrorException


async def test_an_issuer_that_ends_no_handshake(issuer, clock, tmp_path, monkeypatch, times):
    """It takes the connection and says nothing. The connection goes with the question."""
    taken, loop = [], asyncio.get_running_loop()

    async def take(listening):
        connection, _ = await loop.sock_accept(listening)
        taken.append(connection)
        with contextlib.suppress(ConnectionError):
            while await loop.sock_recv(connection, 4096):
                pass

    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        monkeypatch.setattr(egress, "resolve", lambda *_: [silent.getsockname()])
        async with asyncio.timeout(60):
            refusal, *_ = await asyncio.gather(
                refused(asking(issuer, clock, tmp_path), issuer), take(silent), times.end_when(lambda: taken)
            )
    taken[0].close()
    assert refusal[0] is IDPCommunicationErrorException


async def test_a_host_that_nobody_knows(issuer, clock, tmp_path, monkeypatch):
    def unknown(*_):
        raise egress.Unreachable("no such host")

    monkeypatch.setattr(egress, "resolve", unknown)
    assert (await refused(asking(issuer, clock, tmp_path), issuer))[0] is IDPCommunicationErrorException


def test_five_seconds_are_all_that_an_issuer_has():
    assert issuers.TIMEOUT_S == 5


async def test_discovery_must_be_the_issuers_own(issuer, clock, tmp_path):
    for document in (
        {"issuer": "https://evil.example", "jwks_uri": f"{issuer.url}/keys"},
        {"issuer": f"{issuer.url}/", "jwks_uri": f"{issuer.url}/keys"},
        {"jwks_uri": f"{issuer.url}/keys"},
        {"issuer": issuer.url},
        {"issuer": issuer.url, "jwks_uri": 7},
        {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys".replace("https:", "http:")},
        {"issuer": issuer.url, "jwks_uri": "file:///etc/passwd"},
        {"issuer": issuer.url, "jwks_uri": f"https://user@127.0.0.1:{issuer.port}/keys"},
        {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys\r\nX-More: 1"},
        {"issuer": issuer.url, "jwks_uri": f"https://127.0.0.1:0{issuer.port}00/keys"},
    ):
        issuer.asked.clear()
        issuer.instead[DISCOVERY] = answering_with(json.dumps(document).encode())
        assert await refused(asking(issuer, clock, tmp_path), issuer) == (InvalidIdentityTokenException, NO_KEY)
        assert issuer.asked == [DISCOVERY]


async def test_private_addresses_are_asked_where_the_operator_allows_it_only(issuer, clock, tmp_path, monkeypatch):
    for networks in ((), ("10.0.0.0/8",)):
        found = await refused(asking(issuer, clock, tmp_path, networks=networks), issuer)
        assert found[0] is IDPCommunicationErrorException
    assert issuer.asked == []
    # A name that is resolved once gives the address that is asked: a second answer would be another one.
    answers = iter([[("127.0.0.1", issuer.port)], [("10.255.255.1", issuer.port)]])
    monkeypatch.setattr(egress, "resolve", lambda *_: next(answers))
    assert (await refused(asking(issuer, clock, tmp_path), issuer))[0] is IDPCommunicationErrorException
    assert issuer.asked == [DISCOVERY]


@pytest.mark.parametrize(
    ("address", "networks", "may"),
    [
        ("93.184.216.34", (), True), ("2606:2800:220:1::1", (), True), ("10.0.0.1", (), False), ("127.0.0.1", (), False),
        ("169.254.169.254", (), False), ("100.64.0.1", (), False), ("0.0.0.0", (), False), ("224.0.0.1", (), False),  # noqa: S104
        ("255.255.255.255", (), False), ("192.0.2.1", (), False), ("::1", (), False), ("::", (), False), ("fe80::1", (), False),
        ("fe80::1%eth0", (), False), ("fd00::1", (), False), ("fec0::1", (), False), ("ff02::1", (), False),
        ("::ffff:127.0.0.1", (), False), ("::ffff:93.184.216.34", (), True), ("::7f00:1", (), False),
        ("64:ff9b::7f00:1", (), False), ("2002:7f00:1::", (), False), ("2001:0:7f00:1::", (), False), ("2001:db8::1", (), False),
        ("10.0.0.1", ("10.0.0.0/8",), True), ("::ffff:10.0.0.1", ("10.0.0.0/8",), True), ("11.0.0.1", ("10.0.0.0/8",), True),
        ("192.168.0.1", ("10.0.0.0/8",), False), ("fd00::1", ("fd00::/8",), True), ("fd00::1", ("10.0.0.0/8",), False),
        ("64:ff9b::7f00:1", ("64:ff9b::/96",), True), ("64:ff9b::808:808", (), False),
        # What clouds keep for their machines looks public.
        ("168.63.129.16", (), False), ("::ffff:168.63.129.16", (), False), ("fd00:ec2::254", (), False), ("2606:4700::5efe:a9fe:a9fe", (), False),
        ("192.88.99.1", (), False), ("2001:1::1", (), False),
    ],
)  # fmt: skip
def test_which_addresses_may_be_asked(address, networks, may):
    assert may_be_asked(address, [egress.ipaddress.ip_network(one) for one in networks]) is may


async def test_certificates_are_those_of_authorities_or_of_thumbprints(issuer, clock, tmp_path):
    unknown = {"trusting": False}
    wrong = (InvalidIdentityTokenException, CERTIFICATE)
    assert await refused(asking(issuer, clock, tmp_path, **unknown), issuer) == wrong
    assert await refused(asking(issuer, clock, tmp_path, **unknown), issuer, thumbprints=["0" * 40]) == wrong
    asked = asking(issuer, clock, tmp_path, **unknown)
    assert await key_of(asked, issuer, thumbprints=["0" * 40, issuer.thumbprint]) is not None
    # Another account that has no such thumbprint gets nothing of it.
    assert await refused(asked, issuer) == wrong
    # The system's authorities count as ever.
    assert await key_of(asking(issuer, clock, tmp_path), issuer, thumbprints=["0" * 40]) is not None


async def test_a_thumbprint_vouches_for_the_right_host_only(issuer, clock, tmp_path, monkeypatch):
    answering(monkeypatch, **{"other.example": issuer})
    asked = asking(issuer, clock, tmp_path, trusting=False)
    token = read(issuer.token(iss="https://other.example"))
    with pytest.raises(InvalidIdentityTokenException, match="HTTPS certificate"):
        await asked.key(token, [issuer.thumbprint])


async def test_an_issuer_whose_address_ends_with_a_slash(clock, tmp_path, tmp_path_factory, monkeypatch):
    with issuer_at(tmp_path_factory.mktemp("slash"), "sts.windows.net", "/tenant/") as issuer:
        answering(monkeypatch, **{"sts.windows.net": issuer})
        assert await key_of(asking(issuer, clock, tmp_path), issuer) is not None
        assert issuer.asked == [f"/tenant{DISCOVERY}", "/tenant/keys"]


async def test_few_issuers_are_remembered(issuer, clock, tmp_path, monkeypatch):
    monkeypatch.setattr(issuers, "_ISSUERS", 3)
    asked = asking(issuer, clock, tmp_path)
    for number in range(10):
        await key_of(asked, issuer, thumbprints=[f"{number:040}"])
        assert len(asked._known) <= 3


def test_a_file_of_authorities_is_looked_at_when_it_is_named(tmp_path, issuer):
    parse = {one.name: one.parse for one in options_of(EgressSettings)}["egress_ca_file"]
    assert parse(str(issuer.ca_file)) == str(issuer.ca_file)
    (tmp_path / "empty").write_text("nothing")
    with pytest.raises(ValueError, match="holds no certificates"):
        parse(str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="No such file"):
        parse(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="Is a directory"):
        parse(str(tmp_path))
    assert ssl.create_default_context(cafile=issuer.ca_file)
