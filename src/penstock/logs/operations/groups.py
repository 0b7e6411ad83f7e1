"""Log groups and streams: create, describe, delete."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.logs import records
from penstock.logs.errors import (
    InvalidParameterException,
    ResourceAlreadyExistsException,
    ResourceNotFoundException,
    TooManyTagsException,
    ValidationException,
)
from penstock.logs.logstore import LogStore, summary
from penstock.logs.operations import PAGES, operation
from penstock.wire.arns import resource_here
from penstock.wire.call import Input, Output
from penstock.wire.tags import TagRules

_PAGE = 50
# AWS: PutRetentionPolicy
_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
_CLASS = "STANDARD"
_KEYS = 50  # data keys of a group: a reader opens all of them
_TAGS = TagRules(  # AWS: TagResource of CloudWatch Logs
    too_many=TooManyTagsException,
    reserved=lambda key: InvalidParameterException(f"The tag key {key} begins with aws:, which is reserved for AWS."),
    duplicate=lambda key: InvalidParameterException(f"The tag key {key} is given more than once."),
    malformed=lambda key, _value: InvalidParameterException(f"The tag {key} is not valid."),
)
_OTHER_FILTERS = ("logGroupNamePrefix", "logGroupNamePattern", "logGroupClass")


def group_name(call: Call, input: Input) -> str:
    """The group that an input names, by logGroupName or by logGroupIdentifier (a name or an ARN)."""
    name, identifier = input.get("logGroupName"), input.get("logGroupIdentifier")
    if name and identifier:
        raise ValidationException("LogGroup name and LogGroup ARN are mutually exclusive parameters.")
    if not name and not identifier:
        raise InvalidParameterException("Either logGroupName or logGroupIdentifier must be specified.")
    return identified(call, str(name or identifier))


def identified(call: Call, identifier: str) -> str:
    """A group's name, given by itself or as its ARN; any other ARN is left as it is, which is the name of no group."""
    kind, _, name = (resource_here(call, identifier, "logs") or "").partition(":")
    return name.partition(":")[0] if kind == "log-group" else identifier


def group_arn(call: Call, input: Input) -> str:
    """The resource of an operation on a group, as AWS checks it."""
    return call.arn("logs", f"log-group:{group_name(call, input)}:log-stream:")


def stream_arn(call: Call, input: Input) -> str:
    """The resource of an operation on a stream."""
    return call.arn("logs", f"log-group:{group_name(call, input)}:log-stream:{input['logStreamName']}")


def any_group_arn(call: Call, _input: Input) -> str:
    """The resource of a listing over groups."""
    return call.arn("logs", "log-group::log-stream:")


async def existing_group(call: Call, name: str) -> sa.Row[Any]:
    """The row of a group. Raises ResourceNotFoundException."""
    row = await call.app.store.read(records.find_group, call.account, call.region, name)
    if row is None:
        raise ResourceNotFoundException(what="log group")
    return row


async def existing_stream(call: Call, group: str, name: str) -> sa.Row[Any]:
    """The row of a stream. Raises ResourceNotFoundException."""
    row = await call.app.store.read(records.find_stream, call.account, call.region, group, name)
    if row is None:
        await existing_group(call, group)
        raise ResourceNotFoundException(what="log stream")
    return row


def _tagged(call: Call, input: Input) -> str:
    """The name of the group that an ARN names; "" when it names none here, which is the name of no group."""
    kind, _, name = (resource_here(call, input["resourceArn"], "logs") or "").partition(":")
    return name if kind == "log-group" else ""


def _tagged_arn(call: Call, input: Input) -> str:
    return call.arn("logs", f"log-group:{name}") if (name := _tagged(call, input)) else "*"


def _keyed(call: Call, input: Input) -> str:
    """The group whose key is said, by its name or by its ARN. Raises InvalidParameterException."""
    name, identifier = input.get("logGroupName"), input.get("resourceIdentifier")
    if bool(name) is bool(identifier):
        raise InvalidParameterException("Name the log group by logGroupName, or by its ARN as resourceIdentifier.")
    if identifier and ":log-group:" not in identifier:
        raise InvalidParameterException(
            "Keys for results of queries are not served (those are sealed under the server's master key): give the ARN of a log group as resourceIdentifier."
        )
    return str(name) if name else identified(call, str(identifier))


