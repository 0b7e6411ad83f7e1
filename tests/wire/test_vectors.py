"""The public protocol cases, read from the server's side. The cases lie beside the checkout and are not part of it."""

import base64
import json
import math
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.model import OperationModel as ClientOperation
from botocore.model import ServiceModel
from botocore.parsers import create_parser

from penstock.wire.errors import ServiceError, error_class
from penstock.wire.message import RequestHead
from penstock.wire.services import CODECS
from penstock.wire.shapes import Model, OperationModel

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "protocols"
PROTOCOLS = {
    "json": "json",
    "json_1_0": "json",
    "json_1_0-query-compatible": "json",
    "query": "query",
    "rest-json": "rest-json",
    "rest-xml": "rest-xml",
    "smithy-rpc-v2-cbor": "smithy-rpc-v2-cbor",
    "smithy-rpc-v2-cbor-query-compatible": "smithy-rpc-v2-cbor",
    "smithy-rpc-v2-cbor-non-query-compatible": "smithy-rpc-v2-cbor",
}
if not FOLDER.is_dir():
    pytest.skip(f"the protocol cases are not there ({FOLDER})", allow_module_level=True)

# Cases that a server cannot read from the request: the client fills the value in, or compresses by agreement.
CLIENT_ONLY = {
    "SDKAppliedContentEncoding",
    "SDKAppends",
    "SDKAppended",
    "QueryEmptyQueryMaps",  # an empty map leaves no trace in a form
}


IGNORED = json.loads((FOLDER / "protocol-tests-ignore-list.json").read_text())


def _ignored(kind: str, name: str, description: str, case_id: str) -> bool:
    general = IGNORED["general"].get(kind, {})
    own = IGNORED["protocols"].get(name, {}).get(kind, {})
    return (
        description in [*general.get("suites", []), *own.get("suites", [])]
        or case_id in [*general.get("cases", []), *own.get("cases", [])]
        or any(case_id.startswith(prefix) for prefix in CLIENT_ONLY)
    )


def _cases(kind: str, name: str, has: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The suites and cases of a protocol. What a case raises names it; a test for each of six hundred would take three times as long."""
    for suite in json.loads((FOLDER / kind / f"{name}.json").read_text()):
        for case in suite["cases"]:
            if has in case and not _ignored(kind, name, suite["description"], case["id"]):
                yield suite, case


def tried(kind: str, has: str) -> Callable[[Callable[..., None]], Callable[[str], None]]:
    """A test for each protocol, of what is to be tried with each of its cases that have a member."""

    def decorate(one: Callable[..., None]) -> Callable[[str], None]:
        @pytest.mark.parametrize("name", PROTOCOLS)
        def test(name: str) -> None:
            for suite, case in _cases(kind, name, has):
                try:
                    one(PROTOCOLS[name], suite, case)
                except Exception as error:
                    error.add_note(f"the case {case['id']}")
                    raise

        return test

    return decorate


def _model(suite, case) -> tuple[Model, OperationModel]:
    given = dict(case["given"])
    shapes = dict(suite["shapes"])
    model = Model({"metadata": suite["metadata"], "operations": {given["name"]: given}, "shapes": shapes})
    operation = model.operation(given["name"])
    assert operation is not None
    return model, operation


def _expected(value, shape):
    """The case's value as operations see it."""
    if shape is None:
        return value
    match shape.type:
        case "structure" if shape.document:
            return value
        case "structure":
            return {
                name: _expected(item, shape.members[name])
                for name, item in value.items()
                if item is not None and name in shape.members
            }
        case "list":
            return [_expected(item, shape.member) for item in value]
        case "map":
            return {key: _expected(item, shape.value) for key, item in value.items()}
        case "blob":
            return value.encode() if isinstance(value, str) else value
        case "timestamp":
            return round((value.timestamp() if isinstance(value, datetime) else value) * 1000)
        case "float" | "double":
            return float("nan") if value == "NaN" else float(value)
        case "string" if shape.traits.get("jsonvalue") and not isinstance(value, str):
            return json.dumps(value)
    return value


def _same(left, right) -> bool:
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right):
        return True
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return left == right


