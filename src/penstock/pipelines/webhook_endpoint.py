"""Where webhooks are sent to: `POST /v1/webhooks/ID/ADDRESS`, with the event as JSON.

Whoever knows the address may ask; what else is asked for, the webhook says. A request is answered when the execution that it started is on disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from penstock.pipelines import records as pipelines
from penstock.pipelines import webhook_records as records
from penstock.pipelines.aggregate import PipelineAggregate
from penstock.pipelines.errors import ConcurrentPipelineExecutionsLimitExceededException, PipelineNotFoundException
from penstock.pipelines.idempotent_start import start_idempotently
from penstock.pipelines.inputs import StartRequested
from penstock.pipelines.model import Key, Trigger, TriggerType
from penstock.pipelines.service import PipelineService
from penstock.pipelines.webhooks import NotJson, comes_from, document_of, is_signed, unmatched
from penstock.pools import BODIES
from penstock.wire.asgi import Receive, Send, send_text
from penstock.wire.call import partition_of
from penstock.wire.errors import Throttled
from penstock.wire.message import client_address
from penstock.wire.rates import Rates

log = logging.getLogger("penstock.pipelines")

PREFIX = "/v1/webhooks/"

_PATH = re.compile(r"([0-9a-f-]{36})/([0-9a-f]{48})")
_LARGEST = 5 * 1024 * 1024  # bytes; GitHub names at most 2,048 commits in a push
_SHORT = 32 * 1024  # bytes that are looked at on the loop
_AT_ONCE = 16  # requests whose bodies are read at a time
_SECONDS = 20.0  # for a body to come
_A_SECOND, _BURST = 10, 60  # requests of a sender, and to a webhook
_REMEMBERED = 4_096  # senders and webhooks whose requests are counted
_DELIVERIES = (b"x-github-delivery", b"x-gitea-delivery", b"x-gogs-delivery")
_AGAIN = (b"retry-after", b"1")


class Answer(NamedTuple):
    """What a sender is answered."""

    status: int
    text: str
    code: str = ""  # of the error that the webhook shows; "" when nothing is wrong


class WebhookEndpoint:
    """The ASGI application at `PREFIX`."""

    def __init__(self, service: PipelineService) -> None:
        self._service = service
        self._app = service.app
        self._senders, self._webhooks = (Rates(_A_SECOND, burst=_BURST, keys=_REMEMBERED) for _ in range(2))
        self._reading = 0

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = _PATH.fullmatch(scope["path"].removeprefix(PREFIX))
        sender, now = client_address(scope), asyncio.get_running_loop().time()
        if not _may_ask(self._senders, sender, now):
            await send_text(send, 429, "Too many requests come from this address.\n", _AGAIN)
            return
        row = None if path is None else await self._app.store.read(records.by_id, path[1])
        if row is None or path is None or not self._knows(row, path[2]):
            await send_text(send, 404, "There is no webhook at this address.\n")
            return
        if scope["method"] != "POST":
            await send_text(send, 405, "Webhooks are sent by POST.\n", (b"allow", b"POST"))
            return
        if self._reading >= _AT_ONCE or not _may_ask(self._webhooks, row.id, now):
            await send_text(send, 429, "Too many requests come to this webhook.\n", _AGAIN)
            return
        headers = dict(scope["headers"])
        if row.allowed and not comes_from(sender, row.allowed):
            answer = Answer(403, "This address may not send to this webhook.", "AccessDenied")
        else:
            answer = await self._heard(row, headers, receive)
        if answer.code:
            log.warning("pipelines.webhook_refused", extra={"webhook": row.name, "reason": answer.text})
            await self._app.store.write(records.note_error, row.id, answer.code, answer.text)
        await send_text(send, answer.status, f"{answer.text}\n")

    def _knows(self, row: Any, address: str) -> bool:
        kept = self._app.sealer.open(row.address, records.address_context(row.id))
        return hmac.compare_digest(kept, address.encode())

    async def _heard(self, row: Any, headers: Mapping[bytes, bytes], receive: Receive) -> Answer:
        self._reading += 1
        try:
            async with asyncio.timeout(_SECONDS):
                body = await _body(headers, receive)
        except TimeoutError:
            return Answer(408, f"The body did not come within {_SECONDS:.0f} seconds.", "RequestTimeout")
        finally:
            self._reading -= 1
        if body is None:
            return Answer(413, f"The body is longer than {_LARGEST:,} bytes.", "RequestEntityTooLarge")
        secret = None
        if row.secret is not None:
            secret = self._app.sealer.open(row.secret, records.secret_context(row.id)).decode()
        key = Key(account=row.account, region=row.region, name=row.pipeline)
        configuration = await self._app.store.read(self._configuration, key, row.action)
        if configuration is None:
            return Answer(
                409, f"There is no pipeline {row.pipeline} with an action {row.action}.", "PipelineNotFoundException"
            )
        judged = (body, headers, secret, row.filters, configuration)
        refused = _judge(*judged) if len(body) <= _SHORT else await BODIES.run(_judge, *judged)
        return refused or await self._start(row, key, headers)

    def _configuration(self, conn: sa.Connection, key: Key, action: str) -> dict[str, str] | None:
        """The configuration of a source action of the newest declaration."""
        pipeline = pipelines.pipeline(conn, key.account, key.region, key.name)
        if pipeline is None:
            return None
        declaration = self._service.versions.declaration(conn, pipeline.id, pipeline.version)
        sources = declaration["stages"][0]["actions"] if declaration else ()
        return next((one.get("configuration", {}) for one in sources if one["name"] == action), None)

    async def _start(self, row: Any, key: Key, headers: Mapping[bytes, bytes]) -> Answer:
        now, seed = self._app.clock.now(), self._app.ids.seed()
        # A sender that hears no answer sends again, under the same id.
        delivery = next((headers[name] for name in _DELIVERIES if name in headers), None)
        token = None if delivery is None else f"webhook:{hashlib.sha256(row.id.encode() + delivery).hexdigest()}"
        try:
            execution = await self._app.store.write(self._started, row, key, token, now=now, seed=seed)
        except (PipelineNotFoundException, ConcurrentPipelineExecutionsLimitExceededException) as error:
            return Answer(409, error.message, error.wire_code)
        if execution is None:
            return Answer(409, "The webhook has just been changed: send it again.")
        return Answer(200, f"Started execution {execution} of {row.pipeline}.")

    def _started(
        self, conn: sa.Connection, row: Any, key: Key, token: str | None, *, now: int, seed: int
    ) -> str | None:
        """The execution; None when the webhook is not any more what was asked of the request."""
        if _asked(records.by_id(conn, row.id)) != _asked(row):
            return None
        pipeline = PipelineAggregate.find(conn, self._service.versions, key)
        if pipeline is None:
            raise PipelineNotFoundException(account=key.account, name=key.name)
        arn = f"arn:{partition_of(row.region)}:codepipeline:{row.region}:{row.account}:webhook:{row.name}"
        input = StartRequested(trigger=Trigger(type=TriggerType.WEBHOOK, detail=arn))
        records.note_trigger(conn, row.id, now)
        return start_idempotently(conn, pipeline, input, token=token, now=now, seed=seed, actor=arn, cause=row.id)


def _may_ask(rates: Rates, who: str, now: float) -> bool:
    try:
        rates.take(who, now)
    except Throttled:
        return False
    return True


def _asked(row: Any) -> object:
    return None if row is None else (row.pipeline, row.action, row.filters, row.allowed, row.secret, row.address)


def _judge(
    body: bytes,
    headers: Mapping[bytes, bytes],
    secret: str | None,
    filters: list[Mapping[str, str]],
    configuration: Mapping[str, str],
) -> Answer | None:
    """Why a request starts nothing; None when it shall."""
    if secret is not None and not is_signed(body, headers, secret):
        return Answer(
            403,
            "The signature is missing or does not fit: X-Hub-Signature-256 is made with the webhook's secret.",
            "InvalidSignature",
        )
    if not filters:
        return None
    try:
        document = document_of(body, headers.get(b"content-type", b""))
    except NotJson as error:
        return Answer(400, f"This webhook has filters, and {error}.", "InvalidBody")
    why = unmatched(document, filters, configuration)
    return Answer(200, f"Nothing was started: {why}.") if why else None


async def _body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes | None:
    """The body of a request; None for one that is too long."""
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length[:20]) > _LARGEST:
        return None
    found = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(found)
        found += message.get("body", b"")
        if len(found) > _LARGEST:
            return None
        if not message.get("more_body"):
            return bytes(found)
