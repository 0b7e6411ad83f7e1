"""What can go wrong with a command, as the command service is told it.

The numbers are the host agent protocol's (`error_code` of the diagnostics JSON).
"""

from __future__ import annotations

SUCCEEDED = 0
SCRIPT_MISSING = 1
SCRIPT_EXECUTABILITY = 2
SCRIPT_TIMED_OUT = 3
SCRIPT_FAILED = 4
UNKNOWN_ERROR = 5
OUTPUTS_LEFT_OPEN = 6  # never sent: output that a background child keeps open ends an event after a second
FAILED_AFTER_RESTART = 7

BECAUSE = "The deployment failed because "


class CommandFailure(Exception):
    """A command ended badly: `code` (see above), the sentence for people, and the script when there was one."""

    def __init__(self, message: str, *, code: int = UNKNOWN_ERROR, script: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.script = script


class BundleRefused(CommandFailure):
    """The bundle cannot be fetched or must not be unpacked."""


class AppSpecInvalid(CommandFailure):
    """The AppSpec file is missing or says something that cannot be done."""


class InstallFailed(CommandFailure):
    """The Install event could not be carried out; the files on the machine are as they were."""


class ConfigInvalid(Exception):
    """The configuration cannot be used; the message names the file and the key."""
