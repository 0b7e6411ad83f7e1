"""What can be chosen of builds."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.component import Role, ip_network, option
from penstock.sandbox import registry


def _at_least_none(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 6:
        raise ValueError(f"{text!r} is not a whole number of at least 0")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """Options of builds."""

    at_once: int = option(
        4, "builds at a time", group="work", role=Role.WORKS, flag="--builds", metavar="N", parse=_at_least_none
    )
    runtime: str = option(
        registry.AUTO,
        lambda: (
            "; ".join(f"{one.name}: {one.summary}" for one in registry.every()) + "; auto: the first that works here"
        ),
        group="work",
        role=Role.WORKS,
        flag="--build-runtime",
        choices=lambda: (registry.AUTO, *registry.names()),
    )
    network: str = option(
        "",
        lambda: (
            "what builds reach: this server and public addresses, this server only, or what the host reaches; a mode that the "
            "runtime does not have is refused; default: "
            + ", ".join(f"{one.networks[0]} with {one.name}" for one in registry.every())
        ),
        group="work",
        role=Role.WORKS,
        flag="--build-network",
        choices=lambda: registry.networks(),  # noqa: PLW0108 - as the module has it then
    )
    private_networks: tuple[str, ...] = option(
        (),
        "a private network that builds may reach too; may be repeated",
        group="work",
        role=Role.WORKS,
        flag="--build-private-network",
        metavar="CIDR",
        parse=ip_network,
    )
    allow_unisolated: bool = option(
        False,
        "let builds run as this user when nothing better is there; that isolates nothing",
        group="work",
        role=Role.WORKS,
        flag="--allow-unisolated-builds",
    )
