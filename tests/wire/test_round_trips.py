"""Requests made by botocore's serialisers read back the same; answers of ours read back the same through botocore's parsers.

Values are drawn over the models, so every shape of every operation is walked.
"""

import base64
import contextlib
import random
import string
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from botocore.awsrequest import HeadersDict, prepare_request_dict
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.objects.codec import S3Codec
from penstock.wire.errors import Refused, ServiceError, error_class
from penstock.wire.message import RequestHead
from penstock.wire.services import Service
from penstock.wire.validation import validate

NAMES = ["codepipeline", "codedeploy", "codebuild", "s3", "iam", "sts", "codecommit", "logs"]
SERVICES = {name: Service(name) for name in [*NAMES, "cloudformation", "sns", "ssm"]} | {
    "s3": Service("s3", codecs={"rest-xml": S3Codec})
}
CLIENTS = {name: ServiceModel(Loader().load_service_model(name, "service-2"), name) for name in NAMES}

SPECIAL = "-_.é&<\"' +%/"
PLAIN = string.ascii_letters + string.digits + "-_"
TEXT = PLAIN + SPECIAL

# How likely a member is that need not be there: one input has none of them, one has all.
OPTIONAL = (0, 1, 0.5, 0.5, 0.5)


class Drawn:
    """Values of shapes as operations see them, the same in every run.

    Properties of hypothesis cost five times as much: what it does for each of 1,600 shapes (its source's digest, its search) is more
    than the round trip.
    """

    def __init__(self, seed: str, optional: float) -> None:
        self._random = random.Random(seed)
        self._optional = optional

    def of(self, shape, located="", depth=0):
        """A value of a shape; `located` is where its member stands in a message of a REST protocol."""
        plain = located in {"header", "headers"}
        match shape.type_name:
            case "structure" if shape.is_document_type:
                return {self._text(plain=True): self._random.randint(0, 9) for _ in range(self._random.randint(0, 2))}
            case "structure":
                return {name: self._member(shape.members[name], depth) for name in self._names(shape, depth)}
            case "list":
                return [self.of(shape.member, located, depth + 1) for _ in range(self._random.randint(1, 2))]
            case "map":
                keys = [self._text(plain=plain) for _ in range(self._random.randint(1, 2))]
                return {
                    key.lower() if located == "headers" else key: self.of(shape.value, located, depth + 1)
                    for key in keys
                }
            case "integer" | "long":
                return self._random.choice((0, 1, 2**31 - 1, self._random.randrange(2**31)))
            case "float" | "double":
                return self._random.choice((0.0, 1000.0, round(self._random.uniform(0, 1000), 3)))
            case "boolean":
                return self._random.random() < 0.5
            case "timestamp":
                ms = self._random.choice((0, 1, 1_000, 1_999_999_999_999, self._random.randrange(2_000_000_000_000)))
                return ms // 1000 * 1000 if located or shape.serialization.get("timestampFormat") == "rfc822" else ms
            case "blob":
                return self._random.randbytes(self._random.randint(1, 8))
        return self._text(plain=plain)

    def _text(self, *, plain):
        return "".join(self._random.choices(PLAIN if plain else TEXT, k=self._random.randint(1, 8))).strip() or "x"

    def _names(self, shape, depth):
        names = [
            name
            for name, member in shape.members.items()
            # S3's Expires is any text to the server; only the client's copy of the model makes it a date.
            if not member.serialization.get("eventstream") and member.name != "Expires"
        ]
        if shape.is_tagged_union:
            return [self._random.choice(names)]
        if depth > 4:
            names = [name for name in names if shape.members[name].type_name not in {"structure", "list", "map"}]
        return [name for name in names if name in shape.required_members or self._random.random() < self._optional]

    def _member(self, member, depth):
        location = member.serialization.get("location", "")
        if location == "statusCode":
            return self._random.choice((200, 206))
        if location == "header" and member.type_name == "list" and member.member.type_name == "string":
            return [self._text(plain=True) for _ in range(self._random.randint(1, 2))]
        return self.of(member, location, depth + 1)


def drawn(shape, *seed):
    """Five values of a shape."""
    if shape is None:
        return [{}]
    return [Drawn("/".join((*seed, str(at))), optional).of(shape) for at, optional in enumerate(OPTIONAL)]


def for_client(value, shape):
    """Our values as botocore wants them."""
    match shape.type_name:
        case "structure" if not shape.is_document_type:
            return {name: for_client(item, shape.members[name]) for name, item in value.items()}
        case "list":
            return [for_client(item, shape.member) for item in value]
        case "map":
            return {key: for_client(item, shape.value) for key, item in value.items()}
        case "timestamp":
            return datetime.fromtimestamp(value / 1000, UTC)
    return value


