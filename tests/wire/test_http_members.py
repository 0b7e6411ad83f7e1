"""Members of REST requests beside the body."""

import time

import pytest

from penstock.wire.http_members import _split_header
from penstock.wire.message import RequestHead
from penstock.wire.services import CODECS
from penstock.wire.shapes import Model

MODEL = Model(
    {
        "metadata": {},
        "operations": {
            "Get": {"http": {"method": "GET", "requestUri": "/things/{id}?fixed=1"}, "input": {"shape": "In"}}
        },
        "shapes": {
            "In": {
                "type": "structure",
                "members": {
                    "id": {"shape": "S", "location": "uri", "locationName": "id"},
                    "own": {"shape": "S", "location": "querystring", "locationName": "own"},
                    "all": {"shape": "M", "location": "querystring"},
                },
            },
            "S": {"type": "string"},
            "M": {"type": "map", "key": {"shape": "S"}, "value": {"shape": "S"}},
        },
    }
)


@pytest.mark.parametrize("protocol", ["rest-json", "rest-xml"])
def test_a_map_of_parameters_has_all_of_them_but_those_of_the_uri(protocol):
    head = RequestHead("GET", "/things/a%2Fb", "fixed=1&own=x&y=%C3%A9")
    read = CODECS[protocol](MODEL).parse(MODEL.operation("Get"), head, b"")
    assert read == {"id": "a/b", "own": "x", "all": {"own": "x", "y": "é"}}


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ('"b,c", "\\"def\\"", a', ["b,c", '"def"', "a"]), ('a, b ,"c" , ,d', ["a", "b", "c", "d"]), ("", []), (",", []), ("a,", ["a"]),
        ('"a" x, b', ['"a" x', "b"]), ('"open, b', ['"open', "b"]), ('"\\\\", b', ["\\", "b"]),
    ],
)  # fmt: skip
def test_lists_in_headers(value, items):
    assert _split_header(value) == items


@pytest.mark.parametrize("piece", ['"\\",', ' "', " ,", '\\"', '"a"  x,', '"', "\\", " ", '"a", '])
def test_no_header_takes_longer_than_its_length_allows(piece):
    began = time.thread_time()
    _split_header(piece * (65_536 // len(piece)))
    assert time.thread_time() - began < 0.5
