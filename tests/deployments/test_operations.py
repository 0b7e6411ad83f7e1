"""The resources of the service and the error that answers each wrong input."""

from dataclasses import replace

import pytest
from penstock_deployments_harness import ACCOUNT, REGION, revision

from penstock.deployments.runs import find_journal
from penstock.deployments.server import configs
from penstock.wire.errors import AccessDenied, ServiceError

FILTERS = [{"Key": "role", "Value": "web", "Type": "KEY_AND_VALUE"}]


async def refused(harness, operation, code, match="", **input):
    with pytest.raises(ServiceError) as caught:
        await harness.call(operation, **input)
    assert caught.value.wire_code == code, str(caught.value)
    assert match in str(caught.value)
    assert "{" not in str(caught.value), "a placeholder was left"


async def test_the_journals_of_a_deleted_application_are_found(any_harness):
    harness = any_harness
    await harness.group(0)
    deployment = await harness.deploy()
    await harness.until(deployment, "Failed")

    async def found():
        return [await harness.app.store.read(find_journal, ACCOUNT, REGION, id) for id in ("shop/web", deployment)]

    live = await found()
    await harness.call("DeleteApplication", applicationName="shop")
    gone = await found()
    assert [replace(one, deleted=None) for one in gone] == live
    assert all(one.deleted for one in gone)


async def test_applications(any_harness):
    harness = any_harness
    created = await harness.call("CreateApplication", applicationName="shop", computePlatform="Server")
    got = (await harness.call("GetApplication", applicationName="shop"))["application"]
    assert got["applicationId"] == created["applicationId"]
    assert (got["computePlatform"], got["linkedToGitHub"]) == ("Server", False)
    await harness.call("CreateApplication", applicationName="alpha")
    assert (await harness.call("ListApplications"))["applications"] == ["alpha", "shop"]
    both = await harness.call("BatchGetApplications", applicationNames=["shop", "alpha"])
    assert [app["applicationName"] for app in both["applicationsInfo"]] == ["shop", "alpha"]
    await refused(harness, "CreateApplication", "ApplicationAlreadyExistsException", applicationName="shop")
    await refused(
        harness,
        "UpdateApplication",
        "ApplicationAlreadyExistsException",
        applicationName="shop",
        newApplicationName="alpha",
    )
    await harness.call("UpdateApplication", applicationName="alpha", newApplicationName="beta")
    assert (await harness.call("ListApplications"))["applications"] == ["beta", "shop"]
    await harness.call("DeleteApplication", applicationName="beta")
    await harness.call("DeleteApplication", applicationName="beta")
    await refused(
        harness,
        "GetApplication",
        "ApplicationDoesNotExistException",
        "No application found for name: beta",
        applicationName="beta",
    )


