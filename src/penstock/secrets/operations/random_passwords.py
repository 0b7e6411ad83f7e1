"""Passwords that nobody made up."""

from __future__ import annotations

from penstock.application import App, Call
from penstock.secrets.operations import secretsmanager
from penstock.secrets.passwords import password
from penstock.wire.call import Input, Output


@secretsmanager("GetRandomPassword")
async def get_random_password(app: App, call: Call, input: Input) -> Output:
    """A password that is kept nowhere."""
    return {"RandomPassword": password(input)}
