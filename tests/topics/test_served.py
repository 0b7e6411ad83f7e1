"""SNS over its own protocol, with boto3 and the AWS CLI."""

import hashlib
import http.server
import json
import re
import threading
import urllib.request
from urllib.parse import urlencode

import httpx
import pytest
from botocore.exceptions import ClientError
from penstock_identity_harness import allow, document
from penstock_live import live_server
from penstock_topics import LOOPBACK
from penstock_waiting import until
from sns_message_validator import SNSMessageValidator
from sns_message_validator.exceptions import SignatureVerificationFailureException

from penstock.cli import dead_letters
from penstock.cli.main import parser_of
from penstock.topics import tokens

REGION = "us-east-1"


@pytest.fixture
def receiver():
    """A web server that keeps the bodies that it is sent."""

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            server.heard.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.status = 200
    server.heard, server.url = [], f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def refused(function, **input):
    with pytest.raises(ClientError) as caught:
        function(**input)
    error = caught.value.response
    return (
        error["Error"]["Code"],
        error["Error"]["Message"],
        error["ResponseMetadata"]["HTTPStatusCode"],
        error["Error"]["Type"],
    )


def test_topics_as_boto3_and_terraform_make_them(sending):
    sns = sending.client("sns")
    arn = sns.create_topic(Name="plan", Attributes={"DisplayName": "Plans"}, Tags=[{"Key": "a", "Value": "b"}])[
        "TopicArn"
    ]
    sns.set_topic_attributes(TopicArn=arn, AttributeName="SignatureVersion", AttributeValue="2")
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"]["SignatureVersion"] == "2"
    assert sns.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    sns.add_permission(TopicArn=arn, Label="l", AWSAccountId=["222222222222"], ActionName=["Publish"])
    sns.remove_permission(TopicArn=arn, Label="l")
    assert arn in [one["TopicArn"] for one in sns.list_topics()["Topics"]]
    sns.delete_topic(TopicArn=arn)
    assert refused(sns.get_topic_attributes, TopicArn=arn) == ("NotFound", "Topic does not exist", 404, "Sender")


def test_errors_have_the_codes_of_sns(sending):
    sns = sending.client("sns")
    assert refused(sns.create_topic, Name="a b") == ("InvalidParameter", "Invalid parameter: Topic Name", 400, "Sender")
    assert (
        refused(
            sns.tag_resource, ResourceArn=f"arn:aws:sns:{REGION}:111111111111:no", Tags=[{"Key": "a", "Value": "b"}]
        )[0]
        == "ResourceNotFound"
    )
    code, message, status, _ = refused(sns.delete_topic, TopicArn=f"arn:aws:sns:{REGION}:222222222222:theirs")
    assert (code, status) == ("AuthorizationError", 403)
    assert (
        "is not authorized to perform: sns:DeleteTopic on resource: arn:aws:sns:us-east-1:222222222222:theirs"
        in message
    )


def test_topics_by_the_cli(sending):
    made = sending.aws("sns", "create-topic", "--name", "by-cli")
    assert made in sending.aws("sns", "list-topics")["Topics"]


@pytest.fixture(scope="module")
def sending(tmp_path_factory):
    """A server that may send to this machine."""
    with live_server(tmp_path_factory.mktemp("sending") / "data", components=(LOOPBACK,)) as found:
        yield found


