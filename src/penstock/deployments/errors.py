"""The errors of the service, one class each: its name is the wire code, its docstring the message."""

from __future__ import annotations

from penstock.wire.errors import ServiceError


class ApplicationAlreadyExistsException(ServiceError):
    """Application already exists: {name}"""


class ApplicationDoesNotExistException(ServiceError):
    """No application found for name: {name}"""


class ApplicationNameRequiredException(ServiceError):
    """Application name is missing"""


class ArnNotSupportedException(ServiceError):
    """The specified ARN is not supported. For example, it might be an ARN for a resource that is not expected."""


class BatchLimitExceededException(ServiceError):
    """The maximum number of names or IDs allowed for this request ({limit}) was exceeded."""


class BucketNameFilterRequiredException(ServiceError):
    """A bucket name is required, but was not provided."""


class DeploymentAlreadyCompletedException(ServiceError):
    """The deployment {deployment} is already complete."""


class DeploymentConfigAlreadyExistsException(ServiceError):
    """Deployment configuration {name} already exists."""


class DeploymentConfigDoesNotExistException(ServiceError):
    """No Deployment Config found for name: {name}"""


class DeploymentConfigInUseException(ServiceError):
    """Deployment configuration {name} is still used by the deployment group {group}."""


class DeploymentConfigNameRequiredException(ServiceError):
    """The deployment configuration name was not specified."""


class DeploymentDoesNotExistException(ServiceError):
    """The deployment {deployment} could not be found"""


class DeploymentGroupAlreadyExistsException(ServiceError):
    """Deployment group name already exists: {name}"""


class DeploymentGroupDoesNotExistException(ServiceError):
    """No Deployment Group found for name: {name}"""


class DeploymentGroupNameRequiredException(ServiceError):
    """Deployment Group name is missing"""


class DeploymentIdRequiredException(ServiceError):
    """Deployment ID is missing"""


class DeploymentLimitExceededException(ServiceError):
    """The Deployment Group '{group}' already has an active Deployment '{deployment}'"""


class DeploymentNotStartedException(ServiceError):
    """The deployment {deployment} has not started."""


class DeploymentTargetDoesNotExistException(ServiceError):
    """The target ID {target} does not belong to the deployment {deployment}."""


class DeploymentTargetIdRequiredException(ServiceError):
    """A deployment target ID was not provided."""


class DescriptionTooLongException(ServiceError):
    """The description is too long."""


class IamArnRequiredException(ServiceError):
    """No IAM ARN was included in the request. You must use an IAM session ARN or IAM user ARN in the request."""


class IamSessionArnAlreadyRegisteredException(ServiceError):
    """The IAM session ARN {arn} is already registered with an on-premises instance."""


class IamUserArnAlreadyRegisteredException(ServiceError):
    """The IAM user ARN {arn} is already registered with an on-premises instance."""


class InstanceDoesNotExistException(ServiceError):
    """The instance ID {target} does not belong to the deployment {deployment}."""


class InstanceIdRequiredException(ServiceError):
    """The instance ID was not specified."""


class InstanceLimitExceededException(ServiceError):
    """The maximum number of allowed on-premises instances in a single call was exceeded."""


class InstanceNameAlreadyRegisteredException(ServiceError):
    """The on-premises instance name {name} is already registered."""


class InstanceNameRequiredException(ServiceError):
    """An on-premises instance name was not specified."""


class InstanceNotRegisteredException(ServiceError):
    """The on-premises instance {name} is not registered."""


class AlarmsLimitExceededException(ServiceError):
    """The maximum number of alarms for a deployment group ({limit}) was exceeded."""


class InvalidAlarmConfigException(ServiceError):
    """The format of the alarm configuration is invalid."""


class InvalidApplicationNameException(ServiceError):
    """The application name was specified in an invalid format."""


class InvalidArnException(ServiceError):
    """The specified ARN is not in a valid format."""


class InvalidAutoRollbackConfigException(ServiceError):
    """The automatic rollback configuration was specified in an invalid format. For example, automatic rollback is
    enabled, but an invalid triggering event type or no event types were listed.
    """


class InvalidAutoScalingGroupException(ServiceError):
    """The Auto Scaling group was specified in an invalid format or does not exist."""


class InvalidAutoScalingGroupProcessToSuspendException(ServiceError):
    """The autoScalingGroupProcessesToSuspend list in ec2DeploymentOptions contains a process that is not valid.
    Valid values are Terminate, AZRebalance, InstanceRefresh, and ScheduledActions. Process names are case
    sensitive.
    """


class InvalidBlueGreenDeploymentConfigurationException(ServiceError):
    """The configuration for the blue/green deployment group was provided in an invalid format. For information about
    deployment configuration format, see CreateDeploymentConfig.
    """


class InvalidComputePlatformException(ServiceError):
    """The computePlatform is invalid. The computePlatform should be Lambda, Server, or ECS."""


class InvalidDeployedStateFilterException(ServiceError):
    """The deployed state filter was specified in an invalid format."""


class InvalidDeploymentConfigNameException(ServiceError):
    """The deployment configuration name was specified in an invalid format."""


class InvalidDeploymentGroupNameException(ServiceError):
    """The deployment group name was specified in an invalid format."""


class InvalidDeploymentIdException(ServiceError):
    """Specified deploymentId is not in valid format: {deployment}"""


