"""The command service (`codedeploy-commands`, JSON 1.1) as the agent uses it, and the errors that it tells apart."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from typing import Any, Callable, Dict, List, Optional

from penstock_agent import __version__, log
from penstock_agent.connection import Connection, Pool, Response, Unreachable
from penstock_agent.sigv4 import EMPTY_SHA256, Credentials, encode_path, encode_query, sign

TARGET = "CodeDeployCommandService_v20141006"
SIGNING_NAME = "codedeploy-commands"
MAX_ANSWER_BYTES = 1024 * 1024
POLL_TIMEOUT_S = 80.0  # the service holds a poll up to a minute
CALL_TIMEOUT_S = 30.0
USER_AGENT = "penstock-agent/%s Python/%s" % (__version__, ".".join(map(str, sys.version_info[:3])))

# About who asks, not about what was asked: worth another try after someone has mended the key or the clock.
_ABOUT_THE_CALLER = (
    "AccessDenied",
    "ExpiredToken",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignature",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "OptInRequired",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "UnrecognizedClient",
)


class Refused(Exception):
    """The service understood and said no: `code` is its error, `status` the HTTP status."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__("%s: %s" % (code, message) if message else code)
        self.code = code
        self.message = message
        self.status = status

    @property
    def about_the_caller(self) -> bool:
        """Whether it is about who asks, not about what was asked."""
        return self.code.startswith(_ABOUT_THE_CALLER)

    @property
    def passing(self) -> bool:
        """Whether the same request may be answered later: throttled, a fault of the server, or about the key."""
        return (
            (self.status >= 500 and self.status != 501)
            or self.status == 429
            or self.code.startswith(("Throttl", "TooManyRequests", "SlowDown"))
            or self.about_the_caller
        )


class Signer:
    """Signs with the host's key; learns the server's clock when ours is refused."""

    def __init__(self, credentials: Callable[[], Credentials], region: str) -> None:
        self.credentials = credentials
        self.region = region
        self.offset_s = 0.0

    def headers(
        self, method: str, path: str, query: str, headers: Dict[str, str], payload_sha256: str, service: str
    ) -> Dict[str, str]:
        """The headers of a signed request."""
        return sign(
            method,
            path,
            query,
            headers,
            payload_sha256=payload_sha256,
            credentials=self.credentials(),
            region=self.region,
            service=service,
            now=time.time() + self.offset_s,
        )

    def learn(self, response: Response) -> bool:
        """Take over the server's time after a refusal when it is more than two minutes away from ours."""
        offset = other_clock(response, self.offset_s)
        if offset is None:
            return False
        self.offset_s = offset
        return True


def other_clock(response: Response, offset_s: float) -> Optional[float]:
    """How far the server's clock is from ours in seconds, when that is more than two minutes from `offset_s`; else None."""
    import calendar

    try:
        theirs = calendar.timegm(time.strptime(response.headers.get("date", ""), "%a, %d %b %Y %H:%M:%S GMT"))
    except ValueError:
        return None
    offset = theirs - time.time()
    if abs(offset - offset_s) < 120:
        return None
    log.warning("clock.differs", seconds=int(offset))
    return offset


