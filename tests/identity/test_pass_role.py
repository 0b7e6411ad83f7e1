"""iam:PassRole, wherever a role is handed to a service; and what services say when they assume it."""

from __future__ import annotations

import json
from typing import Any

import botocore.exceptions
import pytest

ACCOUNT, OTHER = "111111111111", "222222222222"
SERVICES = ("codepipeline", "codebuild", "codedeploy")


def role_arn(name: str, account: str = ACCOUNT) -> str:
    return f"arn:aws:iam::{account}:role/{name}"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(**condition: Any) -> str:
    principal = {"Service": [f"{name}.amazonaws.com" for name in SERVICES]}
    more = {"Condition": condition} if condition else {}
    return document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more})


ALLOW = {"Effect": "Allow", "Action": "*", "Resource": "*"}


@pytest.fixture(scope="module")
def people(live):
    """Keys by user: `none` may pass no role, `other` only to another service, `some` may pass the role `given`."""
    iam = live.client("iam")
    for name in ("given", "kept", "secret"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust())
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(ALLOW))
    to_us = {"StringEquals": {"iam:PassedToService": [f"{name}.amazonaws.com" for name in SERVICES]}}
    policies = {
        "none": [{"Effect": "Allow", "NotAction": "iam:PassRole", "Resource": "*"}],
        "other": [
            {"Effect": "Allow", "NotAction": "iam:PassRole", "Resource": "*"},
            {
                "Effect": "Allow", "Action": "iam:PassRole", "Resource": "*",
                "Condition": {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}},
            },
        ],
        "some": [
            {"Effect": "Allow", "NotAction": "iam:PassRole", "Resource": "*"},
            {"Effect": "Allow", "Action": "iam:PassRole", "Resource": role_arn("given"), "Condition": to_us},
        ],
    }  # fmt: skip
    keys = {}
    for name, statements in policies.items():
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document(*statements))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        keys[name] = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    live.client("codedeploy").create_application(applicationName="passing")
    live.client("codedeploy").create_deployment_group(
        applicationName="passing", deploymentGroupName="there", serviceRoleArn=role_arn("kept")
    )
    live.client("codebuild").create_project(name="passing", **project(role_arn("kept")))
    live.client("codepipeline").create_pipeline(pipeline=pipeline(role_arn("kept")))
    return keys


def project(role: str) -> dict[str, Any]:
    return {
        "source": {"type": "NO_SOURCE", "buildspec": "version: 0.2\nphases: {build: {commands: ['true']}}"},
        "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": {"type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL"},
        "serviceRole": role,
    }


def pipeline(role: str, *, name: str = "passing", action_role: str = "") -> dict[str, Any]:
    def stage(name: str, category: str, provider: str, **more: Any) -> dict[str, Any]:
        kind = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
        return {"name": name, "actions": [{"name": name, "actionTypeId": kind, **more}]}

    source = stage(
        "Source", "Source", "S3", outputArtifacts=[{"name": "o"}],
        configuration={"S3Bucket": "passing-artifacts", "S3ObjectKey": "k", "PollForSourceChanges": "false"},
    )  # fmt: skip
    gate = stage("Gate", "Approval", "Manual", **({"roleArn": action_role} if action_role else {}))
    store = {"type": "S3", "location": "passing-artifacts"}
    return {"name": name, "roleArn": role, "artifactStore": store, "stages": [source, gate]}


# Every way to hand a role over: service, operation, input for the n-th call of a role.
HANDING = {
    "CreateDeploymentGroup": lambda n, role: (
        "codedeploy", {"applicationName": "passing", "deploymentGroupName": f"g{n}", "serviceRoleArn": role},
    ),
    "UpdateDeploymentGroup": lambda n, role: (
        "codedeploy", {"applicationName": "passing", "currentDeploymentGroupName": "there", "serviceRoleArn": role},
    ),
    "CreateProject": lambda n, role: ("codebuild", {"name": f"p{n}", **project(role)}),
    "UpdateProject": lambda n, role: ("codebuild", {"name": "passing", "serviceRole": role}),
    "StartBuild": lambda n, role: ("codebuild", {"projectName": "passing", "serviceRoleOverride": role}),
    "CreatePipeline": lambda n, role: ("codepipeline", {"pipeline": pipeline(role, name=f"l{n}")}),
    "UpdatePipeline": lambda n, role: ("codepipeline", {"pipeline": pipeline(role)}),
}  # fmt: skip


def hand_over(live, keys, operation: str, number: str, role: str) -> None:
    service, given = HANDING[operation](number, role)
    client = live.client(service, keys=keys)
    getattr(client, {name: method for method, name in client.meta.method_to_api_mapping.items()}[operation])(**given)


