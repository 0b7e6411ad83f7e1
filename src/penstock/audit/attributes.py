"""The attributes by which events are looked up (AWS: CloudTrail, LookupAttribute), and the marks that say which of them a block has.

A mark is a number of 32 bits for an account, a region, an attribute and its value. Two may have the same: then a block is read in vain.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from penstock.audit.packing import TIME, Record

_REMEMBERED = 512  # bytes of a record's resources

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
        ("mfa/", "AWS::IAM::VirtualMFADevice"),
    ),
    "kms": (("key/", "AWS::KMS::Key"), ("alias/", "AWS::KMS::Alias")),
    "logs": (("", "AWS::Logs::LogGroup"),),
    "s3": (("", "AWS::S3::Bucket"),),
    "ssm": (("parameter/", "AWS::SSM::Parameter"),),
    "secretsmanager": (("secret:", "AWS::SecretsManager::Secret"),),
    "sns": (("", "AWS::SNS::Topic"),),
    "cloudtrail": (("trail/", "AWS::CloudTrail::Trail"),),
    "organizations": (("account/", "AWS::Organizations::Account"),),
    "penstock": (("host/", "Penstock::Host"), ("job/", "Penstock::Job")),
    "rolesanywhere": (
        ("trust-anchor/", "AWS::RolesAnywhere::TrustAnchor"),
        ("profile/", "AWS::RolesAnywhere::Profile"),
        ("crl/", "AWS::RolesAnywhere::CRL"),
    ),
    "sts": (("assumed-role/", "AWS::STS::AssumedRole"), ("federated-user/", "AWS::STS::FederatedUser")),
}
_ALWAYS = ("recipientAccountId", "awsRegion", "eventID", "eventSource", "eventName")  # members of every record
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
    """Type and name of what an ARN names: by its own name, and by the ARN. The type is "" where AWS has none for it."""
    parts = arn.split(":", 5)
    if len(parts) != 6:
        return ()
    service, resource = parts[2], parts[5]
    for begin, type_ in _TYPES.get(service, ()):
        if resource.startswith(begin):
            name = resource[len(begin) :]
            if service == "s3":
                name = resource.partition("/")[0]
            elif (service == "iam" and begin != "oidc-provider/") or service == "organizations":
                name = name.rpartition("/")[2]
            elif service == "logs":
                name = resource.removeprefix("log-group:").partition(":")[0]
            elif service == "ssm":
                name = name if "/" not in name else f"/{name}"
            return ((type_, name), (type_, arn)) if name != arn else ((type_, arn),)
    return (("", arn),)


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
            if type_:
                yield "ResourceType", type_
            yield "ResourceName", name


@lru_cache(16_384)
def mark(account: str, region: str, name: str = "", value: str = "") -> int:
    """The mark of an attribute; without one, of everything in an account and region."""
    return zlib.crc32(f"{account}/{region}/{name}/{value}".encode("utf-8", "replace"))


def read(record: bytes) -> dict[str, Any] | None:
    """A record as it was written; None for a mark of the trail itself, and for what somebody has damaged."""
    try:
        found = orjson.loads(record)
    except ValueError:
        return None
    return found if isinstance(found, dict) and _whole(found) else None


def _whole(found: dict[str, Any]) -> bool:
    """Whether a record has what everybody who reads records goes by."""
    resources = found.get("resources") or ()
    return (
        all(isinstance(found.get(name), str) and found[name] for name in _ALWAYS)
        and isinstance(found.get("readOnly"), bool)
        and isinstance(found.get("userIdentity") or {}, dict)
        and isinstance(resources, list | tuple)
        and all(isinstance(one, dict) and isinstance(one.get("ARN"), str) for one in resources)
    )


class _Shared(NamedTuple):
    """What the records of a caller's calls of an operation have in common."""

    account: str
    region: str
    marks: tuple[int, ...]
    event: int  # the mark of an `EventId`, up to its value


@lru_cache(2048)
def _shared(head: bytes) -> _Shared:
    record = orjson.loads(head + b"}")
    account, region = record["recipientAccountId"], record["awsRegion"]
    found = (mark(account, region, name, value) for name, value in attributes(record) if value)
    return _Shared(account, region, (mark(account, region), *found), mark(account, region, "EventId"))


@lru_cache(2048)
def _marks_of_resources(account: str, region: str, resources: bytes) -> tuple[int, ...]:
    """The marks of the resources that a record names."""
    named = [found for one in orjson.loads(resources) for found in resources_of(one["ARN"])]
    types = (mark(account, region, "ResourceType", type_) for type_, _ in named if type_)
    return (*types, *(mark(account, region, "ResourceName", name) for _, name in named))


def _own_marks(head: bytes, rest: bytes) -> Iterable[int]:
    """The marks of a call's record beside those of its head.

    They are recognised by the order in which `penstock.wire.recording` writes it, without what was given.
    """
    shared = _shared(head)
    ids, _, named = rest.partition(b',"requestParameters":')[0].partition(b',"resources":')
    id = ids.partition(b'"eventID":"')[2].partition(b'"')[0]
    if not id:
        raise ValueError("it has no id")
    event = zlib.crc32(id, shared.event)
    resources = named.partition(b',"errorCode":')[0]
    if not resources:
        return (event,)
    known = _marks_of_resources if len(resources) <= _REMEMBERED else _marks_of_resources.__wrapped__
    return (event, *known(shared.account, shared.region, resources))


def _marks_of_any(record: bytes) -> Iterable[int]:
    """The marks of a record, whatever the order of its members."""
    found = read(record)
    if found is None:
        return ()
    account, region = found["recipientAccountId"], found["awsRegion"]
    return (mark(account, region), *(mark(account, region, name, value) for name, value in attributes(found)))


def marks_of(records: Sequence[Record]) -> bytes:
    """The marks of the records of a block, sorted, four bytes each."""
    found: set[int] = set()
    heads: set[bytes] = set()
    for head, rest in records:
        try:
            found.update(_own_marks(head, rest))
            heads.add(head)
        except (ValueError, TypeError, KeyError):  # no call, or a line that somebody has damaged
            found.update(_marks_of_any(head + TIME + rest if head else rest))
    for head in heads:
        found.update(_shared(head).marks)
    return array("I", sorted(found)).tobytes()


def has(marks: bytes, wanted: int) -> bool:
    """Whether marks hold one."""
    four = array("I", (wanted,)).tobytes()
    place = marks.find(four)
    while place % 4 and place > 0:  # the end of one and the beginning of the next look like it
        place = marks.find(four, place + 1)
    return place >= 0
