"""Page tokens open only where they were made."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.wire.call import ANONYMOUS, Call
from penstock.wire.pages import BadPageToken, PageTokens

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
TOKENS = PageTokens(b"k" * 32)


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
        PageTokens(b"x" * 32).open(CALL, {"filter": {"a": [2], "b": 1}}, token)


@given(st.text(max_size=100) | st.binary(max_size=60).map(lambda raw: raw.hex()))
def test_hostile_tokens_are_refused(token) -> None:
    with pytest.raises(BadPageToken):
        TOKENS.open(CALL, {}, token)
