"""The records of a server: of every way in, allowed or refused, found by each attribute, and by `penstock audit`."""

from __future__ import annotations

import http.cookiejar
import json
import sqlite3
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing

import botocore.exceptions
import pytest
from penstock_starter import PENSTOCK, run
from penstock_waiting import until

from penstock.wire.registry import Recorded

ACCOUNT = "111111111111"
ANYWHERE = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "rolesanywhere.amazonaws.com"},
            "Action": "sts:AssumeRole",
        },
    }
)
READ_PIPELINES = json.dumps(
    {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "codepipeline:List*", "Resource": "*"}}
)


def looked_up(live, name="", value="", **more):
    given = [{"AttributeKey": name, "AttributeValue": value}] if name else []
    pages = live.client("cloudtrail").get_paginator("lookup_events").paginate(LookupAttributes=given, **more)
    return [event | {"Record": json.loads(event["CloudTrailEvent"])} for page in pages for event in page["Events"]]


@pytest.fixture(scope="module")
def ann(live):
    """Keys of a user who may list pipelines only."""
    iam = live.client("iam")
    iam.create_user(UserName="ann")
    iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=READ_PIPELINES)
    iam.create_login_profile(UserName="ann", Password="a long password of ann's")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def test_what_changes_something_is_recorded_with_what_it_was_given_and_what_came_of_it(live):
    live.client("iam").create_user(UserName="changed", Tags=[{"Key": "team", "Value": "a"}])
    (event,) = [
        one
        for one in looked_up(live, "EventName", "CreateUser")
        if one["Record"]["requestParameters"]["userName"] == "changed"
    ]
    record = event["Record"]
    assert record["requestParameters"] == {"userName": "changed", "tags": [{"key": "team", "value": "a"}]}
    assert record["responseElements"]["user"]["arn"] == f"arn:aws:iam::{ACCOUNT}:user/changed"
    assert (event["ReadOnly"], record["readOnly"], record["eventType"]) == ("false", False, "AwsApiCall")
    assert (record["sourceIPAddress"], record["recipientAccountId"], record["awsRegion"]) == (
        "127.0.0.1",
        ACCOUNT,
        "us-east-1",
    )
    assert "Boto3" in record["userAgent"]
    assert {"ResourceType": "AWS::IAM::User", "ResourceName": "changed"} in event["Resources"]
    assert record["userIdentity"] == {
        "type": "IAMUser", "principalId": record["userIdentity"]["principalId"], "accountId": ACCOUNT, "userName": "administrator",
        "arn": f"arn:aws:iam::{ACCOUNT}:user/administrator", "accessKeyId": live.keys()["aws_access_key_id"],
    }  # fmt: skip


def test_what_reads_has_no_response_elements(live):
    live.client("codepipeline").list_pipelines()
    event = looked_up(live, "EventName", "ListPipelines")[0]
    assert (event["ReadOnly"], event["Record"]["responseElements"]) == ("true", None)


def test_who_is_refused_is_recorded_with_the_reason(live, ann):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        live.client("codepipeline", keys=ann).delete_pipeline(name="demo")
    event = looked_up(live, "EventName", "DeletePipeline")[0]
    assert event["Username"] == "ann"
    assert event["Record"]["errorCode"] == refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert event["Record"]["errorMessage"] == refused.value.response["Error"]["Message"]
    assert event["Record"]["requestParameters"] == {"name": "demo"}
    assert event["Record"]["responseElements"] is None


def test_input_that_is_refused_is_recorded(live):
    with pytest.raises(botocore.exceptions.ClientError):
        live.client("codepipeline").get_pipeline(name="not a name!")
    event = next(one for one in looked_up(live, "EventName", "GetPipeline"))
    assert event["Record"]["errorCode"] == "ValidationException"
    assert event["Record"]["requestParameters"] == {"name": "not a name!"}


