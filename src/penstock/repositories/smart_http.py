"""Git's smart HTTP protocol below /v1/repos/NAME, spoken by git's own upload-pack and receive-pack.

Requests are spooled to disk before git sees them and answers of a fetch are streamed, so memory is constant and a slow
client holds up nobody. The answer to a push is held back until what it changed is written and published.
(git: Documentation/gitprotocol-http.)
"""

from __future__ import annotations

import asyncio
import logging
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from penstock.pools import FILES
from penstock.repositories import access, pktline
from penstock.repositories.addresses import PREFIX, named, right_address
from penstock.repositories.changes import Changes, RepositoryBusy, RepositoryGone
from penstock.repositories.git import GitFailed, GitMissing
from penstock.repositories.names import is_repository_name
from penstock.repositories.spooling import ClientLeft, Unreadable, spool
from penstock.store.errors import StoreError
from penstock.store.failpoints import failpoint
from penstock.wire.asgi import Receive, Send, client_left, send_text
from penstock.wire.call import ANONYMOUS, Origin, Session, partition_of
from penstock.wire.errors import ExpiredSession, Refused
from penstock.wire.message import AUTHORIZATION_HEADER, client_address
from penstock.wire.recording import identity_of

if TYPE_CHECKING:
    from penstock.application import App


_ROUTE = re.compile(r"/v1/repos/([^/]+)/(info/refs|git-upload-pack|git-receive-pack)")
_PROTOCOL = re.compile(r"version=[0-2]")
_ACTIONS = {"git-upload-pack": "codecommit:GitPull", "git-receive-pack": "codecommit:GitPush"}
_MAX_FETCH = 64 << 20  # bytes of a fetch's wishes: haves of a repository with a million commits fit
# What git says when the machine or the repository is at fault. Whatever else it dies of before it answers is the request's fault.
_OURS = re.compile(
    r"No space left|Cannot allocate|out of memory|Out of memory|Too many open files|Input/output error|Permission denied|"
    r"not appear to be a git repository|not a git repository|dubious ownership|cannot (?:fork|create|open|read)|"
    r"(?:unable|could not|failed) to |corrupt|packfile|bad (?:tree|object|commit)|missing (?:tree|blob|commit)"
)
_IDLE_SECONDS = 120.0  # a client that neither sends nor reads for so long is gone
_CHUNK = 64 << 10
_LIST_REFERENCES = b"0014command=ls-refs\n"  # how version 2 of the protocol asks for references, by POST too
_NO_CACHE = [
    (b"expires", b"Fri, 01 Jan 1980 00:00:00 GMT"),
    (b"pragma", b"no-cache"),
    (b"cache-control", b"no-cache, max-age=0, must-revalidate"),
]
_RECORDED = 100  # references of a push that its record names
_REFUSALS = {
    401: "AccessDenied",
    403: "AccessDenied",
    404: "RepositoryDoesNotExistException",
    503: "ServiceUnavailable",
}
_BUSY = "The repository cannot be served at the moment; try again."
_log = logging.getLogger("penstock.repositories")


class Answer(Exception):
    """A plain-text answer instead of Git's; git prints the text."""

    def __init__(
        self, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None, *, authorization: str = ""
    ) -> None:
        """`authorization` is what is behind a denial, encoded."""
        super().__init__(text)
        self.status = status
        self.headers = headers or []
        self.authorization = authorization
        if authorization:
            self.headers.append((AUTHORIZATION_HEADER, authorization.encode()))


