"""Page tokens open only where they were made."""

import base64
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import penstock
from penstock.wire.call import ANONYMOUS, Call
from penstock.wire.pages import BadPageToken, Pages, PageTokens

CALL = Call(
    app=None,
    session=ANONYMOUS,
    account="111111111111",
    region="us-east-1",
    service="codepipeline",
    operation="ListPipelines",
    request_id="r",
    now=0,
    via="http",
)
TOKENS = PageTokens(lambda: (b"k" * 32,))


@given(st.lists(st.text(max_size=20) | st.integers(-(2**53), 2**53) | st.none(), max_size=5))
def test_a_keyset_comes_back(keyset) -> None:
    token = TOKENS.seal(CALL, {"filter": "x", "maxResults": 5}, keyset)
    assert TOKENS.open(CALL, {"filter": "x", "maxResults": 9, "nextToken": token}, token) == keyset


@pytest.mark.parametrize("change", ["account", "region", "service", "operation"])
def test_a_token_is_bound_to_the_call(change) -> None:
    token = TOKENS.seal(CALL, {}, ["a"])
    with pytest.raises(BadPageToken):
        TOKENS.open(replace(CALL, **{change: "other"}), {}, token)


def test_a_token_is_bound_to_the_filters_and_the_key() -> None:
    token = TOKENS.seal(CALL, {"filter": {"b": 1, "a": [2]}}, ["a"])
    assert TOKENS.open(CALL, {"filter": {"a": [2], "b": 1}}, token) == ["a"]
    for filters in ({}, {"filter": {"a": [3], "b": 1}}):
        with pytest.raises(BadPageToken):
            TOKENS.open(CALL, filters, token)
    with pytest.raises(BadPageToken):
        PageTokens(lambda: (b"x" * 32,)).open(CALL, {"filter": {"a": [2], "b": 1}}, token)


@given(st.text(max_size=100) | st.binary(max_size=60).map(lambda raw: raw.hex()))
def test_hostile_tokens_are_refused(token) -> None:
    with pytest.raises(BadPageToken):
        TOKENS.open(CALL, {}, token)


def test_tokens_of_another_form_or_length_are_refused() -> None:
    longest = TOKENS.seal(CALL, {}, ["x" * 3039])
    assert (len(longest), TOKENS.open(CALL, {}, longest)) == (4096, ["x" * 3039])
    raw = base64.urlsafe_b64decode(longest)
    other = base64.urlsafe_b64encode(b"\x02" + raw[1:]).decode()
    for token in (TOKENS.seal(CALL, {}, ["x" * 3040]), other, "é", longest[:12], ""):
        with pytest.raises(BadPageToken):
            TOKENS.open(CALL, {}, token)


def test_a_token_of_a_former_key_still_opens() -> None:
    token = TOKENS.seal(CALL, {}, ["a"])
    turned = PageTokens(lambda: (b"n" * 32, b"k" * 32))
    assert turned.open(CALL, {}, token) == ["a"]
    with pytest.raises(BadPageToken):  # the first key seals
        TOKENS.open(CALL, {}, turned.seal(CALL, {}, ["a"]))


CALLER = replace(CALL, app=SimpleNamespace(page_tokens=TOKENS))


class Refused(Exception):
    pass


@given(st.integers(0, 30), st.integers(1, 12))
def test_pages_give_every_row_once(count, limit) -> None:
    pages, input, seen = Pages(Refused), {"filter": "x"}, []
    for _ in range(count + 1):
        (behind,) = pages.after(CALLER, input) or (-1,)
        rows = [row for row in range(count) if row > behind][: limit + 1]
        page = pages.page(CALLER, input, rows, limit=limit, keyset=lambda row: [row])
        seen += page.rows
        if not page.more:
            break
        assert len(page.rows) == limit
        input = {"filter": "x", **page.more}
    assert seen == list(range(count))
    assert page.more == {}


def test_a_token_of_another_list_is_the_error_of_the_service() -> None:
    pages = Pages(Refused, member="Marker")
    token = pages.token(CALLER, {"filter": "x"}, [1])
    assert pages.after(CALLER, {"filter": "x", "Marker": token, "MaxItems": 3}) == [1]
    assert pages.after(CALLER, {"filter": "x", "Marker": ""}) is None
    for wrong in ({"filter": "y", "Marker": token}, {"filter": "x", "Marker": token + "x"}, {"Marker": "abc"}):
        with pytest.raises(Refused, match=re.escape(wrong["Marker"])):
            pages.after(CALLER, wrong)


def test_a_token_can_be_bound_to_some_members_only() -> None:
    pages = Pages(Refused, bound=("Prefix",))
    token = pages.token(CALLER, {"Prefix": "x", "FetchOwner": True}, ["k"])
    assert pages.after(CALLER, {"Prefix": "x", "nextToken": token}) == ["k"]
    assert pages.after(CALLER, {"Prefix": "x"}) is None
    for other in ({}, {"Prefix": ""}, {"Prefix": "y"}):
        with pytest.raises(Refused):
            pages.after(CALLER, {"nextToken": token, **other})
    nothing = pages.token(CALLER, {}, ["k"])
    assert pages.after(CALLER, {"Prefix": "", "nextToken": nothing}) == ["k"]


def test_a_page_that_is_just_full_ends_the_list() -> None:
    pages, rows = Pages(Refused), [1, 2, 3]
    for limit, found in ((2, [1, 2]), (3, rows), (4, rows)):
        page = pages.page(CALLER, {}, rows, limit=limit, keyset=lambda row: [row])
        assert (page.rows, list(page.more)) == (found, ["nextToken"] if limit == 2 else [])
        assert not page.more or pages.after(CALLER, page.more) == [2]


def test_a_page_of_nothing_ends_the_list() -> None:
    assert Pages(Refused).page(CALLER, {}, [1], limit=0, keyset=lambda row: [row]).more == {}


def test_there_is_one_way_to_page() -> None:
    """No operation seals tokens itself, and none skips rows by their number."""
    source = Path(penstock.__file__).parent
    other = re.compile(r"page_tokens\.|BadPageToken|\.offset\(\w")
    found = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if other.search(path.read_text()) and "migrations" not in path.parts
    }
    assert found == {"wire/pages.py"}