def test_a_session_of_a_role_says_whose_it_is(live):
    iam, sts = live.client("iam"), live.client("sts")
    trust = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": ACCOUNT},
            "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"],
        },
    }
    role = iam.create_role(RoleName="acting", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    iam.put_role_policy(RoleName="acting", PolicyName="p", PolicyDocument=READ_PIPELINES)
    made = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="s1", SourceIdentity="ada")["Credentials"]
    keys = {
        "aws_access_key_id": made["AccessKeyId"],
        "aws_secret_access_key": made["SecretAccessKey"],
        "aws_session_token": made["SessionToken"],
    }
    live.client("codepipeline", keys=keys).list_pipelines()
    (event,) = looked_up(live, "AccessKeyId", made["AccessKeyId"])
    assert event["Username"] == "s1"
    who = event["Record"]["userIdentity"]
    assert who["type"] == "AssumedRole"
    assert who["arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/acting/s1"
    assert who["principalId"] == f"{role['RoleId']}:s1"
    assert who["sessionContext"]["sessionIssuer"] == {
        "type": "Role",
        "principalId": role["RoleId"],
        "arn": role["Arn"],
        "accountId": ACCOUNT,
        "userName": "acting",
    }
    assert who["sessionContext"]["sourceIdentity"] == "ada"
    assert who["sessionContext"]["attributes"]["mfaAuthenticated"] == "false"
    assumed = looked_up(live, "EventName", "AssumeRole")[0]["Record"]
    assert assumed["responseElements"]["credentials"]["accessKeyId"] == made["AccessKeyId"]
    assert made["SessionToken"] not in json.dumps(assumed)


def test_what_a_service_does_for_a_caller_names_both(live):
    live.client("ssm").put_parameter(Name="/audited", Value="secret", Type="SecureString")
    record = looked_up(live, "EventName", "Encrypt")[0]["Record"]
    assert (record["sourceIPAddress"], record["userAgent"]) == ("ssm.amazonaws.com", "ssm.amazonaws.com")
    assert record["userIdentity"]["invokedBy"] == "ssm.amazonaws.com"
    assert record["userIdentity"]["userName"] == "administrator"


def test_a_service_itself_is_named(live):
    trust = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "codepipeline.amazonaws.com"},
            "Action": "sts:AssumeRole",
        },
    }
    role = live.client("iam").create_role(RoleName="served", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    session, made = live.run(
        live.app.identity.assume(
            role_arn=role["Arn"], service="codepipeline.amazonaws.com", session_name="run", region="us-east-1", account=ACCOUNT,
            source_arn=f"arn:aws:codepipeline:us-east-1:{ACCOUNT}:demo",
        )
    )  # fmt: skip
    (record,) = [one["Record"] for one in looked_up(live, "ResourceName", "served") if one["EventName"] == "AssumeRole"]
    assert record["userIdentity"] == {"type": "AWSService", "invokedBy": "codepipeline.amazonaws.com"}
    assert session.access_key_id == made["AccessKeyId"]


def test_the_console_and_who_signs_in_to_it_are_recorded(live, ann):
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def sign_in(password: str) -> None:
        form = urllib.parse.urlencode({"account": ACCOUNT, "user": "ann", "password": password}).encode()
        browser.open(f"{live.url}/console/login", form).read()

    with pytest.raises(urllib.error.HTTPError):
        sign_in("a wrong password of ann's")
    sign_in("a long password of ann's")
    browser.open(f"{live.url}/console/pipelines").read()
    success, failure = looked_up(live, "EventName", "ConsoleLogin")
    assert success["Record"]["responseElements"] == {"ConsoleLogin": "Success"}
    assert (success["Username"], success["Record"]["eventType"]) == ("ann", "AwsConsoleSignIn")
    assert failure["Record"]["responseElements"] == {"ConsoleLogin": "Failure"}
    assert failure["Record"]["errorMessage"] == "Failed authentication"
    assert failure["Record"]["userIdentity"]["userName"] == "HIDDEN_DUE_TO_SECURITY_REASONS"
    seen = [one["Record"] for one in looked_up(live, "Username", "ann") if one["EventName"] == "ListPipelines"]
    assert any("Python-urllib" in record["userAgent"] for record in seen)


def git(live, folder, keys, *arguments):
    address = urllib.parse.urlsplit(live.url)
    user, password = (
        urllib.parse.quote(keys[name], safe="") for name in ("aws_access_key_id", "aws_secret_access_key")
    )
    url = f"http://{user}:{password}@{address.netloc}/v1/repos/audited"
    identity = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main")
    environment = {"PATH": "/usr/bin:/bin", "GIT_TERMINAL_PROMPT": "0", "HOME": "/nonexistent"}
    command = ["git", *identity, *(url if part == "URL" else part for part in arguments)]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def test_pushes_and_pulls_are_recorded_with_their_references(live, ann, tmp_path):
    live.client("codecommit").create_repository(repositoryName="audited")
    work = tmp_path / "work"
    work.mkdir()
    git(live, work, live.keys(), "init")
    git(live, work, live.keys(), "commit", "--allow-empty", "-m", "x")
    assert git(live, work, live.keys(), "push", "URL", "HEAD:main").returncode == 0
    commit = git(live, work, live.keys(), "rev-parse", "HEAD").stdout.strip()
    assert git(live, tmp_path, live.keys(), "clone", "URL", "again").returncode == 0
    assert git(live, work, ann, "push", "URL", "HEAD:other").returncode != 0
    refused, pushed = looked_up(live, "EventName", "GitPush")
    assert pushed["Record"]["requestParameters"] == {
        "references": [{"ref": "refs/heads/main", "beforeSHA1": "0" * 40, "afterSHA1": commit}]
    }
    assert {"ResourceType": "AWS::CodeCommit::Repository", "ResourceName": "audited"} in pushed["Resources"]
    assert (refused["Username"], refused["Record"]["errorCode"]) == ("ann", "AccessDenied")
    (pulled,) = looked_up(live, "EventName", "GitPull")
    assert (pulled["ReadOnly"], pulled["Username"]) == ("true", "administrator")


def test_the_content_of_objects_and_the_polls_of_hosts_are_no_management_events(live):
    s3 = live.client("s3")
    s3.create_bucket(Bucket="audited")
    s3.put_object(Bucket="audited", Key="k", Body=b"x")
    s3.get_object(Bucket="audited", Key="k")
    names = {event["EventName"] for event in looked_up(live, "EventSource", "s3.amazonaws.com")}
    assert "CreateBucket" in names
    assert not names & {"PutObject", "GetObject"}


@pytest.mark.parametrize(
    ("name", "value", "of"),
    [
        ("EventName", "GetCallerIdentity", lambda event: event["EventName"]),
        ("ReadOnly", "false", lambda event: event["ReadOnly"]),
        ("Username", "administrator", lambda event: event["Username"]),
        ("ResourceType", "AWS::IAM::User", lambda event: {one["ResourceType"] for one in event["Resources"]}),
        ("ResourceName", "ann", lambda event: {one["ResourceName"] for one in event["Resources"]}),
        ("EventSource", "iam.amazonaws.com", lambda event: event["EventSource"]),
    ],
)
def test_events_are_found_by_each_attribute_and_page_by_page(live, ann, name, value, of):
    live.client("sts").get_caller_identity()
    found = looked_up(live, name, value)
    assert found
    for event in found:
        assert value == of(event) or value in of(event)
    paged = looked_up(live, name, value, PaginationConfig={"PageSize": 1, "MaxItems": 5})
    assert len(paged) == min(5, len(paged))
    ids = [event["EventId"] for event in looked_up(live, name, value)]
    assert len(ids) == len(set(ids))
    assert looked_up(live, "EventId", found[0]["EventId"])[0]["CloudTrailEvent"] == found[0]["CloudTrailEvent"]


OF_AN_ACCOUNT = {  # what they change is the account itself
    *(("iam", f"{verb}AccountAlias") for verb in ("Create", "Delete")),
    *(("iam", f"{verb}AccountPasswordPolicy") for verb in ("Update", "Delete")),
    ("iam", "GenerateCredentialReport"),
}
BY_THEMSELVES = {  # policies are asked about `*`, and the record names what was made, or what was shown
    *(("codepipeline", name) for name in ("AcknowledgeJob", "AcknowledgeThirdPartyJob", "PutJobFailureResult", "PutJobSuccessResult", "PutThirdPartyJobFailureResult", "PutThirdPartyJobSuccessResult")),
    ("codestar-notifications", "DeleteTarget"), ("kms", "CreateKey"), ("organizations", "CreateAccount"), ("penstock", "CreateAccount"), ("penstock", "CreateHostAuthority"),
    ("penstock", "StartActionCommands"), ("penstock", "StopActionCommands"),
    *(("logs", name) for name in ("DeleteQueryDefinition", "DeleteResourcePolicy", "PutQueryDefinition", "PutResourcePolicy", "StopQuery")),
    ("penstock", "RotateHostAuthority"), ("penstock", "JoinHost"), ("penstock", "RenewHostCertificate"), ("rolesanywhere", "CreateProfile"),
    ("rolesanywhere", "CreateTrustAnchor"), ("rolesanywhere", "ImportCrl"), ("rolesanywhere-sessions", "CreateSession"), ("sns", "ConfirmSubscription"),
    ("sns", "Unsubscribe"), ("sts", "AssumeRole"), ("sts", "AssumeRoleWithWebIdentity"),
}  # fmt: skip


def test_the_record_of_what_changes_something_names_what(live):
    """Else nobody finds by the name of a thing who has made it."""
    registered = [one for one in live.app.registry if not one.reads and one.recorded is Recorded.MANAGEMENT]
    assert {(one.service, one.name) for one in registered if one.resource == "*"} == OF_AN_ACCOUNT | BY_THEMSELVES
    ours, anywhere, name = live.client("penstock"), live.client("rolesanywhere"), "/aws/service/audited"
    public = f"arn:aws:ssm:us-east-1::parameter{name}"
    authority = ours.create_host_authority()
    source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": authority["certificate"]}}
    role = live.client("iam").create_role(RoleName="profiled", AssumeRolePolicyDocument=ANYWHERE)["Role"]["Arn"]
    member = live.client("organizations").create_account(Email="audited@example.com", AccountName="audited")
    account = live.client("organizations").describe_account(AccountId=member["CreateAccountStatus"]["AccountId"])[
        "Account"
    ]["Arn"]
    ours.create_account(accountId="555555555551")
    ours.put_public_parameter(name=name, value="x")
    ours.delete_public_parameter(name=name)
    live.client("sts").get_federation_token(Name="audited")
    made = {
        "CreateKey": live.client("kms").create_key()["KeyMetadata"]["Arn"],
        "CreateAccount": account,
        "PutPublicParameter": public,
        "DeletePublicParameter": public,
        "CreateHostAuthority": authority["trustAnchorArn"],
        "RotateHostAuthority": ours.rotate_host_authority()["trustAnchorArn"],
        "CreateTrustAnchor": anywhere.create_trust_anchor(name="a", source=source)["trustAnchor"]["trustAnchorArn"],
        "CreateProfile": anywhere.create_profile(name="p", roleArns=[role])["profile"]["profileArn"],
        "GetFederationToken": f"arn:aws:sts::{ACCOUNT}:federated-user/audited",
    }
    for event, arn in made.items():
        found = until(
            lambda arn=arn, event=event: [
                one for one in looked_up(live, "ResourceName", arn) if one["EventName"] == event
            ]
        )
        assert arn in {one["ResourceName"] for one in found[0]["Resources"]}, event
    chosen = account.replace(account[-12:], "555555555551")
    assert [one["EventSource"] for one in looked_up(live, "ResourceName", chosen)] == ["penstock.amazonaws.com"]


def test_who_comes_from_another_account_is_on_record_in_both(live):
    made = live.client("penstock").create_account(accountId="555555555552")
    theirs = {"aws_access_key_id": made["accessKeyId"], "aws_secret_access_key": made["secretAccessKey"]}
    trust = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": trust})
    role = live.client("iam", keys=theirs).create_role(RoleName="entered", AssumeRolePolicyDocument=document)["Role"][
        "Arn"
    ]
    live.client("sts").assume_role(RoleArn=role, RoleSessionName="audited")
    who = live.client("sts").get_caller_identity()
    (own,) = looked_up(live, "ResourceName", role)
    asked = [{"AttributeKey": "ResourceName", "AttributeValue": role}]
    entered = [
        json.loads(one["CloudTrailEvent"])
        for one in live.client("cloudtrail", keys=theirs).lookup_events(LookupAttributes=asked)["Events"]
        if one["EventName"] == "AssumeRole"
    ]
    assert [one["recipientAccountId"] for one in entered] == ["555555555552"]
    assert entered[0]["userIdentity"] == {"type": "AWSAccount", "principalId": who["UserId"], "accountId": ACCOUNT}
    assert entered[0]["sharedEventID"] == own["Record"]["sharedEventID"]
    assert entered[0]["eventID"] != own["Record"]["eventID"]
    assert own["Record"]["userIdentity"]["type"] == "IAMUser"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "a"}] * 2}, "InvalidLookupAttributesException"),
        ({"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": ""}]}, "InvalidLookupAttributesException"),
        ({"MaxResults": 51}, "InvalidMaxResultsException"),
        ({"StartTime": 2_000_000_000, "EndTime": 1_000_000_000}, "InvalidTimeRangeException"),
        ({"NextToken": "x"}, "InvalidNextTokenException"),
        ({"EventCategory": "insight"}, "InvalidEventCategoryException"),
    ],
)  # fmt: skip
def test_what_cannot_be_looked_up_is_refused(live, given, code):
    client = live.client("cloudtrail", parameter_validation=False)
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        client.lookup_events(**given)
    assert refused.value.response["Error"]["Code"] == code


