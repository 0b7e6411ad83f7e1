"""The Git endpoint: which service is meant, how each request ends, and what a push is answered."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tempfile
from types import SimpleNamespace
from typing import Any

import pytest
from penstock_git_child import ScriptedGit, nothing_runs_but

from penstock.repositories import smart_http
from penstock.repositories.changes import RepositoryBusy, RepositoryGone
from penstock.repositories.git import GitFailed, GitMissing
from penstock.repositories.pktline import pkt
from penstock.repositories.smart_http import Answer, GitServer
from penstock.repositories.spooling import ClientLeft
from penstock.store.errors import StoreUnavailable


@pytest.mark.parametrize(
    ("action", "method", "query", "kind", "answer"),
    [
        ("info/refs", "GET", "service=git-upload-pack", "", "git-upload-pack"),
        ("info/refs", "HEAD", "a=b&service=git-receive-pack&c", "", "git-receive-pack"),
        ("info/refs", "PUT", "service=git-upload-pack", "", (405, "info/refs is read by GET.", b"GET")),
        ("info/refs", "GET", "xservice=git-upload-pack", "", (403, "This server speaks git's smart protocol only; git 1.6.6 and later do.", b"")),
        ("info/refs", "GET", "service=git-upload-packs", "", (403, "This server speaks git's smart protocol only; git 1.6.6 and later do.", b"")),
        ("git-upload-pack", "GET", "", "", (405, "git-upload-pack is written by POST.", b"POST")),
        ("git-receive-pack", "POST", "", "application/x-git-upload-pack-request", (415, "The content type must be application/x-git-receive-pack-request.", b"")),
        ("git-receive-pack", "POST", "", "application/x-git-receive-pack-request", "git-receive-pack"),
    ],
)  # fmt: skip
def test_which_service_is_meant(action, method, query, kind, answer):
    scope = {"method": method, "query_string": query.encode()}
    exchange = SimpleNamespace(scope=scope, action=action, headers={"content-type": kind})
    if isinstance(answer, str):
        assert smart_http._service(exchange) == answer  # type: ignore[arg-type]
        return
    with pytest.raises(Answer) as refused:
        smart_http._service(exchange)  # type: ignore[arg-type]
    said = dict(refused.value.headers)
    assert (refused.value.status, str(refused.value), said.get(b"allow", b"")) == answer


async def served(error: BaseException | None, *, started: bool = False):
    """The status and text that are sent, and the status in the log, when serving ends with an error."""
    sent, logged = [], []

    async def send(message):
        sent.append(message)

    def add(_session, **line):
        logged.append(line)

    app = SimpleNamespace(
        requests=SimpleNamespace(add=add), clock=SimpleNamespace(now=lambda: 5), ids=SimpleNamespace(uuid=lambda: "u")
    )
    server = GitServer(app, None)  # type: ignore[arg-type]

    async def serve(exchange):
        exchange.started = started
        if error is not None:
            raise error

    server._serve = serve  # type: ignore[method-assign]
    scope = {"headers": [(b"host", b"h")], "path": "/v1/repos/x", "client": ("10.0.0.1", 5)}
    try:
        await server(scope, lambda: None, send)  # type: ignore[arg-type,return-value]
    finally:
        [line] = logged
        assert (line["via"], line["source"], line["at"], line["id"]) == ("git", "10.0.0.1", 5, "u")
    return (sent[0]["status"], sent[1]["body"].decode()) if sent else None, line["status"]


BUSY = "The repository cannot be served at the moment; try again.\n"


@pytest.mark.parametrize(
    ("error", "answer", "status"),
    [
        (None, None, 200),
        (Answer(403, "No."), (403, "No.\n"), 403),
        (ClientLeft(), None, 499),
        (StoreUnavailable("x"), (503, BUSY), 503),
        (RepositoryBusy(), (503, BUSY), 503),
        (GitFailed("x"), (500, BUSY), 500),
        (GitMissing("x"), (500, BUSY), 500),
        (TimeoutError(), (500, BUSY), 500),
    ],
)
async def test_every_end_of_a_request_is_answered_and_in_the_log(error, answer, status):
    assert await served(error) == (answer, status)


@pytest.mark.parametrize(("action", "limit"), [("git-upload-pack", 64 << 20), ("git-receive-pack", 5)])
async def test_how_much_of_a_request_is_taken(tmp_path, monkeypatch, action, limit):
    limits, sent = [], []

    async def spool(_receive, _body, **more):
        limits.append((more["limit"], more["idle"], more["encoding"]))
        return False

    async def admit(_exchange, _action):
        return "row"

    async def send(message):
        sent.append(message)

    monkeypatch.setattr(smart_http, "spool", spool)
    kept = SimpleNamespace(path=lambda _row: "x", temporary=tmp_path, git=SimpleNamespace(max_push=5))
    server = GitServer(SimpleNamespace(records=SimpleNamespace(trail=SimpleNamespace(takes_lines=lambda: True))), kept)  # type: ignore[arg-type]
    server._admit = admit  # type: ignore[method-assign]
    headers = {"content-type": f"application/x-{action}-request"}
    scope = {"path": f"/v1/repos/x/{action}", "method": "POST"}
    exchange = smart_http._Exchange(scope, None, send, headers, "", "", "")  # type: ignore[arg-type]
    if action == "git-upload-pack":
        with pytest.raises(Answer, match="The request is larger than 64 MiB") as refused:
            await server._serve(exchange)
        assert refused.value.status == 413
    else:
        await server._serve(exchange)
        assert [message.get("body") for message in sent] == [None, b""]
    assert limits == [(limit, 120.0, "identity")]


async def test_half_an_answer_breaks_off():
    with pytest.raises(GitFailed):
        await served(GitFailed("x"), started=True)


async def test_a_refusal_is_not_kept_by_caches():
    sent = []

    async def send(message):
        sent.append(message)

    await smart_http._refuse(send, Answer(405, "No.", [(b"allow", b"GET")]))
    assert sent[0]["headers"][2:] == [
        (b"expires", b"Fri, 01 Jan 1980 00:00:00 GMT"),
        (b"pragma", b"no-cache"),
        (b"cache-control", b"no-cache, max-age=0, must-revalidate"),
        (b"allow", b"GET"),
    ]


async def test_reading_ends_when_the_client_leaves():
    left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def read():
        return b"x"

    assert await smart_http._unless(left, read()) == b"x"
    left.set_result(None)
    before = asyncio.all_tasks()
    with pytest.raises(ClientLeft):
        await smart_http._unless(left, asyncio.Event().wait())
    await nothing_runs_but(before)


@pytest.mark.parametrize(
    ("printed", "complaint", "code", "sent"),
    [
        (b"", b"", 0, [b"HEAD", b""]),
        (b"ab", b"", 0, [b"HEADab", b""]),
        (b"", b"fatal: x", 1, []),
        (b"ab", b"", 2, [b"HEADab"]),
    ],
)
async def test_an_answer_is_complete_when_git_says_so(printed, complaint, code, sent):
    wrote = []

    async def send(message):
        wrote.append(message)

    async def receive():
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    server = GitServer(None, SimpleNamespace(git=ScriptedGit(printed, complaint, code)))  # type: ignore[arg-type]
    exchange = smart_http._Exchange({}, receive, send, {}, "x", "", "info/refs")  # type: ignore[arg-type]
    with pytest.raises(GitFailed, match="fatal: x|ended with code 2") if code else contextlib.nullcontext():
        await server._stream(exchange, ("a",), "text/x", environment={}, head=b"HEAD")
    assert [message["body"] for message in wrote if "body" in message] == sent
    assert [message["more_body"] for message in wrote if "body" in message] == [True] * (len(sent) - (not code)) + [
        False
    ] * (not code)
    assert exchange.started is bool(sent)
    await nothing_runs_but(before)


async def test_nothing_of_git_is_read_for_a_client_that_left():
    async def send(_message):
        pass

    async def receive():
        return {"type": "http.disconnect"}

    before = asyncio.all_tasks()
    server = GitServer(None, SimpleNamespace(git=ScriptedGit(ends=False)))  # type: ignore[arg-type]
    exchange = smart_http._Exchange({}, receive, send, {}, "x", "", "info/refs")  # type: ignore[arg-type]
    with pytest.raises(ClientLeft):
        await server._stream(exchange, ("a",), "text/x", environment={})
    await nothing_runs_but(before)


COMMAND = b"0" * 40 + b" " + b"1" * 40 + b" "


@pytest.mark.parametrize(
    ("references", "complete", "report"),
    [
        ([], True, b""),
        ([b"refs/heads/a"], False, b"ng refs/heads/a a push may have 2 MiB at most"),
        ([b"refs/heads/a", b"refs/heads/-b"], True, b"ng refs/heads/a another reference of this push was refused"),
        ([b"refs/heads/a"], True, b"the report of git"),
    ],
)
async def test_what_a_push_is_answered(references, complete, report):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive_pack(_row, _body, caller, protocol):
        assert (caller, protocol) == ("me", {"a": "b"})
        return io.BytesIO(b"the report of git")

    server = GitServer(None, SimpleNamespace(git=SimpleNamespace(max_push=2 << 20)))  # type: ignore[arg-type]
    server._receive_pack = receive_pack  # type: ignore[method-assign,assignment]
    lines = [pkt(COMMAND + name + b"\0report-status") for name in references]
    body = io.BytesIO(b"".join(lines) + b"0000")
    exchange = smart_http._Exchange({}, None, send, {}, "x", "", "git-receive-pack")  # type: ignore[arg-type]
    await server._push(exchange, "row", body, "me", {"a": "b"}, complete=complete)
    assert sent[0]["headers"][0] == (b"content-type", b"application/x-git-receive-pack-result")
    assert report in b"".join(message["body"] for message in sent[1:])
    assert [message["more_body"] for message in sent[1:]][-1] is False
    assert bool(b"".join(message["body"] for message in sent[1:])) is bool(report)


@pytest.mark.parametrize(
    ("body", "error", "status", "said"),
    [(b"zzzz", None, 400, "the list of references cannot be read"), (pkt(COMMAND + b"refs/heads/a") + b"0000", RepositoryGone(), 404, "repository x does not exist")],
)  # fmt: skip
async def test_pushes_that_are_none(body, error, status, said):
    async def receive_pack(*_):
        raise error

    server = GitServer(None, SimpleNamespace(git=SimpleNamespace(max_push=1)))  # type: ignore[arg-type]
    server._receive_pack = receive_pack  # type: ignore[method-assign]
    exchange = smart_http._Exchange({}, None, None, {}, "x", "", "git-receive-pack")  # type: ignore[arg-type]
    with pytest.raises(Answer, match=said) as refused:
        await server._push(exchange, "row", io.BytesIO(body), "me", {}, complete=True)
    assert refused.value.status == status
    assert exchange.started is False


@pytest.mark.parametrize("fails", [False, True])
async def test_what_receive_pack_says_is_given_back_when_it_is_true(tmp_path, monkeypatch, fails):
    steps: list[Any] = []
    opened: list[Any] = []
    real = tempfile.TemporaryFile

    def temporary(**more):
        opened.append(real(**more))
        return opened[-1]

    class Asked(ScriptedGit):
        @contextlib.asynccontextmanager
        async def running(self, *arguments, **more):
            steps.append((arguments[:2], more["keep"], more["bounded"]))
            more["stdout"].write(b"report")
            if fails:
                raise GitFailed("no")
            yield SimpleNamespace()

        async def finish(self, _child, **_more):
            steps.append("finished")
            return 1, "complaint"

    @contextlib.asynccontextmanager
    async def changing(_row, caller):
        steps.append(caller)
        try:
            yield 7
        finally:
            steps.append("published")

    monkeypatch.setattr(smart_http.tempfile, "TemporaryFile", temporary)
    kept: Any = SimpleNamespace(temporary=tmp_path, path=lambda _row: "folder", git=Asked(), changing=changing)
    row = SimpleNamespace(name="shop", account="1")
    taking = GitServer(None, kept)._receive_pack(row, io.BytesIO(), "me", {})  # type: ignore[arg-type]
    if fails:
        with pytest.raises(GitFailed):
            await taking
        assert opened[0].closed
        return
    answer = await taking
    assert answer.read() == b"report"
    assert steps == ["me", (("receive-pack", "--stateless-rpc"), (7,), True), "finished", "published"]
    answer.close()
