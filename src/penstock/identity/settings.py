"""What can be chosen of identity."""

from __future__ import annotations

import ssl
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
