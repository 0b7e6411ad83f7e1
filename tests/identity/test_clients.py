"""IAM and STS with boto3 and the AWS CLI against a live server."""

import configparser
import json

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from penstock_waiting import until

from penstock.cli import accounts, why
from penstock.cli.main import parser_of

ALLOW = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:*", "Resource": "*"}]})
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "111111111111"}, "Action": "sts:AssumeRole"}],
    }
)


def keys_of(made):
    keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
    return keys | ({"aws_session_token": made["SessionToken"]} if "SessionToken" in made else {})


def code(call, **input):
    with pytest.raises(ClientError) as caught:
        call(**input)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["Error"]["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_the_credentials_file_works(live):
    assert live.client("sts").get_caller_identity()["Arn"] == "arn:aws:iam::111111111111:user/administrator"
    assert oct(live.running_app.credentials_file.stat().st_mode & 0o777) == "0o600"


def test_users_keys_and_waiters_with_boto3(live):
    iam = live.client("iam")
    user = iam.create_user(UserName="robo", Path="/AWS/CodeDeploy/")["User"]
    iam.get_waiter("user_exists").wait(UserName="robo")
    key = iam.create_access_key(UserName="robo")["AccessKey"]
    theirs = live.client("sts", keys=keys_of(key))
    assert theirs.get_caller_identity()["Arn"] == user["Arn"]
    said = code(live.client("iam", keys=keys_of(key)).list_users)
    assert said == (
        "AccessDenied",
        f"User: {user['Arn']} is not authorized to perform: iam:ListUsers on resource: arn:aws:iam::111111111111:user/ because no identity-based policy allows the iam:ListUsers action",
        403,
    )
    iam.put_user_policy(UserName="robo", PolicyName="p", PolicyDocument=ALLOW)
    assert iam.get_user_policy(UserName="robo", PolicyName="p")["PolicyDocument"] == json.loads(ALLOW)
    assert code(iam.get_user, UserName="nobody")[::2] == ("NoSuchEntity", 404)
    assert code(iam.create_user, UserName="robo")[::2] == ("EntityAlreadyExists", 409)
    assert code(iam.create_user, UserName="no such/name")[0] == "ValidationError"
    assert (
        code(iam.put_user_policy, UserName="robo", PolicyName="p", PolicyDocument="{")[0] == "MalformedPolicyDocument"
    )
    iam.delete_access_key(UserName="robo", AccessKeyId=key["AccessKeyId"])
    assert code(theirs.get_caller_identity)[0] == "InvalidClientTokenId"


def test_roles_and_sessions_with_boto3(live):
    iam, sts = live.client("iam"), live.client("sts")
    role = iam.create_role(RoleName="Runner", AssumeRolePolicyDocument=TRUST)["Role"]
    iam.get_waiter("role_exists").wait(RoleName="Runner")
    assert role["AssumeRolePolicyDocument"] == json.loads(TRUST)
    assert iam.get_role(RoleName="Runner")["Role"]["AssumeRolePolicyDocument"] == json.loads(TRUST)
    made = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="session1")
    assert made["AssumedRoleUser"]["Arn"] == "arn:aws:sts::111111111111:assumed-role/Runner/session1"
    keys = keys_of(made["Credentials"])
    assert live.client("sts", keys=keys).get_caller_identity()["UserId"] == made["AssumedRoleUser"]["AssumedRoleId"]
    assert code(live.client("iam", keys=keys).list_roles)[0] == "AccessDenied"
    forged = keys | {"aws_session_token": keys["aws_session_token"][:-8] + "AAAAAAAA"}
    assert code(live.client("sts", keys=forged).get_caller_identity)[0] == "InvalidClientTokenId"
    names = [page["Roles"] for page in iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 1})]
    assert ["Runner"] in [[one["RoleName"] for one in page] for page in names]
    iam.attach_role_policy(RoleName="Runner", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    assert live.client("iam", keys=keys).list_roles()["Roles"]
    iam.detach_role_policy(RoleName="Runner", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    iam.delete_role(RoleName="Runner")
    assert code(live.client("sts", keys=keys).get_caller_identity)[0] == "InvalidClientTokenId"


def test_the_cli_makes_a_service_role(live, tmp_path):
    (tmp_path / "trust.json").write_text(TRUST)
    live.aws(
        "iam", "create-role", "--role-name", "cli", "--assume-role-policy-document", f"file://{tmp_path}/trust.json"
    )
    (tmp_path / "policy.json").write_text(ALLOW)
    policy = live.aws(
        "iam", "create-policy", "--policy-name", "cli", "--policy-document", f"file://{tmp_path}/policy.json"
    )
    live.aws("iam", "attach-role-policy", "--role-name", "cli", "--policy-arn", policy["Policy"]["Arn"])
    listed = live.aws("iam", "list-attached-role-policies", "--role-name", "cli")
    assert listed["AttachedPolicies"] == [{"PolicyName": "cli", "PolicyArn": "arn:aws:iam::111111111111:policy/cli"}]
    done = live.aws("iam", "get-role", "--role-name", "none", check=False)
    assert done.returncode != 0
    assert "(NoSuchEntity) when calling the GetRole operation: The role with name none cannot be found." in done.stderr


def test_aws_deploy_register_and_deregister(live, tmp_path):
    """The CLI makes a user under /AWS/CodeDeploy/, its key and its policy, and takes all of it away again."""
    if live.app.registry.get("codedeploy", "RegisterOnPremisesInstance") is None:
        pytest.skip("the deployments package is not part of this installation")
    made = live.aws(
        "deploy", "register", "--instance-name", "web1", "--tags", "Key=env,Value=prod", cwd=tmp_path, check=False
    )
    assert "ERROR" not in made.stderr, made.stderr
    assert made.returncode == 0
    lines = (tmp_path / "codedeploy.onpremises.yml").read_text().splitlines()
    values = dict(line.split(": ", 1) for line in lines if ": " in line)
    keys = {name: values[name] for name in ("aws_access_key_id", "aws_secret_access_key")}
    assert values["iam_user_arn"] == "arn:aws:iam::111111111111:user/AWS/CodeDeploy/web1"
    assert live.client("sts", keys=keys).get_caller_identity()["Arn"] == values["iam_user_arn"]
    info = live.client("codedeploy").get_on_premises_instance(instanceName="web1")["instanceInfo"]
    assert info["iamUserArn"] == values["iam_user_arn"]
    gone = live.aws("deploy", "deregister", "--instance-name", "web1", check=False)
    assert "ERROR" not in gone.stderr, gone.stderr
    assert code(live.client("iam").get_user, UserName="web1")[0] == "NoSuchEntity"
    assert code(live.client("sts", keys=keys).get_caller_identity)[0] == "InvalidClientTokenId"


def test_further_accounts(live):
    penstock = live.client("penstock")
    made = penstock.create_account(accountId="333333333333")
    theirs = {"aws_access_key_id": made["accessKeyId"], "aws_secret_access_key": made["secretAccessKey"]}
    assert (
        live.client("sts", keys=theirs).get_caller_identity()["Arn"] == "arn:aws:iam::333333333333:user/administrator"
    )
    assert code(penstock.create_account, accountId="333333333333")[0] == "AccountExistsException"
    assert code(penstock.create_account, accountId="3333")[0] == "InvalidAccountIdException"
    assert "AccessDenied" in code(live.client("penstock", keys=theirs).create_account, accountId="444444444444")[0]


def test_an_account_of_organizations_is_entered_by_its_role(live):
    organizations = live.client("organizations")
    made = organizations.create_account(Email="Team@example.com", AccountName="team")["CreateAccountStatus"]
    assert (
        organizations.describe_create_account_status(CreateAccountRequestId=made["Id"])["CreateAccountStatus"] == made
    )
    assert (made["State"], made["AccountName"]) == ("SUCCEEDED", "team")
    found = organizations.describe_account(AccountId=made["AccountId"])["Account"]
    assert (found["Name"], found["Email"], found["JoinedMethod"]) == ("team", "team@example.com", "CREATED")
    assert found["Arn"].startswith("arn:aws:organizations::111111111111:account/o-")
    role = f"arn:aws:iam::{made['AccountId']}:role/OrganizationAccountAccessRole"
    session = live.client("sts").assume_role(RoleArn=role, RoleSessionName="first")["Credentials"]
    theirs = live.client("iam", keys=keys_of(session))
    theirs.create_user(UserName="ann")
    assert [user["UserName"] for user in theirs.list_users()["Users"]] == ["ann"]
    pages = organizations.get_paginator("list_accounts").paginate(PaginationConfig={"PageSize": 1})
    listed = [one["Id"] for page in pages for one in page["Accounts"]]
    assert {"111111111111", made["AccountId"]} <= set(listed)
    assert listed == sorted(set(listed))


def test_the_command_shows_the_key_of_a_new_account_once(live, monkeypatch, capsys):
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    def typed(*arguments):
        options = parser_of("accounts").parse_args([*arguments, "--data-dir", str(live.data_dir)])
        return accounts.run(options), *capsys.readouterr()

    status, profile, said = typed("create", "shop", "--number", "555555555555")
    assert (status, "not shown again" in said) == (0, True)
    written = configparser.ConfigParser()
    written.read_string(profile)
    keys = {name: written["555555555555"][name] for name in ("aws_access_key_id", "aws_secret_access_key")}
    assert live.client("sts", keys=keys).get_caller_identity()["Account"] == "555555555555"
    assert typed("create", "shop", "--number", "555555555555") == (
        1,
        "",
        "penstock accounts create: Account 555555555555 exists already.\n",
    )
    status, profile, said = typed("create", "shop")
    assert (status, profile) == (1, "")
    assert "the name shop belongs to account 555555555555 already" in said
    assert typed("create", "shop", "--number", "555555555556")[0] == 0, "names may repeat, as on AWS"
    status, listed, _ = typed("list")
    assert (status, "shop" in {line.split()[2] for line in listed.splitlines()}) == (0, True)
    assert keys["aws_secret_access_key"] not in listed


@pytest.fixture(scope="module")
def nobody(live):
    """Keys of a user without policies."""
    iam = live.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("iam", "ListUsers"),  # Query
        ("codepipeline", "ListPipelines"),  # JSON
        ("rolesanywhere", "ListProfiles"),  # REST and JSON
        ("s3", "GetBucketPolicy"),  # REST and XML
    ],
)
def test_the_answer_and_the_record_bear_the_message(live, nobody, service, operation):
    given = {"Bucket": "of-nobody"} if service == "s3" else {}
    if service == "s3":
        live.client("s3").create_bucket(**given)
    with pytest.raises(ClientError) as caught:
        getattr(live.client(service, keys=nobody), xform_name(operation))(**given)
    answer = caught.value.response
    message = answer["ResponseMetadata"]["HTTPHeaders"]["x-penstock-authorization-message"]
    said = json.loads(live.client("sts").decode_authorization_message(EncodedMessage=message)["DecodedMessage"])
    assert said["context"]["action"] == f"{service}:{operation}"
    assert said["context"]["principal"]["name"] == "nobody"
    assert answer["Error"]["Message"].endswith(f"allows the {service}:{operation} action"), "texts are AWS's"
    record = until(lambda: _record(live, answer["ResponseMetadata"]["RequestId"]))
    assert record["additionalEventData"] == {"encodedAuthorizationMessage": message}


