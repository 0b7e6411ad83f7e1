"""Any registered operation as a request: its smallest input made from the model, sent over HTTP with a signature or without one.

What boto3 would send is made once for each operation and input, and then signed for each caller: a call costs the server's time and little more.
"""

from __future__ import annotations

import functools
import http.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.parsers

import penstock
from penstock.wire.registry import Operation
from penstock.wire.shapes import Shape

_SOURCE = Path(penstock.__file__).parent
_MODELS = {
    ("codedeploy-commands", "2014-10-06"): _SOURCE / "deployments" / "hostcommands" / "service-2.json",
    ("rolesanywhere-sessions", "2018-05-10"): _SOURCE / "certificates" / "service-2.json",
}


def smallest(service: str, shape: Shape, named: dict[Any, Any], name: str = "") -> Any:
    """The smallest value that the shape allows: required members only.

    `named` has values for (service, member), or for member; "" is a text for whatever has none.
    """
    if name and shape.type in ("string", "timestamp", "blob", "structure", "integer", "long"):
        for key in ((service, name), name):
            if key in named:
                return named[key]
    match shape.type:
        case "structure":
            return {member: smallest(service, shape.members[member], named, member) for member in shape.required}
        case "list":
            return [smallest(service, shape.member, named, name) for _ in range(max(1, shape.traits.get("min", 0)))]
        case "map":
            return {
                smallest(service, shape.key, named, "key"): smallest(service, shape.value, named, "value"),
            }
        case "string":
            if choices := shape.traits.get("enum"):
                return choices[0]
            return named[""] if shape.traits.get("min", 0) <= len(named[""]) else "x" * shape.traits["min"]
        case "integer" | "long" | "float" | "double":
            return max(1, shape.traits.get("min", 0))
        case "boolean":
            return False
        case "blob":
            return b"x"
        case "timestamp":
            return 0
    raise AssertionError(shape.type)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call was answered."""

    status: int
    code: str  # of the error; "" for a success
    text: str  # headers and body


@dataclass(eq=False)
class Calls:
    """Requests to one server."""

    url: str
    folder: Path  # for the models that botocore does not have
    _connection: http.client.HTTPConnection | None = None

    def __post_init__(self) -> None:
        for (service, version), model in _MODELS.items():
            target = self.folder / service / version / "service-2.json"
            if not target.exists():
                target.parent.mkdir(parents=True)
                target.write_bytes(model.read_bytes())

    @functools.cached_property
    def _session(self) -> boto3.session.Session:
        session = boto3.session.Session(region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        session._loader.search_paths[:0] = [str(self.folder), str(penstock.MODELS)]
        return session

    @functools.cache  # noqa: B019
    def _client(self, service: str) -> Any:
        config = botocore.config.Config(
            parameter_validation=False,
            retries={"total_max_attempts": 1},
            signature_version=botocore.UNSIGNED,
            request_checksum_calculation="when_required",
            inject_host_prefix=False,  # as `penstock env` asks of clients
        )
        client = self._session.client(service, endpoint_url=self.url, config=config)

        def catch(request: Any, **_more: Any) -> Any:
            raise _Caught(request)

        client.meta.events.register("before-send.*", catch)
        return client

    def request(self, operation: Operation, input: dict[str, Any]) -> Any:
        """What boto3 sends for an input, not signed yet."""
        try:
            self._client(operation.service)._make_api_call(operation.name, input)
        except _Caught as caught:
            return caught.request
        raise AssertionError(f"boto3 sends nothing for {operation.service}:{operation.name}")

    def send(self, operation: Operation, request: Any, keys: dict[str, str] | None) -> Answer:
        """The answer to a request that is signed with `keys`; unsigned without."""
        client = self._client(operation.service)
        body = request.body
        if hasattr(body, "read"):
            body.seek(0)
            body = body.read()
        headers = {name: _text(value) for name, value in request.headers.items() if name != "Content-Length"}
        signed = botocore.awsrequest.AWSRequest(request.method, request.url, headers, body or b"")
        if keys is not None:
            credentials = botocore.credentials.Credentials(
                keys["aws_access_key_id"], keys["aws_secret_access_key"], keys.get("aws_session_token")
            )
            kind = botocore.auth.S3SigV4Auth if operation.service == "s3" else botocore.auth.SigV4Auth
            kind(credentials, client.meta.service_model.signing_name, "us-east-1").add_auth(signed)
        return self._answer(operation, signed.prepare())

    def _answer(self, operation: Operation, request: Any) -> Answer:
        parts = urlsplit(request.url)
        if self._connection is None:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        path = request.url[len(f"{parts.scheme}://{parts.netloc}") :]
        headers = {name: _text(value) for name, value in request.headers.items()}
        self._connection.request(request.method, path, body=request.body, headers=headers)
        response = self._connection.getresponse()
        body = response.read()
        client = self._client(operation.service)
        model = client.meta.service_model.operation_model(operation.name)
        raw = {"status_code": response.status, "headers": dict(response.headers), "body": body}
        raw["headers"] = botocore.awsrequest.HeadersDict(raw["headers"])
        if response.status < 300:
            code = ""
            if b"<Error>" in body:  # of DeleteObjects: each key is refused by itself
                code = body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()
        else:
            code = client._response_parser.parse(raw, model.output_shape)["Error"]["Code"]
        lines = [f"{name}: {value}\n" for name, value in response.headers.raw_items()]
        return Answer(response.status, code, f"{''.join(lines)}\n{body.decode('utf-8', 'replace')}")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


class _Caught(Exception):
    """Instead of sending."""

    def __init__(self, request: Any) -> None:
        super().__init__()
        self.request = request
