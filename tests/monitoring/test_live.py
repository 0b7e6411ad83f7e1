"""Metrics over the wire: boto3 and the AWS CLI, the three protocols of the service with their errors, and compressed bodies."""

import contextlib
import datetime as dt
import gzip
import http.client
import json
from urllib.parse import urlencode, urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from penstock_protocols import client_speaking
from penstock_starter import AWS, run
from penstock_waiting import until

from penstock import MODELS

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)


def send(live, body, **headers):
    """A signed request as it stands; status, headers and body of its answer."""
    keys = live.keys()
    request = AWSRequest("POST", f"{live.url}/", headers, body)
    SigV4Auth(
        Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"]), "monitoring", "us-east-1"
    ).add_auth(request)
    parts = urlsplit(live.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/", body=body, headers=dict(request.headers.items()))
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def put_as_json(live, document, *, compress=gzip.compress, **headers):
    return send(
        live,
        compress(json.dumps(document).encode()),
        **{
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": "GraniteServiceVersion20100801.PutMetricData",
            "Content-Encoding": "gzip",
            **headers,
        },
    )


@pytest.mark.parametrize("protocol", ["json", "query", "smithy-rpc-v2-cbor"])
def test_each_protocol_answers_alike(live, protocol):
    client = client_speaking(live, protocol, "cloudwatch")
    name, dimensions = f"of-{protocol}", [{"Name": "Host", "Value": "web-1"}]
    datum = {"MetricName": name, "Dimensions": dimensions, "Timestamp": NOW, "Value": 1.5, "Unit": "Seconds"}
    client.put_metric_data(Namespace="Wire", MetricData=[datum, {**datum, "Value": 2.5}])
    (listed,) = client.list_metrics(Namespace="Wire", MetricName=name)["Metrics"]
    assert listed == {"Namespace": "Wire", "MetricName": name, "Dimensions": dimensions}
    asked = {
        "Namespace": "Wire", "MetricName": name, "Dimensions": dimensions, "Period": 60,
        "StartTime": NOW - dt.timedelta(minutes=5), "EndTime": NOW + dt.timedelta(minutes=5),
    }  # fmt: skip
    found = client.get_metric_statistics(**asked, Statistics=["Sum", "Average"])
    minute = NOW.replace(second=0)
    assert found["Label"] == name
    (point,) = found["Datapoints"]
    assert {**point, "Timestamp": point["Timestamp"].astimezone(dt.UTC)} == {
        "Timestamp": minute,
        "Sum": 4.0,
        "Average": 2.0,
        "Unit": "Seconds",
    }
    measured = {
        "Metric": {"Namespace": "Wire", "MetricName": name, "Dimensions": dimensions},
        "Period": 60,
        "Stat": "Sum",
    }
    queries = [{"Id": "m1", "MetricStat": measured, "Label": "${SUM} in all"}, {"Id": "e1", "Expression": "m1 / 2"}]
    for one, value in zip(
        client.get_metric_data(MetricDataQueries=queries, StartTime=asked["StartTime"], EndTime=asked["EndTime"])[
            "MetricDataResults"
        ],
        ({"Id": "m1", "Label": "4 in all", "Values": [4.0]}, {"Id": "e1", "Label": "e1", "Values": [2.0]}),
        strict=True,
    ):
        assert one == value | {"Timestamps": one["Timestamps"], "StatusCode": "Complete"}
        assert [at.astimezone(dt.UTC) for at in one["Timestamps"]] == [minute]
    (point,) = client.get_metric_statistics(**asked, ExtendedStatistics=["p90"])["Datapoints"]
    assert point["ExtendedStatistics"] == {"p90": 2.5}
    with pytest.raises(ClientError) as refused:
        client.put_metric_data(Namespace="Wire", MetricData=[{**datum, "Values": [1.0]}])
    message = "The parameters MetricData.member.1.Value and MetricData.member.1.Values are mutually exclusive and you have specified both."
    assert refused.value.response["Error"]["Code"] == "InvalidParameterCombination"
    assert refused.value.response["Error"]["Message"] == message
    with pytest.raises(ClientError) as refused:
        client.put_metric_data(Namespace=":x", MetricData=[datum])
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    assert "Value ':x' at 'namespace' failed to satisfy constraint" in refused.value.response["Error"]["Message"]


def test_the_shape_of_an_error_is_that_of_a_service_that_has_left_query(live):
    status, headers, body = put_as_json(live, {"Namespace": "Wire", "MetricData": [{"MetricName": "m"}]})
    assert (status, headers["x-amzn-query-error"]) == (400, "InvalidParameterCombination;Sender")
    assert json.loads(body)["__type"] == "InvalidParameterCombinationException"


def test_what_boto3_compresses_is_counted(live):
    client = live.client("cloudwatch", request_min_compression_size_bytes=128)
    sent = []
    client.meta.events.register(
        "before-send.*", lambda request, **_: sent.append(request.headers.get("Content-Encoding"))
    )
    client.put_metric_data(
        Namespace="Packed", MetricData=[{"MetricName": f"m{number}", "Value": 1.0} for number in range(200)]
    )
    assert [str(one, "ascii") if isinstance(one, bytes) else one for one in sent] == ["gzip"]
    assert len(client.list_metrics(Namespace="Packed")["Metrics"]) == 200


def test_a_compressed_form_is_counted(live):
    form = {"Action": "PutMetricData", "Version": "2010-08-01", "Namespace": "Form", "MetricData.member.1.MetricName": "m",
            "MetricData.member.1.Value": "2"}  # fmt: skip
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}
    status, _, body = send(live, gzip.compress(urlencode(form).encode()), **headers)
    assert status == 200, body
    assert [one["MetricName"] for one in live.client("cloudwatch").list_metrics(Namespace="Form")["Metrics"]] == ["m"]
    status, _, body = send(live, gzip.compress(b"Action=" + b"x" * (1 << 21)), **headers)
    assert (status, b"<Code>RequestEntityTooLarge</Code>" in body) == (413, True)