def _records_of(live, user):
    asked = [{"AttributeKey": "Username", "AttributeValue": user}]
    events = live.client("cloudtrail").lookup_events(LookupAttributes=asked)["Events"]
    return [json.loads(one["CloudTrailEvent"]) for one in events]


def _record(live, request_id):
    return next((one for one in _records_of(live, "nobody") if one["requestID"] == request_id), None)


def test_the_cli_decodes_a_message(live, nobody):
    with pytest.raises(ClientError) as caught:
        live.client("codedeploy", keys=nobody).list_applications()
    message = caught.value.response["ResponseMetadata"]["HTTPHeaders"]["x-penstock-authorization-message"]
    said = live.aws("sts", "decode-authorization-message", "--encoded-message", message)
    assert json.loads(said["DecodedMessage"])["context"]["action"] == "codedeploy:ListApplications"
    with pytest.raises(ClientError, match=r"\(AccessDenied\).*sts:DecodeAuthorizationMessage"):
        live.client("sts", keys=nobody).decode_authorization_message(EncodedMessage=message)
    with pytest.raises(ClientError, match=r"InvalidAuthorizationMessageException.*Message is not valid"):
        live.client("sts").decode_authorization_message(EncodedMessage=message[:-8])


def test_the_command_tells_what_is_behind_a_denial(live, nobody, monkeypatch, capsys):
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    def typed(*arguments):
        options = parser_of("why").parse_args([*arguments, "--data-dir", str(live.data_dir)])
        return why.run(options), *capsys.readouterr()

    def denied(**more):
        with pytest.raises(ClientError) as caught:
            live.client("iam", keys=nobody).get_user(UserName="nobody")
        answer = caught.value.response["ResponseMetadata"]
        return answer["HTTPHeaders"]["x-penstock-authorization-message"], answer["RequestId"]

    me = "arn:aws:iam::111111111111:user/nobody"
    message, request = denied()
    status, said, _ = typed(f"{message[:80]}\n{message[80:]}")
    assert status == 0
    assert said.splitlines()[:3] == [
        f"{me} was denied iam:GetUser on {me}.",
        "No identity-based policy allows it. A policy of the caller that would, or of one of the user's groups:",
        f'  {{"Effect": "Allow", "Action": "iam:GetUser", "Resource": "{me}"}}',
    ]
    until(lambda: _record(live, request))
    assert typed(request) == (0, said, "")
    event = _record(live, request)["eventID"]
    assert typed(event)[:2] == (0, said)
    iam = live.client("iam")
    deny = {
        "Sid": "No",
        "Effect": "Deny",
        "NotAction": "s3:*",
        "Resource": "*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    iam.put_user_policy(
        UserName="nobody", PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": deny})
    )
    message, _ = denied()
    assert typed(message)[1].splitlines()[1:-2] == [
        "Statement 1 (No) of the identity-based policy user_nobody_p denies it:",
        "  Deny all but s3:* on *",
        "  where Bool aws:SecureTransport: false",
        "Only a change of this statement allows it: no Allow outweighs a Deny.",
        "What the call had:",
        "  aws:SecureTransport: false",
    ]
    iam.delete_user_policy(UserName="nobody", PolicyName="p")
    assert "That policy has been changed or taken away since." in typed(message)[1]
    assert json.loads(typed(message, "--json")[1])["explicitDeny"] is True
    done = until(
        lambda: next(
            (one for one in _records_of(live, "administrator") if one["eventName"] == "DeleteUserPolicy"), None
        )
    )
    assert typed(done["requestID"])[::2] == (1, "penstock why: no policy has denied DeleteUserPolicy (it was done)\n")
    assert "no call with this id is on record in us-east-1" in typed("0" * 8 + "-0000-4000-8000-" + "0" * 12)[2]
    status, _, wrong = typed(message[:-4])
    assert (status, wrong[:35]) == (1, "penstock why: Message is not valid.")
