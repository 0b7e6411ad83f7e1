"""The only ways out of a sandbox's private network, kept by a child of the supervisor that stayed in the host's network.

Three endpoints, each a listening socket made inside the sandbox's network namespace (or on the host's loopback where a runtime has
none) and handed to this process:
  endpoint     bytes, untouched, to the server's own address: AWS APIs and Git
  credentials  the role's session in the form of a container credential endpoint, for callers that know the token
  egress       an HTTP proxy (CONNECT and plain) to public addresses only: never loopback, link-local, this host, or
               private networks that are not listed
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable

from penstock import reachable
from penstock.sandbox.specification import Specification

_CHUNK = 256 * 1024
_CONNECT_S = 20
_HEAD_LIMIT = 64 * 1024


# Where calls of sandboxes come from when the server is on this machine: not from 127.0.0.1, which is the machine's own people.
# Policies may ask for it (aws:SourceIp).
SOURCE = "127.77.0.1"


class Endpoints:
    """What the relay serves."""

    def __init__(self, specification: Specification) -> None:
        network = specification.network
        self.target = (network.target_host, network.target_port)
        self.private = network.private
        self.credentials_file = credentials_file(specification.directory)
        self.token = network.token
        self.subject = specification.subject


def credentials_file(directory: str) -> str:
    """Where the supervisor's folder holds the session that the credentials endpoint gives out; it may be replaced meanwhile."""
    return os.path.join(directory, "credentials.json")


_Handler = Callable[[socket.socket, Endpoints], None]


def serve(channel: socket.socket, endpoints: Endpoints) -> None:
    """Take listeners from `channel` (each with its name) and serve them until the channel ends."""
    handlers = {"endpoint": _endpoint, "credentials": _credentials, "egress": _egress}
    while True:
        name, descriptors, _, _ = socket.recv_fds(channel, 64, 1)
        if not name:
            return
        listener = socket.socket(fileno=descriptors[0])
        threading.Thread(target=_accept, args=(listener, handlers[name.decode()], endpoints), daemon=True).start()


def _accept(listener: socket.socket, handler: _Handler, endpoints: Endpoints) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # a sandbox that opens too many connections must not lose its endpoints for good
            time.sleep(0.05)
            continue
        threading.Thread(target=_guarded, args=(handler, client, endpoints), daemon=True).start()


def _guarded(handler: _Handler, client: socket.socket, endpoints: Endpoints) -> None:
    with client, contextlib.suppress(OSError, ValueError):
        handler(client, endpoints)


def _endpoint(client: socket.socket, endpoints: Endpoints) -> None:
    with _connected(endpoints.target) as server:
        server.settimeout(None)
        splice(client, server)


def _connected(target: tuple[str, int]) -> socket.socket:
    refused = OSError("the server's address has no address")
    for family, _, _, _, found in socket.getaddrinfo(*target, type=socket.SOCK_STREAM):
        local = family == socket.AF_INET and str(found[0]).startswith("127.")
        try:
            return socket.create_connection(
                (str(found[0]), target[1]), _CONNECT_S, source_address=(SOURCE, 0) if local else None
            )
        except OSError as error:
            refused = error
    raise refused


def splice(one: socket.socket, other: socket.socket) -> None:
    """Copy bytes both ways until both sides have ended."""
    for end in (one, other):
        with contextlib.suppress(OSError):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer = {one: other, other: one}
    open_ends = [one, other]
    while open_ends:
        ready, _, _ = select.select(open_ends, [], [])
        for end in ready:
            data = end.recv(_CHUNK)
            if data:
                peer[end].sendall(data)
            else:
                open_ends.remove(end)
                with contextlib.suppress(OSError):
                    peer[end].shutdown(socket.SHUT_WR)


