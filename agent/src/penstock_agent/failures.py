"""What can go wrong with a command, as it is reported to the command service.

The numbers are the host agent protocol's (`error_code` of the diagnostics JSON).
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Dict

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


class LinkRefused(InstallFailed):
    """A symbolic link on the way to a path, which the agent does not follow because others than root may set it."""


class ConfigInvalid(Exception):
    """The configuration cannot be used; the message names the file and the key."""


_REASONS: Dict[int, str] = {
    errno.ENOSPC: "the disk is full; make room on it and deploy again",
    errno.EDQUOT: "the disk quota of the agent's user is used up; raise it or make room, and deploy again",
    errno.EROFS: "the file system is read-only; mount it for writing",
    errno.EACCES: "the agent's user has no permission for it",
    errno.EPERM: "the system does not permit it to the agent's user",
    errno.ENOENT: "it does not exist",
    errno.EEXIST: "something with that name is there already",
    errno.ENOTDIR: "a part of its path is not a directory",
    errno.EISDIR: "a directory is in its place",
    errno.ENOTEMPTY: "the directory is not empty",
    errno.ELOOP: "a symbolic link is in its place, or links lead in a circle",
    errno.ENAMETOOLONG: "the name is too long for the file system",
    errno.ETXTBSY: "the file is still open for writing, or is a program that is running",
    errno.EBUSY: "it is in use, for instance as a mount point",
    errno.EXDEV: "it lies on another file system",
    errno.EMLINK: "it has as many links as the file system allows",
    errno.EFBIG: "it is larger than the file system or the agent's limits allow",
    errno.E2BIG: "the environment and the arguments are too long for the system",
    errno.EMFILE: "the agent has as many files open as it may; raise its limit (LimitNOFILE)",
    errno.ENFILE: "the machine has as many files open as it may",
    errno.ENOMEM: "the machine is out of memory",
    errno.EAGAIN: "the machine has no room for another process or file lock",
    errno.EIO: "the disk reports an input/output error; look at the kernel's log",
    errno.ESTALE: "the network file system has lost it",
    errno.ENODEV: "the device is gone",
    errno.ENXIO: "the device is gone",
    errno.EINVAL: "the file system does not accept the name or the value",
    errno.EILSEQ: "the file system does not accept the bytes of the name",
    errno.ENOTSUP: "the file system cannot do that",
    errno.ENOSYS: "the system cannot do that",
    errno.ENOEXEC: "it is no program for this machine",
    errno.ECONNREFUSED: "nothing accepts connections there",
    errno.ECONNRESET: "the other side ended the connection",
    errno.EPIPE: "the other side ended the connection",
    errno.ECONNABORTED: "the connection was ended",
    errno.ETIMEDOUT: "no answer in time",
    errno.EHOSTUNREACH: "there is no route to it",
    errno.ENETUNREACH: "the network cannot be reached",
    errno.EADDRNOTAVAIL: "this machine has no free address or port to connect from",
}


def reason(error: BaseException) -> str:
    """Why an operation failed, as a part of a sentence without a full stop: never a class, an errno or a path."""
    if isinstance(error, socket.timeout):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "the host name cannot be resolved"
    if isinstance(error, OSError):
        verified = getattr(error, "verify_message", "")  # ssl.SSLCertVerificationError, without importing ssl
        if verified:
            return "the certificate is not trusted (%s)" % verified
        if type(error).__module__ == "ssl":
            return "the TLS handshake failed (%s)" % (getattr(error, "reason", None) or "no reason given")
        number = error.errno or 0
        if number in _REASONS:
            return _REASONS[number]
        if number:
            text = os.strerror(number)
            return "the system reports: %s" % (text[:1].lower() + text[1:])
    if isinstance(error, UnicodeError):
        return "the text is not UTF-8"
    if isinstance(error, OverflowError):
        return "a number is too large for the system"
    return "the agent met a case that it does not handle (its log has the details)"
