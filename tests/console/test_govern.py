"""The console's pages about who may do what and what is kept secret: in process, each as its visitor may see it."""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import httpx
import penstock_identity_harness
import pytest
from penstock_identity_harness import ACCOUNT, allow, document, trusting

import penstock.audit.pages
import penstock.events
import penstock.fleet
import penstock.keys
import penstock.monitoring
import penstock.notifications
import penstock.parameters
import penstock.secrets
import penstock.topics
from penstock import console
from penstock.console.web import Console
from penstock.monitoring import evaluating
from penstock.monitoring.source_records import note_read
from penstock.secrets.settings import SecretSettings
from penstock.webpages.view import Visitor
from penstock.wire.call import Session

REGION = "us-east-1"
SEES = allow("iam:List*", "iam:Get*", "kms:List*", "kms:DescribeKey", "ssm:DescribeParameters", "secretsmanager:ListSecrets",
             "secretsmanager:DescribeSecret")  # fmt: skip


class Browser:
    """Looks at pages as whoever is signed in."""

    def __init__(self, harness: Any, client: httpx.AsyncClient) -> None:
        self.harness, self.client = harness, client
        self.session: Session

    async def see(self, path: str, status: int = 200, **form: str) -> str:
        """The text of a page, or of what a form answers."""
        self.text = ""
        sent = {**form, "token": "the token"}
        answer = await (self.client.post(path, data=sent) if form else self.client.get(path))
        assert answer.status_code == status, answer.text.partition("<main")[2][:2000]
        self.text = answer.text
        return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text)))

    async def do(self, service: str, operation: str, **input: Any) -> dict[str, Any]:
        """An operation of the administrator's."""
        me = await self.harness.administrator()
        return await self.harness.app.invoke(me, service, operation, input, region=REGION)


@pytest.fixture
async def browser(store, clock, tmp_path, monkeypatch) -> AsyncIterator[Browser]:
    components = (
        penstock.keys.component, penstock.secrets.component, penstock.parameters.component, penstock.audit.component,
        penstock.topics.component, penstock.fleet.component, penstock.monitoring.component, penstock.notifications.component,
        penstock.events.component, console.component,
    )  # fmt: skip
    chosen = SecretSettings(rotation_commands=("renew=/bin/true",))
    async with contextlib.AsyncExitStack() as stack:
        harness = await stack.enter_async_context(
            penstock_identity_harness.harness_on(store, clock, tmp_path, *components, chosen=(chosen,))
        )
        transport = httpx.ASGITransport(app=harness.app.mounts["/console/"])
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://here/console/")
        )
        made = Browser(harness, client)
        made.session = await harness.administrator()

        async def me(_console, _request):
            return Visitor(session=made.session, user_name="me", token="the token", session_id="s")

        monkeypatch.setattr(Console, "visitor_of", me)
        yield made


