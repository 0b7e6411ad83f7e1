"""Every refusal of deployments that no other test asks for, with its words, on one application."""

from __future__ import annotations

from typing import Any

import pytest
from penstock_deployments_harness import ACCOUNT, REGION, revision

import penstock.fleet
from penstock.wire.errors import ServiceError
from penstock.wire.services import Service

WEB = {"applicationName": "shop", "deploymentGroupName": "web"}
ARN = f"arn:aws:codedeploy:{REGION}:{ACCOUNT}"
TAG = [{"Key": "a", "Value": "b"}]
HOST_COUNT = {"type": "HOST_COUNT", "value": 1}
OTHER = f"arn:aws:iam::{ACCOUNT}:user/other"


def refusals(over: str, waiting: str, deployment: str, user: str) -> list[tuple[str, dict[str, Any], str, str]]:
    """Operation, input, code and a part of the message. `over` is a deployment that has ended; `deployment` runs, `waiting` waits for it."""
    unknown = "d-AAAAAAAAA"
    return [
        ("TagResource", {"Tags": TAG}, "ResourceArnRequiredException", "The ARN of a resource is required"),
        ("TagResource", {"ResourceArn": f"{ARN}:application:shop"}, "TagRequiredException", "A tag was not specified"),
        ("TagResource", {"ResourceArn": f"{ARN}:application:", "Tags": TAG}, "InvalidArnException", "not in a valid format"),
        ("TagResource", {"ResourceArn": f"{ARN}:application:shop", "Tags": [{"Key": f"k{n}", "Value": "v"} for n in range(51)]}, "InvalidTagsToAddException", "at most 50 tags"),
        ("TagResource", {"ResourceArn": f"{ARN}:application:shop", "Tags": TAG * 2}, "InvalidTagsToAddException", "The tag key a is given more than once."),
        ("TagResource", {"ResourceArn": f"{ARN}:application:shop", "Tags": [{"Key": "aws:a", "Value": "v"}]}, "InvalidTagsToAddException", "are not valid"),
        ("TagResource", {"ResourceArn": f"{ARN}:application:shop", "Tags": [{"Key": "a" * 129, "Value": "v"}]}, "InvalidTagsToAddException", "are not valid"),
        ("UntagResource", {"ResourceArn": f"{ARN}:application:shop"}, "TagRequiredException", "A tag was not specified"),
        ("UntagResource", {"TagKeys": ["a"]}, "ResourceArnRequiredException", "The ARN of a resource is required"),
        ("ListTagsForResource", {"ResourceArn": f"{ARN}:deploymentgroup:shop/none"}, "DeploymentGroupDoesNotExistException", "name: none"),
        ("ListTagsForResource", {"ResourceArn": f"{ARN}:deploymentconfig:none"}, "DeploymentConfigDoesNotExistException", "name: none"),
        ("ListTagsForResource", {"ResourceArn": f"{ARN.replace(REGION, 'eu-west-1')}:application:shop"}, "ApplicationDoesNotExistException", "name: shop"),
        ("CreateApplication", {"applicationName": "shop"}, "ApplicationAlreadyExistsException", "Application already exists: shop"),
        ("CreateApplication", {"applicationName": "x", "computePlatform": "ECS"}, "InvalidComputePlatformException", "The compute platform ECS is not served by this version of Penstock; Server is."),
        ("CreateApplication", {"applicationName": "a" * 101}, "InvalidApplicationNameException", ""),
        ("UpdateApplication", {"applicationName": "shop", "newApplicationName": "more"}, "ApplicationAlreadyExistsException", "Application already exists: more"),
        ("UpdateApplication", {"applicationName": "none", "newApplicationName": "x"}, "ApplicationDoesNotExistException", "name: none"),
        ("UpdateApplication", {"applicationName": "shop"}, "ApplicationNameRequiredException", ""),
        ("DeleteApplication", {"applicationName": "shop"}, "InvalidApplicationNameException", f"The application shop has an active deployment {deployment} in the deployment group web. Stop it or wait for its end before the application is deleted."),
        ("BatchGetApplications", {}, "ApplicationNameRequiredException", "Application name is missing"),
        ("BatchGetApplications", {"applicationNames": ["shop", "none"]}, "ApplicationDoesNotExistException", "name: none"),
        ("BatchGetApplications", {"applicationNames": ["a b"]}, "InvalidApplicationNameException", ""),
        ("CreateDeploymentConfig", {"minimumHealthyHosts": HOST_COUNT}, "DeploymentConfigNameRequiredException", ""),
        ("CreateDeploymentConfig", {"deploymentConfigName": "a/b", "minimumHealthyHosts": HOST_COUNT}, "InvalidDeploymentConfigNameException", ""),
        ("CreateDeploymentConfig", {"deploymentConfigName": "Mine", "minimumHealthyHosts": HOST_COUNT}, "DeploymentConfigAlreadyExistsException", "Deployment configuration Mine already exists."),
        ("CreateDeploymentConfig", {"deploymentConfigName": "CodeDeployDefault.X", "minimumHealthyHosts": HOST_COUNT}, "InvalidDeploymentConfigNameException", "Deployment configuration names cannot start with CodeDeployDefault."),
        ("CreateDeploymentConfig", {"deploymentConfigName": "c", "computePlatform": "Lambda"}, "InvalidComputePlatformException", "The compute platform Lambda is not served by this version of Penstock; Server is."),
        ("CreateDeploymentConfig", {"deploymentConfigName": "c", "minimumHealthyHosts": HOST_COUNT, "zonalConfig": {"firstZoneMonitorDurationInSeconds": 1}}, "InvalidZonalDeploymentConfigurationException", "Zonal deployments are not served by this version of Penstock; leave zonalConfig out."),
        ("CreateDeploymentConfig", {"deploymentConfigName": "c", "minimumHealthyHosts": HOST_COUNT, "trafficRoutingConfig": {"type": "AllAtOnce"}}, "InvalidTrafficRoutingConfigurationException", "trafficRoutingConfig is for the compute platforms Lambda and ECS; a Server configuration has minimumHealthyHosts."),
        ("GetDeploymentConfig", {}, "DeploymentConfigNameRequiredException", ""),
        ("DeleteDeploymentConfig", {"deploymentConfigName": "CodeDeployDefault.None"}, "InvalidOperationException", "Predefined deployment configurations cannot be deleted."),
        ("CreateDeployment", {**WEB, "revision": revision(), "deploymentConfigName": "CodeDeployDefault.ECSAllAtOnce"}, "InvalidDeploymentConfigNameException", "The deployment configuration CodeDeployDefault.ECSAllAtOnce is for the compute platform ECS, the application is for Server."),
        ("CreateDeployment", {**WEB, "revision": revision(), "deploymentMode": "RESTART"}, "InvalidInputException", "A revision cannot be given with the deployment mode RESTART."),
        ("CreateDeployment", {**WEB, "updateOutdatedInstancesOnly": True, "deploymentMode": "RESTART"}, "InvalidInputException", "updateOutdatedInstancesOnly cannot be given with the deployment mode RESTART."),
        ("CreateDeployment", {**WEB, "deploymentMode": "RESTART"}, "RevisionRequiredException", "The deployment group has no successful deployment that could be restarted."),
        ("CreateDeployment", {**WEB, "revision": revision(), "description": "x" * 257}, "DescriptionTooLongException", "The description is too long."),
        ("CreateDeployment", {**WEB, "revision": revision(), "targetInstances": {"autoScalingGroups": ["g"]}}, "InvalidTargetInstancesException", "targetInstances can only be given for blue/green deployments."),
        ("CreateDeployment", {**WEB, "revision": revision(), "overrideAlarmConfiguration": {"enabled": True, "alarms": []}}, "InvalidAlarmConfigException", ""),
        ("GetDeployment", {"deploymentId": "d-AAAAAAAAAA"}, "InvalidDeploymentIdException", "Specified deploymentId is not in valid format: d-AAAAAAAAAA"),
        ("GetDeployment", {"deploymentId": "xd-AAAAAAAAA"}, "InvalidDeploymentIdException", ""),
        ("BatchGetDeployments", {}, "DeploymentIdRequiredException", "Deployment ID is missing"),
        ("ListDeployments", {"createTimeRange": {"start": 2, "end": 1}}, "InvalidTimeRangeException", ""),
        ("ListDeployments", {**WEB, "deploymentGroupName": "none"}, "DeploymentGroupDoesNotExistException", "name: none"),
        ("StopDeployment", {"deploymentId": over}, "DeploymentAlreadyCompletedException", f"The deployment {over} is already complete."),
        ("BatchGetDeploymentGroups", {"applicationName": "shop"}, "DeploymentGroupNameRequiredException", "Deployment Group name is missing"),
        ("BatchGetDeploymentGroups", {"applicationName": "none", "deploymentGroupNames": ["web"]}, "ApplicationDoesNotExistException", "name: none"),
        ("ListDeploymentGroups", {"applicationName": "none"}, "ApplicationDoesNotExistException", "name: none"),
        ("UpdateDeploymentGroup", {"applicationName": "shop", "currentDeploymentGroupName": "web", "newDeploymentGroupName": "back"}, "DeploymentGroupAlreadyExistsException", "Deployment group name already exists: back"),
        ("UpdateDeploymentGroup", {"applicationName": "shop", "currentDeploymentGroupName": "none"}, "DeploymentGroupDoesNotExistException", "name: none"),
        ("UpdateDeploymentGroup", {"applicationName": "shop", "currentDeploymentGroupName": "web", "newDeploymentGroupName": "a b"}, "InvalidDeploymentGroupNameException", ""),
        ("DeleteDeploymentGroup", WEB, "InvalidDeploymentGroupNameException", f"The deployment group web has an active deployment {deployment}. Stop it or wait for its end before the group is deleted."),
        ("RegisterInstance", {"instanceId": "i-0123456", "iamUserArn": OTHER}, "InvalidInstanceNameException", "An instance id is `i-` and 8 to 17 hexadecimal digits."),
        ("RegisterInstance", {"instanceId": "i-0123456789abcdef01", "iamUserArn": OTHER}, "InvalidInstanceNameException", "8 to 17"),
        ("RegisterInstance", {"instanceId": "i-01234567", "iamUserArn": user}, "IamUserArnAlreadyRegisteredException", f"The IAM user ARN {user} is already registered"),
        ("RegisterInstance", {"instanceId": "i-0123456789abcdef0", "iamUserArn": OTHER}, "InstanceNameAlreadyRegisteredException", "The on-premises instance name i-0123456789abcdef0 is already registered."),
        ("ListHosts", {"applicationName": "shop"}, "DeploymentGroupNameRequiredException", ""),
        ("ListHosts", {"deploymentGroupName": "web"}, "ApplicationNameRequiredException", ""),
        ("ListHosts", {"applicationName": "shop", "deploymentGroupName": "none"}, "DeploymentGroupDoesNotExistException", "name: none"),
        ("RegisterOnPremisesInstance", {"instanceName": "a b", "iamUserArn": OTHER}, "InvalidInstanceNameException", ""),
        ("RegisterOnPremisesInstance", {"iamUserArn": OTHER}, "InstanceNameRequiredException", "An on-premises instance name was not specified."),
        ("RegisterOnPremisesInstance", {"instanceName": "a", "iamUserArn": "arn:aws:iam::999999999999:user/a"}, "InvalidIamUserArnException", f"The IAM ARN arn:aws:iam::999999999999:user/a does not belong to the account {ACCOUNT}."),
        ("RegisterOnPremisesInstance", {"instanceName": "a", "iamSessionArn": "arn:aws:sts::999999999999:assumed-role/r/s"}, "InvalidIamSessionArnException", f"does not belong to the account {ACCOUNT}."),
        ("BatchGetOnPremisesInstances", {}, "InstanceNameRequiredException", "An on-premises instance name was not specified."),
        ("ListOnPremisesInstances", {"tagFilters": [{"Type": "KEY_ONLY"}]}, "InvalidTagFilterException", ""),
        ("ListOnPremisesInstances", {"tagFilters": [{"Key": "a", "Type": "VALUE_ONLY"}]}, "InvalidTagFilterException", ""),
        ("ListOnPremisesInstances", {"tagFilters": [{"Value": "a"}]}, "InvalidTagFilterException", ""),
        ("AddTagsToOnPremisesInstances", {"instanceNames": ["web-0"], "tags": [{"Key": "k" * 129, "Value": "v"}]}, "InvalidTagException", ""),
        ("AddTagsToOnPremisesInstances", {"instanceNames": ["web-0"], "tags": [{"Key": "k", "Value": "v" * 257}]}, "InvalidTagException", ""),
        ("AddTagsToOnPremisesInstances", {"instanceNames": ["web-0"], "tags": [{"Value": "v"}]}, "InvalidTagException", ""),
        ("RemoveTagsFromOnPremisesInstances", {"instanceNames": ["none"], "tags": TAG}, "InstanceNotRegisteredException", "The on-premises instance none is not registered."),
        ("RegisterApplicationRevision", {"applicationName": "shop"}, "RevisionRequiredException", "Revision is missing"),
        ("RegisterApplicationRevision", {"applicationName": "shop", "revision": revision(), "description": "x" * 257}, "DescriptionTooLongException", ""),
        ("RegisterApplicationRevision", {"applicationName": "none", "revision": revision()}, "ApplicationDoesNotExistException", "name: none"),
        ("GetApplicationRevision", {"applicationName": "shop", "revision": revision("none")}, "RevisionDoesNotExistException", "No application revision found that matches the one provided."),
        ("BatchGetApplicationRevisions", {"applicationName": "shop"}, "RevisionRequiredException", ""),
        ("BatchGetApplicationRevisions", {"applicationName": "shop", "revisions": [revision()] * 26}, "BatchLimitExceededException", "(25)"),
        ("ListApplicationRevisions", {"applicationName": "shop", "s3KeyPrefix": "a"}, "BucketNameFilterRequiredException", "A bucket name is required"),
        ("ListDeploymentTargets", {"deploymentId": waiting}, "DeploymentNotStartedException", f"The deployment {waiting} has not started."),
        ("ListDeploymentTargets", {"deploymentId": over, "targetFilters": {"Odd": ["x"]}}, "InvalidTargetFilterNameException", ""),
        ("ListDeploymentTargets", {"deploymentId": over, "targetFilters": {"ServerInstanceLabel": ["Blue"]}}, "InvalidDeploymentInstanceTypeException", "An instance type was specified for an in-place deployment"),
        ("ListDeploymentTargets", {"deploymentId": over, "targetFilters": {"TargetStatus": ["Lost"]}}, "InvalidInstanceStatusException", "The specified instance status does not exist."),
        ("ListDeploymentInstances", {"deploymentId": over, "instanceStatusFilter": ["Lost"]}, "InvalidInstanceStatusException", ""),
        ("ListDeploymentInstances", {"deploymentId": over, "instanceTypeFilter": ["Blue"]}, "InvalidDeploymentInstanceTypeException", ""),
        ("GetDeploymentTarget", {"deploymentId": over}, "DeploymentTargetIdRequiredException", "A deployment target ID was not provided."),
        ("GetDeploymentTarget", {"deploymentId": over, "targetId": "none"}, "DeploymentTargetDoesNotExistException", f"The target ID none does not belong to the deployment {over}."),
        ("BatchGetDeploymentTargets", {"deploymentId": over}, "DeploymentTargetIdRequiredException", "A deployment target ID was not provided."),
        ("BatchGetDeploymentTargets", {"deploymentId": over, "targetIds": ["web-0"] * 26}, "DeploymentTargetIdRequiredException", "At most 25 target ids can be given."),
        ("BatchGetDeploymentTargets", {"deploymentId": over, "targetIds": ["web-0", "none"]}, "DeploymentTargetDoesNotExistException", "The target ID none does not belong"),
        ("GetDeploymentInstance", {"deploymentId": over}, "InstanceIdRequiredException", "The instance ID was not specified."),
        ("GetDeploymentInstance", {"deploymentId": over, "instanceId": "none"}, "InstanceDoesNotExistException", f"The instance ID none does not belong to the deployment {over}."),
        ("BatchGetDeploymentInstances", {"deploymentId": over}, "InstanceIdRequiredException", ""),
        ("BatchGetDeploymentInstances", {"deploymentId": over, "instanceIds": ["web-0"] * 101}, "BatchLimitExceededException", "(100)"),
        ("ContinueDeployment", {"deploymentId": over}, "DeploymentAlreadyCompletedException", f"The deployment {over} is already complete."),
        ("ContinueDeployment", {"deploymentId": deployment}, "UnsupportedActionForDeploymentTypeException", "not supported for the specified deployment type"),
        ("SkipWaitTimeForInstanceTermination", {"deploymentId": deployment}, "UnsupportedActionForDeploymentTypeException", ""),
        ("SkipWaitTimeForInstanceTermination", {"deploymentId": unknown}, "DeploymentDoesNotExistException", f"The deployment {unknown} could not be found"),
        ("GetHookLog", {"deploymentId": over, "targetId": "none", "lifecycleEventName": "Install"}, "DeploymentTargetDoesNotExistException", "The target ID none"),
        ("GetHookLog", {"deploymentId": over, "targetId": "web-0", "lifecycleEventName": "None"}, "DeploymentTargetDoesNotExistException", "The target ID web-0"),
    ]  # fmt: skip