def _keyed_arn(call: Call, input: Input) -> str:
    return call.arn("logs", f"log-group:{_keyed(call, input)}:log-stream:")


@operation("CreateLogGroup", resource=group_arn)
async def create_log_group(logs: LogStore, call: Call, input: Input) -> Output:
    """Keep a new group."""
    name = input["logGroupName"]
    row = {
        "account": call.account,
        "region": call.region,
        "name": name,
        "created": call.now,
        "group_class": input.get("logGroupClass", _CLASS),
        "protected": bool(input.get("deletionProtectionEnabled")),
        "tags": _TAGS.check((input.get("tags") or {}).items()),
    }

    made: dict[str, Any] = {}

    def create(conn: sa.Connection) -> None:
        if not records.insert_group(conn, row):
            raise ResourceAlreadyExistsException(what="log group")
        if made:
            _take_key(conn, call, name, made)

    # Most of these calls come from builds whose group is there.
    if await call.app.store.read(records.find_group, call.account, call.region, name):
        raise ResourceAlreadyExistsException(what="log group")
    if input.get("kmsKeyId"):
        made |= await logs.keys.made(call, name, input["kmsKeyId"])
    await call.app.store.write(create)
    return {}


@operation("AssociateKmsKey", resource=_keyed_arn)
async def associate_kms_key(logs: LogStore, call: Call, input: Input) -> Output:
    """Put a group under a key of KMS: what is written from now on is sealed."""
    name = _keyed(call, input)
    await existing_group(call, name)
    made = await logs.keys.made(call, name, input["kmsKeyId"])
    await call.app.store.write(_associate, call, name, made)
    return {}


def _associate(conn: sa.Connection, call: Call, name: str, made: dict[str, Any]) -> None:
    found = records.find_group(conn, call.account, call.region, name, lock=True)
    if found is None:
        raise ResourceNotFoundException(what="log group")
    if found.key == made["key"]:
        return
    if len(records.data_keys_of(conn, call.account, call.region, name)) >= _KEYS:
        raise InvalidParameterException(
            f"The log group was put under another key {_KEYS} times. Create another group: what the keys of before have sealed is kept here."
        )
    _take_key(conn, call, name, made)


@operation("DisassociateKmsKey", resource=_keyed_arn)
async def disassociate_kms_key(logs: LogStore, call: Call, input: Input) -> Output:
    """Seal no more of what is written to a group. What was sealed stays so."""
    await call.app.store.write(_change, call, _keyed(call, input), lambda _row: {"key": None, "data_key": None})
    return {}


def _take_key(conn: sa.Connection, call: Call, name: str, made: dict[str, Any]) -> None:
    """Seal what is written to a group under a data key from now on."""
    where = {"account": call.account, "region": call.region, "group": name}
    kept = {"id": made["id"], "ciphertext": made["ciphertext"], "created": call.now}
    records.insert_data_key(conn, {**where, **kept})
    records.update_group(conn, call.account, call.region, name, key=made["key"], data_key=made["id"])


@operation("CreateLogStream", resource=stream_arn)
async def create_log_stream(logs: LogStore, call: Call, input: Input) -> Output:
    """Keep a new stream."""
    row = {
        "account": call.account,
        "region": call.region,
        "group": input["logGroupName"],
        "name": input["logStreamName"],
        "file": call.app.ids.uuid(),
        "created": call.now,
        "size": 0,
    }

    def create(conn: sa.Connection) -> None:
        if records.find_group(conn, call.account, call.region, row["group"], lock=True) is None:
            raise ResourceNotFoundException(what="log group")
        if records.find_stream(conn, call.account, call.region, row["group"], row["name"]):
            raise ResourceAlreadyExistsException(what="log stream")
        records.insert_stream(conn, row)

    await call.app.store.write(create)
    return {}


