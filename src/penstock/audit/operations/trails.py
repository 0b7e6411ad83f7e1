"""Trails: made, shown, changed, started and stopped."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.audit import delivery, trail_rows, trail_rules
from penstock.audit.errors import (
    InsufficientEncryptionPolicyException,
    InsufficientS3BucketPolicyException,
    InvalidHomeRegionException,
    InvalidKmsKeyIdException,
    InvalidTokenException,
    KmsKeyDisabledException,
    KmsKeyNotFoundException,
    MaximumNumberOfTrailsExceededException,
    S3BucketDoesNotExistException,
    TrailAlreadyExistsException,
    TrailNotFoundException,
)
from penstock.audit.operations import operation
from penstock.audit.shipping import Shipping
from penstock.audit.trail_names import Named, asked_tags, named, tag_rules, trail_arn
from penstock.store import jobs
from penstock.store.deciding import decide_alone
from penstock.wire.call import Input, Output
from penstock.wire.errors import AccessDenied, ServiceError
from penstock.wire.pages import Pages
from penstock.wire.scalars import iso
from penstock.wire.tags import pairs_of

_LIMIT = 100  # trails of one answer
_PAGES = Pages(lambda _token: InvalidTokenException(), member="NextToken")
_KMS = {
    "KMS.NotFoundException": KmsKeyNotFoundException,
    "KMS.DisabledException": KmsKeyDisabledException,
    "KMS.KMSInvalidStateException": KmsKeyDisabledException,
}


@operation("CreateTrail", resource=trail_arn("Name"), keys=asked_tags)
async def create_trail(shipping: Shipping, call: Call, input: Input) -> Output:
    """A trail that does not log yet. Its bucket is written to, so that a policy that does not let it is known at once."""
    name = trail_rules.check_name(input["Name"])
    trail_rules.check_served(input)
    tags = tag_rules.check(pairs_of(input.get("TagsList")))
    if tags:
        await call.app.identity.authorize(call, "cloudtrail:AddTags", (call.arn("cloudtrail", f"trail/{name}"),))
    values = {
        "id": str(uuid.UUID(call.app.ids.uuid())),
        "account": call.account,
        "region": call.region,
        "name": name,
        "arn": call.arn("cloudtrail", f"trail/{name}"),
        "bucket": input["S3BucketName"],
        "prefix": trail_rules.check_prefix(input.get("S3KeyPrefix") or ""),
        "key": input.get("KmsKeyId") or "",
        "everywhere": input.get("IsMultiRegionTrail", False),
        "nowhere": input.get("IncludeGlobalServiceEvents", True),
        "selectors": trail_rules.EVERYTHING,
        "chosen": False,
        "periods": [],
        "tags": tags,
        "created": call.now,
        "delivered": None,
        "attempted": None,
        "error": "",
    }
    trail_rules.check_reach(everywhere=values["everywhere"], nowhere=values["nowhere"])
    values["key"] = await _tried(call, values)

    def tx(conn: sa.Connection) -> Any:
        decide_alone(conn, "trails", call.account, call.region)
        if trail_rows.named(conn, call.account, call.region, name) is not None:
            raise TrailAlreadyExistsException(name=name, account=call.account)
        if trail_rows.count(conn, call.account, call.region) >= trail_rules.MAX_TRAILS:
            raise MaximumNumberOfTrailsExceededException(
                account=call.account, most=trail_rules.MAX_TRAILS, region=call.region
            )
        trail_rows.insert(conn, values)
        return trail_rows.by_id(conn, values["id"])

    return _said(await call.app.store.write(tx))


@operation("UpdateTrail", resource=trail_arn("Name"))
async def update_trail(shipping: Shipping, call: Call, input: Input) -> Output:
    """Other settings of a trail; what is left out stays."""
    trail_rules.check_served(input)
    row = await own(call, input["Name"], changed=True)
    values: dict[str, Any] = {}
    if "S3BucketName" in input:
        values["bucket"] = input["S3BucketName"]
    if "S3KeyPrefix" in input:
        values["prefix"] = trail_rules.check_prefix(input["S3KeyPrefix"])
    if "KmsKeyId" in input:
        values["key"] = input["KmsKeyId"]
    if "IsMultiRegionTrail" in input:
        values["everywhere"] = input["IsMultiRegionTrail"]
    if "IncludeGlobalServiceEvents" in input:
        values["nowhere"] = input["IncludeGlobalServiceEvents"]
    asked = dict(row._mapping) | values  # noqa: SLF001 - SQLAlchemy's documented name
    trail_rules.check_reach(everywhere=asked["everywhere"], nowhere=asked["nowhere"])
    if values.keys() & {"bucket", "prefix", "key"}:
        values["key"] = await _tried(call, asked)
    return _said(await _change(call, row, lambda _now: values))


@operation("DeleteTrail", resource=trail_arn("Name"))
async def delete_trail(shipping: Shipping, call: Call, input: Input) -> None:
    """Write no further file. Those that are there stay."""
    row = await own(call, input["Name"], changed=True)
    await call.app.store.write(trail_rows.delete, row.id)


@operation("GetTrail", resource=trail_arn("Name"))
async def get_trail(shipping: Shipping, call: Call, input: Input) -> Output:
    """A trail."""
    return {"Trail": _described(await own(call, input["Name"]))}


@operation("DescribeTrails")
async def describe_trails(shipping: Shipping, call: Call, input: Input) -> Output:
    """The trails of the region, and those of other regions that take its records too; or those that are named."""
    names = input.get("trailNameList") or ()
    shadows = input.get("includeShadowTrails", True)
    if names:
        places = {named(call, name) for name in names}
        found = [
            row
            for place in sorted(places)
            if place.account == call.account
            and (row := await call.app.store.read(trail_rows.named, *place)) is not None
        ]
    else:
        rows = await call.app.store.read(trail_rows.of_account, call.account, None, _LIMIT)
        found = [row for row in rows if row.region == call.region or row.everywhere]
    return {"trailList": [_described(row) for row in found if shadows or row.region == call.region]}


@operation("ListTrails")
async def list_trails(shipping: Shipping, call: Call, input: Input) -> Output:
    """The trails of the account in all regions."""
    after = _PAGES.after(call, input)
    rows = await call.app.store.read(trail_rows.of_account, call.account, after, _LIMIT + 1)
    page = _PAGES.page(call, input, rows, limit=_LIMIT, keyset=lambda row: (row.name, row.region))
    listed = [{"TrailARN": row.arn, "Name": row.name, "HomeRegion": row.region} for row in page.rows]
    return {"Trails": listed, **page.more}


@operation("StartLogging", resource=trail_arn("Name"))
async def start_logging(shipping: Shipping, call: Call, input: Input) -> None:
    """Take what is recorded from now on, this call included."""
    row = await own(call, input["Name"], changed=True)

    def tx(conn: sa.Connection) -> None:
        now = _now(conn, row)
        trail_rows.change(conn, now.id, periods=trail_rules.started(now.periods, call.now))
        # There is one at most. One that was given up comes back so.
        jobs.enqueue(
            conn,
            kind=delivery.DELIVERY,
            payload={"trail": now.id},
            account=now.account,
            region=now.region,
            dedup=now.id,
        )

    await call.app.store.write(tx)


@operation("StopLogging", resource=trail_arn("Name"))
async def stop_logging(shipping: Shipping, call: Call, input: Input) -> None:
    """Take nothing that is recorded from now on. What was recorded before is delivered still."""
    row = await own(call, input["Name"], changed=True)
    await _change(call, row, lambda now: {"periods": trail_rules.stopped(now.periods, call.now)})


@operation("GetTrailStatus", resource=trail_arn("Name"))
async def get_trail_status(shipping: Shipping, call: Call, input: Input) -> Output:
    """Whether a trail logs, and what came of its newest file."""
    row = await own(call, input["Name"])
    begin, end = row.periods[-1] if row.periods else (None, None)
    found: Output = {"IsLogging": trail_rules.is_logging(row.periods)}
    if row.attempted is not None:
        found["LatestDeliveryAttemptTime"] = iso(row.attempted)
        found["LatestDeliveryAttemptSucceeded"] = "" if row.error else iso(row.attempted)
    if row.delivered is not None:
        found["LatestDeliveryTime"] = row.delivered
    if row.error:
        found["LatestDeliveryError"] = row.error
    for name, text, at in (
        ("StartLoggingTime", "TimeLoggingStarted", begin),
        ("StopLoggingTime", "TimeLoggingStopped", end),
    ):
        if at is not None:
            found |= {name: at, text: iso(at)}
    return found


@operation("GetEventSelectors", resource=trail_arn("TrailName"))
async def get_event_selectors(shipping: Shipping, call: Call, input: Input) -> Output:
    """What a trail selects."""
    row = await own(call, input["TrailName"])
    return {"TrailARN": row.arn, "EventSelectors": row.selectors}


@operation("PutEventSelectors", resource=trail_arn("TrailName"))
async def put_event_selectors(shipping: Shipping, call: Call, input: Input) -> Output:
    """Select other records, from the next file on."""
    row = await own(call, input["TrailName"], changed=True)
    if "AdvancedEventSelectors" in input:
        raise trail_rules.advanced_selectors()
    selectors = trail_rules.checked_selectors(input.get("EventSelectors") or ())
    await _change(call, row, lambda _now: {"selectors": selectors, "chosen": True})
    return {"TrailARN": row.arn, "EventSelectors": selectors}


async def own(call: Call, name: str, *, changed: bool = False) -> Any:
    """The caller's trail of a name or ARN. Raises TrailNotFoundException, or InvalidHomeRegionException for one that is changed elsewhere."""
    place: Named = named(call, name)
    row = None
    if place.account == call.account:
        row = await call.app.store.read(trail_rows.named, *place)
    if row is None:
        raise TrailNotFoundException(name=name, account=call.account)
    if changed and row.region != call.region:
        raise InvalidHomeRegionException(name=row.name, region=row.region)
    return row


