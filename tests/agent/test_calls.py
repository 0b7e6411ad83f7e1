"""What the agent asks of its services and understands of their answers, and the records that it keeps of commands."""

import json
import os
import time
from types import SimpleNamespace

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from penstock_agent import layout, service, sigv4, spool
from penstock_agent.connection import Address, Unreachable
from penstock_agent.layout import Layout
from penstock_agent.service import CommandService, Objects, Refused, understood
from penstock_agent.sigv4 import Credentials
from penstock_agent.spool import Spool

# --- answers ----------------------------------------------------------------------------------------------------------


def answer(status=200, **headers):
    return SimpleNamespace(status=status, headers=headers)


@pytest.mark.parametrize(
    ("code", "status", "passing"),
    [
        ("X", 400, False), ("X", 404, False), ("X", 428, False), ("X", 429, True), ("X", 430, False), ("X", 499, False),
        ("X", 500, True), ("X", 501, False), ("X", 502, True), ("X", 503, True),
        ("ThrottlingException", 400, True), ("TooManyRequestsException", 400, True), ("SlowDown", 400, True),
        ("AccessDeniedException", 400, True), ("ExpiredTokenException", 403, True), ("IncompleteSignature", 400, True),
        ("InvalidAccessKeyId", 403, True), ("InvalidClientTokenId", 403, True), ("InvalidSignatureException", 400, True),
        ("MissingAuthenticationToken", 403, True), ("NotAuthorized", 400, True), ("OptInRequired", 403, True),
        ("RequestExpired", 400, True), ("RequestTimeTooSkewed", 403, True), ("SignatureDoesNotMatch", 403, True),
        ("UnrecognizedClientException", 400, True), ("NotAccessDenied", 400, False),
    ],
)  # fmt: skip
def test_which_refusals_pass(code, status, passing):
    assert Refused(code, "", status).passing is passing


def test_a_refusal_in_words():
    assert str(Refused("Code", "why", 400)) == "Code: why"
    assert str(Refused("Code", "", 400)) == "Code"


@pytest.mark.parametrize("status", [200, 201])
def test_what_an_answer_is(status):
    assert understood(answer(status), b'{"a": 1}') == {"a": 1}
    for nothing in (b"", b" \n", b"{}"):
        assert understood(answer(status), nothing) == {}
    for other in (b"[]", b"x", b'"x"', b"\xff", b"1", b"null"):
        with pytest.raises(Unreachable, match="^the answer is not a JSON object$"):
            understood(answer(status), other)


@pytest.mark.parametrize(
    ("status", "headers", "data", "code", "message"),
    [
        (400, {}, b'{"__type": "com.amazon#Code:http://x", "message": "why"}', "Code", "why"),
        (400, {}, b'{"__type": "Code", "Message": "why"}', "Code", "why"),
        (403, {"x-amzn-errortype": "Code:x"}, b"{}", "Code", ""),
        (404, {}, b"[]", "HTTP404", ""),
        (202, {}, b"{}", "HTTP202", ""),
        (500, {}, b"<html>", "HTTP500", ""),
        (400, {}, json.dumps({"__type": "Code", "message": "x" * 501}).encode(), "Code", "x" * 500),
    ],
)
def test_what_a_refusal_is(status, headers, data, code, message):
    with pytest.raises(Refused) as refused:
        understood(answer(status, **headers), data)
    assert (refused.value.code, refused.value.message, refused.value.status) == (code, message, status)


def test_what_a_refusal_of_s3_is():
    told = service._s3_error(answer(404), b"<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>")
    assert (told.code, told.message, told.status) == ("NoSuchKey", "gone", 404)
    long = service._s3_error(answer(404), b"<Code>" + b"x" * 501 + b"</Code>")
    assert (long.code, long.message) == ("x" * 500, "")
    assert service._s3_error(answer(503), b"busy").code == "HTTP503"


@pytest.mark.parametrize(
    ("theirs", "offset", "learnt"),
    [(119, 0.0, None), (120, 0.0, 120), (-119, 0.0, None), (-120, 0.0, -120), (120, 100.0, None), (0, 120.0, 0)],
)
def test_a_clock_is_another_one_from_two_minutes_on(monkeypatch, theirs, offset, learnt):
    monkeypatch.setattr(service.time, "time", lambda: 1_800_000_000.0)
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(1_800_000_000 + theirs))
    assert service.other_clock(answer(403, date=date), offset) == learnt
    signer = service.Signer(None, "r")
    signer.offset_s = offset
    assert signer.learn(answer(403, date=date)) is (learnt is not None)
    assert signer.offset_s == (offset if learnt is None else learnt)
    for unreadable in ({}, {"date": "yesterday"}):
        assert service.other_clock(answer(403, **unreadable), 0.0) is None


# --- requests ---------------------------------------------------------------------------------------------------------