def from_client(value, shape):
    """Values of botocore's parsers as ours."""
    match shape.type_name:
        case "structure" if not shape.is_document_type:
            return {
                name: from_client(item, shape.members[name]) for name, item in value.items() if name in shape.members
            }
        case "list":
            return [from_client(item, shape.member) for item in value]
        case "map":
            return {key: from_client(item, shape.value) for key, item in value.items()}
        case "timestamp":
            return round(value.timestamp() * 1000)
        case "blob":
            return value if isinstance(value, bytes) else value.encode("latin-1")
    return value


# Deprecated twins whose members share an element; an operation whose host is part of its input.
LEFT_OUT = {"PutBucketNotification", "GetBucketNotification", "WriteGetObjectResponse"}
SPOKEN = [(name, protocol) for name in CLIENTS for protocol in SERVICES[name].protocols]


def operations_of(name):
    """A test for each of eight hundred would take three times as long."""
    client = CLIENTS[name]
    return [
        operation
        for operation in client.operation_names
        if operation not in LEFT_OUT and not client.operation_model(operation).has_event_stream_output
    ]


@contextlib.contextmanager
def about(operation, value):
    try:
        yield
    except Exception as error:
        error.add_note(f"{operation} with {value!r}")
        raise


def _request(name, operation, protocol, value):
    client = CLIENTS[name].operation_model(operation)
    made = create_serializer(protocol, include_validation=False).serialize_to_request(
        for_client(value, client.input_shape) if client.input_shape else {}, client
    )
    prepare_request_dict(made, "http://localhost")
    path, _, query = made["url"].removeprefix("http://localhost").partition("?")
    body = made["body"]
    if isinstance(body, dict):
        body = urlencode(body, doseq=True).encode()
    elif isinstance(body, str):
        body = body.encode()
    headers = {key.lower(): str(item) for key, item in made["headers"].items()}
    return RequestHead(made["method"], path or "/", query, headers), body or b""


@pytest.mark.parametrize(("name", "protocol"), SPOKEN)
def test_botocores_requests_read_back(name, protocol) -> None:
    codec = SERVICES[name].codec_of(protocol)
    for operation in operations_of(name):
        for value in drawn(CLIENTS[name].operation_model(operation).input_shape, name, operation, protocol, "input"):
            with about(operation, value):
                _reads_back(name, operation, protocol, codec, value)


def _reads_back(name, operation, protocol, codec, value) -> None:
    model = SERVICES[name].operation(operation)
    head, body = _request(name, operation, protocol, value)
    parsed = codec.parse(model, head, body)
    # A stream is there even when it is empty.
    if model.streaming_input and parsed.get(model.streaming_input) == b"":
        value = {**value, model.streaming_input: b""}
    if codec.protocol == "query":  # empty structures leave no trace in a form
        parsed, value = _without_empty(parsed, in_lists=True), _without_empty(value, in_lists=True)
    assert _rounded(parsed) == _rounded(value)


@pytest.mark.parametrize(("name", "protocol"), SPOKEN)
def test_our_answers_read_back(name, protocol) -> None:
    codec = SERVICES[name].codec_of(protocol)
    for operation in operations_of(name):
        shape = CLIENTS[name].operation_model(operation).output_shape
        for value in drawn(shape, name, operation, protocol, "output"):
            with about(operation, value):
                _is_read(SERVICES[name].operation(operation), shape, protocol, codec, value)


def _is_read(model, shape, protocol, codec, value) -> None:
    payload = shape and shape.serialization.get("payload")
    if payload and shape.members[payload].type_name in {"blob", "string"}:
        value[payload] = b"plain" if shape.members[payload].type_name == "blob" else "plain"
    response = codec.serialize(model, value, "request-1")
    headers = HeadersDict({key.decode(): item.decode() for key, item in response.headers})
    if shape is None:  # botocore looks at no such answer of RPC v2
        assert headers.get("x-amzn-requestid", headers.get("x-amz-request-id")) == "request-1"
        return
    parsed = create_parser(protocol).parse(
        {"status_code": response.status, "headers": headers, "body": response.body}, shape
    )
    assert parsed.pop("ResponseMetadata")["RequestId"] == "request-1"
    back = from_client(parsed, shape)
    if "ContentLength" not in value:
        back.pop("ContentLength", None)
    assert _rounded(_without_empty(back)) == _rounded(_without_empty(value)), response.body


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 3) if isinstance(value, float) else value


