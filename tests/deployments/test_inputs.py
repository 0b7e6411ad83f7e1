"""What groups, revisions and configurations may say, at their bounds."""

import pytest

from penstock.deployments import errors
from penstock.deployments.server import configs, lifecycle
from penstock.deployments.server.group import DEFAULTS, merged
from penstock.deployments.server.model import Diagnostics, LifecycleEvent
from penstock.deployments.server.revision import (
    BadRevision,
    bucket_and_key,
    checked,
    content,
    digest,
    for_host,
    to_api,
)
from penstock.wire.errors import ServiceError

ALARM, ROLLBACK = errors.InvalidAlarmConfigException, errors.InvalidAutoRollbackConfigException
EC2, ON_PREMISES = errors.InvalidEC2TagException, errors.InvalidTagException
KINDS = (("ec2TagFilters", "ec2TagSet", EC2), ("onPremisesInstanceTagFilters", "onPremisesTagSet", ON_PREMISES))


def alarms(*names, **more):
    return {"alarmConfiguration": {"alarms": [{"name": name} for name in names], **more}}


def rollback(*events, enabled=True):
    return {"autoRollbackConfiguration": {"enabled": enabled, "events": list(events)}}


def tags(count):
    return [{"Key": f"k{number}", "Type": "KEY_ONLY"} for number in range(count)]


@pytest.mark.parametrize(
    ("input", "kept"),
    [
        (alarms("a" * 255, "b"), {"enabled": False, "ignorePollAlarmFailure": False, "alarms": [{"name": "a" * 255}, {"name": "b"}]}),
        (alarms("a", enabled=True), {"enabled": True, "ignorePollAlarmFailure": False, "alarms": [{"name": "a"}]}),
        (rollback("DEPLOYMENT_STOP_ON_ALARM"), {"enabled": True, "events": ["DEPLOYMENT_STOP_ON_ALARM"]}),
        (alarms(ignorePollAlarmFailure=True), {"enabled": False, "ignorePollAlarmFailure": True, "alarms": []}),
        (rollback("DEPLOYMENT_FAILURE", "DEPLOYMENT_FAILURE"), {"enabled": True, "events": ["DEPLOYMENT_FAILURE"]}),
        (rollback("DEPLOYMENT_STOP_ON_REQUEST"), {"enabled": True, "events": ["DEPLOYMENT_STOP_ON_REQUEST"]}),
        (rollback("DEPLOYMENT_STOP_ON_ALARM", enabled=False), {"enabled": False, "events": ["DEPLOYMENT_STOP_ON_ALARM"]}),
        (rollback(enabled=False), {"enabled": False, "events": []}),
        ({"outdatedInstancesStrategy": "IGNORE"}, "IGNORE"),
        ({"serviceRoleArn": "arn"}, "arn"),
        ({"deploymentConfigName": "c"}, "c"),
        ({"serviceRoleArn": ""}, None),
    ],
)  # fmt: skip
def test_what_a_group_keeps(input, kept):
    (name,) = input
    before = dict(DEFAULTS)
    assert merged(DEFAULTS, input).get(name) == kept
    assert merged(DEFAULTS, {}) == before == DEFAULTS


def triggers(**changed):
    trigger = {
        "triggerName": "t",
        "triggerTargetArn": "arn:aws:sns:us-east-1:1:t",
        "triggerEvents": ["DeploymentStart"],
    }
    return {"triggerConfigurations": [trigger | changed]}