@pytest.mark.parametrize(
    ("operation", "input", "code"),
    [
        ("CreateApplication", {}, "ApplicationNameRequiredException"),
        ("CreateApplication", {"applicationName": ""}, "ApplicationNameRequiredException"),
        ("CreateApplication", {"applicationName": "a b"}, "InvalidApplicationNameException"),
        ("CreateApplication", {"applicationName": "x" * 101}, "InvalidApplicationNameException"),
        ("CreateApplication", {"applicationName": "a", "computePlatform": "Moon"}, "InvalidComputePlatformException"),
        ("CreateApplication", {"applicationName": "a", "computePlatform": "Lambda"}, "InvalidComputePlatformException"),
        ("CreateApplication", {"applicationName": "a", "tags": [{"Key": "aws:x"}]}, "InvalidTagsToAddException"),
        ("GetApplication", {}, "ApplicationNameRequiredException"),
        ("UpdateApplication", {}, "ApplicationNameRequiredException"),
        ("BatchGetApplications", {"applicationNames": []}, "ApplicationNameRequiredException"),
        ("BatchGetApplications", {"applicationNames": ["a"] * 101}, "BatchLimitExceededException"),
        ("BatchGetApplications", {"applicationNames": ["nope"]}, "ApplicationDoesNotExistException"),
        ("ListApplications", {"nextToken": "made-up"}, "InvalidNextTokenException"),
        ("GetDeployment", {}, "DeploymentIdRequiredException"),
        ("GetDeployment", {"deploymentId": "nonsense"}, "InvalidDeploymentIdException"),
        ("GetDeployment", {"deploymentId": "d-AAAAAAAAA"}, "DeploymentDoesNotExistException"),
        ("StopDeployment", {"deploymentId": "d-AAAAAAAAA"}, "DeploymentDoesNotExistException"),
        ("ListDeploymentTargets", {"deploymentId": "d-AAAAAAAAA"}, "DeploymentDoesNotExistException"),
        ("BatchGetDeployments", {"deploymentIds": []}, "DeploymentIdRequiredException"),
        ("ListDeployments", {"applicationName": "shop"}, "DeploymentGroupNameRequiredException"),
        ("ListDeployments", {"deploymentGroupName": "web"}, "ApplicationNameRequiredException"),
        ("ListDeployments", {"includeOnlyStatuses": ["Lost"]}, "InvalidDeploymentStatusException"),
        ("ListDeployments", {"createTimeRange": {"start": 2.0, "end": 1.0}}, "InvalidTimeRangeException"),
        ("CreateDeploymentConfig", {"deploymentConfigName": "c"}, "InvalidMinimumHealthyHostValueException"),
        ("CreateDeploymentConfig", {"deploymentConfigName": "c", "minimumHealthyHosts": {"type": "FLEET_PERCENT", "value": 100}}, "InvalidMinimumHealthyHostValueException"),
        ("CreateDeploymentConfig", {"deploymentConfigName": "c", "minimumHealthyHosts": {"type": "HOST_COUNT", "value": -1}}, "InvalidMinimumHealthyHostValueException"),
        ("CreateDeploymentConfig", {"deploymentConfigName": "c", "minimumHealthyHosts": {"type": "MOST_CONCURRENCY", "value": 1}}, "InvalidMinimumHealthyHostValueException"),
        ("CreateDeploymentConfig", {"deploymentConfigName": "CodeDeployDefault.Mine", "minimumHealthyHosts": {"type": "HOST_COUNT", "value": 1}}, "InvalidDeploymentConfigNameException"),
        ("CreateDeploymentConfig", {"deploymentConfigName": "c", "computePlatform": "Lambda"}, "InvalidComputePlatformException"),
        ("GetDeploymentConfig", {"deploymentConfigName": "nope"}, "DeploymentConfigDoesNotExistException"),
        ("DeleteDeploymentConfig", {"deploymentConfigName": "CodeDeployDefault.OneAtATime"}, "InvalidOperationException"),
        ("RegisterOnPremisesInstance", {"instanceName": "a"}, "IamArnRequiredException"),
        ("RegisterOnPremisesInstance", {"instanceName": "i-1", "iamUserArn": f"arn:aws:iam::{ACCOUNT}:user/a"}, "InvalidInstanceNameException"),
        ("RegisterOnPremisesInstance", {"instanceName": "a", "iamUserArn": "arn:aws:iam::1:role/a"}, "InvalidIamUserArnException"),
        ("RegisterOnPremisesInstance", {"instanceName": "a", "iamUserArn": "arn:aws:iam::999999999999:user/a"}, "InvalidIamUserArnException"),
        ("RegisterOnPremisesInstance", {"instanceName": "a", "iamSessionArn": "arn:aws:sts::1:x"}, "InvalidIamSessionArnException"),
        ("RegisterOnPremisesInstance", {"instanceName": "a", "iamUserArn": "u", "iamSessionArn": "s"}, "MultipleIamArnsProvidedException"),
        ("GetOnPremisesInstance", {"instanceName": "nope"}, "InstanceNotRegisteredException"),
        ("AddTagsToOnPremisesInstances", {"instanceNames": ["nope"], "tags": [{"Key": "a", "Value": "b"}]}, "InstanceNotRegisteredException"),
        ("AddTagsToOnPremisesInstances", {"instanceNames": ["nope"], "tags": [{"Key": "a"}]}, "InvalidTagException"),
        ("AddTagsToOnPremisesInstances", {"instanceNames": ["nope"], "tags": []}, "TagRequiredException"),
        ("AddTagsToOnPremisesInstances", {"instanceNames": ["a"] * 101, "tags": [{"Key": "a", "Value": "b"}]}, "InstanceLimitExceededException"),
        ("RemoveTagsFromOnPremisesInstances", {"instanceNames": ["a"] * 101, "tags": [{"Key": "a", "Value": "b"}]}, "InstanceLimitExceededException"),
        ("BatchGetOnPremisesInstances", {"instanceNames": ["a"] * 101}, "BatchLimitExceededException"),
        ("ContinueDeployment", {"deploymentId": "d-AAAAAAAAA", "deploymentWaitType": "FOREVER"}, "InvalidDeploymentWaitTypeException"),
        ("ListOnPremisesInstances", {"registrationStatus": "Lost"}, "InvalidRegistrationStatusException"),
        ("TagResource", {"ResourceArn": "nonsense", "Tags": [{"Key": "a", "Value": "b"}]}, "InvalidArnException"),
        ("TagResource", {"ResourceArn": f"arn:aws:codedeploy:{REGION}:{ACCOUNT}:instance:x", "Tags": [{"Key": "a", "Value": "b"}]}, "ArnNotSupportedException"),
        ("ListTagsForResource", {"ResourceArn": f"arn:aws:codedeploy:{REGION}:{ACCOUNT}:application:x"}, "ApplicationDoesNotExistException"),
    ],
)  # fmt: skip
async def test_wrong_inputs(harness, operation, input, code):
    await refused(harness, operation, code, **input)


