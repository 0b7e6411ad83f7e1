"""What a project's pipeline needs on the server, made where it is missing: a repository, buckets, roles, a build project, a group of hosts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from penstock.cli.clients import Clients
from penstock.cli.init.projects import Project
from penstock.cli.init.written import Place

_GROUP = "production"
Tag = tuple[str, str]


def tags_of_hosts(clients: Clients) -> Counter[Tag]:
    """How many of the registered hosts have each tag."""
    codedeploy = clients("codedeploy")
    names: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = codedeploy.list_on_premises_instances(registrationStatus="Registered", **token)
        names += page["instanceNames"]
        if not page.get("nextToken"):
            break
        token = {"nextToken": page["nextToken"]}
    found: Counter[Tag] = Counter()
    for at in range(0, len(names), 100):
        asked = codedeploy.batch_get_on_premises_instances(instanceNames=names[at : at + 100])
        for one in asked["instanceInfos"]:
            found.update({(tag["Key"], tag["Value"]) for tag in one.get("tags", [])})
    return found


def make(clients: Clients, project: Project, place: Place, tag: Tag) -> Iterator[str]:
    """Make what is missing; yields a line for each thing that was made."""
    yield from _buckets(clients, project, place)
    yield from _roles(clients, project, place)
    codecommit = clients("codecommit")
    try:
        codecommit.get_repository(repositoryName=project.name)
    except codecommit.exceptions.RepositoryDoesNotExistException:
        codecommit.create_repository(repositoryName=project.name)
        yield f"repository {project.name}"
    codebuild = clients("codebuild")
    if not codebuild.batch_get_projects(names=[project.name])["projects"]:
        codebuild.create_project(
            name=project.name,
            source={"type": "CODEPIPELINE"},
            artifacts={"type": "CODEPIPELINE"},
            environment={"type": "LINUX_CONTAINER", "image": "host", "computeType": "BUILD_GENERAL1_SMALL"},
            serviceRole=place.role(project, "build"),
        )
        yield f"build project {project.name}"
    if place.to_hosts:
        yield from _group(clients, project, place, tag)


def _buckets(clients: Clients, project: Project, place: Place) -> Iterator[str]:
    s3 = clients("s3")
    mine = {one["Name"] for one in s3.list_buckets()["Buckets"]}
    wanted = ["artifacts"] if place.to_hosts or not project.is_static else ["artifacts", "site"]
    for name in (place.bucket(project, of) for of in wanted):
        if name in mine:
            continue
        where = {} if place.region == "us-east-1" else {"LocationConstraint": place.region}
        s3.create_bucket(Bucket=name, **({"CreateBucketConfiguration": where} if where else {}))
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        yield f"bucket {name}"


def _roles(clients: Clients, project: Project, place: Place) -> Iterator[str]:
    iam = clients("iam")
    statements = _statements(project, place)
    for of, service in (("pipeline", "codepipeline"), ("build", "codebuild"), ("deploy", "codedeploy")):
        if of not in statements:
            continue
        role = f"{project.name}-{of}"
        trust = _allow(["sts:AssumeRole"]) | {"Principal": {"Service": f"{service}.amazonaws.com"}}
        try:
            iam.get_role(RoleName=role)
        except iam.exceptions.NoSuchEntityException:
            iam.create_role(RoleName=role, AssumeRolePolicyDocument=_policy(trust))
            yield f"role {role}"
        # Its own policy, so that what was added by hand in others stays.
        iam.put_role_policy(RoleName=role, PolicyName="penstock-init", PolicyDocument=_policy(*statements[of]))


def _statements(project: Project, place: Place) -> Mapping[str, list[dict[str, Any]]]:
    def arn(service: str, resource: str) -> str:
        return f"arn:{place.partition}:{service}:{place.region}:{place.account}:{resource}"

    store = f"arn:{place.partition}:s3:::{place.bucket(project, 'artifacts')}"
    read = ["s3:GetObject", "s3:GetObjectVersion"]
    pipeline = [
        _allow([*read, "s3:PutObject", "s3:GetBucketVersioning"], store, f"{store}/*"),
        _allow(["codecommit:GetBranch", "codecommit:GetCommit", "codecommit:UploadArchive"], arn("codecommit", project.name)),
        _allow(["codebuild:StartBuild", "codebuild:BatchGetBuilds", "codebuild:StopBuild"], arn("codebuild", f"project/{project.name}")),
    ]  # fmt: skip
    build = [
        _allow([*read, "s3:PutObject"], f"{store}/*"),
        _allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], "*"),
    ]
    found = {"pipeline": pipeline, "build": build}
    if place.to_hosts:
        pipeline.append(
            _allow(
                ["codedeploy:CreateDeployment", "codedeploy:Get*", "codedeploy:BatchGet*", "codedeploy:List*",
                 "codedeploy:RegisterApplicationRevision", "codedeploy:StopDeployment"],
                arn("codedeploy", f"application:{project.name}"),
                arn("codedeploy", f"deploymentgroup:{project.name}/*"),
                arn("codedeploy", "deploymentconfig:*"),
            )
        )  # fmt: skip
        found["deploy"] = [_allow(read, f"{store}/*")]
    elif project.is_static:
        site = f"arn:{place.partition}:s3:::{place.bucket(project, 'site')}"
        pipeline.append(
            _allow(["s3:PutObject", "s3:PutObjectAcl", "s3:GetBucketVersioning", "s3:ListBucket"], site, f"{site}/*")
        )
    return found


def _group(clients: Clients, project: Project, place: Place, tag: Tag) -> Iterator[str]:
    codedeploy = clients("codedeploy")
    try:
        codedeploy.get_application(applicationName=project.name)
    except codedeploy.exceptions.ApplicationDoesNotExistException:
        codedeploy.create_application(applicationName=project.name, computePlatform="Server")
        yield f"application {project.name}"
    try:
        codedeploy.get_deployment_group(applicationName=project.name, deploymentGroupName=_GROUP)
    except codedeploy.exceptions.DeploymentGroupDoesNotExistException:
        codedeploy.create_deployment_group(
            applicationName=project.name,
            deploymentGroupName=_GROUP,
            deploymentConfigName="CodeDeployDefault.OneAtATime",
            onPremisesInstanceTagFilters=[{"Key": tag[0], "Value": tag[1], "Type": "KEY_AND_VALUE"}],
            serviceRoleArn=place.role(project, "deploy"),
            autoRollbackConfiguration={"enabled": True, "events": ["DEPLOYMENT_FAILURE"]},
        )
        yield f"deployment group {_GROUP}, one host after another"


def _allow(actions: list[str], *resources: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions} | ({"Resource": list(resources)} if resources else {})


def _policy(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