class CommandService:
    """The operations of the command service; every method raises Refused or Unreachable."""

    def __init__(self, pool: Pool, signer: Signer, host_identifier: str) -> None:
        self._pool = pool
        self._signer = signer
        self.host_identifier = host_identifier
        self._polling = Connection(pool.address, pool.context)

    def now_ms(self) -> int:
        """The time by which specifications expire: the host's, set right by the server where nobody else can have spoken for it."""
        offset_s = self._signer.offset_s if self._pool.address.private else 0.0
        return int((time.time() + offset_s) * 1000)

    def poll(self, running: List[str]) -> Optional[Dict[str, Any]]:
        """The next HostCommand, or None when it is missing. Held by the server; see `interrupt`.

        `running` are the identifiers of the commands that this agent has not reported on yet: a server of ours waits for no others,
        and AWS's does not read them.
        """
        body = {"HostIdentifier": self.host_identifier, "RunningCommands": running}
        answer = self._call(self._polling, "PollHostCommand", body, timeout_s=POLL_TIMEOUT_S)
        command = answer.get("HostCommand")
        return command if isinstance(command, dict) and command else None

    def interrupt(self) -> None:
        """End a held poll now (from a signal handler)."""
        self._polling.abort()

    def close(self) -> None:
        """No more calls."""
        self._polling.close()
        self._pool.close()

    def specification(self, execution_id: str) -> Dict[str, Any]:
        """GetDeploymentSpecification."""
        return self.call(
            "GetDeploymentSpecification",
            {"DeploymentExecutionId": execution_id, "HostIdentifier": self.host_identifier},
        )

    def call(self, operation: str, body: Dict[str, Any]) -> Dict[str, Any]:
        """Any operation, on a connection of the pool."""
        connection = self._pool.acquire()
        try:
            return self._call(connection, operation, body, timeout_s=CALL_TIMEOUT_S)
        finally:
            self._pool.release(connection)

    def _call(
        self, connection: Connection, operation: str, body: Dict[str, Any], *, timeout_s: float
    ) -> Dict[str, Any]:
        payload = json.dumps(body, separators=(",", ":")).encode("utf-8")
        path = self._pool.address.prefix + "/"
        digest = hashlib.sha256(payload).hexdigest()
        for attempt in (1, 2):
            headers = self._signer.headers(
                "POST",
                path,
                "",
                {
                    "host": self._pool.address.host,
                    "content-type": "application/x-amz-json-1.1",
                    "x-amz-target": TARGET + "." + operation,
                    "x-amz-codedeploy-agent-version": __version__,
                    "user-agent": USER_AGENT,
                },
                digest,
                SIGNING_NAME,
            )
            # What a second acknowledgement is answered depends on whether there was a first.
            once = operation == "PutHostCommandAcknowledgement"
            response = connection.request("POST", path, headers, payload, timeout_s, resend=not once)
            answer = response.read(MAX_ANSWER_BYTES)
            if response.status in (400, 401, 403) and attempt == 1 and self._signer.learn(response):
                continue
            return understood(response, answer)
        raise AssertionError("unreachable")


def understood(response: Response, data: bytes) -> Dict[str, Any]:
    """The JSON of an answer. Raises Refused for an error, Unreachable for what is no answer of a service."""
    try:
        document = json.loads(data.decode("utf-8")) if data.strip() else {}
    except ValueError:
        document = None
    if response.status in (200, 201):
        if not isinstance(document, dict):
            raise Unreachable("the answer is not a JSON object")
        return document
    fields = document if isinstance(document, dict) else {}
    code = str(fields.get("__type") or response.headers.get("x-amzn-errortype") or "HTTP%d" % response.status)
    message = fields.get("message") or fields.get("Message") or ""
    raise Refused(code.rsplit("#", maxsplit=1)[-1].split(":", maxsplit=1)[0], str(message)[:500], response.status)


class Objects:
    """GetObject of S3, path style (or the bucket in the host name when asked)."""

    def __init__(self, pool: Pool, signer: Signer, context: Any = None, *, virtual_host: bool = False) -> None:
        self._pool = pool
        self._signer = signer
        self._context = context
        self._virtual_host = virtual_host

    @property
    def private(self) -> bool:
        """Whether nobody between here and there can change what is downloaded."""
        return self._pool.address.private

    def get(self, bucket: str, key: str, version: str, take: Callable[[Response], None]) -> None:
        """Hand the answer of GetObject to `take`, which reads its blocks.

        Raises:
            Refused: S3's error (`NoSuchKey`, `AccessDenied` …).
            Unreachable: no answer, or one that ended early.
        """
        from penstock_agent.connection import Address

        address = self._pool.address
        path = address.prefix + "/" + encode_path(bucket + "/" + key)
        pool = self._pool
        if self._virtual_host:
            scheme, _, rest = address.url.partition("://")
            pool = Pool(Address(scheme + "://" + bucket + "." + rest), self._context, keep=0)
            path = address.prefix + "/" + encode_path(key)
        query = encode_query([("versionId", version)]) if version else ""
        for attempt in (1, 2):
            headers = self._signer.headers(
                "GET", path, query, {"host": pool.address.host, "user-agent": USER_AGENT}, EMPTY_SHA256, "s3"
            )
            connection = pool.acquire()
            try:
                target = path + ("?" + query if query else "")
                response = connection.request("GET", target, headers, b"", CALL_TIMEOUT_S)
                if response.status == 200:
                    take(response)
                    return
                data = response.read(MAX_ANSWER_BYTES)
                if response.status in (400, 401, 403) and attempt == 1 and self._signer.learn(response):
                    continue
                raise _s3_error(response, data)
            finally:
                pool.release(connection)


def _s3_error(response: Response, data: bytes) -> Refused:
    def element(name: str) -> str:
        _, found, rest = data.decode("utf-8", "replace").partition("<" + name + ">")
        return rest.partition("</" + name + ">")[0][:500] if found else ""

    return Refused(element("Code") or "HTTP%d" % response.status, element("Message"), response.status)