class Wire:
    """A pool and its connection, which keeps what is asked and gives its answers in turn."""

    def __init__(self, *answers):
        self.address = SimpleNamespace(prefix="/p", host="h", url="https://h/p", private=True)
        self.answers = list(answers)
        self.asked, self.acquired = [], 0
        self.context = None

    def acquire(self):
        self.acquired += 1
        return self

    def release(self, connection):
        assert connection is self
        self.acquired -= 1

    def request(self, method, path, headers, body, timeout_s, *, resend=True):
        self.asked.append((method, path, headers, body, timeout_s, resend))
        status, data = self.answers.pop(0)
        return SimpleNamespace(status=status, headers={}, read=lambda _most: data)


class Signer(service.Signer):
    """Signs, and learns another clock as often as it is told."""

    def __init__(self, learns=0):
        super().__init__(lambda: Credentials("A", "B"), "us-east-1")
        self.learns = learns

    def learn(self, _response):
        self.learns -= 1
        return self.learns >= 0


def called(pool, signer, operation="PutHostCommandComplete"):
    commands = CommandService(pool, signer, "host")
    try:
        return commands.call(operation, {"a": 1})
    finally:
        assert pool.acquired == 0


def test_a_call_is_what_the_service_wants():
    pool = Wire((200, b'{"b": 2}'), (200, b"{}"))
    assert called(pool, Signer()) == {"b": 2}
    called(pool, Signer(), "PutHostCommandAcknowledgement")
    (method, path, headers, body, timeout_s, resend), (*_, again) = pool.asked
    assert (method, path, body, timeout_s, resend, again) == ("POST", "/p/", b'{"a":1}', 30.0, True, False)
    assert headers["x-amz-target"] == "CodeDeployCommandService_v20141006.PutHostCommandComplete"
    assert headers["content-type"] == "application/x-amz-json-1.1"
    assert "/us-east-1/codedeploy-commands/aws4_request" in headers["authorization"]


@pytest.mark.parametrize(
    ("statuses", "learns", "asked"),
    [([400, 200], 1, 2), ([401, 200], 1, 2), ([403, 200], 1, 2), ([403], 0, 1), ([404], 1, 1), ([403, 403], 2, 2)],
)
def test_a_refused_clock_is_set_right_once(statuses, learns, asked):
    for call in (
        called,
        lambda pool, signer: Objects(pool, signer).get("b", "k", "", lambda response: response.read(1)),
    ):
        pool = Wire(*[(status, b"{}") for status in statuses])
        if statuses[-1] == 200:
            call(pool, Signer(learns))
        else:
            with pytest.raises(Refused):
                call(pool, Signer(learns))
        assert len(pool.asked) == asked
        assert pool.acquired == 0


def test_what_a_poll_asks_and_finds(monkeypatch):
    for given, found in (
        (b'{"HostCommand": {"a": 1}}', {"a": 1}), (b'{"HostCommand": {}}', None), (b'{"HostCommand": "x"}', None), (b"{}", None),
    ):  # fmt: skip
        pool = Wire((200, given))
        commands = CommandService(pool, Signer(), "host")
        commands._polling = pool
        assert commands.poll(["c-1"]) == found
        (_, _, headers, body, timeout_s, _) = pool.asked[0]
        assert json.loads(body) == {"HostIdentifier": "host", "RunningCommands": ["c-1"]}
        assert headers["x-amz-target"].endswith(".PollHostCommand")
        assert timeout_s == 80.0
    pool = Wire((200, b"{}"))
    CommandService(pool, Signer(), "host").specification("e")
    assert json.loads(pool.asked[0][3]) == {"DeploymentExecutionId": "e", "HostIdentifier": "host"}


def test_the_servers_clock_counts_where_nobody_else_speaks_for_it(monkeypatch):
    monkeypatch.setattr(service.time, "time", lambda: 1000.0)
    pool, signer = Wire(), Signer()
    signer.offset_s = 7.5
    commands = CommandService(pool, signer, "host")
    assert commands.now_ms() == 1_007_500
    pool.address.private = False
    assert commands.now_ms() == 1_000_000


def test_an_object_is_asked_for_by_its_version(monkeypatch):
    pool, taken = Wire((200, b"whole"), (200, b"whole")), []
    Objects(pool, Signer()).get("b", "a ü/k", "v=1", lambda response: taken.append(response.read(9)))
    Objects(pool, Signer()).get("b", "k", "", lambda response: taken.append(response.read(9)))
    assert [asked[:2] for asked in pool.asked] == [("GET", "/p/b/a%20%C3%BC/k?versionId=v%3D1"), ("GET", "/p/b/k")]
    assert "/us-east-1/s3/aws4_request" in pool.asked[0][2]["authorization"]
    assert taken == [b"whole", b"whole"]


