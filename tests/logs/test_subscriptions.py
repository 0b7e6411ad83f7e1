"""Subscription filters: what boto3 and the AWS CLI put and find, and what topics and web servers get."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError
from penstock_live import live_server
from penstock_topics import LOOPBACK
from penstock_waiting import until

from penstock.logfiles.search import answer
from penstock.logfiles.streams import StreamFiles
from penstock.logs import sending, subscription_rows

ARN = "arn:aws:sns:us-east-1:111111111111:"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """A server that may send to this machine."""
    with live_server(tmp_path_factory.mktemp("sending") / "data", components=(LOOPBACK,)) as found:
        yield found


@pytest.fixture(scope="module")
def logs(server: Any) -> Any:
    return server.client("logs", parameter_validation=False)


@pytest.fixture(scope="module")
def receiver():
    """A web server that keeps what it gets by path, and answers with the status that stands in `answers`."""

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Encoding"] == "gzip"
            server.asked.append(self.path)
            status = server.answers.get(self.path, 200)
            if status == 200:
                server.got.append((self.path, json.loads(gzip.decompress(body))))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: Any):  # pyright: ignore[reportIncompatibleMethodOverride]
            pass

    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.got, server.asked, server.answers = [], [], {}
    server.url = f"arn:aws:penstock:us-east-1:111111111111:http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def group(logs: Any) -> str:
    name = f"/sent/{uuid.uuid4().hex[:8]}"
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="s")
    return name


def write(logs: Any, group: str, *texts: str) -> None:
    now = int(time.time() * 1000)
    events = [{"timestamp": now, "message": text} for text in texts]
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)


def put(logs: Any, group: str, name: str, pattern: str, destination: str, **more: Any) -> None:
    logs.put_subscription_filter(
        logGroupName=group, filterName=name, filterPattern=pattern, destinationArn=destination, **more
    )


def later() -> None:
    """Wait until events come after what was put."""
    now = int(time.time() * 1000)
    until(lambda: int(time.time() * 1000) > now)


def texts(receiver: Any, path: str) -> list[str]:
    return [
        event["message"]
        for at, found in receiver.got
        if at == path and found["messageType"] == "DATA_MESSAGE"
        for event in found["logEvents"]
    ]


def error(call: Any, *args: Any, **input: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        call(*args, **input)
    return refused.value.response["Error"]["Code"], refused.value.response["Error"]["Message"]


def test_a_web_server_gets_what_matches_in_the_form_of_aws(server: Any, logs: Any, group: str, receiver: Any):
    write(logs, group, "ERROR before")
    path = f"/{uuid.uuid4().hex}"
    server.aws(
        "logs", "put-subscription-filter", "--log-group-name", group, "--filter-name", "errors", "--filter-pattern", "ERROR",
        "--destination-arn", receiver.url + path,
    )  # fmt: skip
    ((_, control),) = [one for one in receiver.got if one[0] == path]
    assert control["messageType"] == "CONTROL_MESSAGE"
    later()
    write(logs, group, "ERROR one", "fine", "ERROR two")
    until(lambda: len(texts(receiver, path)) >= 2)
    write(logs, group, "ERROR three")
    assert until(lambda: texts(receiver, path) == ["ERROR one", "ERROR two", "ERROR three"])
    found = next(one for at, one in receiver.got if at == path and one["messageType"] == "DATA_MESSAGE")
    assert {key: value for key, value in found.items() if key != "logEvents"} == {
        "messageType": "DATA_MESSAGE", "owner": "111111111111", "logGroup": group, "logStream": "s", "subscriptionFilters": ["errors"],
    }  # fmt: skip
    ids = [event["id"] for at, one in receiver.got if at == path for event in one["logEvents"] if event["id"]]
    assert ids == [one["eventId"] for one in logs.filter_log_events(logGroupName=group, filterPattern="ERROR")["events"]][1:]  # fmt: skip
    logs.delete_subscription_filter(logGroupName=group, filterName="errors")
    assert logs.describe_subscription_filters(logGroupName=group)["subscriptionFilters"] == []


def test_a_topic_gets_it_when_its_policy_or_a_role_lets_it(server: Any, logs: Any, group: str, receiver: Any):
    sns, iam = server.client("sns"), server.client("iam")
    name = uuid.uuid4().hex
    topic = sns.create_topic(Name=name)["TopicArn"]
    code, text = error(put, logs, group, "f", "x", topic)
    assert code == "InvalidParameterException"
    assert text.startswith("Could not deliver test message to specified SNS topic.")
    trust = {"Effect": "Allow", "Principal": {"Service": "logs.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    allow = {"Effect": "Allow", "Action": "sns:Publish", "Resource": topic}
    iam.put_role_policy(
        RoleName=name, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    )
    iam.create_user(UserName=name)
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": "*"}]}
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    code, text = error(put, server.client("logs", keys=keys), group, "f", "x", topic, roleArn=role)
    assert (code, "iam:PassRole" in text) == ("AccessDeniedException", True)
    put(logs, group, "f", "x", topic, roleArn=role)
    (found,) = logs.describe_subscription_filters(logGroupName=group, filterNamePrefix="f")["subscriptionFilters"]
    assert found.pop("creationTime") > 0
    assert found == {
        "filterName": "f", "logGroupName": group, "filterPattern": "x", "destinationArn": topic, "roleArn": role,
        "distribution": "ByLogStream", "applyOnTransformedLogs": False,
    }  # fmt: skip
    statement = {
        "Effect": "Allow", "Principal": {"Service": "logs.amazonaws.com"}, "Action": "sns:Publish", "Resource": topic,
        "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:logs:us-east-1:111111111111:log-group:{group}"}},
    }  # fmt: skip
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    put(logs, group, "f", "x", topic)
    (found,) = logs.describe_subscription_filters(logGroupName=group)["subscriptionFilters"]
    assert "roleArn" not in found


def test_a_destination_that_takes_nothing_gets_it_later_and_holds_up_no_other(
    server: Any, logs: Any, group: str, receiver: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sending, "backoff_ms", lambda *_: 50)
    path = f"/{uuid.uuid4().hex}"
    for name in ("bad", "good"):
        put(logs, group, name, "x", f"{receiver.url}{path}/{name}")
    receiver.answers[f"{path}/bad"] = 503
    asked = receiver.asked.count(f"{path}/bad")
    later()
    write(logs, group, "x1", "y", "x2")
    assert until(lambda: texts(receiver, f"{path}/good") == ["x1", "x2"])
    until(lambda: receiver.asked.count(f"{path}/bad") > asked + 1)
    place = ("111111111111", "us-east-1", group)
    row = server.run(server.app.store.read(subscription_rows.of_group, place))[0]
    assert (row.failing, row.behind) != (None, None)
    receiver.answers[f"{path}/bad"] = 200
    assert until(lambda: texts(receiver, f"{path}/bad") == ["x1", "x2"])
    rows = lambda: server.run(server.app.store.read(subscription_rows.of_group, place))  # noqa: E731
    assert until(lambda: [(one.failing, one.behind, one.failures) for one in rows()] == [(None, None, 0)] * 2)


def test_what_is_broken_off_is_sent_again_with_the_same_ids(
    server: Any, logs: Any, group: str, receiver: Any, monkeypatch: pytest.MonkeyPatch
):
    path = f"/{uuid.uuid4().hex}"
    put(logs, group, "f", "x", receiver.url + path)
    note, failing, ask = sending._note, [True], subscription_rows.ask
    monkeypatch.setattr(subscription_rows, "ask", lambda *_: None)  # as if killed before the sizes are noted

    def broken(*given: Any) -> None:
        if failing.pop() if failing else False:
            raise RuntimeError("killed")
        note(*given)

    monkeypatch.setattr(sending, "_note", broken)
    later()
    write(logs, group, "x")
    monkeypatch.setattr(subscription_rows, "ask", ask)
    (resume,) = [one for one in server.app.starts if getattr(one, "func", None) is sending.resume]
    server.run(resume())
    assert until(lambda: texts(receiver, path) == ["x", "x"])
    ids = {event["id"] for at, one in receiver.got if at == path for event in one["logEvents"] if event["id"]}
    assert len(ids) == 1


def test_what_cannot_be_sent_is_refused(server: Any, logs: Any, group: str, receiver: Any):
    url = receiver.url + "/ok"
    receiver.answers["/teapot"] = 418
    for destination, more, text in (
        ("arn:aws:lambda:us-east-1:111111111111:function:f", {}, "destinationArn is the ARN of an SNS topic"),
        ("arn:aws:sns:us-east-1:222222222222:other", {}, "destinationArn is the ARN of an SNS topic"),
        ("arn:aws:penstock:us-east-1:222222222222:http://127.0.0.1/", {}, "destinationArn is the ARN of an SNS topic"),
        ("arn:aws:penstock:us-east-1:111111111111:ftp://x/", {}, "destinationArn is the ARN of an SNS topic"),
        (ARN + "not-there", {}, "Could not deliver test message to specified SNS topic. Check if the given topic exists, and lets"),
        (receiver.url + "/teapot", {}, "Could not deliver test message to specified HTTP endpoint. The destination answers with status 418"),
        ("arn:aws:penstock:us-east-1:111111111111:http://169.254.169.254/latest", {}, "has no address that may be asked"),
        (url, {"roleArn": "arn:aws:iam::111111111111:role/r"}, "Leave roleArn out"),
        (url, {"distribution": "Random"}, "distribution Random is of Kinesis"),
        (url, {"applyOnTransformedLogs": True}, "Log transformers"),
        (url, {"fieldSelectionCriteria": "@aws.region = 'x'"}, "Log transformers"),
        (url, {"emitSystemFields": ["@aws.account"]}, "Log transformers"),
    ):  # fmt: skip
        code, said = error(put, logs, group, "f", "x", destination, **more)
        assert (code, text in said) == ("InvalidParameterException", True), said
    assert error(put, logs, group, "f", "a:b", url)[0] == "InvalidParameterException"
    missing = ("ResourceNotFoundException", "The specified log group does not exist.")
    assert error(put, logs, "/none", "f", "x", url) == missing
    assert error(logs.describe_subscription_filters, logGroupName="/none") == missing
    assert error(logs.delete_subscription_filter, logGroupName="/none", filterName="f") == missing
    assert error(logs.delete_subscription_filter, logGroupName=group, filterName="f") == (
        "ResourceNotFoundException", "The specified subscription filter does not exist.",
    )  # fmt: skip
    for name in ("a", "b"):
        put(logs, group, name, "x", url)
    assert error(put, logs, group, "c", "x", url) == ("LimitExceededException", "Resource limit exceeded.")
    pages = logs.get_paginator("describe_subscription_filters").paginate(
        logGroupName=group, PaginationConfig={"PageSize": 1}
    )
    assert [one["filterName"] for page in pages for one in page["subscriptionFilters"]] == ["a", "b"]


def match(path: Any, place: int, pattern: str, most: int, since: int = 0) -> dict[str, Any]:
    request = {
        "kind": "match", "streams": [("s", str(path), place)], "pattern": pattern, "head": {"owner": "1"}, "since": since, "most": most,
        "compressed": False,
    }  # fmt: skip
    return answer(request)


def test_messages_are_bounded_and_continue_where_one_ended(tmp_path: Any):
    files = StreamFiles(tmp_path / "a.log")
    files.append([(1, f"x{number}" * 20) for number in range(50)], 10)
    files.append([(2, "x" * 5_000), (3, "y"), (4, 'x"\x01')], 20)
    assert all(len(one["body"].encode()) <= 1_000 for one in match(files.path, 0, "x", 1_000)["messages"])
    complete = match(files.path, 0, " ", 1 << 20)
    assert [event["message"][:2] for event in json.loads(complete["messages"][0]["body"])["logEvents"]][-2:] == [
        "y",
        'x"',
    ]
    every = [
        event for one in match(files.path, 0, " ", 1_000)["messages"] for event in json.loads(one["body"])["logEvents"]
    ]
    assert len({event["id"] for event in every}) == len(every) == 53
    assert every[50]["message"].endswith("larger than the destination takes]")
    # Each place leads to the rest, whichever message was the last.
    messages = match(files.path, 0, " ", 1_000)["messages"]
    for at, one in enumerate(messages):
        rest = match(files.path, one["end"], " ", 1_000)["messages"]
        assert [other["body"] for other in rest] == [other["body"] for other in messages[at + 1 :]]
    assert match(files.path, 0, " ", 1_000, since=15)["ends"] == complete["ends"] == {str(files.path): files.path.stat().st_size}  # fmt: skip
