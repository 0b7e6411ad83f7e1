"""Whose fault an error is, and whether the same call may succeed later."""

from __future__ import annotations

import pytest

from penstock.wire.errors import AccessDenied, InternalFailure, Throttled, Unavailable, error_class, passes


@pytest.mark.parametrize(
    ("error", "server", "later"),
    [
        (error_class("X", 400)("x"), False, False),
        (error_class("X", 499)("x"), False, False),
        (error_class("X", 500)("x"), True, True),
        (error_class("X", 503)("x"), True, True),
        (error_class("Throttling")("x"), False, True),
        (error_class("ThrottlingException")("x"), False, True),
        (InternalFailure(), True, True),
        (Throttled(), None, True),
        (Unavailable(), None, True),
        (AccessDenied(), None, False),
    ],
)
def test_what_may_succeed_later(error, server, later):
    assert passes(error) is later
    assert getattr(error, "server_fault", None) is server