def test_a_bucket_in_the_name_of_the_host_has_a_connection_of_its_own_as_safe_as_the_other(monkeypatch):
    made, bucket = [], Wire((200, b"whole"))

    def pool(address, context, keep):
        made.append((address.url, address.host, context, keep))
        return bucket

    monkeypatch.setattr(service, "Pool", pool)
    shared, taken = Wire(), []
    shared.address = Address("https://s3.example/p")
    Objects(shared, Signer(), "the context", virtual_host=True).get(
        "b", "k", "", lambda response: taken.append(response.read(9))
    )
    assert made == [("https://b.s3.example/p", "b.s3.example", "the context", 0)]
    assert ([asked[:2] for asked in bucket.asked], shared.asked, taken) == ([("GET", "/p/k")], [], [b"whole"])
    assert bucket.acquired == 0


@pytest.mark.parametrize("token", ["", "the-token"])
@pytest.mark.parametrize(("kind", "name"), [(SigV4Auth, "codedeploy-commands"), (S3SigV4Auth, "s3")])
def test_signatures_are_those_of_aws(monkeypatch, kind, name, token):
    headers = {"host": "h", "content-type": "x  y", "user-agent": "u", "content-length": "1", "connection": "close"}
    request = AWSRequest("POST", "https://h/a%20b?x=1&y=%20", data=b"{}", headers={"content-type": "x y"})
    signer = kind(BotocoreCredentials("A", "B", token or None), name, "r")
    signer.add_auth(request)
    now = time.mktime(time.strptime(request.context["timestamp"] + "+0000", "%Y%m%dT%H%M%SZ%z")) - time.timezone
    digest = request.headers.get("x-amz-content-sha256") or signer.payload(request)
    ours = sigv4.sign(
        "POST", "/a%20b" if name == "s3" else "/a%2520b", sigv4.encode_query([("y", " "), ("x", "1")]), headers,
        payload_sha256=digest, credentials=Credentials("A", "B", token), region="r", service=name, now=now,
    )  # fmt: skip
    assert ours["x-amz-date"] == request.context["timestamp"]
    assert ours.get("x-amz-security-token", "") == token
    theirs = request.headers["authorization"]
    assert ours["authorization"].split("SignedHeaders=")[0] == theirs.split("SignedHeaders=")[0]
    if name == "s3":  # it signs the digest's header, as we do everywhere
        assert ours["authorization"] == theirs


def test_secrets_of_credentials_are_not_printed():
    assert repr(Credentials("A", "B", "C")) == "Credentials(A)"


# --- records ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path):
    Layout(str(tmp_path)).prepare()
    return Spool(str(tmp_path))


def test_a_record_is_open_until_it_is_delivered(kept):
    kept.write({"id": "b", "taken": 2})
    kept.write({"id": "a", "taken": 1})
    kept.write({"id": "c"})
    assert [record["id"] for record in kept.pending()] == ["c", "a", "b"]
    assert kept.delivered("a") is None
    kept.finish({"id": "a"})
    assert kept.delivered("a") == {"id": "a", "taken": 1}
    assert [record["id"] for record in kept.pending()] == ["c", "b"]
    kept.forget("c")
    kept.forget("c")
    assert [record["id"] for record in kept.pending()] == ["b"]
    kept.finish({"id": "b"})
    assert [record["id"] for record in kept.history()] == ["a", "b"]


def test_what_cannot_be_read_is_left_out(kept, capfd):
    for name, text in (("x.json", "{"), ("y.json", "[]"), ("z.json", '{"taken": 1}'), ("note.txt", '{"id": "n"}')):
        with open(os.path.join(kept._open, name), "w") as file:
            file.write(text)
    kept.write({"id": "a"})
    assert kept.pending() == [{"id": "a"}]
    assert Spool("/nowhere").pending() == []


def test_the_last_three_hundred_are_remembered(kept):
    assert spool.KEEP_DONE == 300
    for number in range(301):
        kept.write({"id": str(number), "taken": number})
        kept.finish({"id": str(number)})
        path = os.path.join(kept._done, kept._name(str(number)))
        os.utime(path, (number, number))
    assert len(kept.history()) == 301
    kept.prune()
    assert [record["taken"] for record in kept.history()] == list(range(1, 301))


def test_every_fiftieth_delivery_forgets_the_oldest(kept, monkeypatch):
    pruned = []
    monkeypatch.setattr(spool, "KEEP_DONE", 10)
    real = Spool.prune
    monkeypatch.setattr(Spool, "prune", lambda self: (pruned.append(number), real(self)))
    for number in range(1, 121):
        kept.write({"id": str(number), "taken": number})
        kept.finish({"id": str(number)})
    assert pruned == [50, 100]
    assert len(kept.history()) == 30


def test_few_files_are_synced_one_by_one_and_many_at_once(monkeypatch):
    for count, single, all_at_once in ((1, 1, 0), (200, 200, 0), (201, 200, 1), (300, 200, 1)):
        seen = []
        monkeypatch.setattr(layout.os, "fsync", lambda _descriptor, seen=seen: seen.append("one"))
        monkeypatch.setattr(layout.os, "sync", lambda seen=seen: seen.append("all"))
        syncs = layout.Syncs()
        for _ in range(count):
            syncs.add(0)
        syncs.end()
        assert (seen.count("one"), seen.count("all")) == (single, all_at_once)
