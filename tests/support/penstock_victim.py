"""An account that has one of everything, and each registered operation's smallest input about what it has.

Everything in it is called `victims`, and says CANARY where it can say something: whoever may not see it never reads that word.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import penstock_topics as topics
import sqlalchemy as sa
from botocore.exceptions import ClientError
from penstock_certificates import authority, create_session
from penstock_git import Clone, git_environment, with_key
from penstock_live import Live
from penstock_waiting import until

from penstock.deployments import records as deployments
from penstock.identity import totp
from penstock.store import records

ACCOUNT = "111111111111"
CANARY = "canary-5f1c"
_EVERYTHING = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Sid": "Canary5f1c", "Effect": "Allow", "Action": "*", "Resource": "*"}]}
)
_SERVICES = [f"{name}.amazonaws.com" for name in ("codebuild", "codedeploy", "codepipeline", "scheduler")]
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": _SERVICES, "AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)
TIMED = (
    "audit.deliver",
    "objects.collect",
    "pipelines.sweep",
    "deployments.watch",
    "rules.pack_archive",
)  # jobs that come again by themselves, and find nothing to do
_LOGS = {"Service": "logs.us-east-1.amazonaws.com"}
_KEY = {  # the policy of the key: its account's, and CloudWatch Logs may use it
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": who, "Action": "kms:*", "Resource": "*"}
        for who in ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, _LOGS)
    ],
}
_TAGS = [{"Key": "canary", "Value": CANARY}]
_LOWER_TAGS = [{"key": "canary", "value": CANARY}]


def furnish(server: Live, folder: Path) -> dict[Any, Any]:
    """Make one of everything; values of members, by (service, member) or member, as `penstock_operations.smallest` takes them."""
    named = furnish_shareable(server)
    _certificates(server, named)
    _rules(server, named)
    _schedules(server, named)
    _repository(server, folder, named)
    _delivery(server, named)
    until(lambda: _quiet(server))
    server.run(server.app.store.write(_a_healthy_host))
    return named


def _rules(server: Live, named: dict[Any, Any]) -> None:
    """A bus, and a rule whose target is not there, so that the event that it was to get is kept."""
    events, topic = server.client("events"), f"arn:aws:sns:us-east-1:{ACCOUNT}:not-there"
    pattern = json.dumps({"source": [CANARY]})
    events.create_event_bus(Name="victims", Description=CANARY, Tags=_TAGS)
    rule = events.put_rule(Name="victims", EventPattern=pattern, Description=CANARY, Tags=_TAGS)["RuleArn"]
    events.put_targets(Rule="victims", Targets=[{"Id": "victims", "Arn": topic}])
    bus = f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/default"
    archive = events.create_archive(
        ArchiveName="victims", EventSourceArn=bus, EventPattern=pattern, Description=CANARY
    )["ArchiveArn"]
    events.put_events(Entries=[{"Source": CANARY, "DetailType": CANARY, "Detail": "{}"}])
    ours = server.client("penstock")
    (letter,) = until(lambda: ours.list_event_dead_letters()["deadLetters"])
    event = dict.fromkeys(("id", "account", "source", "time", "region", "detail-type"), CANARY)
    secret = {"BasicAuthParameters": {"Username": CANARY, "Password": CANARY}}
    connection = events.create_connection(
        Name="victims", Description=CANARY, AuthorizationType="BASIC", AuthParameters=secret
    )["ConnectionArn"]
    address = f"https://{CANARY}.example"
    events.create_api_destination(
        Name="victims", Description=CANARY, ConnectionArn=connection, InvocationEndpoint=address, HttpMethod="POST"
    )
    # Of a time without events: it ends by itself.
    times = {"EventStartTime": 1, "EventEndTime": 2}
    events.start_replay(
        ReplayName="victims", Description=CANARY, EventSourceArn=archive, Destination={"Arn": bus}, **times
    )
    named |= {
        ("events", "EventSourceArn"): archive,
        ("events", "Destination"): {"Arn": bus},
        ("events", "AuthorizationType"): "BASIC",
        ("events", "AuthParameters"): secret,
        ("events", "ConnectionArn"): connection,
        ("events", "InvocationEndpoint"): address,
        ("events", "Arn"): topic,
        ("events", "TargetArn"): topic,
        ("events", "ResourceARN"): rule,
        ("events", "EventPattern"): pattern,
        ("events", "Event"): json.dumps(event),
        ("penstock", "deadLetterId"): letter["deadLetterId"],
    }


def _schedules(server: Live, named: dict[Any, Any]) -> None:
    """A group, and a schedule that comes in a time that no test lives to see."""
    scheduler, topic = server.client("scheduler"), f"arn:aws:sns:us-east-1:{ACCOUNT}:not-there"
    group = scheduler.create_schedule_group(Name="victims", Tags=_TAGS)["ScheduleGroupArn"]
    expression = "cron(0 0 1 1 ? 2199)"
    target = {"Arn": topic, "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/victims", "Input": CANARY}
    scheduler.create_schedule(
        Name="victims",
        Description=CANARY,
        ScheduleExpression=expression,
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=target,
    )
    named |= {
        ("scheduler", "ScheduleExpression"): expression,
        ("scheduler", "Arn"): topic,
        ("scheduler", "ResourceArn"): group,
    }


def _a_healthy_host(conn: sa.Connection) -> None:
    """What a deployment that succeeded would have left, which takes a host."""
    group = conn.execute(sa.select(deployments.groups.c.id)).scalar_one()
    row = {"group_id": group, "name": "victims", "healthy": True, "installed": "", "updated": 1}
    conn.execute(deployments.health.insert().values(row))


def furnish_shareable(server: Live) -> dict[Any, Any]:
    """Users, roles, and what has policies of its own; the same values."""
    named: dict[Any, Any] = {"": "victims"}
    _identity(server, named)
    _data(server, named)
    return named


def share(server: Live, named: dict[Any, Any], account: str) -> None:
    """Let another account do everything with what has a policy of its own, as far as such a policy can."""
    principal = {"AWS": f"arn:aws:iam::{account}:root"}
    trust = json.loads(TRUST)
    trust["Statement"].append({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})
    server.client("iam").update_assume_role_policy(RoleName="victims", PolicyDocument=json.dumps(trust))
    key = json.loads(named["kms", "Policy"])
    key["Statement"].append({"Effect": "Allow", "Principal": principal, "Action": "kms:*", "Resource": "*"})
    server.client("kms").put_key_policy(KeyId=named["KeyId"], PolicyName="default", Policy=json.dumps(key))
    everything = ["arn:aws:s3:::victims-bucket", "arn:aws:s3:::victims-bucket/*"]
    bucket = json.loads(named["s3", "Policy"])
    bucket["Statement"].append({"Effect": "Allow", "Principal": principal, "Action": "s3:*", "Resource": everything})
    secret = json.loads(named["ResourcePolicy"])
    secret["Statement"].append(
        {"Effect": "Allow", "Principal": principal, "Action": "secretsmanager:*", "Resource": named["SecretId"]}
    )
    server.client("s3").put_bucket_policy(Bucket="victims-bucket", Policy=json.dumps(bucket))
    named["ResourcePolicy"] = json.dumps(secret)  # what is put anew by that account leaves it in
    server.client("secretsmanager").put_resource_policy(
        SecretId=named["SecretId"], ResourcePolicy=named["ResourcePolicy"]
    )


def _trail(server: Live) -> None:
    server.client("s3").create_bucket(Bucket="victims-trail")
    policy = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudtrail.amazonaws.com"},
        "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::victims-trail/*",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [policy]})
    server.client("s3").put_bucket_policy(Bucket="victims-trail", Policy=document)
    server.client("cloudtrail").create_trail(
        Name="victims", S3BucketName="victims-trail", TagsList=[{"Key": "canary", "Value": CANARY}]
    )


def _denied(server: Live) -> str:
    """The message of a denial."""
    made = server.client("sts").get_federation_token(Name="victims")["Credentials"]
    keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    iam = server.client("iam", keys={**keys, "aws_session_token": made["SessionToken"]})
    try:
        raise AssertionError(iam.list_users())
    except ClientError as denied:
        return denied.response["ResponseMetadata"]["HTTPHeaders"]["x-penstock-authorization-message"]


def _identity(server: Live, named: dict[Any, Any]) -> None:
    iam = server.client("iam")
    iam.create_user(UserName="victims", Tags=_TAGS)
    named["AccessKeyId"] = iam.create_access_key(UserName="victims")["AccessKey"]["AccessKeyId"]
    credential = iam.create_service_specific_credential(UserName="victims", ServiceName="codecommit.amazonaws.com")
    named["ServiceSpecificCredentialId"] = credential["ServiceSpecificCredential"]["ServiceSpecificCredentialId"]
    named[("iam", "ServiceName")] = "codecommit.amazonaws.com"
    iam.create_login_profile(UserName="victims", Password="A-long-Password-1")
    iam.update_account_password_policy(MinimumPasswordLength=8)
    iam.generate_credential_report()
    iam.create_group(GroupName="victims")
    iam.add_user_to_group(GroupName="victims", UserName="victims")
    role = iam.create_role(RoleName="victims", AssumeRolePolicyDocument=TRUST, Description=CANARY, Tags=_TAGS)["Role"]
    policy = iam.create_policy(PolicyName="victims", PolicyDocument=_EVERYTHING, Description=CANARY, Tags=_TAGS)
    policy = policy["Policy"]["Arn"]
    for name, kind in (("UserName", "user"), ("GroupName", "group"), ("RoleName", "role")):
        put, attach = getattr(iam, f"put_{kind}_policy"), getattr(iam, f"attach_{kind}_policy")
        put(**{name: "victims"}, PolicyName="victims", PolicyDocument=_EVERYTHING)
        attach(**{name: "victims"}, PolicyArn=policy)
    service = named[("iam", "AWSServiceName")] = "rolesanywhere.amazonaws.com"
    linked = iam.create_service_linked_role(AWSServiceName=service, Description=CANARY)["Role"]
    task = named[("iam", "DeletionTaskId")] = iam.delete_service_linked_role(RoleName=linked["RoleName"])[
        "DeletionTaskId"
    ]
    if iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"] == "SUCCEEDED":
        iam.create_service_linked_role(AWSServiceName=service, Description=CANARY)
    iam.create_instance_profile(InstanceProfileName="victims", Tags=_TAGS)
    iam.add_role_to_instance_profile(InstanceProfileName="victims", RoleName="victims")
    provider = iam.create_open_id_connect_provider(
        Url="https://victims.example", ClientIDList=[CANARY], ThumbprintList=["a" * 40], Tags=_TAGS
    )
    iam.create_account_alias(AccountAlias=CANARY)
    asked = server.client("organizations").create_account(AccountName=CANARY, Email=f"{CANARY}@example.com")
    asked = asked["CreateAccountStatus"]
    device = iam.create_virtual_mfa_device(VirtualMFADeviceName="victims", Tags=_TAGS)["VirtualMFADevice"]
    named[("iam", "SerialNumber")] = device["SerialNumber"]
    seed = base64.b32decode(device["Base32StringSeed"])
    step = server.app.clock.now() // totp.STEP_MS
    codes = {f"AuthenticationCode{at}": totp.code_of(seed, step + at) for at in (1, 2)}
    iam.enable_mfa_device(UserName="victims", SerialNumber=device["SerialNumber"], **codes)
    named |= {("iam", member): "123456" for member in codes}
    server.run(_sign_in(server))
    named[("sts", "EncodedMessage")] = _denied(server)
    named |= {
        "RoleArn": role["Arn"],
        "roleArn": role["Arn"],
        "serviceRoleArn": role["Arn"],
        "serviceRole": role["Arn"],
        "PolicyArn": policy,
        "PermissionsBoundary": policy,
        "OpenIDConnectProviderArn": provider["OpenIDConnectProviderArn"],
        "Url": "https://others.example",
        "ThumbprintList": "b" * 40,
        "AssumeRolePolicyDocument": TRUST,
        "PolicyDocument": _EVERYTHING,
        ("iam", "Status"): "Inactive",
        ("iam", "ActionNames"): "s3:GetObject",
        ("iam", "PolicyInputList"): '{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}',
        ("iam", "PolicySourceArn"): f"arn:aws:iam::{ACCOUNT}:user/victims",
        ("iam", "VersionId"): "v1",
        "Password": "A-long-Password-2",
        "accountId": "333333333333",
        "AccountId": asked["AccountId"],
        "CreateAccountRequestId": asked["Id"],
        "Email": "victims@example.com",
        "WebIdentityToken": "a.b.c",
    }


async def _sign_in(server: Live) -> None:
    identity = server.app.identity
    user: Any = await identity.sign_in(
        account=ACCOUNT, user_name="victims", password="A-long-Password-1", address="192.0.2.1"
    )
    shown = dataclasses.replace(user, session=dataclasses.replace(user.session, mfa=server.app.clock.now()))
    await identity.begin_session(shown, address="192.0.2.1", agent=CANARY)


def _certificates(server: Live, named: dict[Any, Any]) -> None:
    anywhere, root = server.client("rolesanywhere"), authority("victims")
    tags = [{"key": "canary", "value": CANARY}]
    source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": root.pem}}
    anchor = anywhere.create_trust_anchor(name=CANARY, source=source, tags=tags)["trustAnchor"]
    profile = anywhere.create_profile(name=CANARY, roleArns=[named["RoleArn"]], tags=tags)["profile"]
    revoked = anywhere.import_crl(name=CANARY, crlData=root.revoke(), trustAnchorArn=anchor["trustAnchorArn"])["crl"]
    arns = {"trustAnchorArn": anchor["trustAnchorArn"], "profileArn": profile["profileArn"], "roleArn": CANARY}
    create_session(server.url, root.issue("victims"), arns)  # which is refused, and leaves a subject
    server.client("penstock").invite_host(name="victims-host", roleArn=named["RoleArn"], tags=_TAGS)
    named |= {("penstock", "name"): "victims-host", ("penstock", "certificateSigningRequest"): CANARY}
    given = {
        "trustAnchorId": anchor["trustAnchorId"],
        "trustAnchorArn": anchor["trustAnchorArn"],
        "resourceArn": anchor["trustAnchorArn"],
        "profileId": profile["profileId"],
        "crlId": revoked["crlId"],
        "crlData": root.revoke(),
        "subjectId": anywhere.list_subjects()["subjects"][0]["subjectId"],
        "specifier": "CN",
        "specifiers": "CN",
        "roleArns": named["RoleArn"],
        "source": source,
    }
    named |= {("rolesanywhere", member): value for member, value in given.items()}


def _alarm(server: Live, named: dict[Any, Any]) -> None:
    cloudwatch = server.client("cloudwatch")
    cloudwatch.put_metric_data(Namespace=CANARY, MetricData=[{"MetricName": CANARY, "Value": 1.0}])
    # Of a metric without data and judged by none: with data it would change its state at the next minute, by nobody's call.
    metric = {"Namespace": CANARY, "MetricName": f"{CANARY}-silent"}
    asked = {"Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1.0, "TreatMissingData": "ignore"}
    cloudwatch.put_metric_alarm(
        AlarmName="victims",
        ComparisonOperator="GreaterThanThreshold",
        AlarmDescription=CANARY,
        Tags=_TAGS,
        **metric,
        **asked,
    )
    given = {
        "AlarmName": "victims",
        "AlarmNames": "victims",
        "ResourceARN": f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:victims",
    }
    named |= {("cloudwatch", member): value for member, value in given.items()}
    # One that is not read: each read would change its row, by nobody's call.
    probe = {"url": f"http://victims.test/{CANARY}"}
    server.client("penstock").put_metric_source(
        sourceName="victims", http=probe, enabled=False, description=CANARY, credentials={"bearerToken": CANARY}
    )
    named["penstock", "sourceName"] = "victims"


def _notifications(server: Live, named: dict[Any, Any], topic: str) -> None:
    resource, kind = (
        f"arn:aws:codecommit:us-east-1:{ACCOUNT}:victims-rule",
        "codecommit-repository-branches-and-tags-deleted",
    )
    made = server.client("codestar-notifications").create_notification_rule(
        Name="victims",
        Resource=resource,
        EventTypeIds=[kind],
        Targets=[{"TargetType": "SNS", "TargetAddress": topic}],
        DetailType="FULL",
        Status="DISABLED",
        Tags={"canary": CANARY},
    )
    given = {
        "Arn": made["Arn"], "Resource": resource, "EventTypeIds": kind, "TargetType": "SNS", "TargetAddress": topic, "Name": "others",
    }  # fmt: skip
    named |= {("codestar-notifications", member): value for member, value in given.items()}


def _data(server: Live, named: dict[Any, Any]) -> None:
    kms, ssm, logs, s3 = (server.client(name) for name in ("kms", "ssm", "logs", "s3"))
    tags = [{"TagKey": "canary", "TagValue": CANARY}]
    key = kms.create_key(Description=CANARY, Tags=tags, Policy=json.dumps(_KEY))["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/victims", TargetKeyId=key)
    grant = kms.create_grant(KeyId=key, GranteePrincipal=named["RoleArn"], Operations=["Encrypt"], Name=CANARY)
    named |= {
        "KeyId": key,
        "TargetKeyId": key,
        "DestinationKeyId": key,
        ("logs", "kmsKeyId"): key,
        "AliasName": "alias/victims",
        "GrantId": grant["GrantId"],
        "GranteePrincipal": named["RoleArn"],
        "RetiringPrincipal": named["RoleArn"],
        ("kms", "Policy"): kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"],
        "CiphertextBlob": kms.encrypt(KeyId=key, Plaintext=CANARY.encode())["CiphertextBlob"],
    }
    ssm.put_parameter(Name="/victims/parameter", Value=CANARY, Type="SecureString", Description=CANARY, Tags=_TAGS)
    ssm.label_parameter_version(Name="/victims/parameter", ParameterVersion=1, Labels=["victims"])
    named |= {
        ("ssm", "Name"): "/victims/parameter",
        ("ssm", "Names"): "/victims/parameter",
        ("ssm", "ResourceId"): "/victims/parameter",
        ("ssm", "ResourceType"): "Parameter",
        ("ssm", "Path"): "/victims",
    }
    _alarm(server, named)
    _trail(server)
    secrets = server.client("secretsmanager")
    secret = secrets.create_secret(Name="victims", SecretString=CANARY, Description=CANARY, Tags=_TAGS)["ARN"]
    secret_policy = _policy("secretsmanager:GetSecretValue", secret)
    secrets.put_resource_policy(SecretId=secret, ResourcePolicy=secret_policy)
    named |= {"SecretId": secret, "ResourcePolicy": secret_policy.replace(CANARY, "others")}
    topic = server.client("sns").create_topic(Name="victims", Attributes={"DisplayName": CANARY}, Tags=_TAGS)[
        "TopicArn"
    ]
    found = server.run(server.app.store.read(topics.row, topic))
    # A row: a job that asked for its confirmation would go on while everything else is compared.
    server.run(
        server.app.store.write(topics.many, found, 1, url=f"http://victims.test/{CANARY}{{}}", authenticated=True)
    )
    letter = server.run(server.app.store.write(topics.given_up, server.app.sealer, found))
    named |= {
        ("penstock", "messageDeadLetterId"): letter,
        ("sns", "TopicArn"): topic,
        ("sns", "ResourceArn"): topic,
        ("sns", "SubscriptionArn"): f"{topic}:00000000-0000-4000-8000-000000000000",
        ("sns", "Protocol"): "http",
        ("sns", "Endpoint"): "http://127.0.0.1:9/",
        ("sns", "AWSAccountId"): "222222222222",
        ("sns", "ActionName"): "Publish",
        ("sns", "AttributeName"): "DisplayName",
        ("sns", "Token"): "victims",
    }
    _notifications(server, named, topic)
    logs.create_log_group(logGroupName="victims", tags={"canary": CANARY})
    logs.create_log_stream(logGroupName="victims", logStreamName="victims")
    logs.put_log_events(
        logGroupName="victims",
        logStreamName="victims",
        logEvents=[{"timestamp": server.app.clock.now(), "message": CANARY}],
    )
    asked = {"startTime": 1, "endTime": server.app.clock.now() // 1000 + 1, "queryString": "fields @message"}
    query = logs.start_query(logGroupName="victims", **asked)["queryId"]
    found = until(lambda: logs.get_query_results(queryId=query)["results"])
    pointer = next(cell["value"] for cell in found[0] if cell["field"] == "@ptr")
    definition = logs.put_query_definition(name="victims", queryString=f"filter x = '{CANARY}'")["queryDefinitionId"]
    writes = {"Principal": {"Service": "events.amazonaws.com"}, "Action": "logs:PutLogEvents", "Resource": "*"}
    log_policy = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Sid": "Canary5f1c", "Effect": "Allow", **writes}]}
    )
    logs.put_resource_policy(policyName="victims", policyDocument=log_policy)
    named |= {
        ("logs", "policyName"): "victims",
        ("logs", "policyDocument"): log_policy,
        ("logs", "resourceArn"): f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:victims",
        ("logs", "timestamp"): server.app.clock.now(),
        ("logs", "queryId"): query,
        ("logs", "queryDefinitionId"): definition,
        ("logs", "queryString"): "fields @message",
        ("logs", "logRecordPointer"): pointer,
        ("logs", "destinationArn"): f"arn:aws:sns:us-east-1:{ACCOUNT}:victims",
    }
    s3.create_bucket(Bucket="victims-bucket")
    s3.put_bucket_versioning(Bucket="victims-bucket", VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_tagging(Bucket="victims-bucket", Tagging={"TagSet": _TAGS})
    policy = _policy("s3:GetObject", "arn:aws:s3:::victims-bucket/*")
    s3.put_bucket_policy(Bucket="victims-bucket", Policy=policy)
    s3.put_object(Bucket="victims-bucket", Key="victims", Body=CANARY, Metadata={"canary": CANARY})
    upload = s3.create_multipart_upload(Bucket="victims-bucket", Key="victims", Metadata={"canary": CANARY})
    s3.upload_part(
        Bucket="victims-bucket", Key="victims", UploadId=upload["UploadId"], PartNumber=1, Body=CANARY.encode()
    )
    named |= {
        "Bucket": "victims-bucket",
        "bucketName": "victims-bucket",
        "CopySource": "victims-bucket/victims",
        "UploadId": upload["UploadId"],
        ("s3", "Status"): "Enabled",
        ("s3", "Policy"): policy,
    }


def _policy(action: str, resource: str) -> str:
    statement = {
        "Sid": CANARY,
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": action,
        "Resource": resource,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _repository(server: Live, folder: Path, named: dict[Any, Any]) -> None:
    created = server.client("codecommit").create_repository(
        repositoryName="victims", repositoryDescription=CANARY, tags={"canary": CANARY}
    )["repositoryMetadata"]
    clone = Clone(folder, git_environment(folder))
    clone("init", "-q", "-b", "main")
    named["commitId"] = clone.commit(CANARY)
    clone("push", "-q", with_key(created["cloneUrlHttp"], server.keys()), "main")
    named |= {
        ("codecommit", "resourceArn"): created["Arn"],
        "branchName": "main",
        "defaultBranchName": "main",
        ("codecommit", "ResourceArn"): created["Arn"],
    }


def _delivery(server: Live, named: dict[Any, Any]) -> None:
    builds, deploy, pipelines = (server.client(name) for name in ("codebuild", "codedeploy", "codepipeline"))
    role = named["RoleArn"]
    project = {
        "source": {"type": "NO_SOURCE", "buildspec": "{version: 0.2, phases: {build: {commands: ['exit 1']}}}"},
        "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": {"type": "LINUX_CONTAINER", "image": "local", "computeType": "BUILD_GENERAL1_SMALL"},
    }
    builds.create_project(name="victims", description=CANARY, serviceRole=role, tags=_LOWER_TAGS, **project)
    build = builds.start_build(projectName="victims")["build"]["id"]
    host = server.client("iam").create_user(UserName="victims-host")["User"]["Arn"]
    deploy.create_application(applicationName="victims", tags=_TAGS)
    deploy.create_deployment_config(
        deploymentConfigName="victims", minimumHealthyHosts={"type": "HOST_COUNT", "value": 0}
    )
    deploy.register_on_premises_instance(instanceName="victims", iamUserArn=host)
    deploy.add_tags_to_on_premises_instances(instanceNames=["victims"], tags=_TAGS)
    deploy.create_deployment_group(
        applicationName="victims",
        deploymentGroupName="victims",
        serviceRoleArn=role,
        onPremisesInstanceTagFilters=[{"Key": "canary", "Type": "KEY_ONLY"}],
    )
    revision = {
        "revisionType": "S3",
        "s3Location": {"bucket": "victims-bucket", "key": "victims", "bundleType": "zip"},
    }
    deploy.register_application_revision(applicationName="victims", description=CANARY, revision=revision)
    deployment = deploy.create_deployment(
        applicationName="victims", deploymentGroupName="victims", description=CANARY, revision=revision
    )["deploymentId"]
    # One that is stopped before it has picked its hosts has none.
    until(lambda: deploy.get_deployment(deploymentId=deployment)["deploymentInfo"]["status"] == "InProgress")
    deploy.stop_deployment(deploymentId=deployment)
    pipeline = _pipeline(role)
    pipelines.create_pipeline(pipeline=pipeline, tags=_LOWER_TAGS)
    webhook = {
        "name": "victims", "targetPipeline": "victims", "targetAction": pipeline["stages"][0]["actions"][0]["name"],
        "filters": [{"jsonPath": "$.ref", "matchEquals": CANARY}], "authentication": "GITHUB_HMAC",
        "authenticationConfiguration": {"SecretToken": CANARY},
    }  # fmt: skip
    pipelines.put_webhook(webhook=webhook, tags=_LOWER_TAGS)

    def waiting() -> Any:
        gate = pipelines.get_pipeline_state(name="victims")["stageStates"][1]
        return "token" in gate["actionStates"][0].get("latestExecution", {}) and gate

    gate = until(waiting)
    job = _job(server, role)
    actions = pipelines.list_action_executions(pipelineName="victims")["actionExecutionDetails"]
    named |= {
        ("codebuild", "id"): build,
        ("codebuild", "ids"): build,
        ("codebuild", "source"): project["source"],
        ("codebuild", "artifacts"): project["artifacts"],
        ("codebuild", "environment"): project["environment"],
        ("codedeploy", "ResourceArn"): f"arn:aws:codedeploy:us-east-1:{ACCOUNT}:application:victims",
        ("codedeploy", "revision"): revision,
        ("codedeploy", "revisions"): revision,
        "iamUserArn": host,
        "HostIdentifier": host,
        "deploymentId": deployment,
        "deploymentIds": deployment,
        "DeploymentExecutionId": f"CodeDeploy/us-east-1/prod/arn:aws:codedeploy:us-east-1:{ACCOUNT}:deployment/{deployment}",
        ("penstock", "id"): deployment,
        ("codepipeline", "resourceArn"): f"arn:aws:codepipeline:us-east-1:{ACCOUNT}:victims",
        ("codepipeline", "pipeline"): pipeline,
        ("codepipeline", "webhook"): webhook,
        "pipelineExecutionId": gate["latestExecution"]["pipelineExecutionId"],
        "targetPipelineExecutionId": gate["latestExecution"]["pipelineExecutionId"],
        "actionExecutionId": actions[0]["actionExecutionId"],
        "token": gate["actionStates"][0]["latestExecution"]["token"],
        "stageName": "Gate",
        "actionName": "Approve",
        ("codepipeline", "category"): "Build",
        ("codepipeline", "owner"): "Custom",
        ("codepipeline", "provider"): "victims",
        ("codepipeline", "version"): "1",
        "jobId": job["id"],
        "nonce": job["nonce"],
    } | _partner(server, role)


def _partner(server: Live, role: str) -> dict[Any, Any]:
    """A partner's action type, and a job of it that a worker of the partner has taken."""
    pipelines, ours, pipeline = server.client("codepipeline"), server.client("penstock"), _pipeline(role)
    names = {"category": "Build", "owner": "ThirdParty", "provider": "victims", "version": "1"}
    counts = {"minimumCount": 0, "maximumCount": 1}
    declared = {
        "id": names, "description": CANARY, "inputArtifactDetails": counts, "outputArtifactDetails": counts,
        "executor": {"type": "JobWorker", "configuration": {"jobWorkerExecutorConfiguration": {"pollingAccounts": [ACCOUNT]}}},
    }  # fmt: skip
    ours.register_action_type(actionType=declared)
    token = ours.create_action_type_client(**names)["clientToken"]
    stages = [pipeline["stages"][0], {"name": "Gate", "actions": [{"name": "Build", "actionTypeId": names}]}]
    pipelines.create_pipeline(pipeline=pipeline | {"name": "victims-partner", "stages": stages}, tags=_LOWER_TAGS)
    (job,) = until(lambda: pipelines.poll_for_third_party_jobs(actionTypeId=names)["jobs"])
    shown = {"jobId": job["jobId"], "clientToken": token}
    nonce = pipelines.get_third_party_job_details(**shown)["jobDetails"]["nonce"]
    pipelines.acknowledge_third_party_job(**shown, nonce=nonce)
    return {
        ("codepipeline", "PollForThirdPartyJobs"): {"actionTypeId": names},
        ("codepipeline", "GetActionType"): names,
        ("codepipeline", "UpdateActionType"): {"actionType": declared},
        ("codepipeline", "GetThirdPartyJobDetails"): shown,
        ("codepipeline", "AcknowledgeThirdPartyJob"): shown | {"nonce": nonce},
        ("codepipeline", "PutThirdPartyJobFailureResult"): shown,
        ("codepipeline", "PutThirdPartyJobSuccessResult"): shown,
        ("penstock", "DeregisterActionType"): names,
        ("penstock", "CreateActionTypeClient"): names,
    }


