"""Why a script could not be started, or failed as soon as it was: said so that its author can mend it."""

from __future__ import annotations

import errno
import os
import signal
from typing import Optional

from penstock_agent.failures import reason

HEAD_BYTES = 4096
_CRLF = (
    "the lines of the script end in CR LF, as on Windows, and the CR counts as a part of each command."
    " Store it with LF (dos2unix, or `*.sh text eol=lf` in .gitattributes) and deploy again"
)
_MARK = b"\xef\xbb\xbf"


def _head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def interpreter(head: bytes) -> Optional[bytes]:
    """The program that the first line names after #!, as the kernel reads it; None without such a line."""
    if not head.startswith(b"#!"):
        return None
    parts = head[2:].split(b"\n")[0].strip(b" \t").replace(b"\t", b" ").split(b" ")
    return parts[0] or None


def why_not_started(error: BaseException, path: str, directory: str, user: str) -> str:
    """The reason as a part of a sentence. `user` is the one that the script was to run as, "" for the agent's own."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOENT and not os.path.isdir(directory):
        return "its revision is gone from %s" % directory
    head = _head(path)
    program = interpreter(head)
    named = _show(program) if program else ""
    if number in (errno.ENOENT, errno.ENOTDIR) and program:
        if program.endswith(b"\r"):
            return 'its first line asks for the interpreter "%s", which does not exist: %s' % (named, _CRLF)
        return 'its first line asks for the interpreter "%s", which does not exist on this machine' % named
    if number == errno.ENOENT and head.startswith(b"\x7fELF"):
        return "it is a program whose loader does not exist on this machine (built for another C library or system)"
    if number == errno.ENOEXEC or (number == errno.ELOOP and program):
        return "it is no program for this machine, or its interpreter is not one"
    if number == errno.EACCES:
        if os.statvfs(path).f_flag & os.ST_NOEXEC:
            return "it lies on a file system mounted with noexec (%s); mount it without, or move root_dir" % directory
        if program and not os.access(program, os.X_OK):
            return 'its first line asks for the interpreter "%s", which is not executable' % named
        if user:
            return "the user %s may not reach or execute it" % user
    return reason(error)


def ended_by(number: int) -> str:
    """Which signal ended a script, as a part of a sentence."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return "signal %d" % number
    if number == signal.SIGKILL:
        return (
            "signal %d (%s): a command sent it, or the kernel did because memory ran out (see dmesg on this host)"
            % (number, name)
        )
    return "signal %d (%s)" % (number, name)


def hint(path: str) -> str:
    """What a failed script suffered from, when its bytes show it: a sentence to add, or ""."""
    head = _head(path)
    if b"\r\n" in head or head.endswith(b"\r"):
        return ". Perhaps: " + _CRLF
    if head.startswith(_MARK):
        return ". Perhaps: the script begins with a byte order mark, so that its first line does not count; store it as UTF-8 without one"
    return ""


def _show(name: bytes) -> str:
    text = name.decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= 120 else text[:120] + "…"