async def test_the_seventeen_configurations(harness):
    names = (await harness.call("ListDeploymentConfigs"))["deploymentConfigsList"]
    assert len(names) == 17
    one = (await harness.call("GetDeploymentConfig", deploymentConfigName=configs.DEFAULT))["deploymentConfigInfo"]
    assert one["deploymentConfigId"] == "00000000-0000-0000-0000-000000000001"
    assert one["minimumHealthyHosts"] == {"type": "MOST_CONCURRENCY", "value": 1}
    await harness.call(
        "CreateDeploymentConfig",
        deploymentConfigName="Most",
        minimumHealthyHosts={"type": "FLEET_PERCENT", "value": 75},
    )
    assert (await harness.call("ListDeploymentConfigs"))["deploymentConfigsList"][-1] == "Most"
    await harness.group(0, config="Most")
    await refused(
        harness, "DeleteDeploymentConfig", "DeploymentConfigInUseException", "web", deploymentConfigName="Most"
    )
    await harness.call("DeleteDeploymentGroup", applicationName="shop", deploymentGroupName="web")
    await harness.call("DeleteDeploymentConfig", deploymentConfigName="Most")
    await refused(harness, "GetDeploymentConfig", "DeploymentConfigDoesNotExistException", deploymentConfigName="Most")


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"serviceRoleArn": "arn:aws:iam::111111111111:role/nope"}, "InvalidRoleException"),
        ({"serviceRoleArn": ""}, "RoleRequiredException"),
        ({"deploymentConfigName": "nope"}, "DeploymentConfigDoesNotExistException"),
        ({"deploymentConfigName": "CodeDeployDefault.ECSAllAtOnce"}, "InvalidDeploymentConfigNameException"),
        ({"ec2TagFilters": FILTERS, "ec2TagSet": {"ec2TagSetList": [FILTERS]}}, "InvalidEC2TagCombinationException"),
        ({"onPremisesInstanceTagFilters": FILTERS, "onPremisesTagSet": {"onPremisesTagSetList": [FILTERS]}}, "InvalidOnPremisesTagCombinationException"),
        ({"onPremisesTagSet": {"onPremisesTagSetList": [FILTERS] * 4}}, "TagSetListLimitExceededException"),
        ({"onPremisesInstanceTagFilters": [{"Type": "KEY_ONLY"}]}, "InvalidTagException"),
        ({"onPremisesInstanceTagFilters": [{"Key": "a", "Type": "ODD"}]}, "InvalidTagException"),
        ({"ec2TagFilters": [{"Type": "VALUE_ONLY", "Key": "a"}]}, "InvalidEC2TagException"),
        ({"autoRollbackConfiguration": {"enabled": True}}, "InvalidAutoRollbackConfigException"),
        ({"autoRollbackConfiguration": {"enabled": True, "events": ["NEVER"]}}, "InvalidAutoRollbackConfigException"),
        ({"alarmConfiguration": {"enabled": True, "alarms": []}}, "InvalidAlarmConfigException"),
        ({"deploymentStyle": {"deploymentType": "BLUE_GREEN"}}, "InvalidDeploymentStyleException"),
        ({"deploymentStyle": {"deploymentOption": "WITH_TRAFFIC_CONTROL"}}, "InvalidLoadBalancerInfoException"),
        ({"loadBalancerInfo": {"elbInfoList": [{"name": "lb"}]}}, "InvalidLoadBalancerInfoException"),
        ({"autoScalingGroups": ["asg"]}, "InvalidAutoScalingGroupException"),
        ({"ecsServices": [{"clusterName": "c", "serviceName": "s"}]}, "InvalidECSServiceException"),
        ({"triggerConfigurations": [{"triggerName": "t", "triggerTargetArn": "a", "triggerEvents": ["DeploymentStart"]}]}, "InvalidTriggerConfigException"),
        ({"deploymentGroupName": "a/b"}, "InvalidDeploymentGroupNameException"),
        ({"applicationName": "nope"}, "ApplicationDoesNotExistException"),
    ],
)  # fmt: skip
async def test_groups_that_cannot_be(harness, settings, code):
    await harness.call("CreateApplication", applicationName="shop")
    input = {"applicationName": "shop", "deploymentGroupName": "web", "serviceRoleArn": harness.role} | settings
    await refused(harness, "CreateDeploymentGroup", code, **input)