@dataclass(slots=True)
class _Exchange:
    scope: dict[str, Any]
    receive: Receive
    send: Send
    headers: dict[str, str]
    name: str
    path: str  # of the repository, as the client wrote it
    action: str  # info/refs or the service
    session: Session = ANONYMOUS
    region: str = ""
    operation: str = ""  # GitPull or GitPush
    references: Sequence[dict[str, str]] = ()  # of a push
    recorded: bool = False
    started: bool = False

    async def start(self, content_type: str) -> None:
        await self.send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", content_type.encode()), *_NO_CACHE],
            }
        )
        self.started = True

    async def write(self, body: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(_IDLE_SECONDS):
            await self.send({"type": "http.response.body", "body": body, "more_body": more})


class GitServer:
    """The ASGI application of the repositories."""

    def __init__(self, app: App, changes: Changes) -> None:
        self._app = app
        self.changes = changes

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        exchange = _Exchange(scope, receive, send, headers, "", "", "")
        began, status = time.perf_counter(), 500
        try:
            await self._serve(exchange)
            status = 200
        except Answer as answer:
            status = answer.status
            self._record(exchange, answer)
            await _refuse(send, answer)
        except ClientLeft:
            status = 499
        except (GitFailed, GitMissing, StoreError, RepositoryBusy, TimeoutError) as error:
            _log.warning("repositories.request_failed", exc_info=error, extra={"path": scope["path"]})
            if exchange.started:
                raise  # the connection breaks, and git says so: half an answer must not look like a complete one
            status = 503 if isinstance(error, StoreError | RepositoryBusy) else 500
            refused = Answer(status, _BUSY)
            self._record(exchange, refused)
            await _refuse(send, refused)
        finally:
            self._app.requests.add(
                exchange.session,
                at=self._app.clock.now(),
                id=self._app.ids.uuid(),
                service="codecommit",
                operation=exchange.operation,
                region=exchange.region,
                status=status,
                code="",
                began=began,
                via="git",
                source=client_address(scope),
            )

    def _record(self, exchange: _Exchange, refused: Answer | None = None) -> None:
        """Record a pull, a push, or that one was refused. Asking for references, which both begin with, is neither."""
        if exchange.session is ANONYMOUS or exchange.recorded:
            return
        exchange.recorded = True
        session, reads = exchange.session, exchange.operation == "GitPull"
        record: dict[str, Any] = {
            "userIdentity": identity_of(session),
            "eventSource": "codecommit.amazonaws.com",
            "eventName": exchange.operation,
            "sourceIPAddress": client_address(exchange.scope),
            "userAgent": exchange.headers.get("user-agent", "")[:1024],
        }
        if refused is not None:
            record["errorCode"] = _REFUSALS.get(refused.status, "InvalidRequest")
            record["errorMessage"] = str(refused)
        region = exchange.region or self._app.settings.region
        arn = f"arn:{partition_of(region)}:codecommit:{region}:{session.account}:{exchange.name}"
        more = {"protocol": "HTTPS", "repositoryName": exchange.name}
        if refused is not None and refused.authorization:
            more["encodedAuthorizationMessage"] = refused.authorization
        record |= {
            "requestParameters": {"references": list(exchange.references)} if exchange.references else None,
            "responseElements": None,
            "additionalEventData": more,
            "requestID": self._app.ids.uuid(),
            "readOnly": reads,
            "resources": [{"ARN": arn}],
            "eventType": "AwsApiCall",
        }
        self._app.records.event(self._app.clock.now(), record, account=session.account, region=region)

    async def _serve(self, exchange: _Exchange) -> None:
        scope = exchange.scope
        found = _ROUTE.fullmatch(scope["path"])
        if found is None:
            sentence = right_address(self._app, named(scope["path"]))
            raise Answer(404, f"{sentence} It is served by git's smart protocol only.")
        exchange.name, exchange.action = found[1], found[2]
        exchange.path = f"{PREFIX}{exchange.name}"
        service = _service(exchange)
        row = await self._admit(exchange, _ACTIONS[service])
        folder = str(self.changes.path(row))
        version = _PROTOCOL.match(exchange.headers.get("git-protocol", ""))
        protocol = {"GIT_PROTOCOL": version[0]} if version else {}
        if exchange.action == "info/refs":
            await self._advertise(exchange, service, folder, protocol)
            return
        if service == "git-receive-pack" and not self._app.records.trail.takes_lines():
            raise Answer(503, _BUSY)  # what cannot be recorded is not done
        limit = self.changes.git.max_push if service == "git-receive-pack" else _MAX_FETCH
        self.changes.temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.changes.temporary, prefix="git-") as body:
            encoding = exchange.headers.get("content-encoding", "identity")
            try:
                complete = await spool(exchange.receive, body, encoding=encoding, limit=limit, idle=_IDLE_SECONDS)
            except Unreadable as bad:
                raise Answer(bad.status, str(bad)) from None
            if service == "git-receive-pack":
                await self._push(exchange, row, body, exchange.session.arn, protocol, complete=complete)
            elif complete:
                if body.read(len(_LIST_REFERENCES)) != _LIST_REFERENCES:
                    self._record(exchange)
                await self._fetch(exchange, folder, body, protocol)
            else:
                raise Answer(413, f"The request is larger than {limit >> 20} MiB.")

    async def _admit(self, exchange: _Exchange, action: str) -> Any:
        """The repository's row, once the caller is known and may take `action`. Raises Answer."""
        exchange.operation = action.partition(":")[2]
        host = exchange.headers.get("host", "")
        app = self._app
        try:
            visitor = await access.visitor(
                app, authorization=exchange.headers.get("authorization", ""), host=host, path=exchange.path
            )
        except access.Unauthenticated as refused:
            challenge = [(b"www-authenticate", b'Basic realm="Penstock", charset="UTF-8"')]
            raise Answer(401, str(refused), challenge) from None
        exchange.session = visitor.session
        if not is_repository_name(exchange.name):  # nothing has such a name, and policies are not asked about it
            raise Answer(404, f"repository {exchange.name} does not exist. {right_address(app, exchange.name)}")
        row, exchange.region = await access.repository(app, visitor, exchange.name)
        origin = Origin(
            via="git",
            source_ip=client_address(exchange.scope),
            secure=exchange.scope.get("scheme") == "https",
            user_agent=exchange.headers.get("user-agent", ""),
        )
        try:
            await access.authorize(
                app, visitor, action=action, name=exchange.name, region=exchange.region, origin=origin
            )
        except Refused as refused:
            raise Answer(
                401 if isinstance(refused, ExpiredSession) else 403,
                refused.message,
                authorization=refused.authorization,
            ) from None
        if row is None:
            raise Answer(
                404,
                f"repository {exchange.name} does not exist in {' or '.join(visitor.regions)} of account {visitor.session.account}."
                f" This makes it: aws codecommit create-repository --repository-name {exchange.name}",
            )
        return row

    async def _advertise(self, exchange: _Exchange, service: str, folder: str, protocol: dict[str, str]) -> None:
        head = (
            b""
            if protocol.get("GIT_PROTOCOL") == "version=2" and service == "git-upload-pack"
            else (pktline.pkt(f"# service={service}\n".encode()) + b"0000")
        )
        arguments = (service.removeprefix("git-"), "--stateless-rpc", "--advertise-refs", folder)
        await self._stream(
            exchange, arguments, f"application/x-{service}-advertisement", environment=protocol, head=head
        )

    async def _fetch(self, exchange: _Exchange, folder: str, body: IO[bytes], protocol: dict[str, str]) -> None:
        arguments = ("upload-pack", "--stateless-rpc", "--timeout=600", folder)
        try:
            await self._stream(
                exchange, arguments, "application/x-git-upload-pack-result", environment=protocol, stdin=body
            )
        except GitFailed as failed:
            if exchange.started or "fatal: " not in str(failed) or _OURS.search(str(failed)):
                raise
            raise Answer(400, "The request of the fetch cannot be read.") from None

    async def _stream(
        self,
        exchange: _Exchange,
        arguments: tuple[str, ...],
        content_type: str,
        *,
        environment: dict[str, str],
        stdin: IO[bytes] | None = None,
        head: bytes = b"",
    ) -> None:
        """Send what git prints, as fast as the client reads it."""
        git = self.changes.git
        async with git.running(*arguments, environment=environment, stdin=stdin) as child:
            assert child.stdout is not None
            left = asyncio.ensure_future(client_left(exchange.receive))
            ending = asyncio.ensure_future(git.finish(child))
            try:
                first = await _unless(left, child.stdout.read(_CHUNK))
                if not first:
                    code, complaint = await ending
                    if code != 0:
                        raise GitFailed(complaint or f"git ended with code {code}")
                await exchange.start(content_type)
                await exchange.write(head + first)
                while chunk := await _unless(left, child.stdout.read(_CHUNK)):
                    await exchange.write(chunk)
                code, complaint = await ending
                if code != 0:
                    raise GitFailed(complaint or f"git ended with code {code}")
                await exchange.write(b"", more=False)
            finally:
                left.cancel()
                ending.cancel()

    async def _push(
        self, exchange: _Exchange, row: Any, body: IO[bytes], caller: str, protocol: dict[str, str], *, complete: bool
    ) -> None:
        try:
            push = await FILES.run(pktline.read_push, body)
        except pktline.BadPush as bad:
            raise Answer(400, str(bad)) from None
        complaints = {command.reference: said for command in push.commands if (said := command.complaint())}
        exchange.references = [
            {"ref": command.reference.decode("utf-8", "replace"), "beforeSHA1": command.old, "afterSHA1": command.new}
            for command in push.commands[:_RECORDED]
        ]
        if not push.commands:  # how git asks, before a large push, whether it may
            report = b""
        elif not complete:
            report = push.refusal({}, f"a push may have {self.changes.git.max_push >> 20} MiB at most")
        elif complaints:
            report = push.refusal(complaints, "another reference of this push was refused")
        else:
            try:
                report = await self._receive_pack(row, body, caller, protocol)
            except RepositoryGone:
                raise Answer(404, f"repository {exchange.name} does not exist") from None
        if push.commands:
            self._record(exchange)  # before its client hears of it
        try:
            await exchange.start("application/x-git-receive-pack-result")
            if isinstance(report, bytes):
                await exchange.write(report, more=False)
                return
            while chunk := await FILES.run(report.read, _CHUNK):
                await exchange.write(chunk)
            await exchange.write(b"", more=False)
        finally:
            if not isinstance(report, bytes):
                report.close()

    async def _receive_pack(self, row: Any, body: IO[bytes], caller: str, protocol: dict[str, str]) -> IO[bytes]:
        """Run receive-pack; its answer, which is true by now: what it changed has been published."""
        answer = tempfile.TemporaryFile(dir=self.changes.temporary, prefix="git-")  # noqa: SIM115 - sent by the caller
        folder = str(self.changes.path(row))
        git = self.changes.git
        try:
            async with self.changes.changing(row, caller) as lock:
                running = git.running(
                    "receive-pack", "--stateless-rpc", folder,
                    environment=protocol, stdin=body, stdout=answer, keep=(lock,), bounded=True,
                )  # fmt: skip
                async with running as child:
                    failpoint("repositories.receiving")
                    # Refused references are in git's report to its client; its exit code says nothing that we could add.
                    _, complaint = await git.finish(child)
                    if complaint:
                        _log.info("repositories.push_complaint", extra={"repository": row.name, "said": complaint})
            answer.seek(0)
            _log.info("repositories.pushed", extra={"repository": row.name, "account": row.account, "caller": caller})
        except BaseException:
            answer.close()
            raise
        return answer