@tried("input", "serialized")
def test_request_parses_to_its_parameters(protocol, suite, case) -> None:
    model, operation = _model(suite, case)
    codec = CODECS[protocol](model)
    wire = case["serialized"]
    path, _, query = wire["uri"].partition("?")
    body = wire.get("body", "")
    headers = {name.lower(): value for name, value in wire.get("headers", {}).items()}
    head = RequestHead(wire.get("method", "POST"), path, query, headers)
    if protocol == "smithy-rpc-v2-cbor":
        payload = base64.b64decode(body)
    else:
        payload = body.encode() if isinstance(body, str) else urlencode(body).encode()
    parsed = codec.parse(operation, head, payload)
    wanted = _expected(case.get("params", {}), operation.input) if operation.input else {}
    if protocol.startswith("rest-") and operation.input:
        parsed, wanted = _traced(parsed, operation.input), _traced(wanted, operation.input)
    assert _same(parsed, wanted), parsed


def _traced(value, shape):
    """Without what a REST request does not carry.

    Empty lists and maps in head and query, and an empty structure as the body, leave no trace. A map of query parameters holds
    all of them for a server; some cases leave out those that have members of their own.
    """
    parameters = {
        member.wire_name(name)
        for name, member in shape.members.items()
        if member.location == "querystring" and member.type != "map"
    }
    reported = {}
    for name, item in value.items():
        member = shape.members[name]
        if member.location == "querystring" and member.type == "map":
            item = {key: one for key, one in item.items() if key not in parameters}
        if item not in ([], {}) or not (member.location or name == shape.traits.get("payload")):
            reported[name] = item
    return reported


@tried("output", "result")
def test_result_reads_back_the_same(protocol, suite, case) -> None:
    model, operation = _model(suite, case)
    codec = CODECS[protocol](model)
    result = case["result"]
    output = _expected(result, operation.output) if operation.output else {}
    response = codec.serialize(operation, output, "request-1")
    client = ClientOperation(case["given"], ServiceModel({"metadata": suite["metadata"], "shapes": suite["shapes"]}))
    headers = {name.decode(): value.decode() for name, value in response.headers}
    parser = create_parser(protocol)
    parsed = parser.parse(
        {"status_code": response.status, "headers": _caseless(headers), "body": response.body}, client.output_shape
    )
    parsed.pop("ResponseMetadata")
    normal = _expected(parsed, operation.output) if operation.output else parsed
    for name, member in operation.output.members.items() if operation.output else ():
        if (
            member.location == "headers" and name in normal
        ):  # a map of all headers has those that each answer bears, too
            normal[name] = {key: item for key, item in normal[name].items() if key in output[name]}
    assert _same(normal, output), (response.body, parsed)


def _caseless(headers):
    from botocore.awsrequest import HeadersDict

    return HeadersDict(headers)


# Each by itself: some have the same code with another status, of which a process has one.
@pytest.mark.parametrize(
    ("protocol", "suite", "case"),
    [
        pytest.param(protocol, suite, case, id=f"{name}-{case['id']}")
        for name, protocol in PROTOCOLS.items()
        for suite, case in _cases("output", name, "error")
    ],
)
def test_error_reads_back_the_same(protocol, suite, case) -> None:
    model, operation = _model(suite, case)
    codec = CODECS[protocol](model)
    code = case["errorCode"]
    status = case["response"]["status_code"]
    error: ServiceError = error_class(code, status)(case.get("errorMessage"), **case["error"])
    response = codec.error(operation, error, "request-1")
    client = ServiceModel({"metadata": suite["metadata"], "shapes": suite["shapes"]})
    parser = create_parser(protocol)
    http = {
        "status_code": response.status,
        "headers": _caseless({name.decode(): value.decode() for name, value in response.headers}),
        "body": response.body,
    }
    parsed = parser.parse(http, None)
    assert response.status == status
    assert parsed["Error"]["Code"] == code
    assert parsed["Error"].get("Message", "") == case.get("errorMessage", "")
    if code in suite["shapes"]:
        modelled = parser.parse(http, client.shape_for(code))
        named = {name: value for name, value in case["error"].items() if name in suite["shapes"][code]["members"]}
        assert {name: modelled.get(name) for name in named} == named


def test_hundreds_of_cases_are_tried() -> None:
    kinds = (("input", "serialized"), ("output", "result"), ("output", "error"))
    counted = [sum(1 for name in PROTOCOLS for _ in _cases(kind, name, has)) for kind, has in kinds]
    assert counted >= [300, 274, 31]
    assert sum(counted) >= 605
