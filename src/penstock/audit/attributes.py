"""The attributes by which events are looked up (AWS: CloudTrail, LookupAttribute), and the marks that say which of them a block has.

A mark is a number of 32 bits for an account, a region, an attribute and its value. Two may have the same: then a block is read in vain.
"""

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import orjson

from penstock.trail import Unreadable, take_apart

# Beginning of an ARN's resource → its type. Longer ones first.
_TYPES: dict[str, tuple[tuple[str, str], ...]] = {
    "codepipeline": (
        ("webhook:", "AWS::CodePipeline::Webhook"),
        ("actiontype:", "AWS::CodePipeline::CustomActionType"),
        ("", "AWS::CodePipeline::Pipeline"),
    ),
    "codebuild": (("build/", "AWS::CodeBuild::Build"), ("", "AWS::CodeBuild::Project")),
    "codedeploy": (
        ("application:", "AWS::CodeDeploy::Application"),
        ("deploymentgroup:", "AWS::CodeDeploy::DeploymentGroup"),
        ("deploymentconfig:", "AWS::CodeDeploy::DeploymentConfig"),
        ("instance:", "AWS::CodeDeploy::Instance"),
    ),
    "codecommit": (("", "AWS::CodeCommit::Repository"),),
    "iam": (
        ("user/", "AWS::IAM::User"),
        ("role/", "AWS::IAM::Role"),
        ("group/", "AWS::IAM::Group"),
        ("policy/", "AWS::IAM::Policy"),
        ("instance-profile/", "AWS::IAM::InstanceProfile"),
        ("oidc-provider/", "AWS::IAM::OIDCProvider"),
    ),
    "kms": (("key/", "AWS::KMS::Key"), ("alias/", "AWS::KMS::Alias")),
    "logs": (("", "AWS::Logs::LogGroup"),),
    "s3": (("", "AWS::S3::Bucket"),),
    "ssm": (("parameter/", "AWS::SSM::Parameter"),),
    "secretsmanager": (("secret:", "AWS::SecretsManager::Secret"),),
    "sns": (("", "AWS::SNS::Topic"),),
    "cloudtrail": (("trail/", "AWS::CloudTrail::Trail"),),
}
NAMES = frozenset(
    {
        "EventId",
        "EventName",
        "ReadOnly",
        "Username",
        "ResourceType",
        "ResourceName",
        "EventSource",
        "AccessKeyId",
    }
)


@lru_cache(4096)
def resources_of(arn: str) -> tuple[tuple[str, str], ...]:
    """Type and name of what an ARN names: by its own name, and by the ARN."""
    parts = arn.split(":", 5)
    if len(parts) != 6:
        return ()
    service, resource = parts[2], parts[5]
    for begin, type_ in _TYPES.get(service, ()):
        if resource.startswith(begin):
            name = resource[len(begin) :]
            if service == "s3":
                name = resource.partition("/")[0]
            elif service == "iam" and begin != "oidc-provider/":
                name = name.rpartition("/")[2]
            elif service == "logs":
                name = resource.removeprefix("log-group:").partition(":")[0]
            elif service == "ssm":
                name = name if "/" not in name else f"/{name}"
            return ((type_, name), (type_, arn)) if name != arn else ((type_, arn),)
    return ()


def user_name(record: dict[str, Any]) -> str:
    """Who acted, as LookupEvents names them; "" for a service."""
    who = record.get("userIdentity") or {}
    match who.get("type"):
        case "Root":
            return "root"
        case "AssumedRole" | "FederatedUser":
            return str(who.get("principalId", "")).partition(":")[2]
        case _:
            return who.get("userName", "")


def attributes(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each attribute of a record with its value."""
    yield "EventId", record.get("eventID", "")
    yield "EventName", record.get("eventName", "")
    yield "EventSource", record.get("eventSource", "")
    yield "ReadOnly", "true" if record.get("readOnly") else "false"
    if name := user_name(record):
        yield "Username", name
    if key := (record.get("userIdentity") or {}).get("accessKeyId"):
        yield "AccessKeyId", key
    for resource in record.get("resources") or ():
        for type_, name in resources_of(resource["ARN"]):
            yield "ResourceType", type_
            yield "ResourceName", name


@lru_cache(16_384)
def mark(account: str, region: str, name: str = "", value: str = "") -> int:
    """The mark of an attribute; without one, of everything in an account and region."""
    return zlib.crc32(f"{account}/{region}/{name}/{value}".encode("utf-8", "replace"))


def record_of(line: bytes) -> dict[str, Any] | None:
    """The record in a line; None for a mark of the trail itself, and for a line that somebody has damaged."""
    try:
        record = orjson.loads(take_apart(line).record)
        return record if record["recipientAccountId"] and record["awsRegion"] else None
    except (Unreadable, ValueError, TypeError, KeyError):
        return None


@lru_cache(2048)
def _marks_of_head(head: bytes) -> tuple[str, str, tuple[int, ...]]:
    """Account, region and marks of what the records of a caller's calls of an operation have in common."""
    record = orjson.loads(head + b"}")
    account, region = record["recipientAccountId"], record["awsRegion"]
    found = (mark(account, region, name, value) for name, value in attributes(record) if value)
    return account, region, (mark(account, region), *found)


def _marks_of(line: bytes) -> Iterable[int]:
    """The marks of a line. Those of a call are told from its beginning, without what it was given (`penstock.wire.recording`)."""
    head, begins, rest = take_apart(line).record.partition(b',"eventTime":')
    if not begins:
        return _marks_of_any(line)
    account, region, marks = _marks_of_head(head)
    record = orjson.loads(b'{"eventTime":' + rest.partition(b',"requestParameters":')[0] + b"}")
    found = [
        *marks,
        mark.__wrapped__(account, region, "EventId", record["eventID"]),
    ]  # an id comes once: it need not be remembered
    for resource in record.get("resources", ()):
        for type_, name in resources_of(resource["ARN"]):
            found += (mark(account, region, "ResourceType", type_), mark(account, region, "ResourceName", name))
    return found


def _marks_of_any(line: bytes) -> Iterable[int]:
    """The marks of a line, whatever the order of its members."""
    record = record_of(line)
    if record is None:
        return ()
    account, region = record["recipientAccountId"], record["awsRegion"]
    return (mark(account, region), *(mark(account, region, name, value) for name, value in attributes(record)))


def marks_of(lines: Iterable[bytes]) -> bytes:
    """The marks of the records in lines of a trail, sorted, four bytes each."""
    found: set[int] = set()
    for line in lines:
        try:
            found.update(_marks_of(line))
        except (Unreadable, ValueError, TypeError, KeyError):  # no call, or a line that somebody has damaged
            found.update(_marks_of_any(line))
    return array("I", sorted(found)).tobytes()


def has(marks: bytes, wanted: int) -> bool:
    """Whether sorted marks hold one."""
    view = memoryview(marks).cast("I")
    place = bisect_left(view, wanted)
    return place < len(view) and view[place] == wanted