def _without_empty(value, *, in_lists=False):
    """An empty structure and no structure are the same in some of the protocols."""
    if isinstance(value, dict):
        cleaned = {key: _without_empty(item, in_lists=in_lists) for key, item in value.items()}
        return {key: item for key, item in cleaned.items() if item not in ({}, [])}
    if isinstance(value, list):
        items = [_without_empty(item, in_lists=in_lists) for item in value]
        return [item for item in items if item not in ({}, [])] if in_lists else items
    return value


@pytest.mark.parametrize(("name", "protocol"), [(name, one) for name in NAMES for one in SERVICES[name].protocols])
def test_every_modelled_error_reads_back_with_its_status(name, protocol) -> None:
    service, client = SERVICES[name], CLIENTS[name]
    for shape in client.error_shapes:
        error: ServiceError = error_class(shape.name)("what went wrong & <where>")
        response = service.codec_of(protocol).error(None, error, "request-1")
        http = {
            "status_code": response.status,
            "headers": HeadersDict({key.decode(): item.decode() for key, item in response.headers}),
            "body": response.body,
        }
        parsed = create_parser(protocol).parse(http, None)
        stated = shape.metadata.get("error", {})
        assert parsed["Error"]["Code"] == (
            shape.name if protocol in {"json", "smithy-rpc-v2-cbor"} else stated.get("code", shape.name)
        )
        assert parsed["Error"]["Message"] == "what went wrong & <where>"
        assert parsed["ResponseMetadata"]["RequestId"] == "request-1"
        assert response.status == stated.get("httpStatusCode", 400)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def twisted(shape, depth=0):
    """Values that resemble a shape and are wrong somewhere."""
    if depth > 3:
        return ANY
    match shape.type:
        case "structure" if shape.members:
            members = {name: twisted(member, depth + 1) for name, member in list(shape.members.items())[:12]}
            return (
                st.fixed_dictionaries({}, optional={shape.members[n].wire_name(n): s for n, s in members.items()}) | ANY
            )
        case "list":
            return st.lists(twisted(shape.member, depth + 1) | st.none(), max_size=3) | ANY
        case "map":
            return st.dictionaries(st.text(max_size=4), twisted(shape.value, depth + 1) | st.none(), max_size=3) | ANY
        case "string":
            return st.text(max_size=300) | ANY
    return ANY


HOSTILE = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
JSON_OPERATIONS = [
    ("codepipeline", "CreatePipeline"), ("codepipeline", "PutJobSuccessResult"), ("codedeploy", "CreateDeploymentGroup"),
    ("codebuild", "CreateProject"), ("codecommit", "CreateCommit"), ("logs", "PutLogEvents"), ("ssm", "PutParameter"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "operation"), JSON_OPERATIONS)
def test_hostile_json_is_refused_or_read(name, operation) -> None:
    import orjson

    service = SERVICES[name]
    model = service.operation(operation)

    @HOSTILE
    @given(twisted(model.input))
    def holds(value) -> None:
        _survive(
            service, model, RequestHead("POST", "/"), orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
        )

    try:
        holds()
    except orjson.JSONEncodeError:
        pytest.skip("not JSON")

    @HOSTILE
    @given(st.binary(max_size=200))
    def bytes_hold(body) -> None:
        _survive(service, model, RequestHead("POST", "/"), body)

    bytes_hold()


def _survive(service, model, head, body) -> None:
    try:
        validate(service, model, service.codec.parse(model, head, body))
    except (Refused, ServiceError):
        pass


KEYS = st.lists(
    st.sampled_from(["member", "entry", "key", "value", "1", "2", "x", "", "0", "99999999999", "Tags", "Parameters"]),
    max_size=5,
).map(".".join)


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("iam", "CreateRole"),
        ("iam", "SimulatePrincipalPolicy"),
        ("sts", "AssumeRole"),
        ("cloudformation", "CreateStack"),
        ("sns", "Publish"),
    ],
)
def test_hostile_forms_are_refused_or_read(name, operation) -> None:
    service = SERVICES[name]
    model = service.operation(operation)
    members = st.sampled_from([member.wire_name(name) for name, member in model.input.members.items()])
    fields = st.dictionaries(
        st.tuples(members, KEYS).map(lambda pair: ".".join(filter(None, pair))), st.text(max_size=6), max_size=6
    )

    @HOSTILE
    @given(fields)
    def holds(form) -> None:
        _survive(service, model, RequestHead("POST", "/"), urlencode(form).encode())

    @HOSTILE
    @given(st.binary(max_size=100))
    def bytes_hold(body) -> None:
        _survive(service, model, RequestHead("POST", "/"), body)

    holds()
    bytes_hold()


