"""What the demo makes before the first push, with boto3 as any user would."""

from __future__ import annotations

import json
import secrets
from typing import Any

from penstock.cli.clients import Clients
from penstock.cli.demo.processes import HOSTS, Processes
from penstock.cli.terminal import step

ACCOUNT = "111111111111"
REPOSITORY = PROJECT = APPLICATION = "hello-web"
PIPELINE = "hello-web"
GROUP = "production"
BUCKET = "hello-web-artifacts"
DEVELOPER = "developer"
TAG = {"Key": "fleet", "Value": "hello-web"}


def make_all(demo_processes: Processes, admin: Clients) -> None:
    """Users, roles, bucket, repository, build project, application, group, instances and the pipeline."""
    keys = _users(admin)
    roles = _roles(admin)
    admin("s3").create_bucket(Bucket=BUCKET)
    admin("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    admin("codecommit").create_repository(repositoryName=REPOSITORY, repositoryDescription="A small web application")
    admin("codebuild").create_project(
        name=PROJECT,
        source={"type": "CODEPIPELINE"},
        artifacts={"type": "CODEPIPELINE"},
        environment={"type": "LINUX_CONTAINER", "image": "host", "computeType": "BUILD_GENERAL1_SMALL"},
        serviceRole=roles["build"],
    )
    _fleet(admin, roles["deploy"])
    admin("codepipeline").create_pipeline(pipeline=_pipeline(roles["pipeline"]))
    demo_processes.remember(keys=keys)
    step(
        "made users, roles, a repository, a build project, an application with three hosts, and a pipeline of four stages"
    )


def _users(admin: Clients) -> dict[str, dict[str, str]]:
    iam = admin("iam")
    keys: dict[str, dict[str, str]] = {}
    for name in (DEVELOPER, *HOSTS):
        iam.create_user(UserName=name, Path="/demo/")
        key = iam.create_access_key(UserName=name)["AccessKey"]
        keys[name] = {"id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
        policy = _DEVELOPER_POLICY if name == DEVELOPER else _HOST_POLICY
        iam.put_user_policy(UserName=name, PolicyName="demo", PolicyDocument=json.dumps(policy))
    password = secrets.token_urlsafe(9)
    iam.create_login_profile(UserName=DEVELOPER, Password=password, PasswordResetRequired=False)
    keys[DEVELOPER]["password"] = password
    return keys


def _roles(admin: Clients) -> dict[str, str]:
    iam = admin("iam")
    roles: dict[str, str] = {}
    for name, service, statements in (
        ("pipeline", "codepipeline", _PIPELINE_STATEMENTS),
        ("build", "codebuild", _BUILD_STATEMENTS),
        ("deploy", "codedeploy", _DEPLOY_STATEMENTS),
    ):
        trust = _policy(
            {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
        )
        role = iam.create_role(RoleName=f"hello-web-{name}", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
        iam.put_role_policy(
            RoleName=role["RoleName"], PolicyName="demo", PolicyDocument=json.dumps(_policy(*statements))
        )
        roles[name] = role["Arn"]
    return roles


def _fleet(admin: Clients, role: str) -> None:
    codedeploy = admin("codedeploy")
    codedeploy.create_application(applicationName=APPLICATION, computePlatform="Server")
    for name in HOSTS:
        arn = f"arn:aws:iam::{ACCOUNT}:user/demo/{name}"
        codedeploy.register_on_premises_instance(instanceName=name, iamUserArn=arn)
    codedeploy.add_tags_to_on_premises_instances(tags=[TAG], instanceNames=list(HOSTS))
    codedeploy.create_deployment_group(
        applicationName=APPLICATION,
        deploymentGroupName=GROUP,
        deploymentConfigName="CodeDeployDefault.OneAtATime",
        onPremisesInstanceTagFilters=[{**TAG, "Type": "KEY_AND_VALUE"}],
        serviceRoleArn=role,
        autoRollbackConfiguration={"enabled": True, "events": ["DEPLOYMENT_FAILURE"]},
    )


def agent_config(demo_processes: Processes, name: str, url: str, ca_file: str) -> dict[str, Any]:
    """The configuration of a host's agent."""
    host = next(host for host in demo_processes.hosts if host.name == name)
    key = demo_processes.keys[name]
    return {
        "endpoint": url,
        "region": "us-east-1",
        "iam_user_arn": f"arn:aws:iam::{ACCOUNT}:user/demo/{name}",
        "aws_access_key_id": key["id"],
        "aws_secret_access_key": key["secret"],
        "root_dir": str(host.folder / "agent"),
        "install_root": str(host.root),
        "hook_environment": {"HELLO_PORT": str(host.port), "HELLO_HOST": name},
        **({"ca_file": ca_file} if ca_file else {}),
    }


def _pipeline(role: str) -> dict[str, Any]:
    return {
        "name": PIPELINE,
        "roleArn": role,
        "artifactStore": {"type": "S3", "location": BUCKET},
        "pipelineType": "V2",
        "stages": [
            _stage(
                "Source", "Source", "CodeCommit", {"RepositoryName": REPOSITORY, "BranchName": "main"}, outputs="Source"
            ),
            _stage(
                "Build",
                "Build",
                "CodeBuild",
                {"ProjectName": PROJECT},
                inputs="Source",
                outputs="Release",
                namespace="Build",
            ),
            _stage("Approve", "Approval", "Manual", {"CustomData": "Release #{Build.RELEASE_VERSION} to production?"}),
            _stage(
                "Deploy",
                "Deploy",
                "CodeDeploy",
                {"ApplicationName": APPLICATION, "DeploymentGroupName": GROUP},
                inputs="Release",
            ),
        ],
    }


def _stage(
    name: str,
    category: str,
    provider: str,
    configuration: dict[str, str],
    *,
    inputs: str = "",
    outputs: str = "",
    namespace: str = "",
) -> dict[str, Any]:
    action: dict[str, Any] = {
        "name": name,
        "actionTypeId": {"category": category, "owner": "AWS", "provider": provider, "version": "1"},
        "configuration": configuration,
        "inputArtifacts": [{"name": inputs}] if inputs else [],
        "outputArtifacts": [{"name": outputs}] if outputs else [],
    }
    if namespace:
        action["namespace"] = namespace
    return {"name": name, "actions": [action]}


def _allow(actions: list[str], *resources: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": list(resources)}


def _policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


_OBJECTS = f"arn:aws:s3:::{BUCKET}/*"
_DEVELOPER_POLICY = _policy(
    _allow(
        ["codecommit:GitPull", "codecommit:GitPush", "codecommit:Get*"],
        f"arn:aws:codecommit:us-east-1:{ACCOUNT}:{REPOSITORY}",
    ),
    _allow(["codepipeline:*", "codebuild:BatchGet*", "codebuild:List*", "codedeploy:Get*", "codedeploy:List*"], "*"),
    _allow(["codedeploy:BatchGet*", "logs:Get*", "logs:Describe*", "logs:FilterLogEvents", "penstock:*"], "*"),
)
_HOST_POLICY = _policy(_allow(["s3:GetObject", "s3:GetObjectVersion"], _OBJECTS))
_PIPELINE_STATEMENTS = (
    _allow(
        ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:GetBucketVersioning"],
        f"arn:aws:s3:::{BUCKET}",
        _OBJECTS,
    ),
    _allow(
        ["codecommit:GetBranch", "codecommit:GetCommit", "codecommit:UploadArchive"],
        f"arn:aws:codecommit:us-east-1:{ACCOUNT}:{REPOSITORY}",
    ),
    _allow(
        ["codebuild:StartBuild", "codebuild:BatchGetBuilds", "codebuild:StopBuild"],
        f"arn:aws:codebuild:us-east-1:{ACCOUNT}:project/{PROJECT}",
    ),
    _allow(["codedeploy:*"], f"arn:aws:codedeploy:us-east-1:{ACCOUNT}:*"),
)
_BUILD_STATEMENTS = (
    _allow(["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"], _OBJECTS),
    _allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], "*"),
)
_DEPLOY_STATEMENTS = (_allow(["s3:GetObject", "s3:GetObjectVersion"], _OBJECTS),)