async def test_a_group_keeps_its_id_and_shows_every_field(any_harness):
    harness = any_harness
    await harness.group(0)
    name = {"applicationName": "shop", "deploymentGroupName": "web"}
    described = (await harness.call("GetDeploymentGroup", **name))["deploymentGroupInfo"]
    assert described["ec2TagFilters"] == described["autoScalingGroups"] == described["triggerConfigurations"] == []
    assert described["deploymentStyle"] == {"deploymentType": "IN_PLACE", "deploymentOption": "WITHOUT_TRAFFIC_CONTROL"}
    assert (described["outdatedInstancesStrategy"], described["terminationHookEnabled"]) == ("UPDATE", False)
    assert described["autoRollbackConfiguration"] == {"enabled": False}
    await harness.call(
        "UpdateDeploymentGroup",
        applicationName="shop",
        currentDeploymentGroupName="web",
        newDeploymentGroupName="front",
        onPremisesTagSet={"onPremisesTagSetList": [FILTERS, [{"Key": "zone", "Type": "KEY_ONLY"}]]},
        autoRollbackConfiguration={"enabled": True, "events": ["DEPLOYMENT_FAILURE"]},
    )
    name["deploymentGroupName"] = "front"
    after = (await harness.call("GetDeploymentGroup", **name))["deploymentGroupInfo"]
    assert after["deploymentGroupId"] == described["deploymentGroupId"]
    assert after["onPremisesInstanceTagFilters"] == []
    assert after["deploymentConfigName"] == described["deploymentConfigName"]
    assert (await harness.call("ListDeploymentGroups", applicationName="shop"))["deploymentGroups"] == ["front"]
    await refused(
        harness, "CreateDeploymentGroup", "DeploymentGroupAlreadyExistsException", serviceRoleArn=harness.role, **name
    )
    got = await harness.call("BatchGetDeploymentGroups", applicationName="shop", deploymentGroupNames=["front", "lost"])
    assert len(got["deploymentGroupsInfo"]) == 1
    assert "lost" in got["errorMessage"]
    assert await harness.call("DeleteDeploymentGroup", **name) == {"hooksNotCleanedUp": []}
    await refused(harness, "GetDeploymentGroup", "DeploymentGroupDoesNotExistException", **name)


