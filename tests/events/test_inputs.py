"""What targets are given: the table of recordings from AWS, row by row."""

import json

import pytest

from penstock.events.inputs import MISSING, NotDelivered, given, steps, unknown_placeholder, value_at

EVENT = {
    "version": "0",
    "id": "e-1",
    "detail-type": "Updated",
    "source": "shop",
    "account": "111111111111",
    "time": "2026-11-30T20:00:00Z",
    "region": "us-east-1",
    "resources": ["arn:a"],
    "detail": {
        "command": "update",
        "payload": {"acc_id": "0a78", "sf_id": "baz"},
        "states": ["ACTIVE", "INACTIVE"],
        "n": 7,
        "on": True,
        "none": None,
        "said": 'a "b" \\',
        "forged": 'a", "buildspecOverride": "b',
        "slash": "\\\\",
    },
}
PATHS = {name: f"$.detail.{name}" for name in EVENT["detail"]} | {"gone": "$.detail.x.y", "type": "$.detail-type"}
ABOUT = {"rule": "r", "rule_arn": "arn:rule", "came": "2026-11-30T20:00:01Z"}


def made(template):
    target = {"InputTransformer": {"InputTemplate": template, "InputPathsMap": PATHS}}
    return given(target, EVENT, **ABOUT)


def test_without_a_transformer():
    assert given({}, EVENT, **ABOUT) == json.dumps(EVENT, separators=(",", ":"))
    assert given({"Input": '{"a":  1}'}, EVENT, **ABOUT) == '{"a":  1}'
    assert given({"InputPath": "$.detail.command"}, EVENT, **ABOUT) == '"update"'
    assert given({"InputPath": "$.detail.payload"}, EVENT, **ABOUT) == '{"acc_id":"0a78","sf_id":"baz"}'
    assert given({"InputPath": "$.detail.x"}, EVENT, **ABOUT) == ""


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('"text <command> of <n>"', '"text update of 7"'),
        ('"<payload>"', '"{acc_id:0a78,sf_id:baz}"'),
        ('"<states>"', '"[ACTIVE,INACTIVE]"'),
        ('"one <command>"\n"two <type>"', '"one update"\n"two Updated"'),
        ('"<gone>"', '""'),
        ('{"k": <payload>, "l": <n>, "m": <none>}', '{"k": {"acc_id":"0a78","sf_id":"baz"}, "l": 7, "m": null}'),
        ('{"k": <command>}', '{"k": "update"}'),
        ('{"k": "x <command> <on>"}', '{"k": "x update true"}'),
        ('{"k": <gone>}', '{"k": ""}'),
        ("<states>", '["ACTIVE","INACTIVE"]'),
        ('{"r": "<aws.events.rule-arn>", "n": <aws.events.rule-name>}', '{"r": "arn:rule", "n": "r"}'),
        ('"<aws.events.event.ingestion-time>"', '"2026-11-30T20:00:01Z"'),
        ('{"k": "<not mapped> <command>"}', '{"k": "<not mapped> update"}'),
        (r'{"k": "\"<command>\""}', r'{"k": "\"update\""}'),
    ],
)
def test_a_template(template, expected):
    assert made(template) == expected


def test_the_event_as_a_value():
    seen = json.loads(made('{"e": <aws.events.event>, "j": <aws.events.event.json>}'))
    assert seen["j"] == EVENT
    about = {name: value for name, value in EVENT.items() if name not in ("detail", "detail-type")}
    assert seen["e"] == about | {"detailType": "Updated"}


@pytest.mark.parametrize(
    "template",
    [
        "text <command>",
        '{"k": "x <payload>"}',
        '{"k": "<said>"}',
        "{<command>}",
        '{"k": "<forged>"}',
        '{"k": "<slash>", "l": "<n>"}',
    ],
)
def test_what_makes_nothing_is_not_delivered(template):
    with pytest.raises(NotDelivered):
        made(template)


def test_paths():
    assert steps("$") == []
    assert steps("$.detail-type") == ["detail-type"]
    assert steps("$.a[0]['b c'].d") == ["a", 0, "b c", "d"]
    assert [
        path for path in ("", "detail", "$.", "$x", "$.a[", "$.a[-1]", "$..a", "$.*") if steps(path) is not None
    ] == []
    assert value_at(EVENT, "$.detail.states[1]") == "INACTIVE"
    assert value_at(EVENT, "$.detail.states[2]") is MISSING
    assert value_at(EVENT, "$.detail.command.x") is MISSING
    assert unknown_placeholder("<a> <aws.events.event> <b>", {"a": "$"}) == "b"
    assert unknown_placeholder("<a>", {"a": "$"}) == ""
