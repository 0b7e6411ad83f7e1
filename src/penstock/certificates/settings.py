"""What can be chosen of certificates."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.component import Role, option

_MOST = 397


def days(text: str) -> int:
    """A number of days, as an option takes it. Raises ValueError."""
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise ValueError(f"{text} is not a number of days from 1 to {_MOST}")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSettings:
    """Options of certificates."""

    host_certificate_days: int = option(
        14,
        "days that the certificate of a host which has joined is good for; its agent renews it after half of them",
        group="network",
        role=Role.SERVES,
        metavar="N",
        parse=days,
    )
