"""Packed documents: what goes in comes out, in a tenth of the bytes where it is alike, and in every later release."""

from __future__ import annotations

import hashlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.store import packing
from penstock.store.packing import pack, unpack

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
PHASES = ("SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD")


@given(JSON)
def test_what_goes_in_comes_out(document):
    assert unpack(pack(document)) == document


def test_a_long_document_comes_back_whole():
    document = {"lines": [hashlib.sha256(b"%d" % n).hexdigest() for n in range(5_000)]}
    assert unpack(pack(document)) == document


def test_a_builds_event_takes_a_sixth():
    """A build has a dozen of them, each with all phases so far: two thirds of what a run left in the database."""
    phases = [
        {
            "phase-type": phase,
            "phase-context": [": "],
            "phase-status": "SUCCEEDED",
            "start-time": f"Jan 3, 2031 1:02:0{n} PM",
            "end-time": f"Jan 3, 2031 1:02:0{n} PM",
            "duration-in-seconds": n,
        }
        for n, phase in enumerate(PHASES)
    ]
    detail = {
        "project-name": "compile",
        "build-id": "arn:aws:codebuild:eu-west-1:222222222222:build/compile:0b7657b5-15b7-4b46-8aec-50db823f3913",
        "additional-information": {"timeout-in-minutes": 60, "build-complete": False, "phases": phases},
    }
    assert len(pack(detail)) < len(orjson.dumps(detail)) / 6


def test_what_another_release_packed_is_not_guessed_at():
    with pytest.raises(ValueError, match="version 3"):
        unpack(b"\x03" + pack({})[1:])


def test_a_common_text_is_for_ever():
    """What is in databases was packed against it. A better text is another version beside the others."""
    assert {version: hashlib.sha256(text).hexdigest() for version, text in packing._COMMON.items()} == {
        1: "f936cbc7a89514295e682e7852d3313a68591506e1be48996a54d0d6fda4ca33",
        2: "d8d5e077977eb8839166736b7ab1346b4c15a59de9ad9683aed147ae94ea403c",
    }
