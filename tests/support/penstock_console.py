"""The console's visitors over plain HTTP, and a world for them to look at."""

from __future__ import annotations

import contextlib
import html
import http.client
import http.cookiejar
import io
import json
import re
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

PASSWORD = "correct horse"
ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def allow(*actions: str, resource: str = "*") -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": resource}]}


def user(live, name: str, policy: dict[str, Any] | None) -> None:
    """A user who can sign in, and may what the policy says."""
    iam = live.client("iam")
    iam.create_user(UserName=name)
    iam.create_login_profile(UserName=name, Password=PASSWORD)
    if policy is not None:
        iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=json.dumps(policy))


def role(live, service: str) -> str:
    """A role that the service may assume, and that may all."""
    trust = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam = live.client("iam")
    made = iam.create_role(RoleName=service, AssumeRolePolicyDocument=document)["Role"]
    iam.put_role_policy(RoleName=service, PolicyName="all", PolicyDocument=json.dumps(ALL))
    return made["Arn"]


def bucket(live, name: str) -> None:
    s3 = live.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})


def zipped(**files: str) -> bytes:
    """A zip; `__` in a name is a dot. Everything is executable."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name.replace("__", "."))
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, content)
    return packed.getvalue()


def kind(category: str, provider: str) -> dict[str, str]:
    return {"category": category, "owner": "AWS", "provider": provider, "version": "1"}


def source(key: str) -> dict[str, Any]:
    return {
        "name": "Source",
        "actions": [
            {
                "name": "App",
                "actionTypeId": kind("Source", "S3"),
                "configuration": {"S3Bucket": "releases", "S3ObjectKey": key},
                "outputArtifacts": [{"name": "App"}],
            }
        ],
    }


def gate(stage: str, action: str, **configuration: str) -> dict[str, Any]:
    return {
        "name": stage,
        "actions": [{"name": action, "actionTypeId": kind("Approval", "Manual"), "configuration": configuration}],
    }


def pipeline(live, name: str, role_arn: str, *stages: dict[str, Any], mode: str = "SUPERSEDED") -> None:
    live.client("codepipeline").create_pipeline(
        pipeline={
            "name": name,
            "roleArn": role_arn,
            "artifactStore": {"type": "S3", "location": "artifacts"},
            "pipelineType": "V2",
            "executionMode": mode,
            "stages": list(stages),
        }
    )


def stage_of(live, name: str, stage: str) -> dict[str, Any]:
    state = live.client("codepipeline").get_pipeline_state(name=name)
    return next(one for one in state["stageStates"] if one["stageName"] == stage)


def waits(live, name: str, stage: str) -> str:
    """The token of the approval that a stage waits for; "" when it does not."""
    return stage_of(live, name, stage)["actionStates"][0].get("latestExecution", {}).get("token", "")


class Answer:
    """What came back."""

    def __init__(self, status: int, url: str, headers: Any, body: bytes) -> None:
        self.status, self.url, self.headers = status, url, headers
        self.text = body.decode()

    @property
    def visible_text(self) -> str:
        """The text that a reader sees, roughly."""
        plain = re.sub(r"<(script|svg)\b.*?</\1>", " ", self.text, flags=re.DOTALL)
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", plain)).split())

    @property
    def token(self) -> str:
        """The form token of the page."""
        return re.search(r'name="token" value="([0-9a-f]+)"', self.text)[1]


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Nowhere."""


class Visitor:
    """A browser without eyes: cookies, pages, forms."""

    def __init__(self, live, name: str = "", password: str = PASSWORD) -> None:
        self.live = live
        self.jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        if name:
            answer = self.post("login", {"account": "111111111111", "user": name, "password": password}, token=False)
            assert answer.url.endswith("/console/pipelines") or answer.status == 403, answer.text

    def get(self, path: str, **headers: str) -> Answer:
        return self._send(urllib.request.Request(f"{self.live.url}/console/{path}", headers=headers))

    def leads_to(self, path: str) -> str:
        """Where a page sends its visitor, who does not go there."""
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar), _Stay())
        with pytest.raises(urllib.error.HTTPError) as sent, opener.open(f"{self.live.url}/console/{path}", timeout=30):
            pass
        with sent.value:
            return sent.value.headers["location"]

    def post(self, path: str, fields: dict[str, str], *, token: bool | str = True, **headers: str) -> Answer:
        form = dict(fields)
        if token:
            form["token"] = token if isinstance(token, str) else self.get("pipelines").token
        data = urllib.parse.urlencode(form).encode()
        return self._send(urllib.request.Request(f"{self.live.url}/console/{path}", data=data, headers=headers))

    def _send(self, request: urllib.request.Request) -> Answer:
        try:
            with self._opener.open(request, timeout=30) as response:
                return Answer(response.status, response.url, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.url, error.headers, error.read())

    @property
    def cookies(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.jar)

    @contextlib.contextmanager
    def stream(self, path: str, **headers: str) -> Iterator[Stream]:
        """A live stream of a page."""
        where = urllib.parse.urlsplit(self.live.url)
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
        try:
            connection.request("GET", f"/console/{path}", headers={"cookie": self.cookies, **headers})
            yield Stream(connection.getresponse())
        finally:
            connection.close()


class Stream:
    """Messages as they come."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.response = response
        self.status = response.status
        self.blocks: dict[str, str] = {}
        self.added: dict[str, str] = {}
        self.cursor = ""

    def next(self) -> tuple[str, Any]:
        """The next message: its event and its data. ("", None) at the end of the stream."""
        event, data, filled = "message", None, False
        while True:
            line = self.response.readline().decode()
            if not line:
                return "", None
            if line == "\n" and filled:
                return event, json.loads(data)
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "event":
                event = value
            elif name == "data":
                data, filled = value, True
            elif name == "id":
                self.cursor = value

    def receive(self) -> str:
        """Take in one whole look; the event that ended it (`now`, `gone`, `end`)."""
        while True:
            event, data = self.next()
            if event != "message":
                return event
            if "add" in data:
                self.added[data["id"]] = self.added.get(data["id"], "") + data["add"]
            else:
                self.blocks[data["id"]] = data["html"]

    def until(self, see) -> None:
        """Take in looks until `see(self)`."""
        while not see(self):
            event = self.receive()
            assert event in ("now", "end"), event
            if event == "end":
                assert see(self)
                return