TAGS = st.sampled_from(["Delete", "Object", "Key", "Quiet", "Tagging", "TagSet", "Tag", "Value", "Grant", "Rule", "x"])
XML = st.recursive(
    st.text(max_size=5).map(lambda text: text.replace("&", "&amp;").replace("<", "&lt;")),
    lambda inner: st.tuples(TAGS, st.lists(inner, max_size=3)).map(
        lambda pair: f"<{pair[0]}>{''.join(pair[1])}</{pair[0]}>"
    ),
    max_leaves=10,
)


@pytest.mark.parametrize(
    "operation",
    [
        "DeleteObjects",
        "PutObjectTagging",
        "PutBucketAcl",
        "PutBucketLifecycleConfiguration",
        "CompleteMultipartUpload",
        "GetObject",
    ],
)
def test_hostile_s3_requests_are_refused_or_read(operation) -> None:
    service = SERVICES["s3"]
    model = service.operation(operation)

    @HOSTILE
    @given(
        XML.map(str.encode) | st.binary(max_size=60),
        st.text(st.characters(max_codepoint=255), max_size=20),
        st.text(st.characters(max_codepoint=255), max_size=20),
    )
    def holds(body, path, query) -> None:
        headers = {"range": path, "if-modified-since": query, "x-amz-bypass-governance-retention": query}
        _survive(service, model, RequestHead("POST", f"/{path}", query, headers), body)

    holds()


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Tagging>&a;</Tagging>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><Tagging/>',
        b"<a>" * 80 + b"</a>" * 80,
        b"<Tagging><TagSet></Tagging>",
        b"<Tagging>text</Tagging>",
        b"<Tagging/><Tagging/>",
        b"\x00",
        b"<Tagging>&undefined;</Tagging>",
        "<Tagging/>".encode("utf-16") + b"x",
    ],
)
def test_malformed_xml_is_reported_so(document) -> None:
    service = SERVICES["s3"]
    with pytest.raises(Refused, match="not well-formed"):
        service.codec.parse(service.operation("PutObjectTagging"), RequestHead("PUT", "/b/k", "tagging"), document)


def test_deep_json_is_refused_where_a_model_recurses() -> None:
    service = SERVICES["ssm"]
    recursive = next(
        operation for name in service.model.operation_names if (operation := service.operation(name)).recursive
    )
    body = b'{"a":' * 500 + b"1" + b"}" * 500
    with pytest.raises(Refused, match="deeper"):
        service.codec.parse(recursive, RequestHead("POST", "/"), body)
    with pytest.raises(Refused, match="The request body is not valid JSON"):
        service.codec.parse(recursive, RequestHead("POST", "/"), b"[" * 100_000)


def test_nul_characters_never_reach_an_operation() -> None:
    service = SERVICES["codepipeline"]
    with pytest.raises(Refused, match=r"contains the character U\+0000"):
        service.codec.parse(service.operation("GetPipeline"), RequestHead("POST", "/"), b'{"name":"a\\u0000b"}')
    with pytest.raises(Refused, match=r"contains the character U\+0000"):
        SERVICES["iam"].codec.parse(SERVICES["iam"].operation("GetRole"), RequestHead("POST", "/"), b"RoleName=a%00b")
    with pytest.raises(Refused, match="Couldn't parse the specified URI"):
        SERVICES["s3"].codec.parse(SERVICES["s3"].operation("GetObject"), RequestHead("GET", "/b/a%00b"), b"")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "The request body is not valid JSON."),
        (b'{"name": 1}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"version": "1"}', "STRING_VALUE can not be converted to an Integer"),
        (b'{"version": 99999999999}', "NUMBER_VALUE can not be converted to an Integer"),
        (b'{"name": ["x"]}', "Start of list found where not expected"),
        (b'{"name": {"x": 1}}', "Start of structure or map found where not expected."),
        (b'{"name": true}', "TRUE_VALUE can not be converted to a String"),
        (b'"x"', "Unexpected field type"),
    ],
)
def test_wrong_json_is_reported_as_aws_does(body, message) -> None:
    service = SERVICES["codepipeline"]
    with pytest.raises(Refused) as caught:
        service.codec.parse(service.operation("GetPipeline"), RequestHead("POST", "/"), body)
    assert caught.value.message == message


def test_s3_error_has_its_elements() -> None:
    error = error_class("NoSuchKey", 404)("The specified key does not exist.", Key="a&b", key="internal")
    response = SERVICES["s3"].codec.error(None, error, "R1")
    assert response.status == 404
    assert response.body.decode().split("\n", 1)[1] == (
        "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>a&amp;b</Key>"
        f"<RequestId>R1</RequestId><HostId>{base64.b64encode(b'R1').decode()}</HostId></Error>"
    )
