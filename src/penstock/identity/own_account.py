"""What everybody may do with their own sign-in, in the console, without a policy that allows it.

On AWS a user without `iam:ChangePassword` and its like can neither change a password that somebody has seen nor show a second factor.
Here the console lets everybody do so unless a policy denies it. An access key alone lets nobody: it is not a person, and may be stolen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock.application import Call

_ACTIONS = frozenset({"iam:ChangePassword", "penstock:ListConsoleSessions", "penstock:EndConsoleSessions"})


def self_service(call: Call, action: str, resource: str) -> bool:
    """Whether a call of the console is about nothing but its user's own sign-in."""
    return call.via == "console" and action in _ACTIONS and resource == call.session.arn