OURS = {"RegisterInstance", "ListHosts", "GetHookLog"}


async def test_every_refusal_says_what_is_wrong(harness):
    harness.app.services.add(Service(name="penstock", model_path=penstock.fleet.MODEL))
    (host,) = await harness.group(1)
    await harness.call("CreateApplication", applicationName="more")
    await harness.call("CreateDeploymentConfig", deploymentConfigName="Mine", minimumHealthyHosts=HOST_COUNT)
    await harness.call(
        "CreateDeploymentGroup", applicationName="shop", deploymentGroupName="back", serviceRoleArn=harness.role
    )
    user = await harness.user("machine")
    machine = {"instanceId": "i-0123456789abcdef0", "iamUserArn": user.arn}
    await harness.call("RegisterInstance", service="penstock", **machine)
    over = await harness.deploy()
    await harness.until(over, "InProgress")
    await harness.call("StopDeployment", deploymentId=over)
    await harness.until(over, "Stopped")
    deployment = await harness.deploy()
    await harness.until(deployment, "InProgress")
    waiting = await harness.deploy()
    wrong = []
    for operation, input, code, message in refusals(over, waiting, deployment, host.identifier):
        service = "penstock" if operation in OURS else "codedeploy"
        try:
            await harness.call(operation, service=service, **input)
        except ServiceError as refused:
            if (refused.wire_code, message in refused.message, "{" in refused.message) != (code, True, False):
                wrong.append((operation, input, refused.wire_code, refused.message))
        else:
            wrong.append((operation, input, "it was done", ""))
    assert wrong == []


@pytest.mark.parametrize("tags", [None, "off"])
async def test_a_group_without_a_queue_refuses_a_second_deployment(harness, tags):
    more = {"tags": [{"Key": "penstock:queue", "Value": tags}]} if tags else {}
    await harness.group(1, **more)
    first = await harness.deploy()
    if tags is None:
        await harness.deploy()
        return
    with pytest.raises(ServiceError) as refused:
        await harness.deploy()
    assert refused.value.message == f"The Deployment Group 'web' already has an active Deployment '{first}'"
