"""Where builds may not reach, in every spelling."""

from __future__ import annotations

import pytest

from penstock.builds.supervisor.relay import refusal


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