@pytest.mark.parametrize(
    ("input", "error", "says"),
    [
        (alarms("a" * 256), ALARM, None),
        (alarms("a", "a"), ALARM, None),
        (alarms(""), ALARM, None),
        (alarms(enabled=True), ALARM, None),
        (alarms(*map(str, range(11))), errors.AlarmsLimitExceededException, "was exceeded"),
        (rollback(), ROLLBACK, None),
        (rollback("NEVER", enabled=False), ROLLBACK, None),
        (rollback("DEPLOYMENT_FAILURE", "NEVER"), ROLLBACK, None),
        ({"deploymentStyle": {"deploymentType": "BLUE_GREEN"}}, errors.InvalidDeploymentStyleException, "IN_PLACE is"),
        ({"deploymentStyle": {"deploymentOption": "WITH_TRAFFIC_CONTROL"}}, errors.InvalidLoadBalancerInfoException, "but either no load balancer was specified"),
        ({"deploymentStyle": {"deploymentOption": "WITH_TRAFFIC_CONTROL"}, "loadBalancerInfo": {"elbInfoList": [{"name": "l"}]}}, errors.InvalidLoadBalancerInfoException, "Traffic control by load balancers"),
        ({"loadBalancerInfo": {"targetGroupInfoList": [{"name": "l"}]}}, errors.InvalidLoadBalancerInfoException, "Traffic control by load balancers"),
        ({"loadBalancerInfo": {"targetGroupPairInfoList": [{}]}}, errors.InvalidLoadBalancerInfoException, "Traffic control by load balancers"),
        ({"blueGreenDeploymentConfiguration": {"a": {}}}, errors.InvalidBlueGreenDeploymentConfigurationException, "not served"),
        ({"autoScalingGroups": ["g"]}, errors.InvalidAutoScalingGroupException, "not served"),
        ({"ecsServices": [{}]}, errors.InvalidECSServiceException, "not served"),
        *((trigger, errors.InvalidTriggerConfigException, says) for trigger, says in (
            (triggers(triggerName=""), "has a name"),
            (triggers(triggerName="n" * 101), "has a name"),
            (triggers(triggerEvents=[]), "names no events"),
            (triggers(triggerTargetArn=None), "names no topic"),
            (triggers(triggerTargetArn="a" * 513), "names no topic"),
            ({"triggerConfigurations": triggers()["triggerConfigurations"] * 2}, "Two triggers have the name"),
        )),
        ({"triggerConfigurations": [{"triggerName": f"t{number}"} for number in range(11)]}, errors.TriggerTargetsLimitExceededException, "can have 10"),
        ({"ec2DeploymentOptions": {"autoScalingGroupProcessesToSuspend": ["x"]}}, errors.InvalidAutoScalingGroupProcessToSuspendException, "not served"),
        ({"terminationHookEnabled": True}, errors.InvalidInputException, "no Auto Scaling groups"),
    ],
)  # fmt: skip
def test_what_a_group_does_not_take(input, error, says):
    with pytest.raises(error, match=says):
        merged(DEFAULTS, input)


def test_what_says_nothing_is_not_refused():
    style = {"deploymentType": "IN_PLACE", "deploymentOption": "WITHOUT_TRAFFIC_CONTROL"}
    nothing = {
        "deploymentStyle": style,
        "loadBalancerInfo": {"elbInfoList": []},
        "autoScalingGroups": [],
        "ecsServices": [],
    }
    assert merged(DEFAULTS, {**nothing, "terminationHookEnabled": False, "ec2DeploymentOptions": {}}) == DEFAULTS
    kept = merged(DEFAULTS, triggers(triggerEvents=["DeploymentStop", "DeploymentStart", "DeploymentStop"]))
    assert kept["triggerConfigurations"][0]["triggerEvents"] == ["DeploymentStop", "DeploymentStart"]
    assert merged(kept, {}) == kept
    assert merged(kept, {"triggerConfigurations": []}) == DEFAULTS


@pytest.mark.parametrize(("filters", "tag_set", "bad"), KINDS)
def test_how_many_tags_a_group_has(filters, tag_set, bad):
    def of(*groups):
        return {tag_set: {f"{tag_set}List": list(groups)}}

    listed = merged(DEFAULTS, {filters: tags(10)})
    assert listed[filters] == tags(10)
    with pytest.raises(bad, match="at most 10 tags of a kind"):
        merged(DEFAULTS, {filters: tags(11)})
    grouped = merged(listed, of(tags(10), tags(1), tags(1)))
    assert grouped[filters] == []
    assert grouped[tag_set][f"{tag_set}List"] == [tags(10), tags(1), tags(1)]
    with pytest.raises(bad, match="A tag group can have at most 10 tags"):
        merged(DEFAULTS, of(tags(1), tags(11)))
    with pytest.raises(errors.TagSetListLimitExceededException):
        merged(DEFAULTS, of(*[tags(1)] * 4))
    # One form replaces the other, and an empty one clears its own only.
    assert tag_set not in merged(grouped, {filters: tags(1)})
    assert merged(grouped, {filters: []})[tag_set] == grouped[tag_set]
    assert tag_set not in merged(grouped, of())
    assert merged(listed, of())[filters] == tags(10)
    assert merged(listed, {})[filters] == tags(10)
    with pytest.raises(ServiceError) as both:
        merged(DEFAULTS, {filters: tags(1), **of(tags(1))})
    assert type(both.value).__name__.endswith("TagCombinationException")


