"""What everybody may do with their own sign-in, in the console, without a policy that allows it.

On AWS a user without `iam:ChangePassword` and its like can neither change a password that somebody has seen nor show a second factor.
Here the console lets everybody do so unless a policy denies it, or the password policy of the account says who changes passwords. An access key alone lets nobody: it is not a person, and may be stolen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.identity import naming
from penstock.wire.call import PrincipalKind

if TYPE_CHECKING:
    from penstock.application import Call

_OF_ANYBODY = frozenset({"penstock:EndConsoleSessions", "penstock:ListConsoleSessions"})  # by single sign-on too
CHANGE_PASSWORD = "iam:ChangePassword"  # noqa: S105 -- the name of an action
_OF_THE_USER = frozenset(
    {
        CHANGE_PASSWORD,
        "iam:DeactivateMFADevice",
        "iam:EnableMFADevice",
        "iam:ListMFADevices",
        "penstock:CreateRecoveryCodes",
    }
)
_OF_DEVICES = frozenset({"iam:CreateVirtualMFADevice", "iam:DeleteVirtualMFADevice"})


def device_path(user_name: str) -> str:
    """The path below which everybody makes and deletes devices: no other user's name begins so."""
    return f"/{user_name}/"


def self_service(call: Call, action: str, resource: str) -> bool:
    """Whether a call of the console is about nothing but its user's own sign-in."""
    session = call.session
    if call.via != "console":
        return False
    if action in _OF_ANYBODY and resource == session.arn:
        return True
    if session.kind is not PrincipalKind.USER:
        return False
    if action in _OF_DEVICES:
        own = naming.arn(call.partition, session.account, "mfa", device_path(session.arn.rpartition("/")[2]), "")
        return resource.startswith(own) and "/" not in resource.removeprefix(own)
    return action in _OF_THE_USER and resource == session.arn