@pytest.mark.parametrize(
    ("compress", "status", "code"),
    [
        (lambda _body: gzip.compress(b" " * (11 << 20)), 413, "RequestEntityTooLargeException"),  # a bomb
        (lambda body: gzip.compress(body)[:-9], 400, "SerializationException"),
        (lambda body: gzip.compress(body) + b"x", 400, "SerializationException"),
        (lambda body: body, 400, "SerializationException"),
        (lambda _body: b"\x1f\x8b", 400, "SerializationException"),
    ],
)
def test_a_body_that_is_no_bounded_gzip_is_refused(live, compress, status, code):
    document = {"Namespace": "Never", "MetricData": [{"MetricName": "m", "Value": 1.0}]}
    said = put_as_json(live, document, compress=compress)
    assert (said[0], json.loads(said[2])["__type"]) == (status, code)
    assert live.client("cloudwatch").list_metrics(Namespace="Never")["Metrics"] == []


def test_only_operations_whose_model_says_so_take_compressed_bodies(live):
    target = {"X-Amz-Target": "GraniteServiceVersion20100801.ListMetrics"}
    status, _, body = put_as_json(live, {}, **target)
    assert (status, json.loads(body)["__type"]) == (400, "SerializationException")


def test_the_aws_cli_puts_and_reads(live):
    live.aws(
        "cloudwatch",
        "put-metric-data",
        "--namespace",
        "Cli",
        "--metric-name",
        "m",
        "--value",
        "3",
        "--dimensions",
        "Host=a",
    )
    listed = live.aws("cloudwatch", "list-metrics", "--namespace", "Cli")["Metrics"]
    assert listed == [{"Namespace": "Cli", "MetricName": "m", "Dimensions": [{"Name": "Host", "Value": "a"}]}]


def test_an_alarm_of_the_aws_cli_follows_its_data_by_itself(live):
    live.aws(
        "cloudwatch", "put-metric-alarm", "--alarm-name", "cli", "--namespace", "CliAlarm", "--metric-name", "Errors", "--statistic", "Maximum",
        "--period", "60", "--evaluation-periods", "1", "--threshold", "1", "--comparison-operator", "GreaterThanThreshold",
        "--treat-missing-data", "ignore", "--tags", "Key=Team,Value=a",
    )  # fmt: skip
    client = live.client("cloudwatch")

    def state():
        return client.describe_alarms(AlarmNames=["cli"])["MetricAlarms"][0]["StateValue"]

    client.put_metric_data(Namespace="CliAlarm", MetricData=[{"MetricName": "Errors", "Value": 5.0}])
    until(lambda: state() == "ALARM")
    summaries = [one["HistorySummary"] for one in client.describe_alarm_history(AlarmName="cli")["AlarmHistoryItems"]]
    assert summaries[-2:] == ["Alarm updated from INSUFFICIENT_DATA to ALARM", 'Alarm "cli" created']


