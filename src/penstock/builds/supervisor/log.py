"""A build's log on disk: what its commands print, and the lines of CodeBuild's agent, which are ours.

The supervisor writes it while commands run, and the worker before and after; never both.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Callable, Sequence

from penstock import durable
from penstock.masking import REACH, Mask, Suspect, texts

LINE_LIMIT = 200 * 1024  # bytes of one log event; longer lines are cut into several
AGENT = b"[Container]"  # begins the lines of the agent, and of nobody else
_STAMPED = len("[Container] 2006/01/02 15:04:05.000000 ")  # of such a line
NOT_AGENT = b"| "  # before a line that looks like one of the agent's
HOLD_LIMIT = 64 * 1024  # bytes without a newline that are written as a line
_NUL = (
    "\N{REPLACEMENT CHARACTER}".encode()
)  # for a zero byte of a command: those of the file are what a power failure left
_FULL_S, _FULL_PAUSE_S = 20.0, 0.02


class Log:
    """The file `log` of a build's directory. `written` is called after each change.

    The texts of `masked` never reach it in any spelling that `Mask` knows, nor do the secrets of the role's session, whose file is replaced when it
    is renewed.
    """

    def __init__(
        self,
        directory: str,
        *,
        limit: int,
        session: str,
        written: Callable[[], None],
        masked: Sequence[str] = (),
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._log = os.open(os.path.join(directory, "log"), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        durable.cut_lines(self._log)
        self._left = limit - os.fstat(self._log).st_size
        self._limit = limit
        self._mask = Mask(masked)
        self._session = session
        self._session_at = 0
        self._held = b""
        self._written = written
        self._now = now
        self.disk_full: Callable[[], None] = lambda: None  # called while a write waits for room

    def say(self, text: str) -> None:
        """One line of the agent's own, stamped as CodeBuild stamps it."""
        now = self._now()
        stamp = time.strftime("%Y/%m/%d %H:%M:%S", time.gmtime(now // 10**9)) + f".{now // 1000 % 1_000_000:06d}"
        self.flush()
        first, *more = text.encode("utf-8", "replace").split(b"\n")
        self._write([b"%s %s %s" % (AGENT, stamp.encode(), first), *map(marked, more)])

    def output(self, data: bytes) -> None:
        """Raw output of a command: complete lines are written, the rest waits for its newline.

        A line without end is cut where no secret is, which takes the bytes behind that place.
        """
        data = self._held + data
        *lines, self._held = data.split(b"\n")
        if len(self._held) > HOLD_LIMIT + REACH:
            self._learn_session()
        while len(self._held) > HOLD_LIMIT + REACH:
            at = self._mask.cut(self._held, HOLD_LIMIT)
            lines.append(self._held[:at])
            self._held = self._held[at:]
        if lines:
            self._write([marked(line) for line in lines] if AGENT in data else lines)

    def flush(self) -> None:
        """Write what waits for a newline (a command ended)."""
        if self._held:
            held, self._held = self._held, b""
            self._write([marked(held)])

    def _write(self, lines: list[bytes]) -> None:
        if self._left <= 0:
            return
        self._learn_session()
        stamp = b"%d " % (self._now() // 1_000_000)
        text = b"\n".join(lines)
        suspects = self._mask.suspects(text)
        if suspects or b"\r" in text or b"\0" in text or max(map(len, lines)) > LINE_LIMIT:
            data = self._line_by_line(lines, stamp, suspects)
        else:  # nearly always, and ten times as fast
            data = stamp + text.replace(b"\n", b"\n" + stamp) + b"\n"
        if len(data) > self._left:
            data = data[: data.rfind(b"\n", 0, self._left) + 1]
            data += stamp + b"%s The log is longer than %d bytes: the rest is not kept\n" % (AGENT, self._limit)
            self._left = 0
        self._left -= len(data)
        append(self._log, data, self.disk_full)
        self._written()

    def _line_by_line(self, lines: list[bytes], stamp: bytes, suspects: Sequence[Suspect]) -> bytes:
        records: list[bytes] = []
        # A value may be of several lines, each of them too short to be hidden elsewhere.
        if across := [suspect for suspect in suspects if b"\n" in suspect.piece]:
            lines = self._mask.covered(b"\n".join(lines), across).split(b"\n")
        for line in lines:
            # What tells the agent's lines from others stays, whatever is secret.
            head, line = (line[:_STAMPED], line[_STAMPED:]) if line.startswith(AGENT) else (b"", line)  # noqa: PLW2901
            line = self._mask.covered(line, suspects)  # noqa: PLW2901
            line = head + line.removesuffix(b"\r").replace(b"\0", _NUL)  # noqa: PLW2901
            while True:
                records.append(stamp + line[:LINE_LIMIT] + b"\n")
                line = line[LINE_LIMIT:]  # noqa: PLW2901
                if not line:
                    break
        return b"".join(records)

    def _learn_session(self) -> None:
        """Learn the session's secrets, unless they are known. The build has them from that file only, so it is never late."""
        try:
            at = os.stat(self._session).st_mtime_ns
            if at != self._session_at:
                with open(self._session, "rb") as file:
                    session = json.load(file)
                self._mask.add(texts([session.get("SecretAccessKey", ""), session.get("Token", "")]))
                self._session_at = at
        except FileNotFoundError:
            pass

    def sync(self) -> None:
        """Wait until it is on disk."""
        os.fsync(self._log)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._log)


def append(descriptor: int, data: bytes, disk_full: Callable[[], None]) -> None:
    """Write all lines. A full disk has some seconds to become less so: the build that fills it is being ended."""
    left = _FULL_S

    def again(error: OSError) -> bool:
        nonlocal left
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or left <= 0:
            return False
        disk_full()
        time.sleep(_FULL_PAUSE_S)
        left -= _FULL_PAUSE_S
        return True

    durable.append_lines(descriptor, data, again=again)


def marked(line: bytes) -> bytes:
    """A line that is not the agent's, told apart from the agent's when it looks like one: on a screen, behind blanks or a carriage return as well."""
    if AGENT not in line:
        return line
    # Each alternative begins with another byte, so a long line costs no more than its length.
    agents = re.compile(rb"(?:[\x00-\x1a\x1c-\x20]|\x1b(?:\[[0-9;:?<=>]*[@-~])?)*" + re.escape(AGENT))
    if any(agents.match(part) for part in line.split(b"\r")):
        return NOT_AGENT + line.replace(b"\r", b" ")
    return line
