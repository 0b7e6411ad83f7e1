"""What can be chosen of secrets."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from penstock.component import option

_FORM = re.compile(r"(?:([0-9]{12}):)?([A-Za-z0-9_-]{2,64})=(.+)", re.DOTALL)


def _command(text: str) -> str:
    """A named command, as an option takes it. Raises ValueError."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not [ACCOUNT:]NAME=COMMAND, where a name has 2 to 64 letters, digits, - and _")
    try:
        words = shlex.split(found[3])
    except ValueError as error:
        raise ValueError(f"the command of {found[2]} cannot be split into words: {error}") from None
    if not words:
        raise ValueError(f"the command of {found[2]} is empty")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSettings:
    """Options of secrets."""

    rotation_commands: tuple[str, ...] = option(
        (),
        "a command that rotates secrets of an account (default: the installation's first one) whose rotation function has that "
        "name; it is run without a shell, as the user of this process; may be repeated",
        secret=True,
        group="work",
        flag="--rotation-command",
        metavar="[ACCOUNT:]NAME=COMMAND",
        parse=_command,
    )

    def rotation_command(self, account: str, name: str, *, first: str) -> list[str] | None:
        """The words of the command that stands for a function of an account, the last one that was given. `first` is the first account."""
        for text in reversed(self.rotation_commands):
            found = _FORM.fullmatch(text)
            if found is not None and (found[1] or first, found[2]) == (account, name):
                return shlex.split(found[3])
        return None