async def test_revisions(any_harness):
    harness = any_harness
    await harness.group(0)
    for key in ("b/2.zip", "a/1.zip"):
        await harness.call(
            "RegisterApplicationRevision", applicationName="shop", revision=revision(key), description=key
        )
    listed = await harness.call(
        "ListApplicationRevisions", applicationName="shop", s3Bucket="bundles", s3KeyPrefix="a/"
    )
    assert [found["s3Location"]["key"] for found in listed["revisions"]] == ["a/1.zip"]
    got = await harness.call("GetApplicationRevision", applicationName="shop", revision=revision("a/1.zip"))
    assert got["revisionInfo"]["description"] == "a/1.zip"
    deployment = await harness.deploy("new.zip")
    got = await harness.call("GetApplicationRevision", applicationName="shop", revision=revision("new.zip"))
    assert got["revisionInfo"]["description"] == f"Application revision registered by Deployment ID: {deployment}"
    assert got["revisionInfo"]["firstUsedTime"] == got["revisionInfo"]["lastUsedTime"]
    several = await harness.call(
        "BatchGetApplicationRevisions", applicationName="shop", revisions=[revision("a/1.zip"), revision("lost")]
    )
    assert len(several["revisions"]) == 1
    assert several["errorMessage"]
    await refused(
        harness,
        "GetApplicationRevision",
        "RevisionDoesNotExistException",
        applicationName="shop",
        revision=revision("lost"),
    )
    await refused(
        harness,
        "ListApplicationRevisions",
        "BucketNameFilterRequiredException",
        applicationName="shop",
        s3KeyPrefix="a",
    )
    await refused(harness, "ListApplicationRevisions", "InvalidSortByException", applicationName="shop", sortBy="size")


@pytest.mark.parametrize(
    "location",
    [
        {"revisionType": "S3"},
        {"revisionType": "S3", "s3Location": {"bucket": "b", "key": "k"}},
        {"revisionType": "S3", "s3Location": {"bucket": "b", "key": "k", "bundleType": "rar"}},
        {"revisionType": "S3", "s3Location": {"bucket": "b", "key": "k", "bundleType": "YAML"}},
        {"revisionType": "S3", "s3Location": {"bucket": "b", "key": "k", "bundleType": "zip", "eTag": "e" * 257}},
        {"revisionType": "S3", "s3Location": {"bucket": "b", "key": "k", "bundleType": "zip", "version": "v" * 1025}},
        {"revisionType": "GitHub", "gitHubLocation": {"repository": "nope", "commitId": "1"}},
        {"revisionType": "GitHub", "gitHubLocation": {"repository": "a/b", "commitId": "1" * 257}},
        {"revisionType": "AppSpecContent", "appSpecContent": {"content": "{}"}},
        {"revisionType": "Tape"},
        {"s3Location": {"bucket": "b", "key": "k", "bundleType": "zip"}},
    ],
)
async def test_revisions_that_cannot_be(harness, location):
    await harness.group(0)
    await refused(
        harness, "RegisterApplicationRevision", "InvalidRevisionException", applicationName="shop", revision=location
    )


