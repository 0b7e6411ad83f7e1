"""Which addresses are those of the public internet: for what strangers make the server ask, and for what builds may reach.

The lists are our own, since what Python's ipaddress calls private or global changes with its patch level. The standard library only.
"""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NEVER = (
    # Not another host's, whatever a setting opens.
    ("0.0.0.0/8", "this host itself"),
    ("127.0.0.0/8", "this host itself"),
    ("169.254.0.0/16", "link-local, where clouds keep the metadata and credentials of their machines"),
    ("192.0.0.0/24", "for protocols only (and the metadata service of Oracle's cloud)"),
    ("192.88.99.0/24", "a relay between IPv4 and IPv6"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("100.100.100.200/32", "the metadata service of Alibaba's cloud"),
    ("168.63.129.16/32", "the metadata and management service of Azure"),
    ("::/96", "this host itself"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
    ("fd00:ec2::/32", "the metadata service of AWS"),
    ("fd20:ce::254/128", "the metadata service of Google's cloud"),
    ("fd00:42::42/128", "the metadata service of Scaleway"),
    ("fd00:a9fe:a9fe::/48", "the metadata service of a cloud"),
    ("2001::/32", "a Teredo tunnel"),
    ("5f00::/16", "for segment routing only"),
    ("100::/64", "a hole that swallows all"),
)
_PRIVATE = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "fc00::/7",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
)
# Addresses that carry an IPv4 address, which a translator on the way may send the packets to: the network, and the bits behind the address.
_CARRIERS = (
    ("::ffff:0:0/96", 0),  # mapped
    ("::ffff:0:0:0/96", 0),  # translated (SIIT)
    ("64:ff9b::/96", 0),  # NAT64
    ("2002::/16", 80),  # 6to4
)
_LOCAL_TRANSLATION = "64:ff9b:1::/48"  # where the IPv4 address stands is the operator's choice
_ISATAP = (0x5EFE, 0x02005EFE)  # the half of an address that says that an IPv4 address follows


def carried(ip: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that one of IPv6 stands for, which a translator on the way may send the packets to."""
    if ip.version == 6:
        for network, behind in _CARRIERS:
            if ip in ipaddress.ip_network(network):
                return ipaddress.IPv4Address(int(ip) >> behind & 0xFFFFFFFF)
    return None


def never(ip: Address) -> str:
    """Why nothing behind an address is another host to be reached, whatever a setting opens; "" when it may be one."""
    behind = carried(ip)
    if behind is not None:
        return never(behind)
    number = int(ip)
    if ip.version == 6 and ip in ipaddress.ip_network(_LOCAL_TRANSLATION):
        return f"{ip} is for translators of a private network"
    for network, what in _NEVER:
        if ip in ipaddress.ip_network(network):
            return f"{ip} is {what}"
    if ip.version == 6 and number >> 32 & 0xFFFFFFFF in _ISATAP:
        return never(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    return ""


def private(ip: Address) -> str:
    """Why an address that is not `never` is not public; "" when it is."""
    behind = carried(ip)
    if behind is not None:
        return private(behind)
    number = int(ip)
    if any(ip in ipaddress.ip_network(network) for network in _PRIVATE):
        return f"{ip} is in a private network that is not listed as reachable"
    if ip.version == 6 and number >> 32 & 0xFFFFFFFF in _ISATAP:
        return private(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    if ip.version == 6 and ip not in ipaddress.ip_network("2000::/3"):
        return f"{ip} is not a public address"
    return ""