def test_composite_alarms_and_expressions_of_the_aws_cli_follow_by_themselves(live):
    metric = {"Namespace": "Composed", "MetricName": "Errors"}
    queries = [
        {"Id": "m1", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Maximum"}, "ReturnData": False},
        {"Id": "e1", "Expression": "m1 * 10", "ReturnData": True},
    ]
    live.aws(
        "cloudwatch", "put-metric-alarm", "--alarm-name", "computed", "--metrics", json.dumps(queries), "--evaluation-periods", "1",
        "--threshold", "40", "--comparison-operator", "GreaterThanThreshold", "--treat-missing-data", "ignore",
    )  # fmt: skip
    live.aws(
        "cloudwatch",
        "put-composite-alarm",
        "--alarm-name",
        "composed",
        "--alarm-rule",
        "ALARM(computed)",
        "--tags",
        "Key=Team,Value=a",
    )
    client = live.client("cloudwatch")
    client.put_metric_data(Namespace="Composed", MetricData=[{"MetricName": "Errors", "Value": 5.0}])

    def composed():
        return client.describe_alarms(AlarmNames=["composed"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"][0]

    until(lambda: composed()["StateValue"] == "ALARM")
    found = live.aws("cloudwatch", "describe-alarms", "--alarm-names", "computed")["MetricAlarms"][0]
    assert (found["StateValue"], found["Metrics"]) == (
        "ALARM",
        [{**queries[0], "MetricStat": {**queries[0]["MetricStat"], "Metric": metric}}, queries[1]],
    )
    tags = client.list_tags_for_resource(ResourceARN=composed()["AlarmArn"])["Tags"]
    assert tags == [{"Key": "Team", "Value": "a"}]
    with pytest.raises(ClientError) as refused:
        client.put_composite_alarm(AlarmName="x", AlarmRule="()")
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    client.delete_alarms(AlarmNames=["composed", "computed"])


@pytest.mark.parametrize("protocol", ["json", "query", "smithy-rpc-v2-cbor"])
def test_alarms_over_each_protocol(live, protocol):
    client = client_speaking(live, protocol, "cloudwatch")
    name = f"of-{protocol}"
    client.put_metric_alarm(
        AlarmName=name, Namespace="Wire", MetricName="Never", ExtendedStatistic="p99", Period=300, EvaluationPeriods=3, DatapointsToAlarm=2,
        Threshold=1.5, ComparisonOperator="LessThanThreshold", Dimensions=[{"Name": "Host", "Value": "a"}], TreatMissingData="ignore",
        EvaluateLowSampleCountPercentile="ignore", Unit="Seconds", OKActions=["arn:aws:sns:us-east-1:111111111111:x"],
    )  # fmt: skip
    client.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a drill")
    (found,) = client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    said = {
        member: found[member]
        for member in ("StateValue", "StateReason", "ExtendedStatistic", "Threshold", "DatapointsToAlarm", "Dimensions")
    }
    assert said == {
        "StateValue": "ALARM", "StateReason": "a drill", "ExtendedStatistic": "p99", "Threshold": 1.5, "DatapointsToAlarm": 2,
        "Dimensions": [{"Name": "Host", "Value": "a"}],
    }  # fmt: skip
    assert found["StateUpdatedTimestamp"].year >= 2026
    client.delete_alarms(AlarmNames=[name])
    with pytest.raises(ClientError) as refused:
        client.delete_alarms(AlarmNames=[name])
    assert refused.value.response["Error"]["Code"] == "ResourceNotFound"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_the_cli_and_boto3_put_sources_of_metrics(live):
    http = "url=http://shop.test/health,expectedText=fine,expectedStatus=200"
    environment = live.environment() | {"AWS_DATA_PATH": str(MODELS)}  # as `penstock env` sets it

    def cli(operation, *arguments):
        done = run(AWS, "penstock", operation, "--source-name", "shop", *arguments, env=environment, timeout=90)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "null")

    made = cli("put-metric-source", "--no-enabled", "--http", http)["source"]
    assert (made["status"], made["http"]["expectedText"], "lastError" in made) == ("DISABLED", "fine", False)
    client = live.client("penstock")
    query = {"url": "http://prometheus.test:9090", "query": "sum(up)", "labels": ["job"], "metricName": "Up"}
    client.put_metric_source(sourceName="up", prometheus=query, enabled=False, credentials={"bearerToken": "t"})
    listed = client.get_paginator("list_metric_sources").paginate(PaginationConfig={"PageSize": 1}).build_full_result()
    assert [(one["sourceName"], one["kind"], one["hasCredentials"]) for one in listed["sources"]] == [
        ("shop", "http", False), ("up", "prometheus", True),
    ]  # fmt: skip
    assert client.get_metric_source(sourceName="up")["source"]["prometheus"] == query
    with pytest.raises(ClientError) as refused:
        client.put_metric_source(sourceName="a b", prometheus=query)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    cli("delete-metric-source")
    with pytest.raises(ClientError) as refused:
        client.get_metric_source(sourceName="shop")
    assert refused.value.response["Error"]["Code"] == "MetricSourceNotFoundException"
    client.delete_metric_source(sourceName="up")
