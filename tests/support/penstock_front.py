"""As much of an application as a request meets, and requests that are asked of it in process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from penstock.objects.service import s3
from penstock.wire.call import Credential, PrincipalKind, Session
from penstock.wire.endpoint import Endpoint
from penstock.wire.errors import UnknownAccessKey
from penstock.wire.registry import Registry
from penstock.wire.services import Service, Services

SECRET = "secret"


SESSION = Session(account="1" * 12, kind=PrincipalKind.ROOT, arn="arn:aws:iam::111111111111:root", principal_id="1")


class Stand:
    """As much of an application as a request meets."""

    def __init__(self, *known: Service) -> None:
        self.services = Services()
        for service in known:
            self.services.add(service)
        self.registry = Registry()
        self.public_url = "http://penstock.example:8470"
        self.mounts: dict[str, Any] = {}
        self.signposts: list[Any] = []
        self.ids = SimpleNamespace(uuid=lambda: "the-id")
        self.clock = SimpleNamespace(now=lambda: 5)
        self.settings = SimpleNamespace(
            region="us-east-1", all_regions=lambda: ("us-east-1", "eu-west-1"), requests_per_second=0
        )
        self.identity = self
        self.requests = self.records = self
        self.logged: list[dict[str, Any]] = []
        self.credentials_asked: list[str] = []

    async def credential(self, key: str, token: str) -> Credential:
        self.credentials_asked.append(key)
        if key != "AKIDKNOWN":
            raise UnknownAccessKey
        return Credential(secret=SECRET, session=SESSION)

    async def authorize(self, *_: Any) -> None:
        pass

    def used(self, *_: Any) -> None:
        pass

    def admit(self, _operation: Any) -> None:
        pass

    def call(self, *_: Any, **_more: Any) -> bool:
        return True

    def add(self, session: Session, **line: Any) -> None:
        self.logged.append(line | {"account": session.account})


async def asked(app: Stand, method="POST", path="/", query="", body: bytes | None = b"", scope=None, **headers: str):
    """Status, headers and body of an answer. With `body` None nothing of it may be read."""

    async def receive():
        if body is None:
            raise AssertionError("the body was read")
        return {"type": "http.request", "body": body, "more_body": False}

    sent: list[dict[str, Any]] = []

    async def send(message):
        sent.append(message)

    raw = [(b"host", b"penstock.example:8470")]
    raw += [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    full = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(), "headers": raw,
        "client": ("10.0.0.1", 1),
    } | (scope or {})  # fmt: skip
    await Endpoint(app)(full, receive, send)  # type: ignore[arg-type]
    if not sent:
        return None
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message["body"] for message in sent[1:])


def signature(service: str, *, key="AKIDKNOWN", body=b"", method="POST", path="/", region="us-east-1", **headers: str):
    request = AWSRequest(method, f"http://penstock.example:8470{path}", data=body)
    for name, value in headers.items():
        request.headers[name.replace("_", "-")] = value
    SigV4Auth(Credentials(key, SECRET), service, region).add_auth(request)
    return {name.lower().replace("-", "_"): value for name, value in request.headers.items()}


PIPELINES, IAM, OBJECTS, STS = Service("codepipeline"), Service("iam"), s3(), Service("sts")