def _now(conn: sa.Connection, row: Any) -> Any:
    """A trail that was found, locked as it is now. Raises TrailNotFoundException."""
    now = trail_rows.by_id(conn, row.id, lock=True)
    if now is None:
        raise TrailNotFoundException(name=row.name, account=row.account)
    return now


async def _change(call: Call, row: Any, values: Any) -> Any:
    """Change a trail that was found, as it is now; what it is then."""

    def tx(conn: sa.Connection) -> Any:
        trail_rows.change(conn, row.id, **values(_now(conn, row)))
        return trail_rows.by_id(conn, row.id)

    return await call.app.store.write(tx)


async def _tried(call: Call, values: Mapping[str, Any]) -> str:
    """Write to the bucket of a trail as its files will be; the ARN of their key. Raises what is wrong with bucket, policy or key."""
    trail = trail_rules.Target(**{name: values[name] for name in trail_rules.Target._fields})
    try:
        put = await delivery.put(call.app, trail, trail_rules.folder(trail), b"")
    except AccessDenied as denied:
        if "kms:" in denied.message:
            await _check_key(call, trail.key)
            raise InsufficientEncryptionPolicyException(key=trail.key, service=delivery.PRINCIPAL) from None
        await _check_bucket(call, trail.bucket)
        raise InsufficientS3BucketPolicyException(bucket=trail.bucket) from None
    except ServiceError as error:
        code = error.wire_code
        if code == "AccessDenied":
            raise InsufficientS3BucketPolicyException(bucket=trail.bucket) from None
        if code in _KMS:
            raise _KMS[code](error.reason) from None
        if code.startswith("KMS."):
            raise InvalidKmsKeyIdException(error.reason) from None
        raise
    return put.get("SSEKMSKeyId", "") if trail.key else ""


