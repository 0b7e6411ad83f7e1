"""HTTP/1.1 over one socket, kept alive, without the weight of the standard client.

Only what an AWS endpoint answers is understood: a status line, headers, and a body with Content-Length, in chunks or
up to the end of the connection.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from typing import Any, Dict, Iterator, List, Optional
from urllib.parse import urlsplit

from penstock_agent.failures import reason

MAX_HEADER_BYTES = 64 * 1024
CONNECT_TIMEOUT_S = 10.0
IDLE_LIMIT_S = 50.0  # servers keep a connection at least 60 s; end before they do
BLOCK = 128 * 1024
_SIZE = re.compile(rb"^[0-9A-Fa-f]{1,16}$")  # of a chunk


class Unreachable(Exception):
    """The server did not answer, or not in HTTP; nothing is known about whether it saw the request."""


class Address:
    """Where an endpoint URL leads: `http[s]://host[:port][/prefix]`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise ValueError("%s is not an endpoint of the form http://host[:port] or https://host[:port]" % url)
        self.url = url
        self.secure = parts.scheme == "https"
        self.name = parts.hostname
        default = 443 if self.secure else 80
        self.port = parts.port or default
        bracketed = "[%s]" % self.name if ":" in self.name else self.name
        self.host = bracketed if self.port == default else "%s:%d" % (bracketed, self.port)
        self.prefix = parts.path.rstrip("/")

    @property
    def private(self) -> bool:
        """Whether nobody between here and there can change what is said: TLS, or this very machine."""
        return self.secure or _is_loopback(self.name)


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    for family, length in ((socket.AF_INET, 1), (socket.AF_INET6, 16)):
        try:
            packed = socket.inet_pton(family, name)
        except OSError:
            continue
        return packed[:length] in (b"\x7f", b"\0" * 15 + b"\x01")
    return False


class Response:
    """Status and headers (lower-case names); the body is read once, at once or in blocks."""

    def __init__(self, connection: Connection, status: int, headers: Dict[str, str]) -> None:
        self.status = status
        self.headers = headers
        self._connection = connection

    def read(self, limit: int) -> bytes:
        """The whole body. Raises Unreachable when it is longer than `limit` bytes or ends early."""
        parts: List[bytes] = []
        size = 0
        for block in self.blocks():
            size += len(block)
            if size > limit:
                self._connection.close()
                raise Unreachable("the answer is longer than %d bytes" % limit)
            parts.append(block)
        return b"".join(parts)

    def blocks(self) -> Iterator[bytes]:
        """The body in blocks. Raises Unreachable when it ends before its announced length."""
        connection = self._connection
        try:
            if self.status in (204, 304):
                pass
            elif "chunked" in self.headers.get("transfer-encoding", "").lower():
                yield from connection.chunks()
            elif "content-length" in self.headers:
                yield from connection.exactly(_length(self.headers["content-length"]))
            else:
                connection.reusable = False
                yield from connection.until_closed()
        except (OSError, ValueError) as error:
            connection.close()
            raise Unreachable(_reason(error)) from error
        connection.owing = False
        if self.headers.get("connection", "").lower() == "close" or not connection.reusable:
            connection.close()


def _length(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise ValueError("Content-Length is not a number")
    return int(text)


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, ValueError) else reason(error)