def test_looking_up_needs_a_permission_and_shows_the_own_account_and_region_only(live, ann):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        live.client("cloudtrail", keys=ann).lookup_events()
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert "cloudtrail:LookupEvents" in refused.value.response["Error"]["Message"]


def test_the_command_shows_exports_and_verifies(live):
    for name in ("commanded", "b", "c", "d", "e"):
        live.client("iam").create_user(UserName=name)
    where = ("--data-dir", str(live.data_dir))
    key_file = live.data_dir.parent / f"{live.data_dir.name}-master.key"
    until(lambda: live.run(_chains(live)))
    done = run(PENSTOCK, "audit", "verify", *where, "--master-key-file", str(key_file), "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["faults"], found["newest"]["number"]) == (0, [], 1)
    shown = run(PENSTOCK, "audit", "tail", *where).stdout
    assert "administrator  127.0.0.1  iam:CreateUser" in shown
    exported = [json.loads(line) for line in run(PENSTOCK, "audit", "export", *where).stdout.splitlines()]
    assert any((one["requestParameters"] or {}).get("userName") == "commanded" for one in exported)
    assert run(PENSTOCK, "audit", "export", "--since", "2100-01-01", *where).stdout == ""
    (file,) = (live.data_dir / "audit").glob("*.chain")
    lines = file.read_bytes().splitlines(keepends=True)
    copy = live.data_dir.parent / "copy"
    copy.mkdir()
    with (
        closing(sqlite3.connect(live.data_dir / "penstock.db")) as source,
        closing(sqlite3.connect(copy / "penstock.db")) as target,
    ):
        source.backup(target)  # the server writes meanwhile
    (copy / "audit").mkdir()
    (copy / "audit" / file.name).write_bytes(b"".join([*lines[:3], *lines[4:]]))
    tampered = run(PENSTOCK, "audit", "verify", "--data-dir", str(copy), "--master-key-file", str(key_file))
    assert tampered.returncode == 2
    assert "line 4 was changed, or does not follow the line before it" in tampered.stdout


async def _chains(live):
    import sqlalchemy as sa

    from penstock.audit.records import chains

    return await live.app.store.read(lambda conn: conn.execute(sa.select(sa.func.count()).select_from(chains)).scalar())
