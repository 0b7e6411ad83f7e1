"""What can be chosen of secrets."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.component import option

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FORM = re.compile(r"(?:([0-9]{12}):)?([A-Za-z0-9_-]{2,64})=(.+)", re.DOTALL)


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command: nothing of this process's own but where it finds programs and its user's files."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "LC_ALL", "TZ", "USER") if name in os.environ}
    return {"PATH": os.environ.get("PATH", _PATH), **kept, **more}


def program_missing(text: str) -> str:
    """Why a named command could not be run by this user here; "" when its program is there."""
    found = _FORM.fullmatch(text)
    assert found is not None
    program = shlex.split(found[3])[0]
    # A command runs in the root folder.
    named = Path("/", program) if "/" in program else program
    if shutil.which(named, path=environment({})["PATH"]):
        return ""
    return (
        f"the program {program} of --rotation-command {found[2]} is not there, or may not be run by this user: no secret of that function could "
        "be rotated. Name an executable file with its path, or leave the option out"
    )


def command_of_option(text: str) -> str:
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
        parse=command_of_option,
    )

    def programs_missing(self) -> list[str]:
        """Which commands could not be run here, each in a sentence. Looks at the disk: not for the loop."""
        return [why for text in self.rotation_commands if (why := program_missing(text))]

    def rotation_command(self, account: str, name: str, *, first: str) -> list[str] | None:
        """The words of the command that stands for a function of an account, the last one that was given. `first` is the first account."""
        for text in reversed(self.rotation_commands):
            found = _FORM.fullmatch(text)
            if found is not None and (found[1] or first, found[2]) == (account, name):
                return shlex.split(found[3])
        return None
