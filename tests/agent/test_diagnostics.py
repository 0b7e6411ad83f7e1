"""Diagnostics: whatever scripts say, the payload is JSON and fits."""

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock_agent import diagnostics

TEXT = st.text(max_size=200)


@settings(max_examples=300, deadline=None)
@given(TEXT, TEXT, TEXT, st.integers(1, 400))
@example("m", "s", "\x00" * 100, 400)
@example("\x00" * 200, "\x00" * 200, "ä\n" * 50, 400)
@example("m", "s", "\ud800", 400)
def test_it_is_json_and_fits(message, script, log, times):
    envelope = diagnostics.result(4, message * times, script=script * times, log=log * times)
    payload = envelope["Payload"].encode()
    assert envelope["Format"] == "JSON"
    assert len(payload) < 8192
    fields = json.loads(payload)
    assert set(fields) == {"error_code", "script_name", "message", "log"}
    complete = (log * times).encode("utf-8", "replace").decode()
    assert complete.endswith(fields["log"])


def test_the_end_is_kept_from_the_start_of_a_line():
    log = "".join(f"line {number}\n" for number in range(5000))
    kept = json.loads(diagnostics.result(0, "Succeeded", log=log)["Payload"])["log"]
    assert kept.endswith("line 4999\n")
    assert kept.startswith("line ")
    assert len(kept) > 7000