def _job(server: Live, role: str) -> dict[str, Any]:
    """A custom action type, and a job of it that a worker has taken."""
    pipelines, pipeline = server.client("codepipeline"), _pipeline(role)
    counts = {"minimumCount": 0, "maximumCount": 1}
    names = {"category": "Build", "provider": "victims", "version": "1"}
    pipelines.create_custom_action_type(
        **names, inputArtifactDetails=counts, outputArtifactDetails=counts, tags=_LOWER_TAGS,
        configurationProperties=[{"name": "Canary", "required": True, "key": True, "secret": True, "description": CANARY}],
    )  # fmt: skip
    type_id = {**names, "owner": "Custom"}
    build = {"name": "Build", "actionTypeId": type_id, "configuration": {"Canary": CANARY}}
    stages = [pipeline["stages"][0], {"name": "Gate", "actions": [build]}]
    pipelines.create_pipeline(pipeline=pipeline | {"name": "victims-job", "stages": stages}, tags=_LOWER_TAGS)
    (job,) = until(lambda: pipelines.poll_for_jobs(actionTypeId=type_id)["jobs"])
    pipelines.acknowledge_job(jobId=job["id"], nonce=job["nonce"])
    return job


def _pipeline(role: str) -> dict[str, Any]:
    source = {
        "name": "Fetch",
        "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"},
        "configuration": {"S3Bucket": "victims-bucket", "S3ObjectKey": "victims", "PollForSourceChanges": "false"},
        "outputArtifacts": [{"name": "App"}],
    }
    gate = {
        "name": "Approve",
        "actionTypeId": {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"},
        "configuration": {"CustomData": CANARY},
    }
    return {
        "name": "victims",
        "roleArn": role,
        "artifactStore": {"type": "S3", "location": "victims-bucket"},
        "stages": [{"name": "Source", "actions": [source]}, {"name": "Gate", "actions": [gate]}],
    }


def _quiet(server: Live) -> bool:
    """Whether all that was begun has come to its end: no job and no event is to be handed to anybody."""
    jobs = records.jobs.c
    due = sa.select(jobs.id).where(
        jobs.state.in_(records.LIVE),
        jobs.topic == "",
        jobs.kind.not_in(TIMED),
        jobs.due < server.app.clock.now() + 3_600_000,
    )

    def read(conn: sa.Connection) -> bool:
        return not any(
            conn.execute(sa.select(found.exists())).scalar() for found in (due, sa.select(records.deliveries))
        )

    return server.run(server.app.store.read(read))
