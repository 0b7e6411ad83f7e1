"""Which error answers which broken constraint. AWS: the API's error lists name one per member."""

from __future__ import annotations

import re
from typing import Any

from penstock.deployments import errors
from penstock.wire.profiles import MemberError, MemberProfile
from penstock.wire.tags import TagRules

_NAME = re.compile(r"[A-Za-z0-9+=,.@_-]{1,100}")

_INSTANCE = MemberError(required=errors.InstanceNameRequiredException, invalid=errors.InvalidInstanceNameException)
_DEPLOYMENT = MemberError(required=errors.DeploymentIdRequiredException, invalid=errors.InvalidDeploymentIdException)
_APPLICATION = MemberError(
    required=errors.ApplicationNameRequiredException, invalid=errors.InvalidApplicationNameException
)
_GROUP = MemberError(
    required=errors.DeploymentGroupNameRequiredException, invalid=errors.InvalidDeploymentGroupNameException
)

PROFILE = MemberProfile(
    members={
        "applicationName": _APPLICATION,
        "newApplicationName": _APPLICATION,
        "applicationNames": _APPLICATION,
        "deploymentGroupName": _GROUP,
        "deploymentGroupNames": _GROUP,
        "currentDeploymentGroupName": _GROUP,
        "newDeploymentGroupName": _GROUP,
        "deploymentConfigName": MemberError(
            required=errors.DeploymentConfigNameRequiredException, invalid=errors.InvalidDeploymentConfigNameException
        ),
        "CreateDeployment.deploymentConfigName": MemberError(invalid=errors.InvalidDeploymentConfigNameException),
        "CreateDeploymentGroup.deploymentConfigName": MemberError(invalid=errors.InvalidDeploymentConfigNameException),
        "deploymentId": _DEPLOYMENT,
        "deploymentIds": _DEPLOYMENT,
        "instanceName": _INSTANCE,
        "instanceNames": _INSTANCE,
        "instanceId": MemberError(
            required=errors.InstanceIdRequiredException, invalid=errors.InvalidInstanceNameException
        ),
        "instanceIds": MemberError(
            required=errors.InstanceIdRequiredException, invalid=errors.InvalidInstanceNameException
        ),
        "targetId": MemberError(
            required=errors.DeploymentTargetIdRequiredException, invalid=errors.InvalidDeploymentTargetIdException
        ),
        "targetIds": MemberError(
            required=errors.DeploymentTargetIdRequiredException, invalid=errors.InvalidDeploymentTargetIdException
        ),
        "revision": MemberError(required=errors.RevisionRequiredException, invalid=errors.InvalidRevisionException),
        "revisions": MemberError(required=errors.RevisionRequiredException, invalid=errors.InvalidRevisionException),
        "revisionType": MemberError(invalid=errors.InvalidRevisionException),
        "bundleType": MemberError(invalid=errors.InvalidRevisionException),
        "s3Location": MemberError(invalid=errors.InvalidRevisionException),
        "gitHubLocation": MemberError(invalid=errors.InvalidRevisionException),
        "serviceRoleArn": MemberError(required=errors.RoleRequiredException, invalid=errors.InvalidRoleException),
        "computePlatform": MemberError(invalid=errors.InvalidComputePlatformException),
        "minimumHealthyHosts": MemberError(invalid=errors.InvalidMinimumHealthyHostValueException),
        "minimumHealthyHosts.type": MemberError(invalid=errors.InvalidMinimumHealthyHostValueException),
        "minimumHealthyHosts.value": MemberError(invalid=errors.InvalidMinimumHealthyHostValueException),
        "fileExistsBehavior": MemberError(invalid=errors.InvalidFileExistsBehaviorException),
        "deploymentType": MemberError(invalid=errors.InvalidDeploymentStyleException),
        "deploymentOption": MemberError(invalid=errors.InvalidDeploymentStyleException),
        "outdatedInstancesStrategy": MemberError(invalid=errors.InvalidInputException),
        "autoRollbackConfiguration.events": MemberError(invalid=errors.InvalidAutoRollbackConfigException),
        "triggerEvents": MemberError(invalid=errors.InvalidTriggerConfigException),
        "ec2TagFilters.type": MemberError(invalid=errors.InvalidEC2TagException),
        "ec2TagSet.ec2TagSetList.type": MemberError(invalid=errors.InvalidEC2TagException),
        "onPremisesInstanceTagFilters.type": MemberError(invalid=errors.InvalidTagException),
        "onPremisesTagSet.onPremisesTagSetList.type": MemberError(invalid=errors.InvalidTagException),
        "tagFilters.type": MemberError(invalid=errors.InvalidTagFilterException),
        "deploymentWaitType": MemberError(invalid=errors.InvalidDeploymentWaitTypeException),
        "includeOnlyStatuses": MemberError(invalid=errors.InvalidDeploymentStatusException),
        "instanceStatusFilter": MemberError(invalid=errors.InvalidInstanceStatusException),
        "instanceTypeFilter": MemberError(invalid=errors.InvalidInstanceTypeException),
        "targetFilters": MemberError(invalid=errors.InvalidTargetFilterNameException),
        "sortBy": MemberError(invalid=errors.InvalidSortByException),
        "sortOrder": MemberError(invalid=errors.InvalidSortOrderException),
        "deployed": MemberError(invalid=errors.InvalidDeployedStateFilterException),
        "registrationStatus": MemberError(invalid=errors.InvalidRegistrationStatusException),
        "nextToken": MemberError(invalid=errors.InvalidNextTokenException),
        "ResourceArn": MemberError(required=errors.ResourceArnRequiredException, invalid=errors.InvalidArnException),
        "Tags": MemberError(required=errors.TagRequiredException, invalid=errors.InvalidTagsToAddException),
        "TagKeys": MemberError(required=errors.TagRequiredException, invalid=errors.InvalidTagsToAddException),
        "tags": MemberError(required=errors.TagRequiredException, invalid=errors.InvalidTagException),
        "CreateApplication.tags": MemberError(invalid=errors.InvalidTagsToAddException),
        "CreateDeploymentGroup.tags": MemberError(invalid=errors.InvalidTagsToAddException),
        "targetInstances": MemberError(invalid=errors.InvalidTargetInstancesException),
        "autoScalingGroupProcessesToSuspend": MemberError(
            invalid=errors.InvalidAutoScalingGroupProcessToSuspendException
        ),
    }
)