class Connection:
    """One socket to one address. Not for two threads at once, except `abort`."""

    def __init__(self, address: Address, context: Any = None) -> None:
        self.address = address
        self.context = context
        self.socket: Optional[socket.socket] = None
        self.buffer = b""
        self.reusable = True
        # Whether the body of the last answer was not read to its end: what is left of it would be taken for the next answer.
        self.owing = False
        self.used = 0.0
        self.aborted = False

    def open(self) -> None:
        """Connect; with TLS the certificate and the name are verified."""
        try:
            plain = socket.create_connection((self.address.name, self.address.port), timeout=CONNECT_TIMEOUT_S)
        except OSError as error:
            raise Unreachable("cannot connect to %s: %s" % (self.address.url, _reason(error))) from error
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self.address.secure:
                self.socket = self.context.wrap_socket(plain, server_hostname=self.address.name)
            else:
                self.socket = plain
        except (OSError, ValueError) as error:
            plain.close()
            raise Unreachable("cannot speak TLS with %s: %s" % (self.address.url, _reason(error))) from error
        self.buffer = b""
        self.reusable = True
        self.owing = False

    def close(self) -> None:
        """Forget the socket."""
        self.reusable = False
        if self.socket is not None:
            try:
                self.socket.close()
            except OSError:
                pass
            self.socket = None

    def abort(self) -> None:
        """End whatever waits on the socket, for good; may be called from another thread or a signal handler."""
        self.aborted = True
        waiting = self.socket
        if waiting is not None:
            try:
                # Below TLS: its own state belongs to the other thread.
                socket.socket.shutdown(waiting, socket.SHUT_RDWR)
            except OSError:
                pass

    def request(
        self,
        method: str,
        target: str,
        headers: Dict[str, str],
        body: bytes,
        timeout_s: float,
        *,
        resend: bool = True,
    ) -> Response:
        """Send one request and read the head of its answer. `timeout_s` bounds every wait for bytes.

        `resend`: when a kept connection turns out to be closed, send the request once more on a new one. Without it the
        caller gets that error, because the server may have taken the first one.
        """
        fresh = self.socket is None or self.owing or time.monotonic() - self.used > IDLE_LIMIT_S
        if fresh:
            self.close()
            self.open()
        if self.aborted:
            raise Unreachable("the agent is stopping")
        try:
            return self._exchange(method, target, headers, body, timeout_s)
        except _Stale:
            self.close()
            if fresh or self.aborted or not resend:
                raise Unreachable("%s closed the connection without an answer" % self.address.url) from None
        self.open()
        try:
            return self._exchange(method, target, headers, body, timeout_s)
        except _Stale:
            self.close()
            raise Unreachable("%s closed the connection without an answer" % self.address.url) from None

    def _exchange(self, method: str, target: str, headers: Dict[str, str], body: bytes, timeout_s: float) -> Response:
        assert self.socket is not None
        head = [method + " " + target + " HTTP/1.1"]
        head += [name + ": " + value for name, value in headers.items()]
        if body or method != "GET":
            head.append("content-length: %d" % len(body))
        request = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + body
        try:
            self.socket.settimeout(timeout_s)
            self.socket.sendall(request)
        except socket.timeout as error:
            self.close()
            raise Unreachable("the request could not be sent in time") from error
        except OSError:
            raise _Stale from None
        try:
            while True:
                status, answer = self._head()
                if status >= 200:
                    self.used = time.monotonic()
                    self.owing = True
                    return Response(self, status, answer)
        except _Stale:
            raise
        except (OSError, ValueError, IndexError) as error:
            if isinstance(error, (ConnectionResetError, BrokenPipeError)) and not self.buffer:
                raise _Stale from None
            self.close()
            raise Unreachable("%s: %s" % (self.address.url, _reason(error))) from error

    def _head(self) -> Any:
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > MAX_HEADER_BYTES:
                raise ValueError("the answer's headers are longer than %d bytes" % MAX_HEADER_BYTES)
            block = self._receive()
            if not block:
                if not self.buffer:
                    raise _Stale
                raise ValueError("the answer ends within its headers")
            self.buffer += block
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        version, status = lines[0].split(" ")[:2]
        if not version.startswith("HTTP/1.") or not status.isdecimal():
            raise ValueError("the answer is not HTTP/1.1")
        headers: Dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        self.reusable = version != "HTTP/1.0" or headers.get("connection", "").lower() == "keep-alive"
        return int(status), headers

    def _receive(self) -> bytes:
        assert self.socket is not None
        return self.socket.recv(BLOCK)

    def exactly(self, size: int) -> Iterator[bytes]:
        """`size` bytes of body."""
        while size:
            block = self.buffer or self._receive()
            if not block:
                raise ValueError("the answer ended %d bytes early" % size)
            self.buffer = block[size:]
            block = block[:size]
            size -= len(block)
            yield block
        self.used = time.monotonic()

    def until_closed(self) -> Iterator[bytes]:
        """Everything up to the end of the connection."""
        block = self.buffer
        self.buffer = b""
        while True:
            if block:
                yield block
            block = self._receive()
            if not block:
                return

    def chunks(self) -> Iterator[bytes]:
        """A chunked body; extensions and trailers are skipped."""
        while True:
            text = self._line().split(b";")[0].strip()
            if not _SIZE.match(text):
                raise ValueError("a chunk's size is not a hexadecimal number")
            size = int(text, 16)
            if not size:
                break
            yield from self.exactly(size)
            self._line()
        while self._line():
            pass
        self.used = time.monotonic()

    def _line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            block = self._receive()
            if not block or len(self.buffer) > MAX_HEADER_BYTES:
                raise ValueError("the answer ended within a chunk")
            self.buffer += block
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line


class _Stale(Exception):
    """The other side had closed the kept connection before it read the request."""


class Pool:
    """Connections of several threads to one address; at most `keep` idle ones are held."""

    def __init__(self, address: Address, context: Any = None, keep: int = 2) -> None:
        self.address = address
        self.context = context
        self._keep = keep
        self._idle: List[Connection] = []
        self._lock = threading.Lock()

    def acquire(self) -> Connection:
        """A connection for this thread; give it back with `release`."""
        with self._lock:
            while self._idle:
                connection = self._idle.pop()
                if connection.socket is not None and time.monotonic() - connection.used <= IDLE_LIMIT_S:
                    return connection
                connection.close()
        return Connection(self.address, self.context)

    def release(self, connection: Connection) -> None:
        """Take back a connection; one that broke, or whose answer was not read completely, is closed."""
        if connection.socket is not None and connection.reusable and not connection.owing:
            with self._lock:
                if len(self._idle) < self._keep:
                    self._idle.append(connection)
                    return
        connection.close()

    def close(self) -> None:
        """Forget the idle connections."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()


def tls_context(ca_file: str) -> Any:
    """A verifying TLS context: the system's authorities, or those in `ca_file` (PEM) alone."""
    import ssl

    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
