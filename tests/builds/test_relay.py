"""Where builds may not reach, in every spelling."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from penstock.sandbox import relay
from penstock.sandbox.relay import refusal


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",  # noqa: S104
        "169.254.169.254",
        "10.0.0.1",
        "100.64.0.1",
        "192.168.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "::127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",  # what a NAT64 gateway makes 169.254.169.254 of
        "64:ff9b::7f00:1",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a00:1::1",  # 6to4 of 10.0.0.1
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "fe80::a9fe:a9fe",
        "168.63.129.16",  # Azure's metadata and management
        "::ffff:168.63.129.16",
        "64:ff9b::a83f:8110",
        "100.100.100.200",  # Alibaba's
        "192.0.0.192",  # Oracle's
        "192.0.0.8",
        "192.88.99.1",
        "240.0.0.1",
        "fd00:ec2::23",
        "fd20:ce::254",  # Google's
        "fd00:42::42",  # Scaleway's
        "::ffff:0:a9fe:a9fe",  # translated
        "::ffff:0:0a00:0001",
        "2001:0:1234::5efe:808:808",  # Teredo
        "2002:a9fe:a9fe::1",
        "fe80::5efe:a00:1",
        "2606:4700::5efe:a9fe:a9fe",  # ISATAP
        "2606:4700::200:5efe:a00:1",
        "fec0::1",
        "100::1",
        "2001:db8::1",
        "4000::1",
    ],
)
def test_refused(address: str):
    assert refusal(address, [])


def test_public_and_listed_addresses_are_open():
    assert refusal("8.8.8.8", []) == ""
    assert refusal("64:ff9b::808:808", []) == ""
    assert refusal("2606:4700::1111", []) == ""
    assert refusal("10.1.2.3", ["10.0.0.0/8"]) == ""
    assert refusal("192.168.1.1", ["10.0.0.0/8"])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::1",
        "::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:6464:64c8::1",
        "224.0.0.1",
        "0.0.0.0",  # noqa: S104
    ],
)
def test_no_setting_opens_what_is_never_another_host(address: str):
    assert refusal(address, ["0.0.0.0/0", "::/0"])


def test_the_list_is_our_own_and_not_that_of_the_python_release(monkeypatch: pytest.MonkeyPatch):
    for kind in (ipaddress.IPv4Address, ipaddress.IPv6Address):
        for name in (
            "is_global",
            "is_private",
            "is_link_local",
            "is_loopback",
            "is_reserved",
            "ipv4_mapped",
            "sixtofour",
        ):
            if hasattr(kind, name):
                monkeypatch.setattr(kind, name, property(lambda _: pytest.fail("asked")))
    assert refusal("192.0.0.9", [])
    assert refusal("::ffff:10.0.0.1", [])
    assert refusal("8.8.8.8", []) == ""


def test_calls_of_builds_come_from_an_address_of_their_own():
    """A server on this machine tells them from the machine's own people, whatever name of it they are sent to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            with relay._connected((host, port)) as ours:
                server, peer = listening.accept()
                server.close()
                assert peer[0] == relay.SOURCE == ours.getsockname()[0] == "127.77.0.1"
    with pytest.raises(OSError, match=r"refused"):
        relay._connected(("127.0.0.1", port))