@pytest.mark.parametrize(("filters", "tag_set", "bad"), KINDS)
def test_what_one_tag_filter_says(filters, tag_set, bad):
    for good, kept in (
        ({"Key": "k" * 128, "Value": "v" * 256}, {"Key": "k" * 128, "Value": "v" * 256, "Type": "KEY_AND_VALUE"}),
        ({"Key": "k"}, {"Key": "k", "Type": "KEY_AND_VALUE"}),
        ({"Key": "k", "Value": ""}, {"Key": "k", "Value": "", "Type": "KEY_AND_VALUE"}),
        ({"Value": "v", "Type": "VALUE_ONLY"}, {"Value": "v", "Type": "VALUE_ONLY"}),
        ({"Key": "k", "Type": "KEY_ONLY"}, {"Key": "k", "Type": "KEY_ONLY"}),
    ):
        assert merged(DEFAULTS, {filters: [good]})[filters] == [kept]
    for wrong in (
        {"Key": "k" * 129}, {"Key": "k", "Value": "v" * 257}, {"Value": "v"}, {"Key": ""}, {"Value": "v", "Type": "KEY_ONLY"},
        {"Key": "k", "Type": "VALUE_ONLY"}, {"Key": "k", "Type": "ODD"}, {},
    ):  # fmt: skip
        with pytest.raises(bad):
            merged(DEFAULTS, {filters: [wrong]})


S3 = {"bucket": "b", "key": "k", "bundleType": "zip"}


def s3(**more):
    return {"revisionType": "S3", "s3Location": {**S3, **more}}


def github(**more):
    return {"revisionType": "GitHub", "gitHubLocation": {"repository": "o/r", "commitId": "c", **more}}


@pytest.mark.parametrize(
    "location",
    [
        s3(key="\u00e9" * 512), s3(bucket="b" * 255), s3(version="v" * 1024), s3(eTag="e" * 256), s3(bundleType="tar"), s3(bundleType="tgz"),
        github(repository="o/" + "r" * 254), github(commitId="c" * 256),
    ],
)  # fmt: skip
def test_revisions_that_can_be(location):
    assert checked(location) == location


@pytest.mark.parametrize(
    ("location", "says"),
    [
        (s3(key="\u00e9" * 512 + "x"), "too long"), (s3(bucket="b" * 256), "too long"), (s3(version="v" * 1025), "too long"),
        (s3(eTag="e" * 257), "too long"), (s3(bundleType="rar"), "one of tar, tgz and zip"), (s3(key=""), "key is missing"),
        (s3(bucket=None), "bucket is missing"), (s3(bundleType=None), "bundleType is missing"),
        (github(repository="o/" + "r" * 255), "too long"), (github(commitId="c" * 257), "too long"),
        (github(commitId=""), "commitId is missing"), (github(repository="r"), "account/repository"), (github(repository=None), "account/repository"),
        ({**s3(), **github()}, "Exactly gitHubLocation"), ({"revisionType": "S3"}, "Exactly s3Location"),
        ({"s3Location": S3}, "Revision type is missing"), ({"revisionType": "Tape"}, "Tape is not known"),
        ({"revisionType": "String", "string": {}}, "not supported for the compute platform Server"),
    ],
)  # fmt: skip
def test_revisions_that_cannot_be(location, says):
    with pytest.raises(BadRevision, match=says):
        checked(location)


