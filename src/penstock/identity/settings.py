"""What can be chosen of identity."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from penstock.component import Role, ip_network, option


def _authorities(text: str) -> str:
    """A file of certificates. Raises ValueError."""
    try:
        ssl.create_default_context(cafile=text)
    except ssl.SSLError:
        raise ValueError(f"{text} holds no certificates in PEM form") from None
    except OSError as error:
        raise ValueError(f"cannot read {text}: {error.strerror}") from None
    return text


def _up_to(most: int, unit: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not text.isascii() or not 1 <= int(text[:6]) <= most:
            raise ValueError(f"{text!r} is not a number of {unit} from 1 to {most}")
        return int(text)

    return parse


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySettings:
    """Options of identity."""

    issuer_networks: tuple[str, ...] = option(
        (),
        "a network beside public addresses where OpenID Connect issuers may be asked for their keys, such as 10.0.0.0/8; "
        "may be repeated",
        group="network",
        role=Role.SERVES,
        flag="--issuer-network",
        metavar="CIDR",
        parse=ip_network,
    )
    issuer_ca_file: str = option(
        "",
        "certificates (PEM) of authorities that OpenID Connect issuers are trusted by, beside those of the system",
        group="network",
        role=Role.SERVES,
        metavar="F",
        parse=_authorities,
    )
    session_hours: int = option(
        12,
        "hours after which a session of the console ends, whatever its user does",
        group="console",
        role=Role.SERVES,
        flag="--session-hours",
        metavar="N",
        parse=_up_to(720, "hours"),
    )
    session_idle_minutes: int = option(
        60,
        "minutes without a request after which a session of the console ends",
        group="console",
        role=Role.SERVES,
        flag="--session-idle-minutes",
        metavar="N",
        parse=_up_to(43_200, "minutes"),
    )
