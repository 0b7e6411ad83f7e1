"""How mail leaves the installation."""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.component import number_to, option, read_secret
from penstock.egress import authorities_file

_ADDRESS = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}")


def _password_file(path: str) -> str:
    password = read_secret(path, "the password of the mail server")
    if not password:
        raise ValueError(f"{path} holds no password")
    return password


def _address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text!r} is no address of mail")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """Options of mail."""

    smtp_host: str = option("", "the mail server that takes the mails of topics", group="mail", metavar="HOST")
    smtp_port: int = option(587, "its port", group="mail", metavar="N", parse=number_to(65_535))
    smtp_security: str = option(
        "starttls",
        "how the connection is protected: by STARTTLS, by TLS from its first byte (mostly port 465), or not at all, which is for a server on the "
        "same machine",
        group="mail",
        choices=("starttls", "tls", "none"),
    )
    smtp_ca_file: str = option(
        "",
        "certificates (PEM) of authorities that the mail server is trusted by, in place of those of the system",
        group="mail",
        metavar="F",
        parse=authorities_file,
    )
    smtp_user: str = option("", "the user that signs in there", group="mail", metavar="USER", needs="smtp_password")
    smtp_password: str = option(
        "",
        "file with the user's password",
        group="mail",
        flag="--smtp-password-file",
        metavar="F",
        parse=_password_file,
        secret=True,
    )
    mail_from: str = option(
        "",
        "the sender's address; penstock@ and the host of the installation unless given",
        group="mail",
        metavar="ADDRESS",
        parse=_address,
    )
