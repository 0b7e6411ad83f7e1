"""What can be chosen of identity."""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.component import Role, number_to, option, read_secret


def _issuer(text: str) -> str:
    if not re.fullmatch(r"https://[!-~]+", text) or "?" in text or "#" in text:
        raise ValueError(f"{text!r} is no issuer: it is an address that begins with https://")
    return text


def _scopes(text: str) -> str:
    if "openid" not in text.split():
        raise ValueError(f"{text!r} does not name the scope openid")
    return text


def _secret_file(path: str) -> str:
    secret = read_secret(path, "the client's secret").strip()
    if not secret:
        raise ValueError(f"{path} holds no secret")
    return secret


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySettings:
    """Options of identity."""

    session_hours: int = option(
        12,
        "hours after which a session of the console ends, whatever its user does",
        group="console",
        role=Role.SERVES,
        flag="--session-hours",
        metavar="N",
        parse=number_to(720, "hours"),
    )
    session_idle_minutes: int = option(
        60,
        "minutes without a request after which a session of the console ends",
        group="console",
        role=Role.SERVES,
        flag="--session-idle-minutes",
        metavar="N",
        parse=number_to(43_200, "minutes"),
    )
    sign_in_issuer: str = option(
        "",
        "OpenID Connect issuer (https://…) by which people may sign in to the console",
        group="console",
        role=Role.SERVES,
        metavar="URL",
        parse=_issuer,
    )
    sign_in_client: str = option(
        "",
        "client id under which the issuer knows this console",
        group="console",
        role=Role.SERVES,
        metavar="ID",
    )
    sign_in_client_secret: str = option(
        "",
        "file with the client's secret, where the issuer has given one",
        secret=True,
        group="console",
        role=Role.SERVES,
        needs="sign_in_issuer",
        flag="--sign-in-client-secret-file",
        metavar="F",
        parse=_secret_file,
    )
    sign_in_scopes: str = option(
        "openid email",
        "what the issuer is asked for; openid is among it",
        group="console",
        role=Role.SERVES,
        metavar="SCOPES",
        needs="sign_in_issuer",
        parse=_scopes,
    )
    sign_in_claim: str = option(
        "sub",
        "claim of the issuer's token that names people in this installation's records: sub, or email where the issuer verifies it",
        group="console",
        role=Role.SERVES,
        metavar="CLAIM",
        needs="sign_in_issuer",
    )
    sign_in_label: str = option(
        "single sign-on",
        "what the button of the sign-in page calls it",
        group="console",
        role=Role.SERVES,
        metavar="TEXT",
        needs="sign_in_issuer",
    )
