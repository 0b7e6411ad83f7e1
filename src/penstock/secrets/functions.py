"""Rotation functions: the ARN of one stands for a command of the operator's, which runs under the role of that name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from penstock.application import App, Call
from penstock.pools import FILES
from penstock.secrets.errors import AccessDeniedException
from penstock.secrets.settings import SecretSettings
from penstock.wire.call import partition_of

SERVICE = "lambda.amazonaws.com"  # which the role has to trust, as the role of a function does
_ARN = re.compile(r"arn:([a-z-]+):lambda:([a-z0-9-]+):([0-9]{12}):function:([A-Za-z0-9_-]{2,64})")
_REFUSED = (
    "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access to the principal "
    "secretsmanager.amazonaws.com."
)


class CommandsMissing(Exception):
    """Commands were given whose programs are not there; the text says which."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function that can be invoked."""

    arn: str
    name: str
    account: str
    region: str

    @property
    def role(self) -> str:
        """The role that its command runs under."""
        return f"arn:{partition_of(self.region)}:iam::{self.account}:role/{self.name}"


def function_of(secret: Any, arn: str) -> Function:
    """The function of an ARN, which is of the secret's account and region. Raises AccessDeniedException."""
    found = _ARN.fullmatch(arn)
    # One spelling only: the ARN is what policies were asked about.
    if found is None or found.groups()[:3] != (partition_of(secret.region), secret.region, secret.account):
        raise AccessDeniedException(_REFUSED)
    return Function(arn=arn, name=found[4], account=secret.account, region=secret.region)


async def check_function(app: App, call: Call, secret: Any, arn: str) -> None:
    """Raises AccessDeniedException unless the operator has given a command for a function, its role lets it be assumed, and the caller is of its account.

    A function has no policy here that would let other accounts invoke it.
    """
    function = function_of(secret, arn)
    trusted = await app.identity.role_trusts(function.role, SERVICE, account=function.account, source_arn=function.arn)
    if command_of(app, function) is None or not trusted or call.session.account != function.account:
        raise AccessDeniedException(_REFUSED)


async def check_commands(app: App) -> None:
    """Raises CommandsMissing where a process that runs jobs could not run one of its commands."""
    if app.settings.works and (missing := await FILES.run(app.settings.of(SecretSettings).programs_missing)):
        raise CommandsMissing("; ".join(missing))


def command_of(app: App, function: Function) -> list[str] | None:
    """The words of the command that stands for a function, if this process has it."""
    settings = app.settings.of(SecretSettings)
    return settings.rotation_command(function.account, function.name, first=app.settings.account)