def _head(client: socket.socket) -> tuple[bytes, bytes]:
    """The head of a request (without its blank line) and what came behind it."""
    client.settimeout(60)
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = client.recv(16 * 1024)
        if not chunk or len(data) > _HEAD_LIMIT:
            raise ValueError("no request")
        data += chunk
    client.settimeout(None)
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _answer(client: socket.socket, status: str, body: bytes, kind: str = "text/plain") -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    client.sendall(head.encode() + body)


def _credentials(client: socket.socket, endpoints: Endpoints) -> None:
    head, _ = _head(client)
    token = ""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"authorization":
            token = value.strip().decode("latin-1")
    if not hmac.compare_digest(token.encode(), endpoints.token.encode()):
        _answer(
            client,
            "401 Unauthorized",
            f"the Authorization token of this {endpoints.subject} is missing or wrong\n".encode(),
        )
        return
    try:
        with open(endpoints.credentials_file, "rb") as file:
            body = file.read()
    except OSError:
        _answer(client, "404 Not Found", f"this {endpoints.subject} has no role session\n".encode())
        return
    _answer(client, "200 OK", body, "application/json")


def _egress(client: socket.socket, endpoints: Endpoints) -> None:
    head, rest = _head(client)
    request, *fields = head.split(b"\r\n")
    method, target, version = request.split(b" ", 2)
    tunnel = method == b"CONNECT"
    if tunnel:
        host, port = _host_port(target.decode("ascii"), 443)
        path = b""
    else:
        if not target.lower().startswith(b"http://"):
            _answer(client, "400 Bad Request", b"this is a proxy: ask it for http:// addresses or CONNECT\n")
            return
        authority, slash, path = target[7:].partition(b"/")
        host, port = _host_port(authority.rpartition(b"@")[2].decode("ascii"), 80)
        path = slash + path or b"/"
    try:
        server = _dial(host, port, endpoints)
    except PermissionError as error:
        _answer(client, "403 Forbidden", f"{error}\n".encode())
        return
    except OSError as error:
        _answer(client, "502 Bad Gateway", f"{host}:{port}: {error.strerror or error}\n".encode())
        return
    with server:
        if tunnel:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n" + b"")
            server.sendall(rest)
        else:
            kept = [f for f in fields if f.split(b":", 1)[0].strip().lower() not in _HOP_BY_HOP]
            server.sendall(b"\r\n".join([b" ".join([method, path, version]), *kept, b"Connection: close", b"", rest]))
        splice(client, server)


_HOP_BY_HOP = (b"connection", b"proxy-connection", b"proxy-authorization", b"keep-alive")


def _host_port(authority: str, default: int) -> tuple[str, int]:
    host, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        host, port = authority, str(default)
    return host.strip("[]"), int(port)


def _dial(host: str, port: int, endpoints: Endpoints) -> socket.socket:
    """Connect to an address that sandboxes may reach. Raises PermissionError with the reason, or OSError."""
    refused = ""
    failure: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        reason = refusal(str(address[0]), endpoints.private)
        if reason:
            refused = reason
            continue
        server = socket.socket(family, kind, protocol)
        try:
            server.settimeout(_CONNECT_S)
            server.connect(address)
            server.settimeout(None)
        except OSError as error:
            server.close()
            failure = error
        else:
            return server
    if failure:
        raise failure
    raise PermissionError(f"a {endpoints.subject} may not reach {host}: {refused or 'it has no address'}")


def refusal(address: str, private: Iterable[str]) -> str:
    """Why a sandbox may not reach an address; "" when it may. `private`: networks that are open although they are not public."""
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    ip = reachable.carried(ip) or ip
    reason = reachable.never(ip)
    if reason:
        return reason
    if _is_own(str(ip)):
        return f"{ip} is this host itself"
    if any(ip in ipaddress.ip_network(block, strict=False) for block in private):
        return ""
    return reachable.private(ip)


def _is_own(ip: str) -> bool:
    """Whether an address belongs to this host: only then can a socket be bound to it."""
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, 0))
        except OSError:
            return False
    return True