def _service(exchange: _Exchange) -> str:
    """Which of git's two services is meant. Raises Answer."""
    method = exchange.scope["method"]
    if exchange.action == "info/refs":
        if method not in ("GET", "HEAD"):
            raise Answer(405, "info/refs is read by GET.", [(b"allow", b"GET")])
        query = exchange.scope.get("query_string", b"").decode("latin-1")
        named = re.search(r"(?:^|&)service=(git-(?:upload|receive)-pack)(?:&|$)", query)
        if named is None:
            raise Answer(403, "This server speaks git's smart protocol only; git 1.6.6 and later do.")
        return named[1]
    if method != "POST":
        raise Answer(405, f"{exchange.action} is written by POST.", [(b"allow", b"POST")])
    if exchange.headers.get("content-type") != f"application/x-{exchange.action}-request":
        raise Answer(415, f"The content type must be application/x-{exchange.action}-request.")
    return exchange.action


async def _unless(left: asyncio.Future[None], reading: Any) -> bytes:
    """Await `reading`, unless the client leaves first. Raises ClientLeft."""
    task = asyncio.ensure_future(reading)
    await asyncio.wait((task, left), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        return task.result()
    task.cancel()
    raise ClientLeft


async def _refuse(send: Send, answer: Answer) -> None:
    await send_text(send, answer.status, f"{answer}\n", *_NO_CACHE, *answer.headers)
