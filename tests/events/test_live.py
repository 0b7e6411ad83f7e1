"""EventBridge with boto3 and the AWS CLI against a live server."""

import json

import pytest
from botocore.exceptions import ClientError
from penstock_waiting import until

from penstock.cli import dead_letters
from penstock.cli.main import parser_of

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


def test_what_terraform_calls_for_a_rule_and_its_target(live, events):
    role = live.client("iam").create_role(
        RoleName="events-to-pipelines",
        AssumeRolePolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sts:AssumeRole"}
                ],
            }
        ),
    )["Role"]["Arn"]
    arn = events.put_rule(Name="tf", EventPattern='{"source":["shop"]}', Tags=[{"Key": "k", "Value": "v"}])["RuleArn"]
    assert events.describe_rule(Name="tf", EventBusName="default")["EventPattern"] == '{"source":["shop"]}'
    assert events.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    target = {"Id": "one", "Arn": "arn:aws:codepipeline:us-east-1:111111111111:shop", "RoleArn": role}
    assert events.put_targets(Rule="tf", EventBusName="default", Targets=[target])["FailedEntryCount"] == 0
    assert events.list_targets_by_rule(Rule="tf", EventBusName="default", Limit=100)["Targets"] == [target]
    refusal = error_of(events.delete_rule, Name="tf", EventBusName="default")
    assert refusal == ("ValidationException", "Rule can't be deleted since it has targets.")
    assert events.remove_targets(Rule="tf", Ids=["one"])["FailedEntries"] == []
    events.delete_rule(Name="tf", EventBusName="default")
    with pytest.raises(events.exceptions.ResourceNotFoundException):
        events.describe_rule(Name="tf")


def test_on_the_command_line(live):
    live.aws("events", "create-event-bus", "--name", "cli")
    live.aws(
        "events",
        "put-permission",
        "--event-bus-name",
        "cli",
        "--action",
        "events:PutEvents",
        "--principal",
        "222222222222",
        "--statement-id",
        "s",
    )
    assert "222222222222" in live.aws("events", "describe-event-bus", "--name", "cli")["Policy"]
    live.aws("events", "put-rule", "--name", "cli", "--event-pattern", '{"source":["shop"]}', "--event-bus-name", "cli")
    assert live.aws("events", "list-rules", "--event-bus-name", "cli")["Rules"][0]["Name"] == "cli"
    entry = json.dumps([{"Source": "shop", "DetailType": "x", "Detail": "{}", "EventBusName": "cli"}])
    assert live.aws("events", "put-events", "--entries", entry)["FailedEntryCount"] == 0


def test_dead_letters_on_the_command_line(live, events, capsys):
    nobody = "arn:aws:sns:us-east-1:111111111111:nobody"
    events.put_rule(Name="dead", EventPattern='{"source":["dead"]}')
    events.put_targets(Rule="dead", Targets=[{"Id": "1", "Arn": nobody}])

    def listed():
        pages = live.client("penstock").get_paginator("list_event_dead_letters").paginate()
        return [one for page in pages for one in page["deadLetters"] if one["targetArn"] == nobody]

    def ran(*words):
        options = parser_of("dead-letters").parse_args([*words, "--data-dir", str(live.data_dir)])
        code = dead_letters.run(options)
        return code, capsys.readouterr().out

    put = events.put_events(Entries=[{"Source": "dead", "DetailType": "x", "Detail": '{"n":1}'}])["Entries"][0]
    (letter,) = until(listed)
    assert (letter["eventId"], letter["ruleArn"][-9:], letter["retryAttempts"]) == (put["EventId"], "rule/dead", 0)
    code, out = ran("list")
    assert (code, letter["deadLetterId"] in out, nobody in out) == (0, True, True)
    code, out = ran("show", letter["deadLetterId"], "--json")
    assert (code, json.loads(out)["event"]["detail"]) == (0, {"n": 1})
    events.remove_targets(Rule="dead", Ids=["1"])
    code, out = ran("redrive", letter["deadLetterId"])
    assert (code, listed()) == (0, [])
    assert ran("show", letter["deadLetterId"])[0] == 2
    events.put_targets(Rule="dead", Targets=[{"Id": "1", "Arn": nobody}])
    events.put_events(Entries=[{"Source": "dead", "DetailType": "x", "Detail": "{}"}])
    (letter,) = until(listed)
    assert ran("delete", letter["deadLetterId"], "unknown")[0] == 2
    assert listed() == []
