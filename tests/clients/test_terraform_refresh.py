"""What Terraform's provider calls to refresh aws_cloudwatch_*, aws_sns_* and aws_cloudwatch_log_*: it reads what was made, so nothing drifts.

The calls and their members are those of the provider's Read functions; that a plan after an apply is empty was tried with the provider.
"""

import json

import pytest

REGION, ACCOUNT = "us-east-1", "111111111111"
TAGS = [{"Key": "team", "Value": "a"}]


def policy(*services, action, resource):
    named = {"Effect": "Allow", "Principal": {"Service": list(services)}, "Action": action}
    return json.dumps({"Version": "2012-10-17", "Statement": [named | ({"Resource": resource} if resource else {})]})


def the_role(live):
    iam = live.client("iam")
    trust = policy(
        "events.amazonaws.com", "logs.amazonaws.com", "sns.amazonaws.com", action="sts:AssumeRole", resource=""
    )
    arn = iam.create_role(RoleName="refresh", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    publishes = {"Effect": "Allow", "Action": "sns:Publish", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [publishes]})
    iam.put_role_policy(RoleName="refresh", PolicyName="publishes", PolicyDocument=document)
    return arn


def buses(live, given):
    """aws_cloudwatch_event_bus, _bus_policy, _archive, and the data sources of buses."""
    events = live.client("events")
    asked = {"Name": "refresh", "Description": "d"}
    arn = events.create_event_bus(**asked, Tags=TAGS)["EventBusArn"]
    allowed = {
        "Sid": "x",
        "Effect": "Allow",
        "Principal": {"AWS": "222222222222"},
        "Action": "events:PutEvents",
        "Resource": arn,
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    events.put_permission(EventBusName="refresh", Policy=document)
    found = events.describe_event_bus(Name="refresh")
    yield found, {**asked, "Arn": arn}
    yield json.loads(found["Policy"]), json.loads(document)
    yield events.list_tags_for_resource(ResourceARN=arn)["Tags"], TAGS
    yield [one["Name"] for one in events.list_event_buses()["EventBuses"]], ["default", "refresh"]
    asked = {"ArchiveName": "refresh", "EventSourceArn": arn, "RetentionDays": 7, "EventPattern": '{"source":["shop"]}'}
    events.create_archive(**asked)
    yield events.describe_archive(ArchiveName="refresh"), asked


def targets(live, given):
    """aws_cloudwatch_event_rule and _target, with each kind of input."""
    events = live.client("events")
    asked = {"Name": "refresh", "EventBusName": "refresh", "EventPattern": '{"source":["shop"]}', "State": "DISABLED"}
    arn = events.put_rule(**asked, Description="d", Tags=TAGS)["RuleArn"]
    yield events.describe_rule(Name="refresh", EventBusName="refresh"), {**asked, "Description": "d", "Arn": arn}
    yield events.list_tags_for_resource(ResourceARN=arn)["Tags"], TAGS
    transformer = {"InputPathsMap": {"id": "$.detail.id"}, "InputTemplate": '"order <id>"'}
    retries = {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 600}
    made = [
        {"Id": "a", "Arn": given["topic"], "InputTransformer": transformer, "RetryPolicy": retries},
        {"Id": "b", "Arn": given["topic"], "Input": '{"a":1}'},
        {"Id": "c", "Arn": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default", "RoleArn": given["role"]},
    ]
    for one in made:
        events.put_targets(Rule="refresh", EventBusName="refresh", Targets=[one])
    yield events.list_targets_by_rule(Rule="refresh", EventBusName="refresh", Limit=100)["Targets"], made
    asked = {"Name": "nightly", "ScheduleExpression": "cron(0 3 * * ? *)", "State": "ENABLED"}
    events.put_rule(**asked)
    yield events.describe_rule(Name="nightly", EventBusName="default"), asked


def destinations(live, given):
    """aws_cloudwatch_event_connection and _api_destination."""
    events = live.client("events")
    header = {"Key": "X", "Value": "1", "IsValueSecret": False}
    parameters = {
        "BasicAuthParameters": {"Username": "u"},
        "InvocationHttpParameters": {"HeaderParameters": [header]},
    }
    secret = {**parameters, "BasicAuthParameters": {"Username": "u", "Password": "p"}}
    asked = {"Name": "refresh", "AuthorizationType": "BASIC", "Description": "d"}
    arn = events.create_connection(**asked, AuthParameters=secret)["ConnectionArn"]
    whole = {**asked, "ConnectionArn": arn, "AuthParameters": parameters}
    yield events.describe_connection(Name="refresh"), whole
    asked = {
        "Name": "refresh",
        "ConnectionArn": arn,
        "InvocationEndpoint": "https://shop.example.com/*",
        "HttpMethod": "POST",
        "InvocationRateLimitPerSecond": 20,
    }
    events.create_api_destination(**asked)
    yield events.describe_api_destination(Name="refresh"), asked


def topics(live, given):
    """aws_sns_topic, _topic_policy, _topic_subscription."""
    sns = live.client("sns")
    arn = sns.create_topic(Name="refresh-topic", Tags=TAGS)["TopicArn"]
    retries = {"minDelayTarget": 5, "maxDelayTarget": 20, "numRetries": 3}
    set_one_by_one = {
        "DisplayName": "d",
        "SignatureVersion": "2",
        "HTTPSuccessFeedbackRoleArn": given["role"],
        "HTTPSuccessFeedbackSampleRate": "50",
        "Policy": policy("events.amazonaws.com", action="sns:Publish", resource=arn),
    }
    for name, value in set_one_by_one.items():
        sns.set_topic_attributes(TopicArn=arn, AttributeName=name, AttributeValue=value)
    found = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    yield (
        found | {"Policy": json.loads(found["Policy"])},
        set_one_by_one | {"Policy": json.loads(set_one_by_one["Policy"])},
    )
    yield sns.list_tags_for_resource(ResourceArn=arn)["Tags"], TAGS
    asked = {
        "FilterPolicy": '{"a": ["b"]}',
        "FilterPolicyScope": "MessageBody",
        "RawMessageDelivery": "true",
        "DeliveryPolicy": json.dumps({"healthyRetryPolicy": retries}),
    }
    endpoint = "https://shop.example.com/hook"
    subscribed = sns.subscribe(
        TopicArn=arn, Protocol="https", Endpoint=endpoint, Attributes=asked, ReturnSubscriptionArn=True
    )
    found = sns.get_subscription_attributes(SubscriptionArn=subscribed["SubscriptionArn"])["Attributes"]
    for name in ("FilterPolicy", "DeliveryPolicy"):
        yield json.loads(found[name]), json.loads(asked.pop(name))
    yield found, {**asked, "Endpoint": endpoint, "Protocol": "https", "TopicArn": arn, "PendingConfirmation": "true"}


def alarms(live, given):
    """aws_cloudwatch_metric_alarm and _composite_alarm."""
    cloudwatch = live.client("cloudwatch")
    common = {"ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 2, "TreatMissingData": "notBreaching"}
    counted = {"MetricName": "Errors", "Namespace": "Shop", "Dimensions": [{"Name": "Host", "Value": "h"}]}
    made = [
        {"AlarmName": "refresh-a", **common, **counted, "Period": 60, "Statistic": "Sum", "Threshold": 5.0, "DatapointsToAlarm": 1,
         "AlarmActions": [given["topic"]], "AlarmDescription": "d"},
        {"AlarmName": "refresh-p", **common, **counted, "Period": 60, "ExtendedStatistic": "p99", "Threshold": 0.5,
         "EvaluateLowSampleCountPercentile": "ignore"},
        {"AlarmName": "refresh-m", **common, "Threshold": 0.5, "Metrics": [
            {"Id": "e", "Expression": "a/10", "Label": "rate", "ReturnData": True},
            {"Id": "a", "MetricStat": {"Metric": counted, "Period": 60, "Stat": "Sum"}, "ReturnData": False},
        ]},
    ]  # fmt: skip
    for asked in made:
        cloudwatch.put_metric_alarm(**asked, ActionsEnabled=True, Tags=TAGS)
        found = cloudwatch.describe_alarms(AlarmNames=[asked["AlarmName"]], AlarmTypes=["MetricAlarm"])["MetricAlarms"]
        yield found[0], {**asked, "ActionsEnabled": True}
        yield cloudwatch.list_tags_for_resource(ResourceARN=found[0]["AlarmArn"])["Tags"], TAGS
    asked = {
        "AlarmName": "refresh-c",
        "AlarmRule": "ALARM(refresh-a) OR ALARM(refresh-p)",
        "AlarmActions": [given["topic"]],
        "ActionsSuppressor": "refresh-p",
        "ActionsSuppressorExtensionPeriod": 10,
        "ActionsSuppressorWaitPeriod": 20,
    }
    cloudwatch.put_composite_alarm(**asked, Tags=TAGS)
    (found,) = cloudwatch.describe_alarms(AlarmNames=["refresh-c"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    yield found, asked


def logs(live, given):
    """aws_cloudwatch_log_group, _stream, _metric_filter, _subscription_filter, _resource_policy, and aws_cloudwatch_query_definition."""
    client = live.client("logs")
    group = "/refresh/group"
    client.create_log_group(logGroupName=group, tags={"team": "a"}, logGroupClass="STANDARD")
    client.put_retention_policy(logGroupName=group, retentionInDays=7)
    (found,) = client.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    yield found, {"logGroupName": group, "retentionInDays": 7, "logGroupClass": "STANDARD"}
    yield client.list_tags_for_resource(resourceArn=found["arn"].removesuffix(":*"))["tags"], {"team": "a"}
    client.create_log_stream(logGroupName=group, logStreamName="s")
    (found,) = client.describe_log_streams(logGroupName=group, logStreamNamePrefix="s")["logStreams"]
    yield found["logStreamName"], "s"
    transformation = {
        "metricName": "Errors",
        "metricNamespace": "Shop",
        "metricValue": "1",
        "defaultValue": 0.0,
        "unit": "Count",
    }
    asked = {"filterName": "errors", "filterPattern": "ERROR", "metricTransformations": [transformation]}
    client.put_metric_filter(logGroupName=group, **asked)
    (found,) = client.describe_metric_filters(logGroupName=group, filterNamePrefix="errors")["metricFilters"]
    yield found, asked | {"logGroupName": group}
    asked = {"filterName": "all", "filterPattern": "", "destinationArn": given["topic"], "roleArn": given["role"]}
    client.put_subscription_filter(logGroupName=group, **asked)
    (found,) = client.describe_subscription_filters(logGroupName=group, filterNamePrefix="all")["subscriptionFilters"]
    yield found, asked | {"logGroupName": group, "distribution": "ByLogStream"}
    resource = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/refresh/*:*"
    asked = {
        "policyName": "refresh",
        "policyDocument": policy("events.amazonaws.com", action="logs:PutLogEvents", resource=resource),
    }
    client.put_resource_policy(**asked)
    (found,) = client.describe_resource_policies()["resourcePolicies"]
    yield found, asked
    asked = {"name": "refresh/errors", "logGroupNames": [group], "queryString": "fields @message"}
    id = client.put_query_definition(**asked)["queryDefinitionId"]
    (found,) = client.describe_query_definitions(queryDefinitionNamePrefix="refresh/errors")["queryDefinitions"]
    yield found, {**asked, "queryDefinitionId": id}


@pytest.fixture(scope="module")
def given(live):
    return {"role": the_role(live), "topic": live.client("sns").create_topic(Name="refresh")["TopicArn"]}


@pytest.mark.parametrize("kind", [buses, destinations, topics, alarms, logs])
def test_what_is_refreshed_is_what_was_made(live, given, kind):
    for made in (kind, targets) if kind is buses else (kind,):
        for found, asked in made(live, given):
            assert ({name: found.get(name) for name in asked} if isinstance(asked, dict) else found) == asked
