"""What is kept of a message while it waits: sealed under the master key, and before that under a data key of the topic's key of KMS.

It is whoever publishes that needs `kms:GenerateDataKey*` and `kms:Decrypt`, as on AWS. The message is opened later under the session of its
publisher, which lies sealed beside it: a key that is disabled, or that its policy has taken back, keeps what waits from being read.
(AWS: SNS Developer Guide, "Managing Amazon SNS encryption keys and costs".)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from penstock import envelopes
from penstock.topics.errors import (
    KMSAccessDeniedException,
    KMSDisabledException,
    KMSInvalidStateException,
    KMSNotFoundException,
    KMSThrottlingException,
)
from penstock.topics.messages import Message
from penstock.topics.names import Place
from penstock.topics.outcomes import Failed
from penstock.topics.records import content_context
from penstock.wire.call import Input, Origin, Output, PrincipalKind, Session, partition_of
from penstock.wire.errors import AccessDenied, Refused, ServiceError, passes

if TYPE_CHECKING:
    from penstock.application import App, Call

KEY = "KmsMasterKeyId"
_SEALED = b"\xe2"  # nothing of `Message.dump` begins so
_KEPT_MS = 60_000  # that an opened data key is used before KMS is asked again
_MOST = 1_000  # opened data keys in memory
_VIA = Origin(via="invoke", called_via=("sns.amazonaws.com",))
_ERRORS = {
    "NotFoundException": KMSNotFoundException,
    "DisabledException": KMSDisabledException,
    "InvalidArnException": KMSNotFoundException,
    "AccessDeniedException": KMSAccessDeniedException,
}
_SESSION = {field.name for field in dataclasses.fields(Session)}


async def sealed(call: Call, topic: Any, place: Place, messages: Sequence[tuple[str, Message]]) -> list[bytes]:
    """What is kept of new messages (id, message) of a topic. Raises the errors of SNS about keys of KMS."""
    app, key = call.app, topic.attributes.get(KEY, "")
    if not key:
        return [app.sealer.seal(message.dump(), content_context(id)) for id, message in messages]
    named = key if key.startswith("arn:") else _arn_of(key, place)
    answers: dict[str, Output] = {}  # of one data key for all messages

    async def kms(operation: str, input: Input) -> Output:
        if operation not in answers:
            answers[operation] = await _asked(
                app, call.session, operation, input, region=place.region, origin=call.origin
            )
        return answers[operation]

    context, found = _context(place.arn), []
    who = {name: value for name, value in dataclasses.asdict(call.session).items() if value}
    head = orjson.dumps({"topic": place.arn, "region": place.region, "session": who})
    for id, message in messages:
        blob = await envelopes.seal(kms, message.dump(), key=named, context=context, bound=id.encode())
        # Or nobody could read what is published.
        await envelopes.unseal(kms, blob, context=context, bound=id.encode())
        kept = _SEALED + len(head).to_bytes(4, "big") + head + blob
        found.append(app.sealer.seal(kept, content_context(id)))
    return found


class Contents:
    """Opens them. The data keys that were opened lately are remembered, since a message has many receivers."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._known: dict[tuple[str, bytes], tuple[int, Output]] = {}

    async def opened(self, row: Any, by: Session | None = None) -> Message:
        """A message that was kept (`id`, `content`), for whoever published it, or `by` another. Raises Failed where KMS does not open it."""
        kept = self._app.sealer.open(row.content, content_context(row.id))
        if kept[:1] != _SEALED:
            return Message.load(kept)
        end = 5 + int.from_bytes(kept[1:5], "big")
        head, blob = orjson.loads(kept[5:end]), kept[end:]
        session = _session(head["session"]) if by is None else by

        async def kms(operation: str, input: Input) -> Output:
            return await self._decrypted(session, operation, input, head["region"])

        try:
            plain = await envelopes.unseal(kms, blob, context=_context(head["topic"]), bound=row.id.encode())
        except ServiceError as error:
            raise Failed(
                f"the message is sealed under a key of KMS, which does not open it: {error.message}",
                code=error.wire_code,
            ) from None
        return Message.load(plain)

    def readable_by_all(self, row: Any) -> bool:
        """Whether no key of KMS is needed to read a message."""
        return self._app.sealer.open(row.content, content_context(row.id))[:1] != _SEALED

    async def _decrypted(self, session: Session, operation: str, input: Input, region: str) -> Output:
        now, name = self._app.clock.now(), (session.arn, input["CiphertextBlob"])
        until, output = self._known.get(name, (0, {}))
        if now >= until:
            output = await _asked(self._app, session, operation, input, region=region, origin=_VIA)
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[name] = (now + _KEPT_MS, output)
        return output


async def _asked(app: App, session: Session, operation: str, input: Input, *, region: str, origin: Origin) -> Output:
    """Run an operation of KMS. Raises the errors of SNS about its keys."""
    try:
        return await app.invoke(session, "kms", operation, input, region=region, origin=origin)
    except AccessDenied as denied:
        raise KMSAccessDeniedException(denied.message) from None
    except (Refused, ServiceError) as error:
        if passes(error):
            if isinstance(error, ServiceError) and error.server_fault:
                raise
            raise KMSThrottlingException(error.message) from None
        code = error.wire_code if isinstance(error, ServiceError) else ""
        raise _ERRORS.get(code, KMSInvalidStateException)(error.message) from None


def _session(kept: dict[str, Any]) -> Session:
    """The session of a publisher, as any release kept it."""
    found = {name: value for name, value in kept.items() if name in _SESSION}
    given = {"principal_id": "", "arn": "", "account": "", **found}
    return Session(**given | {"kind": PrincipalKind(kept["kind"]), "transitive": tuple(kept.get("transitive", ()))})


def _arn_of(key: str, place: Place) -> str:
    """Of a key of the topic's account, by its id or alias."""
    name = key if key.startswith("alias/") else f"key/{key}"
    return f"arn:{partition_of(place.region)}:kms:{place.region}:{place.account}:{name}"


def _context(topic: str) -> dict[str, str]:
    return {"aws:sns:topicArn": topic}