async def test_the_checks_of_create_deployment_come_in_order(harness):
    await harness.group(0)
    good = {"applicationName": "shop", "deploymentGroupName": "web", "revision": revision()}
    cases = [
        ("ApplicationDoesNotExistException", {**good, "applicationName": "nope", "deploymentGroupName": None}),
        ("DeploymentGroupNameRequiredException", {**good, "deploymentGroupName": None, "revision": None}),
        ("DeploymentGroupDoesNotExistException", {**good, "deploymentGroupName": "nope"}),
        ("RevisionRequiredException", {**good, "revision": None, "deploymentConfigName": "nope"}),
        ("InvalidRevisionException", {**good, "revision": {"revisionType": "S3"}, "deploymentConfigName": "nope"}),
        ("DeploymentConfigDoesNotExistException", {**good, "deploymentConfigName": "nope", "description": "x" * 300}),
        ("InvalidDeploymentConfigNameException", {**good, "deploymentConfigName": "CodeDeployDefault.LambdaAllAtOnce"}),
        ("DescriptionTooLongException", {**good, "description": "x" * 257, "targetInstances": {"tagFilters": FILTERS}}),
        ("InvalidTargetInstancesException", {**good, "targetInstances": {"tagFilters": FILTERS}}),
        ("InvalidAutoRollbackConfigException", {**good, "autoRollbackConfiguration": {"enabled": True, "events": []}}),
        ("InvalidFileExistsBehaviorException", {**good, "fileExistsBehavior": "PERHAPS"}),
    ]
    for code, input in cases:
        await refused(
            harness, "CreateDeployment", code, **{name: value for name, value in input.items() if value is not None}
        )


async def test_instances_come_go_and_come_back(any_harness):
    harness = any_harness
    host = await harness.host("web-1")
    described = (await harness.call("GetOnPremisesInstance", instanceName="web-1"))["instanceInfo"]
    assert described["iamUserArn"] == host.identifier
    assert described["tags"] == [{"Key": "role", "Value": "web"}]
    assert described["instanceArn"].startswith(f"arn:aws:codedeploy:{REGION}:{ACCOUNT}:instance/web-1_")
    await refused(
        harness, "RegisterOnPremisesInstance", "InstanceNameAlreadyRegisteredException", instanceName="web-1",
        iamUserArn=f"arn:aws:iam::{ACCOUNT}:user/other",
    )  # fmt: skip
    await refused(
        harness, "RegisterOnPremisesInstance", "IamUserArnAlreadyRegisteredException", instanceName="web-2",
        iamUserArn=host.identifier,
    )  # fmt: skip
    many = [{"Key": f"k{number}", "Value": "v"} for number in range(10)]
    await refused(
        harness, "AddTagsToOnPremisesInstances", "TagLimitExceededException", instanceNames=["web-1"], tags=many
    )
    found = await harness.call("ListOnPremisesInstances", tagFilters=FILTERS, registrationStatus="Registered")
    assert found["instanceNames"] == ["web-1"]
    first, *others = described["tags"]
    other_value = {"Key": first["Key"], "Value": "another"}  # which goes only with its own
    await harness.call("RemoveTagsFromOnPremisesInstances", instanceNames=["web-1"], tags=[*others, other_value])
    kept = (await harness.call("GetOnPremisesInstance", instanceName="web-1"))["instanceInfo"]["tags"]
    assert kept == [first]
    full = many[:9]
    await harness.call("AddTagsToOnPremisesInstances", instanceNames=["web-1"], tags=full)
    kept = (await harness.call("GetOnPremisesInstance", instanceName="web-1"))["instanceInfo"]["tags"]
    assert len(kept) == 10
    await harness.call("RemoveTagsFromOnPremisesInstances", instanceNames=["web-1"], tags=kept)
    assert (await harness.call("GetOnPremisesInstance", instanceName="web-1"))["instanceInfo"]["tags"] == []
    await harness.call("DeregisterOnPremisesInstance", instanceName="web-1")
    await harness.call("DeregisterOnPremisesInstance", instanceName="web-1")
    gone = (await harness.call("GetOnPremisesInstance", instanceName="web-1"))["instanceInfo"]
    assert gone["tags"] == []
    assert gone["deregisterTime"]
    assert (await harness.call("ListOnPremisesInstances", registrationStatus="Registered"))["instanceNames"] == []
    assert (await harness.call("ListOnPremisesInstances"))["instanceNames"] == ["web-1"]
    await harness.call("RegisterOnPremisesInstance", instanceName="web-1", iamUserArn=host.identifier)
    back = await harness.call("BatchGetOnPremisesInstances", instanceNames=["web-1", "lost"])
    assert [info["tags"] for info in back["instanceInfos"]] == [[]]


