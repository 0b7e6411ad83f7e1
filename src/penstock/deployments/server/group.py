"""The settings of a deployment group: checked, merged with the defaults, and what is not served yet refused with a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from penstock.deployments import errors
from penstock.deployments.server import configs

DEFAULTS: Final[Mapping[str, Any]] = {
    "deploymentConfigName": configs.DEFAULT,
    "ec2TagFilters": [],
    "onPremisesInstanceTagFilters": [],
    "autoScalingGroups": [],
    "triggerConfigurations": [],
    "autoRollbackConfiguration": {"enabled": False, "events": []},
    "deploymentStyle": {"deploymentType": "IN_PLACE", "deploymentOption": "WITHOUT_TRAFFIC_CONTROL"},
    "outdatedInstancesStrategy": "UPDATE",
    "terminationHookEnabled": False,
}
_ROLLBACK_EVENTS: Final = {"DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"}
_MAX_ALARMS: Final = 10
_MAX_TAG_GROUPS: Final = 3
_MAX_TRIGGERS: Final = 10
_TOPIC_ARN: Final = 512
_TRIGGER_NAME: Final = 100  # characters (AWS: CodeDeploy quotas)
_MAX_TAGS: Final = 10
_NO_LOAD_BALANCER: Final = (
    "The specification for load balancing in the deployment group is invalid. The deploymentOption value is set to "
    "WITH_TRAFFIC_CONTROL, but either no load balancer was specified in elbInfoList or no target group was specified in "
    "targetGroupInfoList."
)


def merged(current: Mapping[str, Any], input: Mapping[str, Any]) -> dict[str, Any]:
    """The settings after an input: an absent member keeps what is there, an empty list clears. Raises the service's errors."""
    _refuse_what_is_not_served(input)
    body = dict(current)
    if input.get("deploymentConfigName"):
        body["deploymentConfigName"] = input["deploymentConfigName"]
    if input.get("serviceRoleArn"):
        body["serviceRoleArn"] = input["serviceRoleArn"]
    if input.get("outdatedInstancesStrategy"):
        body["outdatedInstancesStrategy"] = input["outdatedInstancesStrategy"]
    if input.get("autoRollbackConfiguration") is not None:
        body["autoRollbackConfiguration"] = rollback(input["autoRollbackConfiguration"])
    if input.get("alarmConfiguration") is not None:
        body["alarmConfiguration"] = alarms(input["alarmConfiguration"])
    if input.get("triggerConfigurations") is not None:
        body["triggerConfigurations"] = triggers(input["triggerConfigurations"])
    _merge_tags(
        body, input, filters="ec2TagFilters", tag_set="ec2TagSet", bad=errors.InvalidEC2TagException,
        both=errors.InvalidEC2TagCombinationException,
    )  # fmt: skip
    _merge_tags(
        body, input, filters="onPremisesInstanceTagFilters", tag_set="onPremisesTagSet", bad=errors.InvalidTagException,
        both=errors.InvalidOnPremisesTagCombinationException,
    )  # fmt: skip
    return body


def rollback(found: Mapping[str, Any]) -> dict[str, Any]:
    """An `autoRollbackConfiguration`. AWS: enabled without (valid) events is an error."""
    events = list(dict.fromkeys(found.get("events") or ()))
    enabled = bool(found.get("enabled"))
    if (enabled and not events) or any(event not in _ROLLBACK_EVENTS for event in events):
        raise errors.InvalidAutoRollbackConfigException
    return {"enabled": enabled, "events": events}


def alarms(found: Mapping[str, Any]) -> dict[str, Any]:
    """An `alarmConfiguration`. AWS: enabled without alarms is an error."""
    listed = found.get("alarms") or []
    names = [alarm.get("name") for alarm in listed]
    if any(not name or len(name) > 255 for name in names) or len(set(names)) != len(names):
        raise errors.InvalidAlarmConfigException
    if len(names) > _MAX_ALARMS:
        raise errors.AlarmsLimitExceededException(limit=_MAX_ALARMS)
    if found.get("enabled") and not names:
        raise errors.InvalidAlarmConfigException
    return {
        "enabled": bool(found.get("enabled")),
        "ignorePollAlarmFailure": bool(found.get("ignorePollAlarmFailure")),
        "alarms": [{"name": name} for name in names],
    }


