"""The way of a request through the one port, in process: what is read of it, who is asked, what is answered and what is written down."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import hashlib
import json
from types import SimpleNamespace
from typing import Any

import pytest
from penstock_front import IAM, OBJECTS, PIPELINES, SESSION, STS, Stand, asked, signature

from penstock.wire import exchange
from penstock.wire.call import ANONYMOUS, Call
from penstock.wire.endpoint import Endpoint, _answer
from penstock.wire.errors import MissingAuthentication, ServiceError
from penstock.wire.http import OVERLOADED
from penstock.wire.invoke import _asked, authorize
from penstock.wire.message import ARRIVED, RequestHead, Response
from penstock.wire.regions import Scope, region_of_call
from penstock.wire.registry import Access, Operations
from penstock.wire.services import Service


async def test_what_is_no_http_is_left_alone():
    assert await asked(Stand(), scope={"type": "lifespan"}) is None


async def test_pages_are_served_below_their_prefix_only():
    app = Stand()
    served = []

    def page(name):
        async def serve(scope, _receive, _send):
            served.append((name, scope["path"]))

        return serve

    app.mounts = {"/v1/repos/": page("repos"), "/console/": page("console")}
    for path in ("/console", "/console/a", "/v1/repos/x/y", "/v1/repos"):
        await asked(app, "GET", path)
    assert served == [("console", "/console"), ("console", "/console/a"), ("repos", "/v1/repos/x/y"), ("repos", "/v1/repos")]  # fmt: skip
    status, _, body = await asked(app, "GET", "/v1/other") or ()
    assert (status, body) == (404, b"nothing is served below /v1\n")
    status, _, body = await asked(app, "GET", "/console/a", scope={OVERLOADED: True}) or ()
    assert (status, body) == (503, b"This server has as many connections as it can hold. Please try again later.\n")
    assert len(served) == 4


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_browser_at_the_root(method):
    assert await asked(Stand(), method, "/") == (302, {b"location": b"/console/", b"content-length": b"0"}, b"")


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (OSError(errno.ENOSPC, "full"), 503, b"a disk or the database takes no writes"),
        (OSError(errno.EMFILE, "files"), 503, b"a disk or the database takes no writes"),
        (OSError(errno.EACCES, "no"), 500, b"The server failed; its log says why.\n"),
        (ConnectionError("gone"), 500, b"The server failed"),
        (LookupError("passing"), 503, b"Try again later.\n"),
        (ValueError("x"), 500, b"The server failed"),
    ],
)
async def test_a_page_that_fails_says_whether_to_try_again(fault, status, said):
    app, sent = Stand(), []

    async def fails(_scope, _receive, _send):
        raise fault

    async def send(message):
        sent.append(message)

    app.mounts = {"/console/": fails}
    scope = {"type": "http", "method": "GET", "path": "/console/", "headers": []}
    await Endpoint(app, passing=(LookupError,))(scope, None, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == status
    assert said in sent[1]["body"]


class Stream:
    """A body that says how much of it was taken, and whether it was let go."""

    def __init__(self) -> None:
        self.taken = 0
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.taken == 5:
            raise StopAsyncIteration
        self.taken += 1
        await asyncio.sleep(0)
        return b"x"

    async def aclose(self):
        self.closed = True


@pytest.mark.parametrize(("method", "leaves", "taken"), [("GET", False, 5), ("HEAD", False, 0), ("GET", True, 2)])
async def test_how_far_a_stream_is_read(method, leaves, taken):
    sent, before = [], asyncio.all_tasks()

    async def send(message):
        sent.append(message)

    async def receive():
        if not leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    body = Stream()
    await _answer(send, Response(200, [], body), RequestHead(method, "/"), receive)  # type: ignore[arg-type]
    assert body.closed
    assert body.taken == taken if not leaves else body.taken < 5
    assert sent[-1] == {"type": "http.response.body", "body": b""}
    assert [message["more_body"] for message in sent[1:-1]] == [True] * body.taken
    for _ in range(10):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_a_short_answer_to_a_head_has_no_body():
    for method, body in (("HEAD", b""), ("GET", b"abc")):
        sent: list[dict[str, Any]] = []

        async def send(message, sent=sent):
            sent.append(message)

        await _answer(send, Response(200, [(b"content-length", b"3")], b"abc"), RequestHead(method, "/"))
        assert [message.get("body") for message in sent] == [None, body]


def serving(*known: Service, **handlers: Any) -> Stand:
    """An application with operations (`sts_AssumeRoleWithWebIdentity=handler`), the unsigned ones of STS for everybody."""
    app = Stand(*known)
    for name, handler in handlers.items():
        service, _, operation = name.partition("_")
        table = Operations(service)
        access = Access.UNSIGNED if service == "sts" else Access.AUTHENTICATED
        table.operation(operation, access=access)(handler)
        app.registry.add(table)
    return app


@pytest.mark.parametrize(
    ("limit", "method", "path", "query", "headers"),
    [
        (10 << 20, "POST", "/", "", {"x_amz_target": "CodePipeline_20150709.ListPipelines"}),
        (10 << 20, "POST", "/", "", {"x_amz_target": "CodePipeline_20150709.Nonsense"}),
        (10 << 20, "POST", "/", "", {"x_amz_target": "Nothing.Known"}),
        (10 << 20, "POST", "/service/CodePipeline_20150709/operation/GetPipeline", "", {"smithy_protocol": "rpc-v2-cbor"}),
        (4 << 20, "PUT", "/bucket", "tagging", {}),
        (1 << 20, "POST", "/", "", {"content_type": "application/x-www-form-urlencoded"}),
    ],
)  # fmt: skip
async def test_how_large_a_request_may_be(limit, method, path, query, headers):
    app = Stand(PIPELINES, IAM, OBJECTS)
    status, _, said = await asked(app, method, path, query, content_length=str(limit + 1), **headers) or ()
    too_large = (400, b"MaxMessageLengthExceeded") if path == "/bucket" else (413, b"RequestEntityTooLarge")
    assert status == too_large[0]
    assert too_large[1] in said
    status, _, said = (
        await asked(app, method, path, query, body=b"Action=X", content_length=str(limit), **headers) or ()
    )
    assert status in (400, 403)
    assert too_large[1] not in said


async def test_nothing_is_read_for_a_key_that_nobody_has():
    app = Stand(PIPELINES)
    headers = {"x_amz_target": "CodePipeline_20150709.ListPipelines"}
    signed = signature("codepipeline", key="AKIDUNKNOWN", body=b"{}", **headers)
    # Its length is more than is read of what an early answer leaves.
    status, more, body = await asked(app, body=None, **signed | {"content_length": "2000000"}) or ()
    assert (status, json.loads(body)["__type"]) == (400, "UnrecognizedClientException")
    assert more[b"connection"] == b"close"
    assert app.credentials_asked == ["AKIDUNKNOWN"]
    assert [(line["status"], line["code"], line["account"]) for line in app.logged] == [
        (400, "UnrecognizedClientException", "")
    ]


async def test_a_signed_call_is_answered_and_written_down():
    async def listed(call: Call[Any], input):
        seen.append((call.account, call.region, call.via, call.source_ip, call.now, call.request_id, call.virtual_host))
        return {"pipelines": []}

    seen: list[Any] = []
    app = serving(PIPELINES, codepipeline_ListPipelines=listed)
    headers = {"x_amz_target": "CodePipeline_20150709.ListPipelines"}
    signed = signature("codepipeline", body=b"{}", region="eu-west-1", **headers)
    status, more, body = await asked(app, body=b"{}", **signed) or ()
    assert (status, body, more[b"x-amzn-requestid"]) == (200, b'{"pipelines":[]}', b"the-id")
    assert seen == [("1" * 12, "eu-west-1", "http", "10.0.0.1", 5, "the-id", False)]
    [line] = app.logged
    line.pop("began")
    assert line == {
        "at": 5, "id": "the-id", "service": "codepipeline", "operation": "ListPipelines", "region": "eu-west-1", "status": 200, "code": "",
        "via": "http", "source": "10.0.0.1", "account": "1" * 12,
    }  # fmt: skip


async def test_an_unknown_operation_is_named_nowhere_but_in_its_answer():
    app = Stand(PIPELINES)
    headers = {"x_amz_target": "CodePipeline_20150709.Nonsense"}
    status, _, body = await asked(app, body=b"{}", **signature("codepipeline", body=b"{}", **headers)) or ()
    assert (status, json.loads(body)["__type"]) == (400, "UnknownOperationException")
    assert [(line["service"], line["operation"]) for line in app.logged] == [("codepipeline", "")]
    headers = {"x_amz_target": "Sqs." + "x" * 300}
    status, _, body = await asked(app, body=b"{}", **signature("sqs", body=b"{}", **headers)) or ()
    assert status == 501
    assert json.loads(body)["message"].startswith(f"Penstock does not serve sqs:{'x' * 200} yet;")


async def test_a_scope_must_be_that_of_the_service():
    app = Stand(PIPELINES, IAM)
    headers = {"x_amz_target": "CodePipeline_20150709.ListPipelines"}
    status, _, body = await asked(app, body=b"{}", **signature("iam", body=b"{}", **headers)) or ()
    assert status == 400
    assert json.loads(body)["message"] == "Credential should be scoped to correct service: 'codepipeline'. "


@pytest.mark.parametrize(("size", "beside"), [(65_536, 0), (65_537, 1)])
async def test_only_large_inputs_are_understood_beside_the_loop(monkeypatch, size, beside):
    runs = []

    async def run(work, *arguments):
        runs.append(work)
        return work(*arguments)

    async def answer(call, input):
        assert call.session is ANONYMOUS
        return {}

    monkeypatch.setattr(exchange.BODIES, "run", run)
    app = serving(STS, sts_AssumeRoleWithWebIdentity=answer)
    start = b"Version=2011-06-15&Action=AssumeRoleWithWebIdentity&RoleSessionName=name&RoleArn=arn:aws:iam::111111111111:role/x&WebIdentityToken=abcd&X="
    body = start.ljust(size, b"x")
    form = {"content_type": "application/x-www-form-urlencoded", "content_length": str(size)}
    status, _, text = await asked(app, body=body, **form, scope={ARRIVED: True}) or ()
    assert (status, len(runs)) == (200, beside), text


@pytest.mark.parametrize(("size", "beside"), [(65_536, 0), (65_537, 1)])
async def test_only_large_bodies_are_hashed_beside_the_loop(monkeypatch, size, beside):
    runs = []

    async def run(work, *arguments):
        runs.append(work)
        return work(*arguments)

    monkeypatch.setattr(exchange.BODIES, "run", run)
    assert await exchange._sha256(bytes(size)) == hashlib.sha256(bytes(size)).hexdigest()
    assert len(runs) == beside


async def test_a_query_call_without_an_action_says_so():
    status, _, body = await asked(Stand(IAM), content_type="application/x-www-form-urlencoded") or ()
    assert status == 400
    assert b"The request names no Action that is served here." in body


async def test_a_form_of_a_browser_is_not_taken_for_something_else():
    status, _, body = (
        await asked(Stand(OBJECTS), "POST", "/bucket", content_type="Multipart/Form-Data; boundary=x") or ()
    )
    assert status == 501
    assert b"Penstock does not serve s3:PostObject" in body
    status, *_ = await asked(Stand(OBJECTS), "POST", "/bucket", content_type="text/plain") or ()
    assert status == 403


@pytest.mark.parametrize(
    ("input", "keys"),
    [
        ({}, {}),
        ({"tags": {"A": "1"}}, {"aws:requesttag/a": "1", "aws:tagkeys": ("A",)}),
        ({"Tags": [{"Key": "A", "Value": "1"}]}, {"aws:requesttag/a": "1", "aws:tagkeys": ("A",)}),
        ({"tags": [{"key": "A"}]}, {"aws:requesttag/a": "", "aws:tagkeys": ("A",)}),
        ({"Tags": [{"TagKey": "A", "TagValue": "1"}]}, {"aws:requesttag/a": "1", "aws:tagkeys": ("A",)}),
        ({"TagKeys": ["A", "B"]}, {"aws:tagkeys": ("A", "B")}),
        ({"tagKeys": ["A"], "tags": {"B": "2"}}, {"aws:requesttag/b": "2", "aws:tagkeys": ("B", "A")}),
    ],
)
def test_condition_keys_of_a_request(input, keys):
    operation = SimpleNamespace(keys=None)
    assert _asked(operation, None, input) == keys  # type: ignore[arg-type]
    operation = SimpleNamespace(keys=lambda _call, given: {"s:own": str(len(given)), "aws:tagkeys": "mine"})
    assert _asked(operation, None, input) == keys | {"s:own": str(len(input)), "aws:tagkeys": "mine"}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("access", "session", "resource", "asked"),
    [
        (Access.UNSIGNED, ANONYMOUS, "*", []),
        (Access.AUTHENTICATED, SESSION, "*", []),
        (Access.AUTHENTICATED, ANONYMOUS, "*", MissingAuthentication),
        (Access.POLICY, SESSION, "*", [("s:Get", ("*",))]),
        (Access.POLICY, SESSION, lambda _call, given: f"arn:{given['name']}", [("s:Get", ("arn:x",))]),
        (Access.POLICY, SESSION, lambda _call, _given: ["a", "b"], [("s:Get", ["a", "b"])]),
        (Access.POLICY, SESSION, "later", [("s:Get", ("arn:later",))]),
        (Access.POLICY, SESSION, "missing", [("s:Get", ("*",))]),
    ],
)
async def test_who_is_asked_before_an_operation_runs(access, session, resource, asked):
    seen = []

    async def allow(_call, action, resources):
        seen.append((action, resources))

    async def later(_call, _input):
        return "arn:later"

    def missing(_call, _input):
        raise ServiceError("there is none")

    operations = Operations("s")
    how = {"later": later, "missing": missing}.get(resource, resource) if isinstance(resource, str) else resource
    operations.operation("Get", access=access, resource=how)(allow)  # type: ignore[arg-type]
    (operation,) = operations
    call: Any = SimpleNamespace(
        session=session, memo={}, app=SimpleNamespace(identity=SimpleNamespace(authorize=allow))
    )
    expected = asked if isinstance(asked, type) else ServiceError if resource == "missing" else None
    with pytest.raises(expected) if expected else contextlib.nullcontext():
        await authorize(operation, call, {"name": "x"})
    assert seen == ([] if isinstance(asked, type) else asked)
    assert ("asked" in call.memo) is (access is Access.POLICY and not expected)


@pytest.mark.parametrize(
    ("scope", "region", "works_in"),
    [
        (Scope.REGIONAL, "eu-west-1", "eu-west-1"),
        (Scope.REGIONAL, "us-east-1", None),
        (Scope.BOTH, "us-east-1", "us-east-1"),
        (Scope.BOTH, "eu-west-1", "eu-west-1"),
        (Scope.GLOBAL, "us-east-1", "us-east-1"),
        (Scope.GLOBAL, "eu-west-1", "us-east-1"),
        (Scope.GLOBAL, "eu-west-9", None),
    ],
)
def test_the_region_of_a_call(scope, region, works_in):
    if works_in:
        assert region_of_call(("eu-west-1", "eu-west-2"), scope, region) == works_in
        return
    with pytest.raises(exchange.SignatureMismatch, match=f"The region '{region}' is not configured .* configured are: eu-west-1, eu-west-2$"):  # fmt: skip
        region_of_call(("eu-west-1", "eu-west-2"), scope, region)


@pytest.mark.parametrize(
    ("md5", "own", "status"),
    [(hashlib.md5, False, 200), (hashlib.sha256, False, 400), (hashlib.sha256, True, 200)],
)
async def test_digests_in_headers_are_of_the_body_unless_the_operation_says_otherwise(md5, own, status):
    async def put(call, input):
        return {}

    app = Stand(OBJECTS)
    table = Operations("s3")
    table.operation("PutBucketTagging", access=Access.AUTHENTICATED, own_digests=own)(put)
    app.registry.add(table)
    body = b"<Tagging><TagSet/></Tagging>"
    headers = {
        "content_md5": base64.b64encode(md5(body).digest()[:16]).decode(),
        "x_amz_content_sha256": hashlib.sha256(body).hexdigest(),
    }
    signed = signature("s3", body=body, method="PUT", path="/bucket?tagging", **headers)
    answer = await asked(app, "PUT", "/bucket", "tagging", body, **signed) or ()
    assert answer[0] == status, answer[2]
    assert (b"BadDigest" in answer[2]) is (status == 400)
