"""EventBridge with boto3 and the AWS CLI against a live server."""

import json

import pytest
from botocore.exceptions import ClientError

EVENT = {
    "version": "0",
    "id": "3f5b1e0c-6a0f-4d34-9d3b-6f3c4bb1a2d7",
    "detail-type": "Ordered",
    "source": "shop",
    "account": "111111111111",
    "time": "2026-11-30T20:00:00Z",
    "region": "us-east-1",
    "resources": [],
    "detail": {"amount": 7},
}


@pytest.fixture(scope="module")
def events(live):
    return live.client("events")


def error_of(call, **input):
    with pytest.raises(ClientError) as caught:
        call(**input)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_pattern_is_tried(live, events):
    def tried(pattern, event=EVENT):
        return events.test_event_pattern(EventPattern=json.dumps(pattern), Event=json.dumps(event))["Result"]

    assert tried({"source": ["shop"], "detail": {"amount": [{"numeric": [">", 5]}]}})
    assert not tried({"detail": {"amount": ["7"]}})
    for missing in ("id", "account", "source", "time", "region", "detail-type"):
        cut = json.dumps({name: value for name, value in EVENT.items() if name != missing})
        refusal = error_of(events.test_event_pattern, EventPattern='{"a": [1]}', Event=cut)
        assert refusal == ("ValidationException", "Parameter Event is not valid.")
    for bad in ("x", "[]", json.dumps(EVENT | {"detail": json.loads("[" * 300 + "]" * 300)})):
        refusal = error_of(events.test_event_pattern, EventPattern='{"a": [1]}', Event=bad)
        assert refusal == ("ValidationException", "Parameter Event is not valid.")
    code, message = error_of(events.test_event_pattern, EventPattern='{"source": "shop"}', Event=json.dumps(EVENT))
    place = 'at [Source: (String)"{"source": "shop"}"; line: 1, column: 13]'
    reason = f'Event pattern is not valid. Reason: "source" must be an object or an array\n {place}'
    assert (code, message) == ("InvalidEventPatternException", reason)
    asked = ("--event-pattern", '{"source": ["shop"]}', "--event", json.dumps(EVENT))
    assert live.aws("events", "test-event-pattern", *asked) == {"Result": True}
