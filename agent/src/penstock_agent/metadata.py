"""Credentials of the host's role for other programs on this machine, as EC2's instance metadata (version 2) and ECS's containers get them.

Whoever asks the first must be root, the agent's own user, or one of the configured users: the kernel's table of connections says who holds
the other end. Whoever asks the second must show the token of a file. A request that somebody was talked into sending (a web page, a
program that fetches any address it is given) has neither the method and headers of version 2 nor the token.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import socket
import struct
import threading
import time
from typing import Any, Dict, NamedTuple, Optional, Tuple

from penstock_agent import log
from penstock_agent.config import Metadata
from penstock_agent.connection import Unreachable
from penstock_agent.failures import ConfigInvalid, reason
from penstock_agent.identity import RoleCredentials
from penstock_agent.layout import write_durably
from penstock_agent.service import Refused

MAX_HEAD = 8192
LIMIT_S = 5.0  # for a request to arrive, and for its answer to be taken
KNOWN, STRANGERS = 16, 4  # requests at a time: of those who may ask, and of all others together
LONGEST_S = 21600
_TOKEN = "/latest/api/token"
_ROLES = "/latest/meta-data/iam/security-credentials/"
_REGION = "/latest/meta-data/placement/region"
CONTAINER = "/v2/credentials"
_FORWARDED = ("x-forwarded-for", "forwarded", "via")
_ESTABLISHED = "01"
_PHRASES = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
}


class Request(NamedTuple):
    """The head of a request; names of headers are in lower case."""

    method: str
    path: str
    headers: Dict[str, str]


class _Answer(Exception):
    """What a request is answered."""

    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


class Endpoint:
    """Listens at the configured address and answers in threads of its own."""

    def __init__(self, settings: Metadata, credentials: RoleCredentials) -> None:
        self._settings = settings
        self._credentials = credentials
        self._users = {0, os.geteuid(), *settings.users}
        self._secret = secrets.token_bytes(32)
        self._token = _token_of(settings.token_file) if settings.token_file else ""
        self._places = {True: threading.BoundedSemaphore(KNOWN), False: threading.BoundedSemaphore(STRANGERS)}
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        self._listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            if settings.port:  # of a free port two could get the same with it, and the second to listen fails
                self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listening.bind((settings.host, settings.port))
            self._listening.listen(64)
        except OSError as error:
            self._listening.close()
            raise ConfigInvalid(
                "metadata: cannot listen at %s port %d: %s" % (settings.host, settings.port, reason(error))
            ) from None
        self.address: Tuple[str, int] = self._listening.getsockname()[:2]

    def start(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self._accept, name="metadata", daemon=True).start()
        log.info("metadata.listens", host=self.address[0], port=self.address[1])

    def close(self) -> None:
        """No more requests."""
        try:
            self._listening.shutdown(socket.SHUT_RDWR)  # ends the accept of the other thread
        except OSError:
            pass
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._listening.accept()
            except OSError as error:
                if self._listening.fileno() < 0:
                    return
                log.warning("metadata.not_accepted", reason=error)
                time.sleep(0.1)  # out of descriptors, most likely
                continue
            user = owner(peer[:2], connection.getsockname()[:2])
            place = self._places[user in self._users]
            if (user not in self._users and not self._token) or not place.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection, user, place), name="metadata", daemon=True).start()

    def _serve(self, connection: socket.socket, user: Optional[int], place: threading.BoundedSemaphore) -> None:
        try:
            _one_hop(connection)
            try:
                raise self.answer(_request(connection), user)
            except _Answer as answer:
                connection.settimeout(LIMIT_S)
                connection.sendall(_response(answer))
        except OSError:
            pass  # whoever asked went away
        except Exception as error:
            log.fault("metadata.broken", error)
        finally:
            connection.close()
            place.release()

    def answer(self, request: Request, user: Optional[int]) -> _Answer:
        """What a request of a user (None: nobody knows whose) is answered."""
        try:
            self._check(request)
            if request.path == CONTAINER:
                return self._for_container(request)
            if user not in self._users:
                raise _Answer(403, "This user may not ask: metadata.users in the agent's configuration says who may.")
            if request.path == _TOKEN:
                return self._new_token(request, user)
            return self._for_instance(request, user)
        except _Answer as refused:
            return refused
        except (Refused, Unreachable, OSError, ConfigInvalid) as error:
            log.warning("metadata.no_credentials", reason=error)
            return _Answer(503, "There are no credentials at the moment; the agent's log says why.")

    def _check(self, request: Request) -> None:
        """Raises an answer for a request that came by way of something else."""
        if any(name in request.headers for name in _FORWARDED):
            raise _Answer(403, "Requests that were forwarded are not answered.")
        host, port = self.address
        named = "[%s]" % host if ":" in host else host
        hosts = ["%s:%d" % (named, port), "localhost:%d" % port] + ([named, "localhost"] if port == 80 else [])
        # A page in a browser can give a name of its own to this address, but not this name to itself.
        if request.headers.get("host", "") not in hosts:
            raise _Answer(403, "The Host header does not name this address.")

    def _new_token(self, request: Request, user: int) -> _Answer:
        if request.method != "PUT":
            raise _Answer(405, "A token is asked for by PUT.")
        seconds = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds", "")
        if not (seconds.isdigit() and seconds.isascii() and len(seconds) < 6 and 1 <= int(seconds) <= LONGEST_S):
            raise _Answer(400, "X-aws-ec2-metadata-token-ttl-seconds is a number from 1 to %d." % LONGEST_S)
        ends = int(time.monotonic()) + int(seconds)
        return _Answer(
            200, "%d.%s" % (ends, self._seal(ends, user)), **{"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": seconds}
        )

    def _seal(self, ends: int, user: int) -> str:
        return hmac.new(self._secret, b"%d %d" % (ends, user), "sha256").hexdigest()

    def _for_instance(self, request: Request, user: int) -> _Answer:
        if request.method != "GET":
            raise _Answer(405, "Metadata are read by GET.")
        text, _, seal = request.headers.get("x-aws-ec2-metadata-token", "").partition(".")
        ends = int(text) if text.isdigit() and text.isascii() and len(text) < 16 else 0
        whole = seal.encode("latin-1", "replace")
        if not hmac.compare_digest(whole, self._seal(ends, user).encode("ascii")) or ends <= time.monotonic():
            raise _Answer(401, "A token is required: PUT %s gives one (IMDSv2)." % _TOKEN)
        role = self._credentials.joined.role_arn.rpartition("/")[2]
        if request.path in (_ROLES, _ROLES.rstrip("/")):
            return _Answer(200, role)
        if request.path == _REGION:
            return _Answer(200, self._credentials.joined.region)
        if request.path == _ROLES + role:
            said = {"Code": "Success", "LastUpdated": _moment(time.time()), "Type": "AWS-HMAC"}
            return _json(dict(said, **self._given()))
        raise _Answer(404, "There is nothing of this name.")

    def _for_container(self, request: Request) -> _Answer:
        given = request.headers.get("authorization", "").encode("latin-1", "replace")
        if not self._token or not hmac.compare_digest(given, self._token.encode("ascii")):
            raise _Answer(401, "The Authorization header does not have the token of metadata.token_file.")
        if request.method != "GET":
            raise _Answer(405, "Credentials are read by GET.")
        return _json(dict(self._given(), RoleArn=self._credentials.joined.role_arn))

    def _given(self) -> Dict[str, str]:
        granted = self._credentials.granted()
        keys = granted.credentials
        return {
            "AccessKeyId": keys.access_key_id,
            "SecretAccessKey": keys.secret_access_key,
            "Token": keys.session_token,
            "Expiration": _moment(granted.expires),
        }


def owner(peer: Tuple[str, int], here: Tuple[str, int]) -> Optional[int]:
    """The user id of whoever holds the other end of a connection on this machine; None when the kernel's tables do not have it.

    A connection that its holder has closed belongs to nobody, and the tables say root then: only open ones count.
    """
    if ":" in peer[0]:
        wanted = [("/proc/net/tcp6", _hex6(peer), _hex6(here))]
    else:
        wanted = [("/proc/net/tcp", _hex4(peer), _hex4(here)), ("/proc/net/tcp6", _mapped(peer), _mapped(here))]
    for path, theirs, ours in wanted:
        try:
            with open(path, encoding="ascii") as file:
                for line in file:
                    fields = line.split()
                    if fields[1:4] == [theirs, ours, _ESTABLISHED] and fields[9] != "0":
                        return int(fields[7])
        except (OSError, ValueError, IndexError):
            continue
    return None


def _hex4(end: Tuple[str, int]) -> str:
    return "%08X:%04X" % (struct.unpack("=I", socket.inet_aton(end[0]))[0], end[1])


def _mapped(end: Tuple[str, int]) -> str:
    return _hex6(("::ffff:" + end[0], end[1]))


def _hex6(end: Tuple[str, int]) -> str:
    words = struct.unpack("=4I", socket.inet_pton(socket.AF_INET6, end[0]))
    return "%08X%08X%08X%08X:%04X" % (*words, end[1])


def _one_hop(connection: socket.socket) -> None:
    """No answer passes a router: a container whose packets one forwards gets none."""
    if connection.family == socket.AF_INET6:
        connection.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 1)
    else:
        connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)


def _request(connection: socket.socket) -> Request:
    """The head of a request; none has a body. Raises an answer, or OSError when it does not arrive in time."""
    ends = time.monotonic() + LIMIT_S
    data = b""
    while b"\r\n\r\n" not in data:
        connection.settimeout(max(0.001, ends - time.monotonic()))
        block = connection.recv(MAX_HEAD)
        if not block:
            raise OSError("the request ended early")
        data += block
        if len(data) > MAX_HEAD:
            raise _Answer(400, "The request is longer than %d bytes." % MAX_HEAD)
    lines = data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    first = lines[0].split(" ")
    headers: Dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or name in headers or not name.strip() == name:
            raise _Answer(400, "The headers cannot be read.")
        headers[name] = value.strip()
    if len(first) != 3 or not first[2].startswith("HTTP/1."):
        raise _Answer(400, "This is not HTTP/1.1.")
    return Request(first[0], first[1], headers)


def _response(answer: _Answer) -> bytes:
    body = answer.text.encode("utf-8")
    head = ["HTTP/1.1 %d %s" % (answer.status, _PHRASES.get(answer.status, "Service Unavailable"))]
    stated = {
        "Content-Type": "text/plain",
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Cache-Control": "no-store",
    }
    stated.update(answer.headers)
    head += ["%s: %s" % pair for pair in stated.items()]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def _json(value: Dict[str, Any]) -> _Answer:
    return _Answer(200, json.dumps(value), **{"Content-Type": "application/json"})


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _token_of(path: str) -> str:
    """The token in a file, which is made when it is not there. Raises ConfigInvalid."""
    try:
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_durably(path, secrets.token_hex(32).encode("ascii"))
        with open(path, encoding="ascii") as file:
            token = file.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid("metadata.token_file: %s cannot be used: %s" % (path, error)) from None
    if len(token) < 32 or not token.isprintable() or " " in token:
        raise ConfigInvalid(
            "metadata.token_file: %s holds no token: one line of at least 32 characters without blanks" % path
        )
    return token