def test_what_is_kept_compared_and_sent_of_a_revision():
    assert checked(s3(version="", eTag=None)) == s3()
    assert digest(s3(eTag='"e"')) == digest(s3(eTag="e")) != digest(s3())
    pinned = {**s3(version="v"), "pinned": {"sha256": "ab", "version": "w", "eTag": "e"}}
    assert to_api(pinned) == s3(version="v")
    assert to_api(None) is None
    assert digest(pinned) == digest(s3(version="v")) == content(s3(version="v"))
    assert content(pinned) != content({**pinned, "pinned": {"sha256": "cd"}})
    assert content(pinned) != digest(pinned)
    sent = {"Bucket": "b", "Key": "k", "BundleType": "zip", "Version": "v", "ETag": "e", "Sha256": "ab"}
    assert for_host(pinned) == {"RevisionType": "S3", "S3Revision": sent}
    assert for_host(s3()) == {"RevisionType": "S3", "S3Revision": {"Bucket": "b", "Key": "k", "BundleType": "zip"}}
    theirs = {"Account": "o", "Repository": "r", "CommitId": "c", "Anonymous": True}
    assert for_host(github()) == {"RevisionType": "GitHub", "GitHubRevision": theirs}
    assert bucket_and_key(s3()) == ("b", "k")
    assert bucket_and_key(github()) == ("", "")


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("HOST_COUNT", 0, ""), ("HOST_COUNT", 5000, ""), ("FLEET_PERCENT", 0, ""), ("FLEET_PERCENT", 99, ""),
        ("FLEET_PERCENT", 100, "between 0 and 99 for the type FLEET_PERCENT"), ("FLEET_PERCENT", -1, "between 0 and 99"),
        ("HOST_COUNT", -1, "0 or more for the type HOST_COUNT"), ("MOST_CONCURRENCY", 1, "must be HOST_COUNT or FLEET_PERCENT"),
        (None, 1, "missing"), ("HOST_COUNT", None, "missing"),
    ],
)  # fmt: skip
def test_the_minimum_of_a_configuration(kind, value, says):
    found = {"type": kind, "value": value}
    if not says:
        assert configs.checked_minimum(found) == found
        return
    with pytest.raises(configs.BadMinimum, match=says):
        configs.checked_minimum(found)


def test_the_end_of_a_log_is_cut_between_characters():
    for limit, tail in ((7, "a\u00e9b\u00e9c"), (6, "\u00e9b\u00e9c"), (5, "b\u00e9c"), (4, "b\u00e9c"), (1, "c")):
        assert lifecycle.tail("a\u00e9b\u00e9c", limit) == tail
    assert lifecycle.tail("x" * 5000) == "x" * 4096


@pytest.mark.parametrize(
    ("name", "repeats", "acknowledged", "noop", "again"),
    [
        ("ApplicationStart", 4, False, False, True), ("ApplicationStart", 5, False, False, False),
        ("ApplicationStart", 0, True, False, False), ("ApplicationStart", 0, True, True, True),
        ("Install", 4, True, False, True), ("Install", 5, True, False, False), ("DownloadBundle", 0, True, False, True),
    ],
)  # fmt: skip
def test_what_is_offered_again(name, repeats, acknowledged, noop, again):
    event = LifecycleEvent(name=name, repeats=repeats, noop=noop)
    assert lifecycle.repeatable(event, acknowledged=acknowledged) is again


def test_what_says_that_the_network_failed():
    lost = Diagnostics(code="UnknownError", message="Failed to open TCP connection to x:443")
    assert lifecycle.network_failed(lost)
    for more in ({"code": "ScriptFailed"}, {"script": "a.sh"}, {"message": "no such file"}):
        assert not lifecycle.network_failed(Diagnostics(**{"code": lost.code, "message": lost.message} | more))


def test_whose_failure_is_passed_over():
    events = ("BeforeBlockTraffic", "BlockTraffic", "AfterBlockTraffic", *lifecycle.IN_PLACE, "BeforeAllowTraffic")
    passed = [name for name in events if lifecycle.tolerated(name, ignore_stop_failures=True)]
    assert passed == ["BeforeBlockTraffic", "AfterBlockTraffic", "ApplicationStop"]
    assert not lifecycle.tolerated("ApplicationStop", ignore_stop_failures=False)