async def _check_bucket(call: Call, bucket: str) -> None:
    """Raises S3BucketDoesNotExistException for a bucket that there is not, which S3 does not say to a service without a policy."""
    try:
        await call.app.invoke(
            call.session, "s3", "HeadBucket", {"Bucket": bucket}, region=call.region, origin=call.origin
        )
    except ServiceError as error:
        if error.status == 404:
            raise S3BucketDoesNotExistException(bucket=bucket) from None
    except AccessDenied:
        pass


async def _check_key(call: Call, key: str) -> None:
    """Raises KmsKeyNotFoundException for a key that there is not, which KMS does not say to a service either."""
    try:
        await call.app.invoke(
            call.session, "kms", "DescribeKey", {"KeyId": key}, region=call.region, origin=call.origin
        )
    except ServiceError as error:
        raise KmsKeyNotFoundException(error.reason) from None
    except AccessDenied:
        pass


def _said(row: Any) -> Output:
    """What CreateTrail and UpdateTrail answer."""
    found: Output = {
        "Name": row.name,
        "S3BucketName": row.bucket,
        "IncludeGlobalServiceEvents": row.nowhere,
        "IsMultiRegionTrail": row.everywhere,
        "TrailARN": row.arn,
        "LogFileValidationEnabled": False,
        "IsOrganizationTrail": False,
    }
    if row.prefix:
        found["S3KeyPrefix"] = row.prefix
    if row.key:
        found["KmsKeyId"] = row.key
    return found


def _described(row: Any) -> Output:
    """The `Trail` shape."""
    more = {"HomeRegion": row.region, "HasCustomEventSelectors": row.chosen, "HasInsightSelectors": False}
    return _said(row) | more