@operation("DeleteLogGroup", resource=group_arn)
async def delete_log_group(logs: LogStore, call: Call, input: Input) -> Output:
    """Forget a group with all its streams and events."""

    def delete(conn: sa.Connection) -> list[str]:
        found = records.find_group(conn, call.account, call.region, input["logGroupName"], lock=True)
        if found is None:
            raise ResourceNotFoundException(what="log group")
        if found.protected:
            raise ValidationException(
                "The log group is protected from deletion; call PutLogGroupDeletionProtection with "
                "deletionProtectionEnabled false first."
            )
        return records.delete_group(conn, call.account, call.region, input["logGroupName"])

    await logs.remove(await call.app.store.write(delete))
    return {}


@operation("PutRetentionPolicy", resource=group_arn)
async def put_retention_policy(logs: LogStore, call: Call, input: Input) -> Output:
    """Say for how many days a group's events are kept."""
    days = input["retentionInDays"]
    if days not in _DAYS:
        raise InvalidParameterException(
            f"A log group cannot keep events for {days} days. retentionInDays is one of {', '.join(map(str, _DAYS))}."
        )
    await call.app.store.write(_change, call, input["logGroupName"], _kept(days))
    return {}


@operation("DeleteRetentionPolicy", resource=group_arn)
async def delete_retention_policy(logs: LogStore, call: Call, input: Input) -> Output:
    """Keep a group's events for ever."""
    await call.app.store.write(_change, call, input["logGroupName"], _kept(None))
    return {}


@operation("DeleteLogStream", resource=stream_arn)
async def delete_log_stream(logs: LogStore, call: Call, input: Input) -> Output:
    """Forget a stream with all its events."""
    group, name = input["logGroupName"], input["logStreamName"]
    row = await existing_stream(call, group, name)
    await call.app.store.write(records.delete_stream, call.account, call.region, group, name)
    await logs.remove([row.file])
    return {}


@operation("PutLogGroupDeletionProtection", resource=group_arn)
async def put_log_group_deletion_protection(logs: LogStore, call: Call, input: Input) -> Output:
    """Protect a group from DeleteLogGroup, or no longer."""
    await call.app.store.write(_change, call, group_name(call, input), _protected(input["deletionProtectionEnabled"]))
    return {}


@operation("ListTagsForResource", resource=_tagged_arn)
async def list_tags_for_resource(logs: LogStore, call: Call, input: Input) -> Output:
    """The tags of a group."""
    return {"tags": (await existing_group(call, _tagged(call, input))).tags}


@operation("TagResource", resource=_tagged_arn)
async def tag_resource(logs: LogStore, call: Call, input: Input) -> Output:
    """Add tags to a group, or give its tags other values."""
    await call.app.store.write(
        _change, call, _tagged(call, input), lambda row: {"tags": _TAGS.add(row.tags, input["tags"].items())}
    )
    return {}


@operation("UntagResource", resource=_tagged_arn)
async def untag_resource(logs: LogStore, call: Call, input: Input) -> Output:
    """Remove tags of a group; what is not there is no error."""
    await call.app.store.write(
        _change, call, _tagged(call, input), lambda row: {"tags": _TAGS.remove(row.tags, input["tagKeys"])}
    )
    return {}


# The names of these three in 2014: AWS still answers them.


@operation("ListTagsLogGroup", resource=group_arn)
async def list_tags_log_group(logs: LogStore, call: Call, input: Input) -> Output:
    """The tags of a group."""
    return {"tags": (await existing_group(call, input["logGroupName"])).tags}


@operation("TagLogGroup", resource=group_arn)
async def tag_log_group(logs: LogStore, call: Call, input: Input) -> Output:
    """Add tags to a group, or give its tags other values."""
    await call.app.store.write(
        _change, call, input["logGroupName"], lambda row: {"tags": _TAGS.add(row.tags, input["tags"].items())}
    )
    return {}


@operation("UntagLogGroup", resource=group_arn)
async def untag_log_group(logs: LogStore, call: Call, input: Input) -> Output:
    """Remove tags of a group; what is not there is no error."""
    await call.app.store.write(
        _change, call, input["logGroupName"], lambda row: {"tags": _TAGS.remove(row.tags, input["tags"])}
    )
    return {}