def test_a_receiver_confirms_by_its_link_and_gets_what_boto3_and_the_cli_publish(sending, receiver):
    sns = sending.client("sns")
    arn = sns.create_topic(Name="served")["TopicArn"]
    sns.subscribe(
        TopicArn=arn, Protocol="http", Endpoint=f"{receiver.url}/hook", Attributes={"FilterPolicy": '{"a":["b"]}'}
    )
    asked = until(lambda: receiver.heard and receiver.heard[0])
    with urllib.request.urlopen(json.loads(asked)["SubscribeURL"]) as answer:  # noqa: S310 - of our own server
        assert b"<ConfirmSubscriptionResult><SubscriptionArn>" + arn.encode() in answer.read()
    confirmed = until(
        lambda: [one for one in sns.list_subscriptions()["Subscriptions"] if one["SubscriptionArn"].startswith("arn")]
    )
    attributes = {"a": {"DataType": "String", "StringValue": "b"}}
    first = sns.publish(TopicArn=arn, Message="by boto3", MessageAttributes=attributes)["MessageId"]
    batch = [{"Id": "one", "Message": "in a batch", "MessageAttributes": attributes}]
    second = sns.publish_batch(TopicArn=arn, PublishBatchRequestEntries=batch)["Successful"][0]["MessageId"]
    third = sending.aws(
        "sns", "publish", "--topic-arn", arn, "--message", "by the CLI", "--message-attributes", json.dumps(attributes)
    )["MessageId"]
    until(lambda: len(receiver.heard) == 4)
    # A validator of PyPI fetches the certificate from this server, and holds the signature against it.
    validator = SNSMessageValidator(
        cert_url_regex=f"^{sending.url}/v1/topics/SimpleNotificationService-[0-9a-f]{{32}}[.]pem$"
    )
    for text in receiver.heard:
        validator.validate_message(json.loads(text))
    with pytest.raises(SignatureVerificationFailureException):
        validator.validate_message(json.loads(receiver.heard[1]) | {"Message": "another"})
    got = {one["MessageId"]: one["Message"] for one in map(json.loads, receiver.heard[1:])}
    assert got == {first: "by boto3", second: "in a batch", third: "by the CLI"}
    leave = json.loads(receiver.heard[-1])["UnsubscribeURL"]
    with urllib.request.urlopen(leave) as answer:  # noqa: S310
        assert answer.status == 200
    until(lambda: sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"] == [])
    assert refused(sns.get_subscription_attributes, SubscriptionArn=confirmed[0]["SubscriptionArn"])[0] == "NotFound"
    assert refused(sns.publish, TopicArn=arn, Message="")[:2] == (
        "InvalidParameter",
        "Invalid parameter: Empty message",
    )
    bad = {"a": {"DataType": "Number", "StringValue": "x"}}
    assert refused(sns.publish, TopicArn=arn, Message="m", MessageAttributes=bad)[0] == "ParameterValueInvalid"


def test_a_message_that_was_given_up_is_sent_again_on_the_command_line(sending, receiver, capsys):
    sns = sending.client("sns")
    arn = sns.create_topic(Name="dead")["TopicArn"]
    sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=f"{receiver.url}/hook")
    link = json.loads(until(lambda: receiver.heard and receiver.heard[0]))["SubscribeURL"]
    urllib.request.urlopen(link).close()  # noqa: S310 - of our own server

    def ran(*words):
        code = dead_letters.run(parser_of("dead-letters").parse_args([*words, "--data-dir", str(sending.data_dir)]))
        return code, capsys.readouterr().out

    receiver.status = 404
    published = sns.publish(TopicArn=arn, Message="Released")["MessageId"]
    (letter,) = until(lambda: sending.client("penstock").list_message_dead_letters(topicArn=arn)["deadLetters"])
    code, out = ran("list")
    assert (code, letter["deadLetterId"] in out, published in out, "ERROR_FROM_TARGET" in out) == (0, True, True, True)
    code, out = ran("show", letter["deadLetterId"], "--json")
    assert (code, json.loads(out)["notification"]["Message"]) == (0, "Released")
    receiver.status = 200
    assert ran("redrive", letter["deadLetterId"])[0] == 0
    again = until(lambda: receiver.heard[2:])
    assert json.loads(again[0])["MessageId"] == published
    assert ran("delete", letter["deadLetterId"])[0] == 2


