"""What can be chosen of certificates."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.component import Role, number_to, option


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSettings:
    """Options of certificates."""

    host_certificate_days: int = option(
        14,
        "days that the certificate of a host which has joined is good for; its agent renews it after half of them",
        group="network",
        role=Role.SERVES,
        metavar="N",
        parse=number_to(397, "days"),
    )
