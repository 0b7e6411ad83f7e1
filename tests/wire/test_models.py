"""The models of botocore, and what they say of answers: documents, status, headers and lengths."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from penstock.wire import services
from penstock.wire.message import RequestHead, Response
from penstock.wire.regions import Scope
from penstock.wire.services import Service, Services
from penstock.wire.shapes import Model


def test_a_machine_without_botocore_says_what_is_missing(monkeypatch):
    services._botocore_data.cache_clear()
    for spec in (None, SimpleNamespace(submodule_search_locations=None)):
        monkeypatch.setattr(services.importlib.util, "find_spec", lambda _name, spec=spec: spec)
        with pytest.raises(FileNotFoundError, match=r"^botocore is not installed: its service models are missing$"):
            services._botocore_data()
    monkeypatch.undo()
    assert services._botocore_data().name == "data"


def test_the_newest_model_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(services, "_botocore_data", lambda: tmp_path)
    for version, name in (("2015-01-01", "service-2.json"), ("2016-01-01", "service-2.json"), ("2017-01-01", "other")):
        (tmp_path / "x" / version).mkdir(parents=True)
        (tmp_path / "x" / version / name).write_text('{"metadata": {"apiVersion": "v"}, "operations": {}}')
    (tmp_path / "x" / "2018-01-01").write_text("no folder")
    assert services.botocore_model_path("x") == tmp_path / "x" / "2016-01-01" / "service-2.json"
    with pytest.raises(FileNotFoundError, match=r"^botocore has no model of a service 'y'$"):
        services.botocore_model_path("y")


@pytest.mark.parametrize("layout", ['{{"metadata": {0}}}', '{{"a": "{1}", "metadata": {0}}}', '{{"metadata": {{"x": "{1}", "apiVersion": "v"}}}}'])  # fmt: skip
def test_metadata_is_found_wherever_it_stands(tmp_path, layout):
    path = tmp_path / "service-2.json"
    path.write_text(layout.format('{"apiVersion": "v"}', "x" * 20_000))
    assert services.read_metadata(path)["apiVersion"] == "v"


def test_one_name_may_sign_for_several_services():
    def service(name: str, path: str) -> Service:
        made = Service(name)
        made._metadata = {"signingName": "both", "protocol": "rest-json", "endpointPrefix": "x"}
        operation = {"http": {"method": "GET", "requestUri": path}, "name": "Get"}
        made._model = Model({"metadata": made._metadata, "operations": {"Get": operation}, "shapes": {}})
        return made

    a, b = service("a", "/a/{id}"), service("b", "/b/{id}")
    found = Services()
    found.add(a)
    assert found.rest("both", RequestHead("GET", "/nothing")) is a
    found.add(b)
    assert found.by_signing_name("both") == (a, b)
    for path, wanted in (("/a/1", a), ("/b/1", b), ("/c", a)):
        assert found.rest("both", RequestHead("GET", path)) is wanted
    assert found.rest("neither", RequestHead("GET", "/a/1")) is None
    for path, wanted in (("/a/1", a), ("/b/1", b), ("/c", None), ("/a", None), ("/", None)):
        assert found.rest_unsigned(RequestHead("GET", path)) is wanted
    assert found.rest_unsigned(RequestHead("PUT", "/a/1")) is None
    assert found.by_rpc("x", "Get") is None
    assert found.scope_of("both") is Scope.REGIONAL
    assert found.scope_of("neither") is Scope.REGIONAL


def rest(
    answer: dict[str, Any], *, shape: dict[str, Any], code: int = 200, protocol: str = "rest-json", **more: Any
) -> Response:
    model = Model(
        {
            "metadata": {},
            "operations": {"Get": {"http": {"method": "GET", "requestUri": "/", "responseCode": code}, "output": {"shape": "Out"}}},
            "shapes": {"Out": {"type": "structure"} | shape, "S": {"type": "string"}, "B": {"type": "blob"}, "I": {"type": "integer"},
                       "T": {"type": "structure", "members": {"a": {"shape": "S"}}}, "L": {"type": "list", "member": {"shape": "S"}}},
        }
    )  # fmt: skip
    operation = model.operation("Get")
    assert operation is not None
    return services.CODECS[protocol](model).serialize(operation, answer, "r", **more)


@pytest.mark.parametrize("protocol", ["rest-json", "rest-xml"])
@pytest.mark.parametrize(
    ("shape", "answer", "body"),
    [
        ({"members": {"p": {"shape": "S"}}, "payload": "p"}, {}, b""),
        ({"members": {"p": {"shape": "S"}}, "payload": "p"}, {"p": "é"}, "é".encode()),
        ({"members": {"p": {"shape": "B"}}, "payload": "p"}, {"p": bytearray(b"x")}, b"x"),
        ({"members": {"p": {"shape": "T"}}, "payload": "p"}, {}, b""),
        ({"members": {"h": {"shape": "S", "location": "header"}}}, {"h": "v"}, b""),
        ({"members": {}}, {}, b""),
    ],
)
def test_answers_without_a_document(protocol, shape, answer, body):
    response = rest(answer, shape=shape, protocol=protocol)
    headers = dict(response.headers)
    assert (response.status, response.body, headers[b"content-length"]) == (200, body, str(len(body)).encode())
    assert headers.get(b"content-type") == (b"text/plain" if body and "é" in str(answer) else None)


@pytest.mark.parametrize(("code", "counted"), [(204, False), (304, False), (200, True), (205, True)])
def test_which_answers_state_a_length(code, counted):
    response = rest({}, shape={"members": {}}, code=code)
    assert (response.status, (b"content-length", b"0") in response.headers) == (code, counted)


def test_the_status_of_an_answer():
    shape = {"members": {"c": {"shape": "I", "location": "statusCode"}}}
    assert rest({"c": 201}, shape=shape, code=202).status == 201
    assert rest({}, shape=shape, code=202).status == 202
    assert rest({"c": 201}, shape=shape, code=202, status=203).status == 203


def test_a_header_of_a_reply_takes_the_place_of_the_same_one():
    shape = {"members": {"h": {"shape": "S", "location": "header", "locationName": "X-H"}}}
    response = rest({"h": "old"}, shape=shape, headers={"x-h": "new", "X-More": "m"})
    assert [pair for pair in response.headers if pair[0].startswith(b"x-")] == [
        (b"x-amzn-requestid", b"r"), (b"x-h", b"new"), (b"x-more", b"m"),
    ]  # fmt: skip