def test_every_operation_that_takes_a_role_for_a_service_is_here(live):
    found = set()
    for operation in live.app.registry:
        model = live.app.services.get(operation.service).operation(operation.name)
        names = set(model.input.members) if model.input is not None else set()
        if operation.name in ("CreatePipeline", "UpdatePipeline"):
            names |= set(model.input.members["pipeline"].members)
        if any("role" in name.lower() and not name.lower().endswith("name") for name in names):
            found.add(operation.name)
    # AssumeRole hands nothing over: it asks for itself, and both sides are asked. With a token of an issuer nobody here asks at all.
    found -= {"AssumeRole", "AssumeRoleWithWebIdentity", "CreateRole", "CreateSession"}
    # Trails go to buckets only, and secrets of partners are not served: they refuse a role.
    found -= {"CreateTrail", "UpdateTrail", "RotateSecret"}
    found -= {"PutRule"}  # and PutTargets, whose targets have roles: tests/events/test_rules.py
    found -= {"PutSubscriptionFilter"}  # tests/logs/test_subscriptions.py
    # The roles of profiles of certificates, and of hosts that join: tests/certificates.
    assert found - {"CreateProfile", "UpdateProfile", "InviteHost"} == set(HANDING)


@pytest.mark.parametrize("operation", HANDING)
def test_nobody_hands_over_a_role_that_is_not_theirs_to_pass(live, people, operation):
    for number, (user, role) in enumerate((("none", "given"), ("other", "given"), ("some", "secret"))):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            hand_over(live, people[user], operation, f"{operation}{number}", role_arn(role))
        error = caught.value.response["Error"]
        assert error["Code"] == "AccessDeniedException"
        assert f"not authorized to perform: iam:PassRole on resource: {role_arn(role)}" in error["Message"]
    # Callers that may not pass a role do not learn whether it exists.
    with pytest.raises(botocore.exceptions.ClientError, match="iam:PassRole on resource"):
        hand_over(live, people["some"], operation, "nobody", role_arn("nobody"))


@pytest.mark.parametrize("operation", HANDING)
def test_a_role_of_another_account_is_nobodys_to_pass(live, people, operation):
    with pytest.raises(botocore.exceptions.ClientError, match="Cross-account pass role is not allowed") as caught:
        hand_over(live, None, operation, "theirs", role_arn("given", OTHER))
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"


@pytest.mark.parametrize("operation", [name for name in HANDING if name != "StartBuild"])
def test_a_role_that_may_be_passed_is_taken(live, people, operation):
    hand_over(live, people["some"], operation, "fine", role_arn("given"))


def test_the_role_of_an_action_is_asked_for_too(live, people):
    codepipeline = live.client("codepipeline", keys=people["some"])
    declared = pipeline(role_arn("given"), name="actions", action_role=role_arn("secret"))
    with pytest.raises(botocore.exceptions.ClientError, match="iam:PassRole on resource: " + role_arn("secret")):
        codepipeline.create_pipeline(pipeline=declared)


def test_a_retry_asks_for_the_role_that_the_first_start_had_put_in_place(live, people):
    codebuild = live.client("codebuild")
    overridden = codebuild.start_build(projectName="passing", serviceRoleOverride=role_arn("secret"))["build"]["id"]
    plain = codebuild.start_build(projectName="passing")["build"]["id"]
    for id_ in (overridden, plain):
        codebuild.stop_build(id=id_)
    theirs = live.client("codebuild", keys=people["some"])
    with pytest.raises(botocore.exceptions.ClientError, match="iam:PassRole on resource: " + role_arn("secret")):
        theirs.retry_build(id=overridden)
    codebuild.stop_build(id=theirs.retry_build(id=plain)["build"]["id"])  # that of its project is handed over by nobody


def test_what_keeps_its_role_can_be_changed_without_passing_it(live, people):
    live.client("codedeploy", keys=people["none"]).update_deployment_group(
        applicationName="passing",
        currentDeploymentGroupName="there",
        deploymentConfigName="CodeDeployDefault.AllAtOnce",
    )
    live.client("codebuild", keys=people["none"]).update_project(name="passing", description="x")


SOURCES = {
    "codedeploy": ("deploymentgroup:passing/sourced", "CreateDeploymentGroup"),
    "codebuild": ("project/sourced", "CreateProject"),
    "codepipeline": ("sourced", "CreatePipeline"),
}


@pytest.mark.parametrize("service", SOURCES)
def test_services_say_for_what_they_act(live, people, service):
    """A trust policy that asks for aws:SourceArn and aws:SourceAccount is met by that resource, and by no other."""
    resource, operation = SOURCES[service]
    arn = f"arn:aws:{service}:us-east-1:{ACCOUNT}:{resource}"
    live.client("iam").create_role(
        RoleName=f"sourced-{service}",
        AssumeRolePolicyDocument=trust(ArnEquals={"aws:SourceArn": arn}, StringEquals={"aws:SourceAccount": ACCOUNT}),
    )
    live.client("iam").put_role_policy(RoleName=f"sourced-{service}", PolicyName="p", PolicyDocument=document(ALLOW))

    def create(name: str) -> None:
        _, given = HANDING[operation]("x", role_arn(f"sourced-{service}"))
        if service == "codepipeline":
            given["pipeline"]["name"] = name
        else:
            given["deploymentGroupName" if service == "codedeploy" else "name"] = name
        client = live.client(service)
        getattr(client, {real: method for method, real in client.meta.method_to_api_mapping.items()}[operation])(
            **given
        )

    create("sourced")
    with pytest.raises(botocore.exceptions.ClientError):
        create("elsewhere")
