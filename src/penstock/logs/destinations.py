"""Where subscription filters send: to a topic of the account, or to a URL, in an ARN of Penstock's own.

It is `arn:aws:penstock:REGION:ACCOUNT:URL`, since Terraform takes ARNs only, and the AWS CLI takes a bare URL for the address of a value.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from typing import Any

from penstock.application import App
from penstock.egress import NoAnswer, Occupied, Request
from penstock.wire.arns import parse_arn, resource_here
from penstock.wire.call import Session, partition_of, service_session
from penstock.wire.errors import Refused, ServiceError, Throttled

PRINCIPAL = "logs.amazonaws.com"
SECONDS = 10.0  # for an exchange
LARGEST_OF_TOPIC = 262_144  # bytes of a message. AWS: SNS quotas
LARGEST_OF_URL = 1 << 20
_ANSWER = 16 << 10  # bytes of an answer that are read
_URL = re.compile(r"https?://[\x21-\x7e]{1,1900}\Z")
_FIFO = ".fifo"
_HEADERS = (
    ("Content-Type", "application/json"),
    ("Content-Encoding", "gzip"),
    ("User-Agent", "Amazon CloudWatch Logs"),
)


class Failed(Exception):
    """The destination has not taken it; why, in a sentence."""


def url_of(destination: str) -> str:
    """The URL in an ARN; "" where there is none."""
    arn = parse_arn(destination, "penstock")
    return arn.resource if arn is not None and _URL.match(arn.resource) else ""


def is_topic(call: Any, destination: str) -> bool:
    """Whether it is the ARN of a topic of the caller's account and region."""
    return bool(resource_here(call, destination, "sns"))


def is_url(call: Any, destination: str) -> bool:
    """Whether it is an ARN of the caller's account and region that has a URL."""
    return bool(url_of(destination)) and bool(resource_here(call, destination, "penstock"))


def largest(destination: str) -> int:
    """Bytes of a message that a destination takes."""
    return LARGEST_OF_URL if url_of(destination) else LARGEST_OF_TOPIC


async def hand_over(app: App, row: Any, body: str, *, stream: str, key: str) -> None:
    """Give a destination a message, which for a URL is base64 of gzip. Raises Failed.

    `row` is a filter's. `key` derives from what is sent: FIFO topics take the same one once within five minutes.
    """
    try:
        if url := url_of(row.destination):
            await _post(app, url, base64.b64decode(body), key)
        else:
            async with asyncio.timeout(SECONDS):
                await _publish(app, row, body, stream, key)
    except TimeoutError:
        raise Failed(f"The destination has not answered within {SECONDS:.0f} seconds") from None
    except (Occupied, Throttled):
        raise Failed("The server is too busy to send it now") from None
    except (Refused, ServiceError, NoAnswer) as error:
        raise Failed(str(error)) from None


async def _post(app: App, url: str, content: bytes, key: str) -> None:
    headers = (*_HEADERS, ("X-Amz-Cwl-Delivery-Id", key))
    request = Request(url, "POST", headers, content, plain=url.startswith("http:"))
    answer = await app.egress.send(request, seconds=SECONDS, most=_ANSWER, cut=True)
    if not 200 <= answer.status < 300:
        raise Failed(f"The destination answers with status {answer.status}")


async def _publish(app: App, row: Any, body: str, stream: str, key: str) -> None:
    asked = {"TopicArn": row.destination, "Message": body}
    topic = parse_arn(row.destination, "sns")
    if topic is not None and topic.resource.endswith(_FIFO):
        asked["MessageGroupId"] = hashlib.sha256(f"{row.group}\0{stream}".encode()).hexdigest()
        asked["MessageDeduplicationId"] = key
    await app.invoke(await _session(app, row), "sns", "Publish", asked, region=row.region)


async def _session(app: App, row: Any) -> Session:
    """Of the filter's role, or of CloudWatch Logs, whom the topic's policy has to let in."""
    arn = f"arn:{partition_of(row.region)}:logs:{row.region}:{row.account}:log-group:{row.group}"
    if row.role is None:
        return service_session(PRINCIPAL, row.account, arn)
    session, _ = await app.identity.assume(
        role_arn=row.role,
        service=PRINCIPAL,
        session_name=row.id,
        region=row.region,
        account=row.account,
        source_arn=arn,
    )
    return session