async def test_a_role_session_can_be_a_host(harness):
    trust = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}'
    )
    role = (await harness.call("CreateRole", service="iam", RoleName="hosts", AssumeRolePolicyDocument=trust))["Role"]
    made = await harness.call("AssumeRole", service="sts", RoleArn=role["Arn"], RoleSessionName="web-9")
    session = await harness.session(made["Credentials"]["AccessKeyId"], made["Credentials"]["SessionToken"])
    await harness.call("RegisterOnPremisesInstance", instanceName="web-9", iamSessionArn=session.arn)
    described = (await harness.call("GetOnPremisesInstance", instanceName="web-9"))["instanceInfo"]
    assert described["iamSessionArn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/hosts/web-9"
    await harness.call("AddTagsToOnPremisesInstances", instanceNames=["web-9"], tags=[{"Key": "role", "Value": "web"}])
    await harness.group(0)
    await harness.deploy()
    poll = await harness.call(
        "PollHostCommand", service="codedeploy-commands", session=session, HostIdentifier=session.arn
    )
    assert poll["HostCommand"]["HostIdentifier"] == session.arn


async def test_tags_of_resources(harness):
    await harness.group(0)
    arn = f"arn:aws:codedeploy:{REGION}:{ACCOUNT}:deploymentgroup:shop/web"
    await harness.call("TagResource", ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "1"}])
    await harness.call("UntagResource", ResourceArn=arn, TagKeys=["b", "never"])
    assert (await harness.call("ListTagsForResource", ResourceArn=arn))["Tags"] == [{"Key": "a", "Value": "1"}]


async def test_targets_before_and_after_the_start(harness):
    hosts = await harness.group(2)
    first = await harness.deploy()
    await harness.until(first, "InProgress")
    second = await harness.deploy()
    await refused(harness, "ListDeploymentTargets", "DeploymentNotStartedException", deploymentId=second)
    names = [host.name for host in hosts]
    assert (await harness.call("ListDeploymentTargets", deploymentId=first))["targetIds"] == names
    running = {"deploymentId": first, "targetFilters": {"TargetStatus": ["InProgress"]}}
    assert len((await harness.call("ListDeploymentTargets", **running))["targetIds"]) == 1
    for bad, code in (
        ("Lost", "InvalidTargetFilterNameException"),
        ("ServerInstanceLabel", "InvalidDeploymentInstanceTypeException"),
    ):
        await refused(harness, "ListDeploymentTargets", code, deploymentId=first, targetFilters={bad: ["Blue"]})
    await refused(
        harness, "GetDeploymentTarget", "DeploymentTargetDoesNotExistException", deploymentId=first, targetId="lost"
    )
    await refused(
        harness, "GetDeploymentTarget", "DeploymentTargetIdRequiredException", deploymentId=first, targetId=""
    )
    target = await harness.target(first, "web-0")
    assert target["targetArn"].startswith(f"arn:aws:codedeploy:{REGION}:{ACCOUNT}:instance/web-0_")
    old = await harness.call("GetDeploymentInstance", deploymentId=first, instanceId="web-0")
    assert old["instanceSummary"]["instanceId"] == target["targetArn"]
    assert (await harness.call("ListDeploymentInstances", deploymentId=first))["instancesList"] == names
    several = await harness.call("BatchGetDeploymentInstances", deploymentId=first, instanceIds=[*names, "lost"])
    assert len(several["instancesSummary"]) == 2
    await refused(
        harness, "GetDeploymentInstance", "InstanceDoesNotExistException", deploymentId=first, instanceId="lost"
    )
    await refused(harness, "ContinueDeployment", "UnsupportedActionForDeploymentTypeException", deploymentId=first)
    await refused(
        harness,
        "DeleteDeploymentGroup",
        "InvalidDeploymentGroupNameException",
        first,
        applicationName="shop",
        deploymentGroupName="web",
    )
    await refused(harness, "DeleteApplication", "InvalidApplicationNameException", first, applicationName="shop")


