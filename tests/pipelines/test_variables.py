"""What values do to the configuration that they are filled into."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from penstock.pipelines.variables import resolve_all


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_value_stays_inside_of_its_string_of_a_document(value: str):
    configuration = {
        "EnvironmentVariables": '[{"name": "MESSAGE", "value": "#{src.Message}", "type": "PLAINTEXT"}]',
        "UserParameters": '{"said": "by #{src.Message}"}',
        "Plain": "#{src.Message}",
        "NoDocument": '[{"value": #{src.Message}}]',
    }
    resolved = resolve_all(configuration, {"src": {"Message": value}})
    assert json.loads(resolved["EnvironmentVariables"], strict=True) == [
        {"name": "MESSAGE", "value": value, "type": "PLAINTEXT"}
    ]
    assert json.loads(resolved["UserParameters"]) == {"said": f"by {value}"}
    assert resolved["Plain"] == value
    assert resolved["NoDocument"] == f'[{{"value": {value}}}]'


def test_a_value_that_looks_like_a_reference_is_not_one():
    scope = {"src": {"Message": "#{src.Secret}", "Secret": "x"}}
    assert resolve_all({"Say": "#{src.Message}"}, scope) == {"Say": "#{src.Secret}"}