def test_what_became_of_messages_is_logged_under_the_role_of_the_topic(sending, receiver):
    sns, iam, logs = sending.client("sns"), sending.client("iam"), sending.client("logs")
    trust = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName="sns-log", AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName="sns-log", PolicyName="p", PolicyDocument=allow("logs:*"))
    feedback = {"HTTPSuccessFeedbackRoleArn": role, "HTTPFailureFeedbackRoleArn": role}
    arn = sns.create_topic(Name="logged", Attributes=feedback)["TopicArn"]
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"].items() >= feedback.items()
    sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=f"{receiver.url}/hook")
    link = json.loads(until(lambda: receiver.heard and receiver.heard[0]))["SubscribeURL"]
    urllib.request.urlopen(link).close()  # noqa: S310 - of our own server
    group = f"sns/{REGION}/111111111111/logged"

    def lines(name):
        try:
            return [json.loads(one["message"]) for one in logs.filter_log_events(logGroupName=name)["events"]]
        except logs.exceptions.ResourceNotFoundException:
            return []

    taken = sns.publish(TopicArn=arn, Message="Released")["MessageId"]
    (line,) = until(lambda: lines(group))
    delivery = line.pop("delivery")
    assert line["notification"].pop("timestamp")[10] == " "
    assert line == {
        "notification": {
            "messageMD5Sum": hashlib.md5(b"Released", usedforsecurity=False).hexdigest(), "messageId": taken, "topicArn": arn,
        },
        "status": "SUCCESS",
    }  # fmt: skip
    assert delivery.pop("dwellTimeMs") >= 0
    assert len(delivery.pop("deliveryId")) == 36
    wanted = {"destination": f"{receiver.url}/hook", "providerResponse": "", "attempts": 1, "statusCode": 200}
    assert delivery == wanted
    # None of those that succeed from now on; each that fails.
    sns.set_topic_attributes(TopicArn=arn, AttributeName="HTTPSuccessFeedbackSampleRate", AttributeValue="0")
    sns.publish(TopicArn=arn, Message="unseen")
    until(lambda: len(receiver.heard) == 3)
    receiver.status = 403
    refused_one = sns.publish(TopicArn=arn, Message="Refused")["MessageId"]
    (line,) = until(lambda: lines(f"{group}/Failure"))
    assert (line["status"], line["notification"]["messageId"]) == ("FAILURE", refused_one)
    assert (line["delivery"]["statusCode"], len(lines(group))) == (403, 1)
    # A role that may not write holds up nothing.
    iam.delete_role_policy(RoleName="sns-log", PolicyName="p")
    receiver.status = 200
    sns.set_topic_attributes(TopicArn=arn, AttributeName="HTTPSuccessFeedbackSampleRate", AttributeValue="100")
    last = [sns.publish(TopicArn=arn, Message=text)["MessageId"] for text in ("a", "b")]
    until(lambda: {json.loads(text)["MessageId"] for text in receiver.heard[4:]} == set(last))
    assert len(lines(group)) == 1


def test_links_of_mails_ask_before_they_do_anything(sending):
    sns = sending.client("sns")
    arn = sns.create_topic(Name="linked")["TopicArn"]
    made = sns.subscribe(TopicArn=arn, Protocol="http", Endpoint="http://127.0.0.1:9/", ReturnSubscriptionArn=True)[
        "SubscriptionArn"
    ]
    token = tokens.make(sending.app.sealer, tokens.CONFIRM, made.rpartition(":")[2])
    link = f"{sending.url}/v1/topics/confirm?{urlencode({'TopicArn': arn, 'Token': token})}"

    def pending():
        return sns.get_subscription_attributes(SubscriptionArn=made)["Attributes"]["PendingConfirmation"]

    with httpx.Client() as browser:
        shown = browser.get(link)
        assert (shown.status_code, "<button>Confirm subscription</button>" in shown.text, pending()) == (
            200,
            True,
            "true",
        )
        assert shown.headers["content-security-policy"].startswith("default-src 'none'")
        assert "You are subscribed" in browser.post(link).text
        assert pending() == "false"
        assert browser.post(link.replace("Token=", "Token=x")).status_code == 400
        evil = f"{sending.url}/v1/topics/leave?SubscriptionArn=%3Cscript%3E"
        assert "<script>" not in browser.get(evil).text + browser.post(evil).text
        leave = f"{sending.url}/v1/topics/leave?SubscriptionArn={made}"
        assert "<button>Unsubscribe</button>" in browser.get(leave).text
        assert "not subscribed any more" in browser.post(leave).text
        assert browser.get(f"{sending.url}/v1/topics/other").status_code == 404
        assert browser.get(f"{sending.url}/v1/topics/confirm?Token={'x' * 5_000}").status_code == 404
    assert sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"] == []


