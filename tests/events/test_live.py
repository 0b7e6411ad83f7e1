"""EventBridge with boto3 and the AWS CLI against a live server."""

import datetime as dt
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


def test_events_are_written_into_a_log_group(live, events):
    logs = live.client("logs")
    arn = "arn:aws:logs:us-east-1:111111111111:log-group:/events/shop"
    logs.create_log_group(logGroupName="/events/shop")
    events.put_rule(Name="logged", EventPattern='{"source":["logged"]}')
    transformer = {
        "InputPathsMap": {"t": "$.time", "n": "$.detail.n"},
        "InputTemplate": '{"timestamp": <t>, "message": "ordered <n>"}',
    }
    targets = [{"Id": "all", "Arn": arn}, {"Id": "made", "Arn": f"{arn}:*", "InputTransformer": transformer}]
    events.put_targets(Rule="logged", Targets=targets)
    letters = live.client("penstock").list_event_dead_letters

    def put(number):
        entry = {"Source": "logged", "DetailType": "x", "Detail": json.dumps({"n": number})}
        return events.put_events(Entries=[entry])["Entries"][0]["EventId"]

    def written():
        return [one["message"] for one in logs.filter_log_events(logGroupName="/events/shop")["events"]]

    put(0)  # nobody has let EventBridge write
    dead = until(lambda: [one for one in letters()["deadLetters"] if one["targetArn"].startswith(arn)][1:])
    assert (dead[0]["errorCode"], written()) == ("NO_PERMISSIONS", [])
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]},
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": f"{arn}:*",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    logs.put_resource_policy(policyName="events", policyDocument=document)
    id = put(1)
    messages = until(lambda: len(written()) == 2 and written())
    whole = next(json.loads(one) for one in messages if one.startswith("{"))
    assert (whole["id"], whole["detail"]) == (id, {"n": 1})
    assert "ordered 1" in messages
    (policy,) = logs.describe_resource_policies()["resourcePolicies"]
    assert (policy["policyName"], policy["policyDocument"]) == ("events", document)
    refusals = {
        "Policy with name [none] does not exist.": (logs.delete_resource_policy, {"policyName": "none"}),
        "Policies of single log groups": (
            logs.put_resource_policy,
            {"policyName": "x", "policyDocument": document, "resourceArn": arn},
        ),
        "names an action of another service: s3:": (
            logs.put_resource_policy,
            {"policyName": "x", "policyDocument": document.replace("logs:Put", "s3:Put")},
        ),
        "names another resource": (
            logs.put_resource_policy,
            {"policyName": "x", "policyDocument": document.replace("1111:log-group", "1112:log-group")},
        ),
        "Give the policy a policyName": (logs.put_resource_policy, {"policyDocument": document}),
    }
    for said, (call, input) in refusals.items():
        assert said in error_of(call, **input)[1]
    for number in range(9):
        logs.put_resource_policy(policyName=f"p{number}", policyDocument=document)
    refusal = error_of(logs.put_resource_policy, policyName="eleventh", policyDocument=document)
    assert refusal == ("LimitExceededException", "Resource limit exceeded.")
    for policy in logs.describe_resource_policies(limit=50)["resourcePolicies"]:
        logs.delete_resource_policy(policyName=policy["policyName"])
    assert logs.describe_resource_policies()["resourcePolicies"] == []
    for wrong in ({"Input": "{}"}, {"InputTransformer": {"InputTemplate": '{"message": "x"}'}}):
        target = {"Id": "w", "Arn": arn, **wrong}
        assert "target w" in error_of(events.put_targets, Rule="logged", Targets=[target])[1]


