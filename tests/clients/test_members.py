"""No member of an input is dropped in silence: the code of its component names it, or a list says why it changes nothing."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import penstock
from penstock.cli.without_effect import WITHOUT_EFFECT
from penstock.wire.services import Service

SOURCE = Path(penstock.__file__).parent
# Refused or kept as a whole by the member above, or read under a name that is put together.
COVERED = {
    ("cloudwatch", "ActionConfiguration"),  # refused, as what follows
    ("cloudwatch", "EvaluationCriteria"),
    ("cloudwatch", "EvaluationWindow"),
    ("cloudwatch", "WarmUpConfiguration"),
    ("cloudwatch", "Tags.Key"),  # penstock.wire.tags
    ("cloudwatch", "Tags.Value"),
    ("cloudtrail", "AdvancedEventSelectors"),  # refused
    ("cloudtrail", "EventSelectors.DataResources.Type"),
    ("cloudtrail", "EventSelectors.DataResources.Values"),
    ("cloudtrail", "TagsList.Value"),  # penstock.wire.tags
    ("secretsmanager", "ExternalSecretRotationMetadata"),  # refused: secrets of partners are not served
    ("codedeploy", "appSpecContent"),  # revisions are refused unless they lie in S3
    ("codedeploy", "string"),
    ("codedeploy", "zonalConfig"),
    ("codedeploy", "blueGreenDeploymentConfiguration"),
    ("codedeploy", "ecsServices"),
    ("codedeploy", "targetGroupPairInfoList"),
    ("codepipeline", "conditions"),  # what a stage asks before and after is refused
    ("codepipeline", "lambdaFunctionArn"),  # refused
    ("codepipeline", "policyStatementsTemplate"),  # of an action type: kept as they are
    ("codepipeline", "pollingServicePrincipals"),
    ("penstock", "lambdaFunctionArn"),
    ("penstock", "policyStatementsTemplate"),
    ("penstock", "pollingServicePrincipals"),
    ("events", "AuthParameters.ConnectivityParameters"),  # refused
    ("events", "InvocationConnectivityParameters"),
    ("events", "LogConfig.IncludeDetail"),  # refused with the Level that it belongs to
    ("events", "Targets.AppSyncParameters"),  # refused: of targets that Penstock does not have
    ("events", "Targets.BatchParameters"),
    ("events", "Targets.EcsParameters"),
    ("events", "Targets.KinesisParameters"),
    ("events", "Targets.RedshiftDataParameters"),
    ("events", "Targets.RunCommandParameters"),
    ("events", "Targets.SageMakerPipelineParameters"),
    ("events", "Targets.SqsParameters"),
    ("scheduler", "Target.EcsParameters"),  # refused: of targets that Penstock does not have
    ("scheduler", "Target.EventBridgePutRawEventsParameters"),
    ("scheduler", "Target.KinesisParameters"),
    ("scheduler", "Target.SageMakerPipelineParameters"),
    ("scheduler", "Target.SqsParameters"),
    ("logs", "parameters.description"),  # of a query definition: kept as they are
    ("kms", "Recipient"),
    ("rolesanywhere", "notificationSettings"),
    ("sts", "ProvidedContexts"),
    ("s3", "CreateBucketConfiguration.Bucket"),
    ("s3", "CreateBucketConfiguration.Location"),
    ("s3", "NotificationConfiguration.LambdaFunctionConfigurations"),  # refused
    ("s3", "NotificationConfiguration.QueueConfigurations"),
    ("s3", "NotificationConfiguration.TopicConfigurations"),
    # penstock.wire.tags reads the tags of every service.
    ("s3", "CreateBucketConfiguration.Tags.Value"),
    ("s3", "Tagging.TagSet.Value"),
    ("secretsmanager", "Tags.Value"),
    ("sns", "Tags.Key"),
    ("sns", "Tags.Value"),
    ("secretsmanager", "AddReplicaRegions"),  # refused
    ("s3", "CopySourceIfMatch"),  # Conditions.of puts these names together
    ("s3", "CopySourceIfModifiedSince"),
    ("s3", "CopySourceIfNoneMatch"),
    ("s3", "CopySourceIfUnmodifiedSince"),
    ("s3", "IfModifiedSince"),
    ("s3", "IfUnmodifiedSince"),
}
OURS = {"penstock", "codedeploy-commands", "rolesanywhere-sessions"}  # their models are files of ours
ELSEWHERE = {"codebuild"}  # tests/builds/test_unserved.py


@functools.cache
def named(component: str) -> frozenset[str]:
    """The quoted names in a component's code, and in that of the pages of its lists."""
    text = "\n".join(path.read_text() for path in (SOURCE / component).rglob("*.py"))
    if " Pages(" in text:
        text += (SOURCE / "wire" / "pages.py").read_text()
    return frozenset(re.findall(r"""["']([A-Za-z][A-Za-z0-9]*)["']""", text))


def members(shape: Any, above: tuple[str, ...] = (), seen: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every member of a shape, without the indexes of lists and maps."""
    if shape.type == "structure" and shape.name not in seen:
        for name, member in shape.members.items():
            yield (*above, name)
            yield from members(member, (*above, name), (*seen, shape.name))
    elif shape.type == "list":
        yield from members(shape.member, above, seen)
    elif shape.type == "map":
        yield from members(shape.value, above, seen)


def is_explained(service: str, path: tuple[str, ...]) -> bool:
    """Whether a list speaks for a member: for itself, or for one that it lies in."""
    names = {*path, *(".".join(path[:length]) for length in range(1, len(path) + 1))}
    return any((service, name) in COVERED or (service, name) in WITHOUT_EFFECT for name in names)


def test_no_member_is_dropped_in_silence(live) -> None:
    dropped, idle = [], set()
    for operation in live.app.registry:
        model = live.app.services.get(operation.service).operation(operation.name)
        if operation.service in ELSEWHERE or model.input is None:
            continue
        handler = getattr(operation.handler, "func", operation.handler)
        identifiers = named(handler.__module__.split(".")[1])
        for path in members(model.input):
            if path[-1] in identifiers:
                continue
            idle |= {(operation.service, name) for name in path}
            if not is_explained(operation.service, path):
                dropped.append(f"{operation.service} {operation.name} {'.'.join(path)}")
    assert not dropped
    # The list says nothing of members that are served by now, or that no operation has.
    assert set(WITHOUT_EFFECT) <= idle


def patched(service: Any) -> Iterator[tuple[str, str]]:
    """Operation and path of every input member that botocore's model does not have."""
    plain = Service(service.name)
    for name in service.model.operation_names:
        ours, aws = service.model.operation(name).input, plain.model.operation(name)
        known = set(members(aws.input)) if aws and aws.input else set()
        for path in members(ours) if ours else ():
            if path not in known:
                yield name, ".".join(path)


def test_inputs_have_the_members_of_aws_and_no_others(live) -> None:
    """What a component asks of another could as well be asked of AWS; what AWS has no member for is an operation of ours."""
    of_aws = [service for service in live.app.services if service.name not in OURS]
    assert len(of_aws) >= 8
    assert [(service.name, *found) for service in of_aws for found in patched(service)] == []
    assert list(patched(Service("s3", patch={"shapes": {"Tag": {"members": {"x": {"shape": "ObjectKey"}}}}})))