class InvalidDeploymentInstanceTypeException(ServiceError):
    """An instance type was specified for an in-place deployment. Instance types are supported for blue/green
    deployments only.
    """


class InvalidDeploymentStatusException(ServiceError):
    """The specified deployment status doesn't exist or cannot be determined."""


class InvalidDeploymentStyleException(ServiceError):
    """An invalid deployment style was specified. Valid deployment types include "IN_PLACE" and "BLUE_GREEN." Valid
    deployment options include "WITH_TRAFFIC_CONTROL" and "WITHOUT_TRAFFIC_CONTROL."
    """


class InvalidDeploymentWaitTypeException(ServiceError):
    """The wait type is invalid."""


class InvalidDeploymentTargetIdException(ServiceError):
    """The target ID provided was not valid."""


class InvalidEC2TagCombinationException(ServiceError):
    """A call was submitted that specified both Ec2TagFilters and Ec2TagSet, but only one of these data types can be
    used in a single call.
    """


class InvalidEC2TagException(ServiceError):
    """The tag was specified in an invalid format."""


class InvalidECSServiceException(ServiceError):
    """The Amazon ECS service identifier is not valid."""


class InvalidFileExistsBehaviorException(ServiceError):
    """An invalid fileExistsBehavior option was specified to determine how CodeDeploy handles files or directories
    that already exist in a deployment target location, but weren't part of the previous successful deployment.
    Valid values include "DISALLOW," "OVERWRITE," and "RETAIN."
    """


class InvalidIamSessionArnException(ServiceError):
    """The IAM session ARN was specified in an invalid format."""


class InvalidIamUserArnException(ServiceError):
    """The IAM user ARN was specified in an invalid format."""


class InvalidInputException(ServiceError):
    """The input was specified in an invalid format."""


class InvalidInstanceNameException(ServiceError):
    """The on-premises instance name was specified in an invalid format."""


class InvalidInstanceStatusException(ServiceError):
    """The specified instance status does not exist."""


class InvalidInstanceTypeException(ServiceError):
    """An invalid instance type was specified for instances in a blue/green deployment. Valid values include "Blue"
    for an original environment and "Green" for a replacement environment.
    """


class InvalidLoadBalancerInfoException(ServiceError):
    """An invalid load balancer name, or no load balancer name, was specified."""


class InvalidMinimumHealthyHostValueException(ServiceError):
    """The minimum healthy instance value was specified in an invalid format."""


class InvalidNextTokenException(ServiceError):
    """The next token was specified in an invalid format."""


class InvalidOnPremisesTagCombinationException(ServiceError):
    """A call was submitted that specified both OnPremisesTagFilters and OnPremisesTagSet, but only one of these data
    types can be used in a single call.
    """


class InvalidOperationException(ServiceError):
    """An invalid operation was detected."""


class InvalidRegistrationStatusException(ServiceError):
    """The registration status was specified in an invalid format."""


class InvalidRevisionException(ServiceError):
    """The revision was specified in an invalid format."""


class InvalidRoleException(ServiceError):
    """Cannot assume role provided."""


class InvalidSortByException(ServiceError):
    """The column name to sort by is either not present or was specified in an invalid format."""


class InvalidSortOrderException(ServiceError):
    """The sort order was specified in an invalid format."""


class InvalidTagException(ServiceError):
    """The tag was specified in an invalid format."""


class InvalidTagFilterException(ServiceError):
    """The tag filter was specified in an invalid format."""


class InvalidTagsToAddException(ServiceError):
    """The specified tags are not valid."""


class InvalidTargetFilterNameException(ServiceError):
    """The target filter name is invalid."""


class InvalidTargetInstancesException(ServiceError):
    """The target instance configuration is invalid."""


class InvalidTimeRangeException(ServiceError):
    """The specified time range was specified in an invalid format."""


class InvalidTrafficRoutingConfigurationException(ServiceError):
    """The configuration that specifies how traffic is routed during a deployment is invalid."""


class InvalidTriggerConfigException(ServiceError):
    """The trigger was specified in an invalid format."""


class InvalidZonalDeploymentConfigurationException(ServiceError):
    """The ZonalConfig object is not valid."""


class MultipleIamArnsProvidedException(ServiceError):
    """Both an IAM user ARN and an IAM session ARN were included in the request. Use only one ARN type."""


class ResourceArnRequiredException(ServiceError):
    """The ARN of a resource is required, but was not found."""


class RevisionDoesNotExistException(ServiceError):
    """No application revision found that matches the one provided."""


class RevisionRequiredException(ServiceError):
    """Revision is missing"""


class RoleRequiredException(ServiceError):
    """The service role ARN is missing"""


class TagLimitExceededException(ServiceError):
    """The maximum allowed number of tags was exceeded."""


class TagRequiredException(ServiceError):
    """A tag was not specified."""


class TagSetListLimitExceededException(ServiceError):
    """The number of tag groups included in the tag set list exceeded the maximum allowed limit of 3."""


class TriggerTargetsLimitExceededException(ServiceError):
    """The maximum allowed number of triggers was exceeded. A deployment group can have {limit}."""


class UnsupportedActionForDeploymentTypeException(ServiceError):
    """A call was submitted that is not supported for the specified deployment type."""
