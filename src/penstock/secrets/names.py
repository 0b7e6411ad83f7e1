"""What secrets are called, and what a request may call one. Pure but for the end of a new ARN. (AWS: Secrets Manager API Reference, CreateSecret, and User Guide, "Secrets Manager secret ARN".)"""

from __future__ import annotations

import re
import secrets
import string
from dataclasses import dataclass

from penstock.secrets.errors import ResourceNotFoundException, ValidationException
from penstock.wire.call import partition_of

_NAME = re.compile(r"[A-Za-z0-9/_+=.@!-]{1,512}")
_ARN = re.compile(r"arn:[a-z-]+:secretsmanager:([a-z0-9-]+):([0-9]{12}):secret:(.+)")
_SUFFIX = 6
_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request calls a secret."""

    account: str
    region: str
    name: str  # as it stands in the request: of an ARN all that follows `secret:`
    by_arn: bool

    @property
    def candidates(self) -> tuple[tuple[str, str], ...]:
        """(name, suffix) of the secrets that it may be, the likeliest first; "" is any suffix."""
        name, hyphen, suffix = self.name[: -_SUFFIX - 1], self.name[-_SUFFIX - 1 : -_SUFFIX], self.name[-_SUFFIX:]
        if self.by_arn and name and hyphen == "-":
            return ((name, suffix), (self.name, ""))
        return ((self.name, ""),)

    @property
    def arn(self) -> str:
        """What policies are asked about where there is no such secret."""
        return arn_of(self.account, self.region, self.name, "" if self.by_arn else "?" * _SUFFIX)


def asked(text: str, account: str, region: str) -> Asked:
    """A secret by its name, its ARN, or its ARN without the last hyphen and what follows. Raises ResourceNotFoundException."""
    if not text.startswith("arn:"):
        return Asked(account, region, text, by_arn=False)
    found = _ARN.fullmatch(text)
    if found is None or found[1] != region:
        raise ResourceNotFoundException
    return Asked(found[2], found[1], found[3], by_arn=True)


def arn_of(account: str, region: str, name: str, suffix: str) -> str:
    """The ARN of a secret."""
    end = f"-{suffix}" if suffix else ""
    return f"arn:{partition_of(region)}:secretsmanager:{region}:{account}:secret:{name}{end}"


def new_suffix() -> str:
    """The end of the ARN of a new secret: who was let to one of this name before is not let to it."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_SUFFIX))


def check_new(name: str) -> None:
    """Raises ValidationException for a name that no secret may have."""
    if not _NAME.fullmatch(name):
        raise ValidationException