def test_what_terraform_calls_for_connections_archives_and_policies(live, events):
    """Made, read back as its refresh does, and deleted; what is gone answers the code that it waits for."""
    secret = {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "v"}}
    events.create_connection(Name="tf", AuthorizationType="API_KEY", AuthParameters=secret)
    connection = events.describe_connection(Name="tf")
    assert connection["ConnectionState"] == "AUTHORIZED"
    assert connection["AuthParameters"] == {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key"}}
    events.create_api_destination(
        Name="tf",
        ConnectionArn=connection["ConnectionArn"],
        InvocationEndpoint="https://example.com",
        HttpMethod="POST",
    )
    destination = events.describe_api_destination(Name="tf")
    assert (destination["ApiDestinationState"], destination["InvocationRateLimitPerSecond"]) == ("ACTIVE", 300)
    bus = "arn:aws:events:us-east-1:111111111111:event-bus/default"
    events.create_archive(ArchiveName="tf", EventSourceArn=bus, RetentionDays=3)
    archive = live.aws("events", "describe-archive", "--archive-name", "tf")
    assert (archive["EventSourceArn"], archive["RetentionDays"], archive["State"]) == (bus, 3, "ENABLED")
    statement = {"Sid": "s", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::222222222222:root"}}
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Action": "events:PutEvents", "Resource": bus}]}
    events.put_permission(EventBusName="default", Policy=json.dumps(policy))
    assert json.loads(events.describe_event_bus(Name="default")["Policy"]) == policy
    events.remove_permission(EventBusName="default", RemoveAllPermissions=True)
    assert "Policy" not in events.describe_event_bus(Name="default")
    live.aws("events", "delete-archive", "--archive-name", "tf")
    live.aws("events", "delete-api-destination", "--name", "tf")
    assert live.aws("events", "delete-connection", "--name", "tf")["ConnectionState"] == "DELETING"
    gone = [
        (events.describe_connection, {"Name": "tf"}),
        (events.describe_api_destination, {"Name": "tf"}),
        (events.describe_archive, {"ArchiveName": "tf"}),
        (events.describe_replay, {"ReplayName": "tf"}),
    ]
    assert {error_of(call, **input)[0] for call, input in gone} == {"ResourceNotFoundException"}


def test_schedules_as_clients_have_them(live, events):
    """What Terraform and the AWS CLI call; a nightly rule; what a schedule could not do."""
    scheduler = live.client("scheduler")
    trust = {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = live.client("iam").create_role(RoleName="schedules", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    target = {"Arn": "arn:aws:sns:us-east-1:111111111111:nobody", "RoleArn": role, "Input": "plain"}
    about = {"Name": "s", "GroupName": "g", "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5}}
    assert error_of(scheduler.get_schedule, Name="s") == ("ResourceNotFoundException", "Schedule s does not exist.")
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException) as missing:
        scheduler.get_schedule_group(Name="g")
    assert missing.value.response["Message"] == "Schedule group g does not exist."
    assert missing.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    made = scheduler.create_schedule_group(Name="g", Tags=[{"Key": "k", "Value": "v"}])["ScheduleGroupArn"]
    assert scheduler.list_tags_for_resource(ResourceArn=made)["Tags"] == [{"Key": "k", "Value": "v"}]
    times = {"StartDate": dt.datetime(2100, 1, 1, tzinfo=dt.UTC)}
    scheduler.create_schedule(ScheduleExpression="rate(1 days)", Target=target, **times, **about)
    with pytest.raises(scheduler.exceptions.ConflictException) as conflict:
        scheduler.create_schedule(ScheduleExpression="rate(1 days)", Target=target, **about)
    assert conflict.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409
    assert scheduler.get_schedule(Name="s", GroupName="g")["StartDate"] == times["StartDate"]
    changed = {
        "ScheduleExpression": "cron(0 2 * * ? *)",
        "ScheduleExpressionTimezone": "Europe/Berlin",
        "State": "DISABLED",
    }
    scheduler.update_schedule(Target=target, **changed, **about)
    (listed,) = live.aws("scheduler", "list-schedules", "--group-name", "g")["Schedules"]
    assert (listed["Name"], listed["State"]) == ("s", "DISABLED")
    code, message = error_of(scheduler.create_schedule, ScheduleExpression="x", Target=target, **about)
    assert (code, message) == ("ValidationException", "Invalid Schedule Expression x.")
    scheduler.delete_schedule(Name="s", GroupName="g")
    scheduler.delete_schedule_group(Name="g")
    until(lambda: [one["Name"] for one in scheduler.list_schedule_groups()["ScheduleGroups"]] == ["default"])
    scheduler.create_schedule(
        Name="s", ScheduleExpression="rate(1 day)", Target=target, FlexibleTimeWindow={"Mode": "OFF"}
    )
    ours, arn = live.client("penstock"), "arn:aws:scheduler:us-east-1:111111111111:schedule/default/s"

    def letters():
        return [one for one in ours.list_event_dead_letters()["deadLetters"] if one.get("scheduleArn") == arn]

    (letter,) = until(letters)
    assert letter["errorCode"] == "NO_PERMISSIONS"
    shown = ours.get_event_dead_letter(deadLetterId=letter["deadLetterId"])
    assert json.loads(shown["event"])["input"] == "plain"
    ours.redrive_event_dead_letter(deadLetterId=letter["deadLetterId"])
    until(letters)
    ours.delete_event_dead_letter(deadLetterId=letter["deadLetterId"])
    scheduler.delete_schedule(Name="s")
    records = live.client("cloudtrail").lookup_events(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": "CreateSchedule"}]
    )["Events"]
    assert records
    assert not [one for one in records if "plain" in one["CloudTrailEvent"]]
    events.put_rule(Name="nightly", ScheduleExpression="cron(0 2 * * ? *)")
    assert events.describe_rule(Name="nightly")["ScheduleExpression"] == "cron(0 2 * * ? *)"
    events.delete_rule(Name="nightly")


def test_a_bucket_announces_its_events_unless_somebody_has_turned_that_off(live, events):
    s3, logs, name = live.client("s3"), live.client("logs"), "announcing"
    s3.create_bucket(Bucket=name)
    logs.create_log_group(logGroupName="/events/bucket")
    statement = {"Effect": "Allow", "Principal": {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]}}
    statement |= {"Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"}
    logs.put_resource_policy(
        policyName="events", policyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    events.put_rule(
        Name="of-a-bucket", EventPattern=json.dumps({"source": ["aws.s3"], "detail": {"bucket": {"name": [name]}}})
    )
    arn = "arn:aws:logs:us-east-1:111111111111:log-group:/events/bucket"
    events.put_targets(Rule="of-a-bucket", Targets=[{"Id": "log", "Arn": arn}])

    def keys():
        found = logs.filter_log_events(logGroupName="/events/bucket")["events"]
        return {json.loads(event["message"])["detail"]["object"]["key"] for event in found}

    def shown():
        answer = s3.get_bucket_notification_configuration(Bucket=name)
        return {member: value for member, value in answer.items() if member != "ResponseMetadata"}

    assert shown() == {}
    s3.put_object(Bucket=name, Key="before", Body=b"")
    for configuration, key in (({}, "silent"), ({"EventBridgeConfiguration": {}}, "announced")):
        s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=configuration)
        assert shown() == configuration
        s3.put_object(Bucket=name, Key=key, Body=b"")
    until(lambda: keys() >= {"before", "announced"}, why=keys)
    assert keys() == {"before", "announced"}
    topics = {
        "TopicConfigurations": [{"TopicArn": "arn:aws:sns:us-east-1:111111111111:t", "Events": ["s3:ObjectCreated:*"]}]
    }
    code, message = error_of(s3.put_bucket_notification_configuration, Bucket=name, NotificationConfiguration=topics)
    assert (code, "a rule of EventBridge with the destination as its target" in message) == ("NotImplemented", True)
    assert shown() == {"EventBridgeConfiguration": {}}
