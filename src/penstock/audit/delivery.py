"""The job of a trail: what was recorded goes to its bucket, every few minutes, as files of CloudTrail.

Which lines of a chain make a file is written down before the file is, and its name depends on them alone. So a try that was broken off is
repeated under the same name: no record is in two files, and none is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from penstock.application import App
from penstock.audit import trail_rows
from penstock.audit.attributes import read
from penstock.audit.packing import unpack
from penstock.audit.shipping import Shipping
from penstock.audit.trail_rows import Part
from penstock.audit.trail_rules import file_key, overlaps, packed, takes
from penstock.pools import FILES
from penstock.store.jobs import Job
from penstock.store.work import Retry
from penstock.trail import Unreadable, take_apart
from penstock.wire.call import service_session
from penstock.wire.errors import Refused, ServiceError

log = logging.getLogger("penstock.audit")

DELIVERY = "audit.deliver"
PRINCIPAL = "cloudtrail.amazonaws.com"
EVERY_MS = 300_000  # AWS: a trail's files come about every five minutes


async def deliver(shipping: Shipping, job: Job) -> None:
    """Write what a trail has not got yet, and look again in five minutes, for as long as there is the trail."""
    app, id = shipping.app, job.payload["trail"]
    began = app.clock.now()
    while part := await app.store.write(trail_rows.next_part, id, began):
        # Read anew for each part: what was changed meanwhile counts from here on.
        trail = await app.store.read(trail_rows.by_id, id)
        if trail is None:
            break
        found = await app.store.scan(trail_rows.blocks_of, part)
        files = await FILES.run(_files, trail, part, found)
        try:
            for key, content in files.items():
                await put(app, trail, key, content)
        except (ServiceError, Refused) as error:
            code = error.wire_code if isinstance(error, ServiceError) else type(error).__name__
            log.warning("audit.not_delivered", extra={"trail": trail.arn, "bucket": trail.bucket, "error": code})
            await app.store.write(trail_rows.change, id, attempted=app.clock.now(), error=code)
            break
        await app.store.write(trail_rows.deliver, id, part, app.clock.now(), written=bool(files))
    if await app.store.read(trail_rows.by_id, id) is not None:
        raise Retry(EVERY_MS, counts=False)


async def put(app: App, trail: Any, key: str, content: bytes) -> Mapping[str, Any]:
    """Write a file as CloudTrail does, which the bucket's policy must let. Raises what S3 answers when it does not."""
    asked = {"Bucket": trail.bucket, "Key": key, "Body": content, "ACL": "bucket-owner-full-control"}
    if content:
        asked |= {"ContentType": "application/json", "ContentEncoding": "gzip"}
    if trail.key:
        asked |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": trail.key}
    session = service_session(PRINCIPAL, trail.account, trail.arn)
    return await app.invoke(session, "s3", "PutObject", asked, region=trail.region)


def _files(trail: Any, part: Part, found: list[Any]) -> dict[str, bytes]:
    """The files of a part by their keys: one for each region that has records for the trail."""
    regions: dict[str, list[bytes]] = {}
    for block in found:
        if not overlaps(trail, block.first_at, block.last_at):
            continue
        try:
            lines = unpack(block.content)
        except Unreadable:  # somebody has damaged it: `penstock audit verify` says so
            log.warning("audit.unreadable", extra={"chain": part.chain, "line": part.first + 1})
            continue
        for line in lines:
            _take(trail, line, regions)
    at = max((block.last_at for block in found), default=0)
    return {file_key(trail, region, part.lines, at): packed(records) for region, records in regions.items()}


def _take(trail: Any, line: bytes, regions: dict[str, list[bytes]]) -> None:
    try:
        taken = take_apart(line)
    except Unreadable:
        return
    record = read(taken.record)
    if record is not None and takes(trail, record, taken.at):
        regions.setdefault(record["awsRegion"], []).append(taken.record)