def triggers(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The `triggerConfigurations`. Each has a name of its own, a topic and at least one event."""
    if len(found) > _MAX_TRIGGERS:
        raise errors.TriggerTargetsLimitExceededException(limit=_MAX_TRIGGERS)
    kept: dict[str, dict[str, Any]] = {}
    for trigger in found:
        name, topic = trigger.get("triggerName"), trigger.get("triggerTargetArn")
        events = list(dict.fromkeys(trigger.get("triggerEvents") or ()))
        if not name or len(name) > _TRIGGER_NAME:
            raise errors.InvalidTriggerConfigException(f"A trigger has a name of at most {_TRIGGER_NAME} characters.")
        if name in kept:
            raise errors.InvalidTriggerConfigException(f"Two triggers have the name {name}.")
        if not events:
            raise errors.InvalidTriggerConfigException(f"The trigger {name} names no events.")
        if not topic or len(topic) > _TOPIC_ARN:
            raise errors.InvalidTriggerConfigException(f"The trigger {name} names no topic: give the ARN of one.")
        kept[name] = {"triggerName": name, "triggerTargetArn": topic, "triggerEvents": events}
    return list(kept.values())


def _merge_tags(
    body: dict[str, Any],
    input: Mapping[str, Any],
    *,
    filters: str,
    tag_set: str,
    bad: type[Exception],
    both: type[Exception],
) -> None:
    given, given_set = input.get(filters), input.get(tag_set)
    listed = (given_set or {}).get(f"{tag_set}List") or []
    if given and listed:
        raise both
    if given is not None:
        body[filters] = [_filter(found, bad) for found in given]
        if given:
            body.pop(tag_set, None)
        if len(given) > _MAX_TAGS:
            raise bad(f"A deployment group can have at most {_MAX_TAGS} tags of a kind.")
    if given_set is not None:
        if len(listed) > _MAX_TAG_GROUPS:
            raise errors.TagSetListLimitExceededException
        groups = [[_filter(found, bad) for found in group] for group in listed]
        if any(len(group) > _MAX_TAGS for group in groups):
            raise bad(f"A tag group can have at most {_MAX_TAGS} tags.")
        if groups:
            body[tag_set] = {f"{tag_set}List": groups}
            body[filters] = []
        else:
            body.pop(tag_set, None)


def _filter(found: Mapping[str, Any], bad: type[Exception]) -> dict[str, str]:
    kind, key, value = found.get("Type") or "KEY_AND_VALUE", found.get("Key"), found.get("Value")
    wanted = {"KEY_ONLY": (key,), "VALUE_ONLY": (value,), "KEY_AND_VALUE": (key,)}.get(kind)
    if wanted is None or not all(wanted):
        raise bad
    if (key and len(key) > 128) or (value and len(value) > 256):
        raise bad
    members = {"Key": key, "Value": value, "Type": kind}
    return {name: text for name, text in members.items() if text is not None}


def _refuse_what_is_not_served(input: Mapping[str, Any]) -> None:
    """Settings that this version does not act on are refused rather than stored and ignored."""
    later = "is not served by this version of Penstock"
    style = input.get("deploymentStyle") or {}
    balancers = input.get("loadBalancerInfo") or {}
    named = any(balancers.get(name) for name in ("elbInfoList", "targetGroupInfoList", "targetGroupPairInfoList"))
    if style.get("deploymentType") == "BLUE_GREEN":
        raise errors.InvalidDeploymentStyleException(f"The deployment type BLUE_GREEN {later}; IN_PLACE is.")
    if style.get("deploymentOption") == "WITH_TRAFFIC_CONTROL" and not named:
        raise errors.InvalidLoadBalancerInfoException(_NO_LOAD_BALANCER)
    if named or style.get("deploymentOption") == "WITH_TRAFFIC_CONTROL":
        raise errors.InvalidLoadBalancerInfoException(f"Traffic control by load balancers {later}; leave it out.")
    if input.get("blueGreenDeploymentConfiguration"):
        raise errors.InvalidBlueGreenDeploymentConfigurationException(f"Blue/green deployment {later}.")
    if input.get("autoScalingGroups"):
        raise errors.InvalidAutoScalingGroupException(f"Deployment to Auto Scaling groups {later}.")
    if input.get("ecsServices"):
        raise errors.InvalidECSServiceException(f"Deployment to Amazon ECS {later}.")
    if (input.get("ec2DeploymentOptions") or {}).get("autoScalingGroupProcessesToSuspend"):
        raise errors.InvalidAutoScalingGroupProcessToSuspendException(f"Suspending Auto Scaling processes {later}.")
    if input.get("terminationHookEnabled"):
        raise errors.InvalidInputException(f"terminationHookEnabled {later}: there are no Auto Scaling groups.")