def named(value: Any, case: MemberError) -> str:
    """A name that is given and well-formed; raises the member's errors otherwise (the model asks for neither)."""
    if not value:
        assert case.required is not None
        raise case.required
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        assert case.invalid is not None
        raise case.invalid
    return value


def application_name(input: dict[str, Any], member: str = "applicationName") -> str:
    """The application's name in an input."""
    return named(input.get(member), _APPLICATION)


def group_name(input: dict[str, Any], member: str = "deploymentGroupName") -> str:
    """The deployment group's name in an input."""
    return named(input.get(member), _GROUP)


def deployment_id(value: Any) -> str:
    """A deployment id, in either form that the API gives out."""
    if not value:
        raise errors.DeploymentIdRequiredException
    if not isinstance(value, str) or not re.fullmatch(r"d-[A-Z0-9]{9}", value):
        raise errors.InvalidDeploymentIdException(deployment=value)
    return value


def instance_name(value: Any) -> str:
    """The name of an on-premises instance; those of EC2 instances are not theirs to take."""
    if not value:
        raise errors.InstanceNameRequiredException
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value.startswith("i-"):
        raise errors.InvalidInstanceNameException
    return value


TAGS = TagRules(
    too_many=lambda: errors.InvalidTagsToAddException("A resource can have at most 50 tags."),
    reserved=lambda _key: errors.InvalidTagsToAddException(),
    duplicate=lambda key: errors.InvalidTagsToAddException(f"The tag key {key} is given more than once."),
    malformed=lambda _key, _value: errors.InvalidTagsToAddException(),
)
"""Of applications, groups and configurations. AWS: TagResource of CodeDeploy."""