async def test_lists_come_in_pages(harness):
    await harness.group(0)
    for number in range(205):
        await harness.call("CreateApplication", applicationName=f"app-{number:03d}")
    names, token = [], None
    pages = 0
    while True:
        answer = await harness.call("ListApplications", **({"nextToken": token} if token else {}))
        names += answer["applications"]
        pages += 1
        token = answer.get("nextToken")
        if not token:
            break
    assert pages == 3
    assert names == sorted({*names})
    assert len(names) == 206


async def test_deployments_are_authorised_on_their_group(harness):
    await harness.group(0)
    deployment = await harness.deploy()
    await harness.until(deployment)

    def allowing(action, resource):
        return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}

    arn = f"arn:aws:codedeploy:{REGION}:{ACCOUNT}:deploymentgroup:shop/"
    may = await harness.user("may", allowing("codedeploy:GetDeployment", arn + "web"))
    may_not = await harness.user("may-not", allowing("codedeploy:GetDeployment", arn + "other"))
    assert await harness.call("GetDeployment", session=may, deploymentId=deployment)
    with pytest.raises(AccessDenied):
        await harness.call("GetDeployment", session=may_not, deploymentId=deployment)
    with pytest.raises(AccessDenied):
        await harness.call("StopDeployment", session=may, deploymentId=deployment)
    with pytest.raises(AccessDenied):
        await harness.deploy(session=may)


async def test_accounts_are_isolated(harness):
    await harness.group(0)
    deployment = await harness.deploy()
    lines = (await harness.app.identity.bootstrap("222222222222")).splitlines()
    stranger = await harness.session(lines[1].partition(" = ")[2])
    for operation, input, code in (
        ("GetApplication", {"applicationName": "shop"}, "ApplicationDoesNotExistException"),
        ("GetDeployment", {"deploymentId": deployment}, "DeploymentDoesNotExistException"),
        ("StopDeployment", {"deploymentId": deployment}, "DeploymentDoesNotExistException"),
    ):
        with pytest.raises(ServiceError) as refused:
            await harness.call(operation, session=stranger, **input)
        assert refused.value.wire_code == code
    assert (await harness.call("BatchGetDeployments", session=stranger, deploymentIds=[deployment]))[
        "deploymentsInfo"
    ] == []
    assert (await harness.call("ListDeployments", session=stranger))["deployments"] == []


async def test_a_period_has_both_of_its_ends(any_harness, clock):
    harness = any_harness
    await harness.group(0)
    made = []
    for _ in range(3):
        clock.advance(1_000)
        made.append((clock.now(), await harness.deploy()))
    (_, first), (middle, second), (last, third) = made

    async def found(**period):
        input = {"createTimeRange": period, "applicationName": "shop", "deploymentGroupName": "web"}
        return (await harness.call("ListDeployments", **input))["deployments"]

    assert await found() == [third, second, first]
    assert await found(start=middle, end=middle) == [second]
    assert await found(start=middle) == [third, second]
    assert await found(end=middle) == [second, first]
    assert await found(start=middle + 1) == [third]
    assert await found(end=middle - 1) == [first]
    assert await found(start=last + 1) == []
    for id in (first, second, third):
        await harness.until(id, "Failed")
    failed = await harness.call("ListDeployments", includeOnlyStatuses=["Failed", "Queued"])
    assert failed["deployments"] == [third, second, first]
    assert (await harness.call("ListDeployments", includeOnlyStatuses=["Stopped"]))["deployments"] == []
    assert (await harness.call("ListDeployments", externalId="stack"))["deployments"] == []


@pytest.mark.parametrize(
    ("operation", "members", "name", "known"),
    [
        ("BatchGetApplications", "applicationNames", "shop", {}),
        ("BatchGetDeploymentGroups", "deploymentGroupNames", "web", {"applicationName": "shop"}),
        ("BatchGetDeployments", "deploymentIds", "d-AAAAAAAAA", {}),
        ("BatchGetOnPremisesInstances", "instanceNames", "web-0", {}),
    ],
)
async def test_a_hundred_at_a_time(harness, operation, members, name, known):
    await harness.group(1)
    await harness.call(operation, **known, **{members: [name] * 100})
    await refused(harness, operation, "BatchLimitExceededException", "100", **known, **{members: [name] * 101})