def test_somebody_is_asked_for_an_approval_by_a_topic_and_answers_with_its_token(sending, receiver):
    sns, iam, s3, pipelines = (sending.client(name) for name in ("sns", "iam", "s3", "codepipeline"))
    arn = sns.create_topic(Name="approvals")["TopicArn"]
    sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=f"{receiver.url}/asked")
    asked = until(lambda: receiver.heard and json.loads(receiver.heard[0]))
    subscription = sns.confirm_subscription(TopicArn=arn, Token=asked["Token"])["SubscriptionArn"]
    trust = {"Effect": "Allow", "Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName="releases", AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName="releases", PolicyName="p", PolicyDocument=allow("s3:*", "sns:Publish"))
    s3.create_bucket(Bucket="releases")
    s3.put_bucket_versioning(Bucket="releases", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="releases", Key="source.zip", Body=b"anything")

    def action(category, provider, **more):
        kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
        return {"name": category, "actions": [{"name": category, "actionTypeId": kind, **more}]}

    source = {"S3Bucket": "releases", "S3ObjectKey": "source.zip", "PollForSourceChanges": "false"}
    asking = {"NotificationArn": arn, "CustomData": "Good to go?", "ExternalEntityLink": "https://stage.example.com"}
    declared = {
        "name": "release",
        "roleArn": role,
        "artifactStore": {"type": "S3", "location": "releases"},
        "stages": [
            action("Source", "S3", configuration=source, outputArtifacts=[{"name": "App"}]),
            action("Approval", "Manual", configuration=asking),
        ],
    }
    pipelines.create_pipeline(pipeline=declared)
    sent = until(lambda: len(receiver.heard) > 1 and json.loads(receiver.heard[1]))
    assert sent["Subject"] == "APPROVAL NEEDED: AWS CodePipeline release for action Approval"
    said = json.loads(sent["Message"])
    (state,) = pipelines.get_pipeline_state(name="release")["stageStates"][1]["actionStates"]
    token, expires = said["approval"]["token"], said["approval"].pop("expires")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ", expires)
    # The fetched revision, which the run is the first to bring here.
    (change,) = said["approval"].pop("changes")
    assert set(change) == {"id", "summary"}
    assert said == {
        "region": REGION,
        "consoleLink": f"{sending.url}/console/pipelines/release",
        "approval": {
            "pipelineName": "release",
            "stageName": "Approval",
            "actionName": "Approval",
            "token": state["latestExecution"]["token"],
            "externalEntityLink": "https://stage.example.com",
            "approvalReviewLink": f"{sending.url}/console/pipelines/release/approvals/Approval/Approval",
            "customData": "Good to go?",
        },
    }
    # Neither the records of calls nor their log show it.
    assert token not in (sending.data_dir / "logs" / "requests.jsonl").read_text()
    result = {"status": "Approved", "summary": "yes"}
    named = {"pipelineName": "release", "stageName": "Approval", "actionName": "Approval"}
    pipelines.put_approval_result(**named, token=token, result=result)
    iam.delete_role_policy(RoleName="releases", PolicyName="p")
    iam.put_role_policy(RoleName="releases", PolicyName="p", PolicyDocument=allow("s3:*"))
    pipelines.start_pipeline_execution(name="release")

    def failed():
        (now,) = pipelines.get_pipeline_state(name="release")["stageStates"][1]["actionStates"]
        return now["latestExecution"].get("errorDetails")

    error = until(failed)
    assert (error["code"], "is not authorized to perform: sns:Publish" in error["message"]) == ("PermissionError", True)
    sns.unsubscribe(SubscriptionArn=subscription)
    asked = [{"AttributeKey": "ResourceName", "AttributeValue": subscription}]
    trail = sending.client("cloudtrail")

    def on_record():
        return [one["EventName"] for one in trail.lookup_events(LookupAttributes=asked)["Events"]]

    assert until(lambda: len(found := on_record()) > 1 and found) == ["Unsubscribe", "ConfirmSubscription"]