async def test_users_roles_and_groups(browser):
    do = browser.do
    for name in ("ann", "bert"):
        await do("iam", "CreateUser", UserName=name)
    key = (await do("iam", "CreateAccessKey", UserName="ann"))["AccessKey"]["AccessKeyId"]
    await do("iam", "CreateGroup", GroupName="crew")
    await do("iam", "AddUserToGroup", GroupName="crew", UserName="ann")
    await do("iam", "AttachGroupPolicy", GroupName="crew", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    await do("iam", "PutUserPolicy", UserName="ann", PolicyName="own", PolicyDocument=allow("s3:GetObject"))
    trust = trusting(Service="codebuild.amazonaws.com", AWS=[f"arn:aws:iam::{ACCOUNT}:user/ann"])
    await browser.harness.role("deployer", trust, allow("s3:PutObject"), Description="Puts <releases>")
    listed = await browser.see("users")
    assert "3 users of account" in listed
    assert 'href="/console/users/ann"' in browser.text
    assert "1 user with ANN in the name" in await browser.see("users?q=ANN")
    assert "No user has that in its name" in await browser.see("users?q=nobody")
    one = await browser.see("users/ann")
    assert "ann is in 1 group and has 1 active access key." in one
    assert "ann has no user name and password for Git." in one
    await browser.do("iam", "CreateServiceSpecificCredential", UserName="ann", ServiceName="codecommit.amazonaws.com")
    assert f"ann-at-{ACCOUNT} Active" in await browser.see("users/ann")
    for said in (
        key,
        "Active",
        "never",
        "crew",
        "Inline policy own",
        '"s3:GetObject"',
        f"arn:aws:iam::{ACCOUNT}:user/ann",
    ):
        assert said in one, said
    assert "AdministratorAccess" in await browser.see("groups/crew")
    assert "1 user is in crew." in await browser.see("groups/crew")
    assert "crew" in await browser.see("groups")
    roles = await browser.see("roles")
    assert "codebuild.amazonaws.com, arn:aws:iam::" in roles
    role = await browser.see("roles/deployer")
    for said in ("Puts <releases>", "codebuild.amazonaws.com", '"s3:PutObject"', "60 min", "never"):
        assert said in role, said
    assert "cannot be found" in await browser.see("users/nobody", 404)


async def test_keys_parameters_and_secrets(browser, clock):
    do = browser.do
    key = (await do("kms", "CreateKey", Description="For the shop"))["KeyMetadata"]["KeyId"]
    await do("kms", "CreateAlias", AliasName="alias/shop", TargetKeyId=key)
    await do("kms", "EnableKeyRotation", KeyId=key, RotationPeriodInDays=90)
    gone = (await do("kms", "CreateKey"))["KeyMetadata"]["KeyId"]
    await do("kms", "ScheduleKeyDeletion", KeyId=gone, PendingWindowInDays=7)
    assert "alias/shop" in await browser.see("keys")
    one = await browser.see(f"keys/{key}")
    for said in ("For the shop", "every 90 days", "alias/shop", '"kms:*"', "There is no grant."):
        assert said in one, said
    assert "in 7 days" in await browser.see(f"keys/{gone}")
    await do("ssm", "PutParameter", Name="/shop/host", Value="db.example", Type="String")
    for value in ("hush-1", "hush-2"):
        await do("ssm", "PutParameter", Name="/shop/token", Value=value, Type="SecureString", Overwrite=True)
    listed = await browser.see("parameters?q=shop")
    assert "2 parameters on this page, 1 of them encrypted." in listed
    assert "db.example" in await browser.see("parameters/parameter?name=/shop/host")
    sealed = await browser.see("parameters/parameter?name=/shop/token")
    assert "hush" not in browser.text
    assert "Show the value" in sealed
    assert "hush-2" in await browser.see("parameters/parameter/value", name="/shop/token")
    assert "no parameter of the name /nowhere" in await browser.see("parameters/parameter?name=/nowhere", 404)
    await do(
        "secretsmanager",
        "CreateSecret",
        Name="shop/db",
        SecretString='{"password": "hush-3"}',
        ClientRequestToken="1" * 36,
    )
    listed = await browser.see("secrets?q=sho")
    assert "1 secret on this page, 0 of them rotated" in listed
    (address,) = re.findall(r'href="/console/(secrets/secret[^"]*)"', browser.text)
    shown = await browser.see(address)
    assert "hush-3" not in browser.text
    assert "AWSCURRENT" in shown
    assert "hush-3" in await browser.see("secrets/secret/value", id="shop/db")
    assert "A rotation is under way" not in shown
    await browser.harness.role("renew", trusting(Service="lambda.amazonaws.com"), allow("secretsmanager:*"))
    renew = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:renew"
    begun = await do(
        "secretsmanager", "RotateSecret", SecretId="shop/db", RotationLambdaARN=renew, ClientRequestToken="2" * 36
    )
    rotated = await browser.see(address)
    assert f"under way or was given up: version {begun['VersionId']} is AWSPENDING." in rotated
    assert "the log group /aws/lambda/renew;" in rotated
    await do("secretsmanager", "DeleteSecret", SecretId="shop/db", RecoveryWindowInDays=7)
    assert "This secret will be deleted." in await browser.see(address)
    assert "Show the value" not in browser.text


async def test_alarms_and_what_they_watch(browser, monkeypatch):
    monkeypatch.setattr(evaluating, "evaluate", lambda *_, **__: None)  # each keeps the state that the test gives it
    do, name = browser.do, "errors of <b>/checkout"
    assert "No alarms yet" in await browser.see("alarms")
    asked = {
        "EvaluationPeriods": 3,
        "DatapointsToAlarm": 2,
        "Threshold": 5.0,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    metric = {"Namespace": "Shop", "MetricName": "Errors", "Dimensions": [{"Name": "Host", "Value": "web-1"}]}
    await do(
        "cloudwatch",
        "PutMetricAlarm",
        AlarmName=name,
        AlarmDescription="Too many",
        Statistic="Sum",
        Period=60,
        **metric,
        **asked,
    )
    queries = [
        {"Id": "m1", "MetricStat": {"Metric": metric, "Period": 300, "Stat": "p90"}, "ReturnData": False},
        {"Id": "e1", "Expression": "m1 * 2"},
    ]
    await do("cloudwatch", "PutMetricAlarm", AlarmName="computed", Metrics=queries, **asked)
    await do("cloudwatch", "PutCompositeAlarm", AlarmName="shop", AlarmRule="ALARM(computed)")
    await do("cloudwatch", "SetAlarmState", AlarmName=name, StateValue="ALARM", StateReason="a <drill>")
    listed = await browser.see("alarms")
    assert "3 alarms on this page, 1 in alarm." in listed
    assert listed.index(name) < listed.index("computed"), "what is in alarm comes first"
    address = "alarms/alarm?name=errors+of+%3Cb%3E%2Fcheckout"
    assert f'href="/console/{address}"' in browser.text
    assert "No data." in await browser.see(address)
    for value, ago in ((9.0, 60), (2.0, 120)):
        datum = {**metric, "Timestamp": browser.harness.app.clock.now() - ago * 1000, "Value": value}
        await do("cloudwatch", "PutMetricData", Namespace=datum.pop("Namespace"), MetricData=[datum])
    seen = await browser.see(address)
    for said in (
        name, "a <drill>", "In alarm", "Too many", "Shop Errors", "web-1", "2 of 3 periods are greater than 5", "The last 60 minutes",
        "2 periods with data, the threshold is 5", "Alarm updated from INSUFFICIENT_DATA to ALARM",
    ):  # fmt: skip
        assert said in seen, said
    assert re.findall(r'class="bar" data-tone="(\w+)"', browser.text) == ["bad", "good"]
    computed = await browser.see("alarms/alarm?name=computed")
    assert "Query e1 m1 * 2" in computed
    assert "The last 300 minutes" in computed
    composed = await browser.see("alarms/alarm?name=shop")
    assert "Rule ALARM(computed)" in composed
    assert "The last" not in composed
    assert "There is no alarm of that name" in await browser.see("alarms/alarm?name=gone", 404)
    await browser.see("alarms/alarm", 404)
    browser.session = await browser.harness.user("ada", allow("cloudwatch:DescribeAlarms"))
    seen = await browser.see(address)
    assert "A policy does not let you see the history." in seen
    assert "The last 60 minutes" not in seen


async def test_topics_and_who_gets_what_is_published_to_them(browser):
    do = browser.do
    assert "No topics yet" in await browser.see("topics")
    arn = (await do("sns", "CreateTopic", Name="deploys", Attributes={"DisplayName": "Deploys"}))["TopicArn"]
    assert "1 topic on this page. " in await browser.see("topics")
    assert 'href="/console/topics/deploys"' in browser.text
    assert "Nobody has subscribed yet." in await browser.see("topics/deploys")
    await do("sns", "Subscribe", TopicArn=arn, Protocol="https", Endpoint="https://hooks.example.com/<b>")
    seen = await browser.see("topics/deploys")
    for said in (
        "0 subscriptions confirmed, 1 not yet.",
        "https://hooks.example.com/<b>",
        "Waits for its confirmation",
        "__default_statement_ID",
    ):
        assert said in seen, said
    assert "Deliveries are not logged." in seen
    assert "Nothing was given up." in seen
    assert "sealed under" not in seen
    await browser.see("topics/none", 404)
    key = (await do("kms", "CreateKey"))["KeyMetadata"]["KeyId"]
    await do("sns", "SetTopicAttributes", TopicArn=arn, AttributeName="KmsMasterKeyId", AttributeValue=key)
    chat = {"Endpoint": "https://hooks.slack.com/services/x", "Attributes": {"PenstockFormat": "slack"}}
    await do("sns", "Subscribe", TopicArn=arn, Protocol="https", **chat)
    seen = await browser.see("topics/deploys")
    assert f"Messages are sealed under the key {key}" in seen
    assert "Chat, slack" in seen
    may = {"Effect": "Allow", "Action": ["sns:ListTopics", "sns:GetTopicAttributes"], "Resource": "*"}
    browser.session = await browser.harness.user("looker", document(may))
    assert "A policy does not let you see the subscriptions." in await browser.see("topics/deploys")


async def test_notification_rules_and_whom_they_reach(browser):
    do = browser.do
    assert "No notification rules yet" in await browser.see("notification-rules")
    topic = (await do("sns", "CreateTopic", Name="deploys"))["TopicArn"]
    asked = {
        "Name": "of the shop",
        "Resource": f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:shop",
        "EventTypeIds": ["codepipeline-pipeline-pipeline-execution-failed"],
        "DetailType": "FULL",
        "Tags": {"team": "shop"},
    }
    targets = [{"TargetType": "SNS", "TargetAddress": address} for address in (topic, f"{topic}-gone")]
    made = await do("codestar-notifications", "CreateNotificationRule", Targets=targets, **asked)
    listed = await browser.see("notification-rules")
    for said in ("1 notification rule on this page.", "of the shop", "Enabled", " shop ", "2 targets"):
        assert said in listed, said
    (address,) = re.findall(r'href="/console/(notification-rules/[^"]+)"', browser.text)
    assert made["Arn"].endswith(address.rpartition("/")[2])
    seen = await browser.see(address)
    for said in (
        "It notifies 2 targets about 1 event type of shop.", "Nothing sent yet", "Turn off", "None",
        "codepipeline-pipeline-pipeline-execution-failed", "All that is known of an event", "Tag team shop",
    ):  # fmt: skip
        assert said in seen, said
    assert 'href="/console/topics/deploys"' in browser.text
    await browser.see(f"{address}/status", 303, state="DISABLED")
    seen = await browser.see(address)
    assert "It is off: nobody is notified about 1 event type of shop." in seen
    assert "Turn on" in seen
    browser.session = await browser.harness.user("looker", allow("codestar-notifications:ListNotificationRules"))
    assert "A policy does not let you see it." in await browser.see("notification-rules")
    await browser.see(address, 403)
    may = allow("codestar-notifications:ListNotificationRules", "codestar-notifications:DescribeNotificationRule")
    browser.session = await browser.harness.user("reader", may)
    assert "Turn on" not in await browser.see(address)
    await browser.see(f"{address}/status", 403, state="ENABLED")


async def test_connections_and_why_they_are_not_authorised(browser):
    do = browser.do
    assert "No connections yet" in await browser.see("connections")
    key = {"ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "hush"}}
    chat = {"Name": "chat", "AuthorizationType": "API_KEY", "AuthParameters": key, "Description": "<b>chat"}
    arn = (await do("events", "CreateConnection", **chat))["ConnectionArn"]
    assert "1 connection on this page, none not authorised." in await browser.see("connections")
    assert "No API destination uses it yet." in await browser.see("connections/chat")
    asks = {
        "HttpMethod": "POST",
        "InvocationEndpoint": "https://chat.example.com/x?y=1",
        "InvocationRateLimitPerSecond": 7,
    }
    await do("events", "CreateApiDestination", Name="room", ConnectionArn=arn, **asks)
    seen = await browser.see("connections/chat")
    for said in (
        "1 API destination uses it.",
        "Authorised",
        "Key in a header",
        "<b>chat",
        "room",
        "POST https://chat.example.com/x?y=1",
        " 7 ",
    ):
        assert said in seen, said
    assert "hush" not in browser.text
    assert "<b>chat" not in browser.text
    await do("events", "DeauthorizeConnection", Name="chat")
    assert "1 connection on this page, 1 not authorised." in await browser.see("connections")
    seen = await browser.see("connections/chat")
    assert "Not authorised" in seen
    assert "Inactive" in seen
    await browser.see("connections/gone", 404)
    browser.session = await browser.harness.user("looker", allow("events:DescribeConnection"))
    assert "A policy does not let you see them." in await browser.see("connections/chat")


async def test_a_page_shows_what_its_visitor_may_see(browser):
    do = browser.do
    await do("ssm", "PutParameter", Name="/shop/token", Value="hush", Type="SecureString")
    await do("ssm", "PutParameter", Name="/shop/host", Value="hush", Type="String")
    await do("secretsmanager", "CreateSecret", Name="db", SecretString="hush", ClientRequestToken="1" * 36)
    key = (await do("kms", "CreateKey"))["KeyMetadata"]["KeyId"]
    browser.session = await browser.harness.user("looker", SEES)
    for path in ("users", "roles", "groups", "keys", "parameters", "secrets"):
        await browser.see(path)
        assert f'href="/console/{path}"' in browser.text
    for path in (
        "parameters/parameter?name=/shop/token",
        "parameters/parameter?name=/shop/host",
        "secrets/secret?id=db",
    ):
        seen = await browser.see(path)
        assert "A policy does not let you read it." in seen
        assert "hush" not in browser.text
        assert "Show the value" not in seen
    for path, form in (("parameters/parameter/value", {"name": "/shop/token"}), ("secrets/secret/value", {"id": "db"})):
        assert "not authorized to perform" in await browser.see(path, 403, **form)
    assert "A policy does not let you see the key's policy." in await browser.see(f"keys/{key}")
    browser.session = await browser.harness.user("nobody")
    for path in (
        "users",
        "users/looker",
        "roles",
        "groups",
        "keys",
        f"keys/{key}",
        "parameters",
        "secrets",
        "secrets/secret?id=db",
    ):
        assert "You have no access" in await browser.see(path, 403), path
        assert f'href="/console/{path}"' not in browser.text


@pytest.mark.parametrize(
    ("trails", "said"),
    [
        (None, ""),
        ({}, ""),
        ({"a": {"IsLogging": True}}, "1 trail writes them to buckets."),
        ({"a": {"IsLogging": True}, "b": {"IsLogging": True}}, "2 trails write them to buckets."),
        ({"a": {"IsLogging": True}, "b": {"IsLogging": False}}, "Trails that are stopped: b."),
        (
            {"a": {"IsLogging": True, "LatestDeliveryError": "NoSuchBucket"}, "b": {"IsLogging": False}},
            "Trails that cannot write: a (NoSuchBucket).",
        ),
        ({"a": None}, ""),
    ],
)
async def test_the_audit_page_says_how_trails_are(trails, said):
    class View:
        query: ClassVar = {}

        async def call(self, _service, _operation, **_input):
            return {"Events": []}

        async def allowed(self, _service, operation, Name=""):
            if operation == "DescribeTrails":
                return None if trails is None else {"trailList": [{"Name": one, "TrailARN": one} for one in trails]}
            return trails[Name]

    assert (await penstock.audit.pages.events(View())).lede.partition("failed.")[2].strip() == said


async def test_metric_sources_and_why_one_fails(browser):
    assert "No metric sources yet" in await browser.see("metric-sources")
    where = {"url": "https://shop.example.com/<health>"}
    given = {"credentials": {"bearerToken": "hush-hush"}, "enabled": False}
    await browser.do("penstock", "PutMetricSource", sourceName="shop", http=where, **given)
    assert "1 metric source on this page, none failing." in await browser.see("metric-sources")
    assert 'href="/console/metric-sources/shop"' in browser.text
    why = "The status is 503, and 200-299 was expected."
    await browser.harness.app.store.write(
        note_read, ("111111111111", REGION), "shop", settings={"http": where, "enabled": True, "description": "", "intervalSeconds": 60, "timeoutSeconds": 5}, error=why, read_at=1, failures=2,
    )  # fmt: skip
    for path in ("metric-sources", "metric-sources/shop"):
        assert why in await browser.see(path)
        assert "hush" not in browser.text
    for said in ("Read every 60 seconds.", "https://shop.example.com/<health>", "Kept sealed", "Penstock/Probes"):
        assert said in await browser.see("metric-sources/shop"), said
    await browser.see("metric-sources/none", 404)
    browser.session = await browser.harness.user("stranger", allow("iam:GetUser"))
    await browser.see("metric-sources", 403)