@operation("DescribeLogGroups", resource=any_group_arn)
async def describe_log_groups(logs: LogStore, call: Call, input: Input) -> Output:
    """Groups by name."""
    if input.get("logGroupNamePrefix") and input.get("logGroupNamePattern"):
        raise InvalidParameterException(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."
        )
    identifiers = input.get("logGroupIdentifiers", [])
    if identifiers and any(input.get(other) for other in _OTHER_FILTERS):
        raise InvalidParameterException("logGroupIdentifiers cannot be combined with other filters.")
    limit = input.get("limit", _PAGE)
    rows = await call.app.store.scan(
        records.list_groups,
        call.account,
        call.region,
        prefix=input.get("logGroupNamePrefix", ""),
        part=input.get("logGroupNamePattern", ""),
        names=[identified(call, identifier) for identifier in identifiers],
        group_class=input.get("logGroupClass", ""),
        after=PAGES.after(call, input),
        limit=limit + 1,
    )
    page = PAGES.page(call, input, rows, limit=limit, keyset=lambda row: [row.name])
    return {"logGroups": [_group_to_api(call, row) for row in page.rows], **page.more}


@operation("DescribeLogStreams", resource=group_arn)
async def describe_log_streams(logs: LogStore, call: Call, input: Input) -> Output:
    """Streams of a group by name or by last event."""
    group = group_name(call, input)
    by_time = input.get("orderBy") == "LastEventTime"
    if by_time and input.get("logStreamNamePrefix"):
        raise InvalidParameterException("Cannot order by LastEventTime with a logStreamNamePrefix.")
    await existing_group(call, group)
    limit = input.get("limit", _PAGE)
    rows = await call.app.store.scan(
        records.list_streams,
        call.account,
        call.region,
        group,
        prefix=input.get("logStreamNamePrefix", ""),
        by_time=by_time,
        descending=bool(input.get("descending")),
        after=PAGES.after(call, input),
        limit=limit + 1,
    )
    page = PAGES.page(
        call, input, rows, limit=limit, keyset=lambda row: [row.last_event or 0, row.name] if by_time else [row.name]
    )
    streams = [_stream_to_api(call, row, await logs.inspect(row.file, summary)) for row in page.rows]
    return {"logStreams": streams, **page.more}


Change = Callable[[sa.Row[Any]], dict[str, Any]]
"""From a group's row: the columns that change."""


def _change(conn: sa.Connection, call: Call, name: str, change: Change) -> None:
    found = records.find_group(conn, call.account, call.region, name, lock=True)
    if found is None:
        raise ResourceNotFoundException(what="log group")
    records.update_group(conn, call.account, call.region, name, **change(found))


def _kept(days: int | None) -> Change:
    return lambda _row: {"retention": days}


def _protected(protected: bool) -> Change:  # noqa: FBT001
    return lambda _row: {"protected": protected}


def _group_to_api(call: Call, row: sa.Row[Any]) -> dict[str, Any]:
    arn = call.arn("logs", f"log-group:{row.name}")
    return {
        "logGroupName": row.name,
        "creationTime": row.created,
        "retentionInDays": row.retention,
        "metricFilterCount": row.filters,
        "arn": f"{arn}:*",
        "logGroupArn": arn,
        "storedBytes": int(row.size),
        "logGroupClass": row.group_class,
        "deletionProtectionEnabled": row.protected,
        "kmsKeyId": row.key,
    }


def _stream_to_api(call: Call, row: sa.Row[Any], known: dict[str, Any]) -> dict[str, Any]:
    return {
        "logStreamName": row.name,
        "creationTime": row.created,
        "firstEventTimestamp": known["first_event"],
        "lastEventTimestamp": known["last_event"],
        "lastIngestionTime": known["last_ingestion"],
        "uploadSequenceToken": known["last_ingestion"] and sequence_token(row.file, known["last_ingestion"]),
        "arn": call.arn("logs", f"log-group:{row.group}:log-stream:{row.name}"),
        "storedBytes": 0,  # AWS answers 0 for streams since 2019
    }


def sequence_token(file: str, size: int) -> str:
    """A token of AWS's form; nothing depends on it any more (AWS: PutLogEvents)."""
    digits = int.from_bytes(base64.b16decode(file.replace("-", "").upper()), "big")
    return f"496{digits % 10**33:033d}{size:020d}"
