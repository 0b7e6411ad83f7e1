"""The one port of a live server: who is let in, what is refused and how, and that bad bytes never hurt."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

import botocore.exceptions
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.store.errors import StoreFull
from penstock.wire import exchange, validation

TARGET = "CodePipeline_20150709.ListPipelines"


def send(live, method="POST", path="/", body=b"", headers=None):
    where = urlsplit(live.url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def signed(live, body=b"{}", *, service="codepipeline", region="us-east-1", target=TARGET, headers=None, keys=None):
    chosen = keys or live.keys()
    request = AWSRequest(
        "POST", live.url + "/", data=body, headers={"content-type": "application/x-amz-json-1.1"} | (headers or {})
    )
    if target:
        request.headers["x-amz-target"] = target
    credentials = Credentials(chosen["aws_access_key_id"], chosen["aws_secret_access_key"])
    SigV4Auth(credentials, service, region).add_auth(request)
    return dict(request.headers.items())


def refusal(call):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call()
    error = caught.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]


def test_a_browser_is_sent_to_the_console(live):
    status, headers, _ = send(live, "GET", "/")
    assert (status, headers["location"]) == (302, "/console/")


@pytest.mark.parametrize(("path", "start"), [("/healthz", b"ok"), ("/readyz", b"ready"), ("/metrics", b"#")])
def test_the_health_pages_need_no_signature(live, path, start):
    status, _, body = send(live, "GET", path)
    assert status == 200
    assert body.startswith(start)


def test_an_unknown_key_a_wrong_secret_and_no_signature(live):
    unknown = {"aws_access_key_id": "AKIA2222222222222222", "aws_secret_access_key": "x"}
    assert refusal(live.client("codepipeline", keys=unknown).list_pipelines) == ("UnrecognizedClientException", 400)
    assert refusal(live.client("iam", keys=unknown).list_users) == ("InvalidClientTokenId", 403)
    assert refusal(live.client("s3", keys=unknown).list_buckets) == ("InvalidAccessKeyId", 403)
    wrong = live.keys() | {"aws_secret_access_key": "wrong"}
    assert refusal(live.client("codepipeline", keys=wrong).list_pipelines) == ("InvalidSignatureException", 400)
    assert refusal(live.client("iam", keys=wrong).list_users) == ("SignatureDoesNotMatch", 403)
    assert refusal(live.client("s3", keys=wrong).list_buckets) == ("SignatureDoesNotMatch", 403)
    status, _, body = send(live, headers={"x-amz-target": TARGET}, body=b"{}")
    assert status == 400
    assert b"MissingAuthenticationTokenException" in body


def test_a_region_that_is_not_configured_is_an_error_with_a_reason(live):
    client = live.client("codepipeline", region="eu-west-3")
    with pytest.raises(
        botocore.exceptions.ClientError,
        match="'eu-west-3' is not configured on this installation; configured are: us-east-1",
    ):
        client.list_pipelines()


def test_a_scope_for_another_service(live):
    status, _, body = send(live, body=b"{}", headers=signed(live, service="codedeploy"))
    assert status in (400, 403)
    assert b"Credential should be scoped to correct service: 'codepipeline'" in body


def test_a_changed_body_is_refused(live):
    status, _, body = send(live, body=b'{"x":1}', headers=signed(live, b"{}"))
    assert status == 400
    assert b"Signature" in body or b"signature" in body


def test_an_operation_that_no_model_knows(live):
    status, _, body = send(live, body=b"{}", headers=signed(live, target="CodePipeline_20150709.Nonsense"))
    assert status == 400
    assert b"UnknownOperationException" in body


def test_who_signs_wrongly_learns_nothing_of_what_there_is(live):
    wrong = live.keys() | {"aws_secret_access_key": "wrong"}
    for target in (TARGET, "CodePipeline_20150709.Nonsense", "Nothing_1.Known"):
        status, _, body = send(live, body=b"{}", headers=signed(live, target=target, keys=wrong))
        assert status == 400
        assert b"InvalidSignatureException" in body


def test_an_operation_that_is_not_served_says_so(live):
    assert refusal(live.client("iam").list_server_certificates) == ("NotImplemented", 501)


@pytest.mark.parametrize(
    ("service", "method", "named"),
    [
        ("iam", "list_server_certificates", "iam:ListServerCertificates"),  # an operation of a service that is served
        ("cloudformation", "list_stacks", "cloudformation:ListStacks"),  # Query
        ("ssm", "list_documents", "ssm:ListDocuments"),  # awsJson, another operation of a service that is served
        ("dynamodb", "list_tables", "dynamodb:ListTables"),
        ("lambda", "list_functions", "lambda:GET /2015-03-31/functions"),  # REST with JSON
    ],
)
def test_what_is_not_served_answers_501_and_names_it(live, service, method, named):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        getattr(live.client(service), method)()
    response = refused.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert f"Penstock does not serve {named}" in str(refused.value)


def test_an_unsigned_call_that_is_not_served_is_not_asked_for_a_signature(live):
    client = live.client("sts", signature_version=botocore.UNSIGNED)
    with pytest.raises(botocore.exceptions.ClientError, match="does not serve sts:AssumeRoleWithSAML") as refused:
        client.assume_role_with_saml(
            RoleArn="arn:aws:iam::111111111111:role/x",
            PrincipalArn="arn:aws:iam::111111111111:saml-provider/x",
            SAMLAssertion="eHh4eA==",
        )
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_a_body_that_is_no_json_and_one_that_is_too_large(live):
    status, _, body = send(live, body=b"{", headers=signed(live, b"{"))
    assert status == 400
    assert b"SerializationException" in body
    where = urlsplit(live.url)
    with socket.create_connection((where.hostname, where.port), timeout=60) as raw:
        raw.sendall(
            f"POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: {TARGET}\r\ncontent-length: 99999999\r\n\r\n".encode()
        )
        assert b" 413 " in raw.recv(4096).split(b"\r\n", 1)[0]


@pytest.mark.parametrize("key", ["", "AKIA2222222222222222"])
@pytest.mark.parametrize("target", [TARGET, "CodePipeline_20150709.Nonsense", "Nothing.Known"])
def test_strangers_are_turned_away_before_their_body_is_taken_in(live, key, target):
    scope = "20260101/us-east-1/codepipeline/aws4_request"
    claim = f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders=host, Signature={'0' * 64}"
    authorization = f"authorization: {claim}\r\nx-amz-date: 20260101T000000Z\r\n" if key else ""
    where = urlsplit(live.url)
    with socket.create_connection((where.hostname, where.port), timeout=60) as raw:
        head = f"POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: {target}\r\n{authorization}content-length: 9000000\r\n\r\n"
        raw.sendall(head.encode())
        answer = raw.recv(4096)
    assert b" 400 " in answer.split(b"\r\n", 1)[0]
    assert b"connection: close" in answer


def test_only_small_bodies_are_understood_on_the_event_loop(live, monkeypatch):
    seen = []

    def validate(service, operation, input):
        seen.append(threading.get_ident())
        return validation.validate(service, operation, input)

    monkeypatch.setattr(exchange, "validate", validate)
    for body in (b"{}", b'{"nothing": "' + b"x" * 100_000 + b'"}'):
        assert send(live, body=body, headers=signed(live, body))[0] == 200
    loop = live.run(_thread())
    assert seen[0] == loop
    assert seen[1] != loop


async def _thread():
    return threading.get_ident()


@pytest.mark.parametrize(
    ("service", "operation", "code"),
    [
        ("codepipeline", "list_pipelines", "ServiceUnavailableException"),
        ("iam", "list_users", "ServiceUnavailable"),
        ("s3", "list_buckets", "ServiceUnavailable"),
    ],
)
@pytest.mark.parametrize("fault", [StoreFull(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_fault_of_the_machine_is_worth_another_try(live, monkeypatch, service, operation, code, fault):
    async def scan(*_args, **_kwargs):
        raise fault

    monkeypatch.setattr(live.app.store, "scan", scan)
    monkeypatch.setattr(live.app.store, "read", scan)
    call = getattr(live.client(service), operation)
    assert refusal(call) == (code, 503)
    monkeypatch.undo()
    call()


@pytest.mark.parametrize(("more", "status"), [(0, b"200"), (1, b"431")])
def test_a_head_of_more_than_64_kb_is_refused(live, more, status):
    """What is weighed: the target, and each header's name and value with the four bytes that part them."""
    where = urlsplit(live.url)
    room = 65_536 - len("/healthz") - len("host: x\r\n") - 64 * 1000
    with socket.create_connection((where.hostname, where.port), timeout=60) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")
        for _ in range(64):
            raw.sendall(b"x-filler: ".ljust(998, b"a") + b"\r\n")
        raw.sendall(b"x-filler: ".ljust(room - 2 + more, b"a") + b"\r\n\r\n")
        assert raw.recv(4096).split(b" ")[1] == status


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]),
    path=st.text(st.characters(min_codepoint=33, max_codepoint=126, blacklist_characters="#"), max_size=40),
    target=st.one_of(st.none(), st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60)),
    authorization=st.one_of(
        st.none(),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=120).map("AWS4-HMAC-SHA256 {}".format),
    ),
    body=st.binary(max_size=200),
)
def test_no_request_makes_the_server_fail(live, method, path, target, authorization, body):
    headers = {"content-type": "application/x-www-form-urlencoded"}
    if target is not None:
        headers["x-amz-target"] = target
    if authorization is not None:
        headers["authorization"] = authorization.strip() or "x"
    status, _, _ = send(live, method, "/" + path, body, headers)
    assert status < 500 or status == 501


def test_tls_with_the_own_authority(live_tls):
    assert live_tls.url.startswith("https://")
    assert live_tls.client("sts").get_caller_identity()["Account"] == "111111111111"
    assert live_tls.aws("sts", "get-caller-identity")["Account"] == "111111111111"
    where = urlsplit(live_tls.url)
    with socket.create_connection((where.hostname, where.port)) as raw, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(raw, server_hostname=where.hostname)


def test_the_server_drains_at_once_while_tls_clients_keep_their_connections(live_factory, monkeypatch):
    monkeypatch.setattr("penstock.wire.http._DRAIN_SECONDS", 50)
    with live_factory(tls=True) as server:
        client = server.client("sts")
        client.get_caller_identity()
        began = time.monotonic()
    assert time.monotonic() - began < 40
    client.close()


def test_every_request_is_in_the_log_and_nothing_secret_is(live_factory):
    with live_factory() as server:
        secret = server.keys()["aws_secret_access_key"]
        server.client("sts").get_caller_identity()
        log = server.data_dir / "logs" / "requests.jsonl"
    text = log.read_text()
    assert '"operation":"GetCallerIdentity"' in text
    assert '"status":200' in text
    assert secret not in text
