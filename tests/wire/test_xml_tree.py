"""XML of requests: what is refused, and that work grows with the document only."""

from __future__ import annotations

import sys

import pytest

from penstock.wire.errors import MalformedBody
from penstock.wire.xml_tree import read_xml


@pytest.mark.parametrize(
    "document",
    [
        b"<a>text<b/></a>",
        b"<a><b/>text</a>",
        b"<a><b/> t <b/></a>",
        b"<a>&#32;x<b/></a>",
        b"<!DOCTYPE a><a/>",
        b"<a>" * 65 + b"</a>" * 65,
        b"<a/><b/>",
        b"",
    ],
)
def test_what_no_request_holds_is_refused(document):
    with pytest.raises(MalformedBody):
        read_xml(document)


def test_text_is_kept_and_blanks_between_elements_are_not():
    root = read_xml(b"<a>\n  <b> x&amp;y &#10;</b>\n  <c>\n</c>\n</a>")
    assert root.text == ""
    assert [(child.tag, child.text) for child in root.children] == [("b", " x&y \n"), ("c", "\n")]


def _steps(document: bytes) -> int:
    """Bytes that reading a document copies, seen by what the largest string ever built here weighs and how often it is built."""
    copied = 0

    def trace(frame, event, _argument):
        nonlocal copied
        if event == "return" and frame.f_code.co_name == "text":
            owner = frame.f_locals.get("open_nodes")
            if owner:
                copied += sys.getsizeof(owner[-1].text)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        read_xml(document)
    finally:
        sys.settrace(before)
    return copied


@pytest.mark.parametrize("piece", [b"&amp;", b"x<!--c-->", b"<![CDATA[x]]>"])
def test_text_in_many_pieces_is_not_copied_at_each_of_them(piece):
    small, large = (_steps(b"<a>" + piece * count + b"</a>") for count in (2_000, 8_000))
    assert large < 6 * small
