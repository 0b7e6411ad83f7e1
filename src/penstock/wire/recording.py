"""The record of a call, as CloudTrail has it (AWS: CloudTrail, "record contents"), and the trail that it is written to.

What changes something is in the hands of the operating system before its caller is answered. Records of what only reads are written within
a fifth of a second. A power failure can take the last fifth of a second of both.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from penstock.trail import Trail, sync_and_close
from penstock.wire.call import ANONYMOUS, LET_INTO, Call, Certified, PrincipalKind, Session, Vouched
from penstock.wire.errors import Unavailable
from penstock.wire.hiding import HIDDEN, Hiding, without
from penstock.wire.registry import Operation, Recorded
from penstock.wire.scalars import iso
from penstock.wire.shapes import Shape

if TYPE_CHECKING:
    from penstock.store.clock import Clock
    from penstock.store.ids import Ids
    from penstock.wire.services import Service

_BATCH_SECONDS = 0.2
_PARAMETERS = 100 << 10  # bytes
_LARGE = 1 << 20  # bytes of a request whose parameters would not fit anyway
_MESSAGE = 1024  # characters
_KINDS = 2048  # of calls that are remembered
_RESOURCES = 20  # of one record
_VERSION = "1.11"
_OMITTED = b'{"omitted":"It is larger than 100 KB."}'


Write = Callable[[Any], "tuple[bytes, Sequence[str]]"]
"""Makes the JSON of what is shown of a value, and the texts that are hidden in it."""


class _Kind(NamedTuple):
    """What records have in common whose calls differ in their input only."""

    session: Session
    service: Service
    head: bytes
    input: Write
    output: Write


class Records:
    """What one process records."""

    def __init__(self, trail: Trail, clock: Clock, ids: Ids) -> None:
        self.trail = trail
        self._clock = clock
        self._ids = ids
        self._hiding: dict[str, Hiding] = {}
        self._kinds: dict[tuple[Any, ...], _Kind] = {}
        self._pending: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="penstock-trail")
        self._syncing: Future[None] | None = None

    def admit(self, operation: Operation) -> None:
        """Raises Unavailable for what changes something while nothing can be recorded."""
        if not operation.reads and operation.recorded is Recorded.MANAGEMENT and not self.trail.takes_lines():
            raise Unavailable

    def call(
        self,
        call: Call[Any],
        operation: Operation,
        *,
        code: str,
        message: str,
        authorization: str = "",
        input: Any,
        output: Any,
        invoked_by: str = "",
        size: int = 0,
    ) -> bool:
        """Record a call that has ended. False when it may not be answered as done, since it should be on record and is not.

        `code` and `message` are those of an error, or empty, `authorization` what is behind a denial, encoded. `input` is None when it could not be understood, `size` the bytes of the
        request. `invoked_by` is the service that made the call in the caller's name.
        """
        shown: Vouched | Certified | None = call.memo.get("who")
        if operation.recorded is not Recorded.MANAGEMENT or (call.session is ANONYMOUS and shown is None):
            return True
        known = self._kind(call, operation, invoked_by)
        hidden: Sequence[str] = ()
        parameters = response = b"null"
        if size > _LARGE:
            parameters = _OMITTED
        elif input:
            parameters, hidden = known.input(input)
        if output and not operation.reads and not code:
            response = known.output(output)[0]
        resources = call.memo.get("resources")
        owners = () if code or shown is not None else _owners(call, resources)
        more = b',"sharedEventID":"%b"' % self._ids.uuid().encode() if owners else b""
        if resources and resources[0] != "*":
            more += _resources(tuple(resources[:_RESOURCES]))
        if code:
            more += b',"errorCode":' + _encoded(code)
            # What could not be understood may be quoted in why.
            if message and (input is not None or not size):
                more += b',"errorMessage":' + _encoded(_message(message, hidden))
            if authorization:
                more += b',"additionalEventData":{"encodedAuthorizationMessage":"%b"}' % authorization.encode()
        at, request = self._clock.now(), call.request_id.encode()
        behind = b'%b,"requestParameters":%b,"responseElements":%b}' % (more, parameters, response)
        record = b'%b%b,"requestID":"%b","eventID":"%b"%b' % (
            known.head if shown is None else _by_what_is_shown(call, known.service, shown),
            _when(at // 1000),
            request,
            # Its digits in another order: as random, and there is one record for a request in an account.
            request[28:] + request[8:28] + request[:8],
            behind,
        )
        written = self.add(at, record, at_once=not operation.reads)
        for owner in owners:
            stranger = {"type": "AWSAccount", "principalId": call.session.principal_id, "accountId": call.account}
            head = _beginning(
                call, known.service, orjson.Fragment(_encoded(stranger)), reads=operation.reads, account=owner
            )
            id = self._ids.uuid().encode()
            record = b'%b%b,"requestID":"%b","eventID":"%b"%b' % (head, _when(at // 1000), request, id, behind)
            written = self.add(at, record, at_once=not operation.reads) and written
        return written

    def _kind(self, call: Call[Any], operation: Operation, invoked_by: str) -> _Kind:
        """What the records of a caller's calls of an operation share. Sessions are remembered by those who know them."""
        session = call.session
        key = (
            id(session),
            call.service,
            call.operation,
            call.region,
            call.source_ip,
            call.user_agent,
            invoked_by,
            call.account,
        )
        known = self._kinds.get(key)
        if known is not None and known.session is session:
            return known
        service: Service = call.app.services.get(call.service)
        model = service.operation(call.operation)
        who = identity_of(session, invoked_by)
        head = _beginning(call, service, who, reads=operation.reads, account=call.account, invoked_by=invoked_by)
        hiding = self._hiding.get(service.name)
        if hiding is None:
            hiding = self._hiding[service.name] = Hiding(service.secrets, service.hides)
        if len(self._kinds) >= _KINDS:
            self._kinds.clear()
        known = self._kinds[key] = _Kind(
            session, service, head, writer(hiding, model and model.input), writer(hiding, model and model.output)
        )
        return known

    def event(self, at: int, record: dict[str, Any], *, account: str, region: str) -> None:
        """Record what is no call of an operation: `record` has what is its own, `at` is in ms."""
        members = {
            "eventVersion": _VERSION,
            "eventTime": iso(at),
            "awsRegion": region,
            "eventID": self._ids.uuid(),
            "managementEvent": True,
            "recipientAccountId": account,
            "eventCategory": "Management",
            "readOnly": False,
            **record,
        }
        self.add(at, _encoded(members), at_once=not members["readOnly"])

    def add(self, at: int, record: bytes, *, at_once: bool) -> bool:
        """Write a record, at once or within a fifth of a second. False when it should be written and is not yet."""
        if self._pending is None:
            self._pending = asyncio.get_running_loop().call_later(_BATCH_SECONDS, self._flush)
        if at_once:
            return self.trail.append(at, record)
        self.trail.keep(at, record)
        return True

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Keep the trail open; what waits is written on the way out."""
        try:
            yield
        finally:
            if self._pending is not None:
                self._pending.cancel()
            self.trail.write()
            descriptor = self.trail.to_sync()
            self.trail.end(self._clock.now())
            if descriptor is not None:
                await asyncio.wrap_future(self._thread.submit(sync_and_close, descriptor))
            self._thread.shutdown()

    def _flush(self) -> None:
        self._pending = None
        complete = self.trail.write()
        if self._syncing is None or self._syncing.done():
            descriptor = self.trail.to_sync()
            if descriptor is not None:
                self._syncing = self._thread.submit(sync_and_close, descriptor)
        if not complete or self.trail.unsynced:
            self._pending = asyncio.get_running_loop().call_later(_BATCH_SECONDS, self._flush)


def _owners(call: Call[Any], resources: Sequence[str] | None) -> tuple[str, ...]:
    """Other accounts whose resources a call has used: it is on record in theirs as well (AWS: CloudTrail, "sharedEventID")."""
    named = _others(tuple(resources[:_RESOURCES]), call.account) if resources else ()
    let_in = call.memo.get(LET_INTO)
    return tuple({*named, *let_in.values()}) if let_in else named


@lru_cache(512)
def _others(arns: tuple[str, ...], account: str) -> tuple[str, ...]:
    """The accounts that ARNs name beside one."""
    found = (arn.split(":", 5)[4:5] for arn in arns)
    return tuple(dict.fromkeys(one[0] for one in found if one and one[0].isdecimal() and one[0] != account))


def _beginning(
    call: Call[Any], service: Service, who: orjson.Fragment, *, reads: bool, account: str, invoked_by: str = ""
) -> bytes:
    head = {
        "eventVersion": _VERSION,
        "userIdentity": who,
        "eventSource": service.event_source,
        "eventName": call.operation,
        "awsRegion": call.region,
        "sourceIPAddress": invoked_by or call.source_ip,
        "userAgent": invoked_by or call.user_agent[:_MESSAGE],
        "readOnly": reads,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": account,
        "eventCategory": "Management",
    }
    return _encoded(head)[:-1]


def _by_what_is_shown(call: Call[Any], service: Service, shown: Vouched | Certified) -> bytes:
    if isinstance(shown, Certified):
        # CloudTrail knows no type of holders of certificates: it says Unknown, and its other members are empty.
        who = {"type": "Unknown", "principalId": shown.subject, "userName": shown.serial, "accountId": shown.account}
    else:
        who = {
            "type": "WebIdentityUser",
            "principalId": f"{shown.provider}:{shown.audience}:{shown.subject}",
            "userName": shown.subject,
            "identityProvider": shown.provider,
        }
    return _beginning(call, service, orjson.Fragment(_encoded(who)), reads=False, account=shown.account)


def _encoded(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    except (
        orjson.JSONEncodeError
    ):  # half a surrogate pair, in a key of an object, a user agent or a message; or a number of more than 64 bits
        return orjson.dumps(_encodable(value), option=orjson.OPT_NON_STR_KEYS)


def _encodable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_encodable(name): _encodable(item) for name, item in value.items()}
        case list() | tuple():
            return [_encodable(item) for item in value]
        case bool() | float() | None | orjson.Fragment():
            return value
        case _:
            return str(value)


def _bounded(written: bytes) -> bytes:
    return written if len(written) <= _PARAMETERS else _OMITTED


def writer(hiding: Hiding, shape: Shape | None) -> Write:
    """What writes values of a shape. It takes the short way for those that are shown as they are."""
    plain = hiding.plain(shape)

    def write(value: Any) -> tuple[bytes, Sequence[str]]:
        if type(value) is dict and value.keys() <= plain and None not in value.values():
            try:
                return _bounded(orjson.dumps(value)), ()
            except orjson.JSONEncodeError:  # what JSON cannot carry is shown another way
                pass
        shown, hidden = hiding.readable(shape, value)
        return _bounded(_encoded(shown) if shown else b"null"), hidden

    return write


def _message(message: str, hidden: Sequence[str]) -> str:
    if len(hidden) > 100:
        return HIDDEN
    message = without(message, hidden)
    # A message may quote the beginning of a value, or write some of its characters in another way.
    return HIDDEN if any(len(secret) > 3 and secret[:4] in message for secret in hidden) else message[:_MESSAGE]


@lru_cache(256)
def _resources(arns: tuple[str, ...]) -> bytes:
    return b',"resources":' + _encoded([{"ARN": arn} for arn in arns])


@lru_cache(8)
def _when(seconds: int) -> bytes:
    return f',"eventTime":"{iso(seconds * 1000)}"'.encode()


def _last(arn: str) -> str:
    return arn.rpartition("/")[2]


def identity_of(session: Session, invoked_by: str = "") -> orjson.Fragment:
    """The member `userIdentity` for a session, in whose name a service may have called (AWS: CloudTrail, "userIdentity element")."""
    kind, behind = session.kind, session.role_arn or session.user_arn
    who: dict[str, Any]
    if kind is PrincipalKind.SERVICE:
        return orjson.Fragment(orjson.dumps({"type": "AWSService", "invokedBy": session.arn}))
    names = {"principalId": session.principal_id, "arn": session.arn, "accountId": session.account}
    if session.access_key_id:
        names["accessKeyId"] = session.access_key_id
    mfa = "true" if session.mfa else "false"
    issued_at = {"creationDate": iso(session.issued), "mfaAuthenticated": mfa}
    match kind:
        case PrincipalKind.ROOT:
            who = {"type": "Root", **names}
        case PrincipalKind.USER:
            who = {"type": "IAMUser", **names, "userName": _last(session.arn)}
            if session.issued:
                who["sessionContext"] = {"attributes": issued_at}
        case PrincipalKind.ROLE | PrincipalKind.FEDERATED:
            role = kind is PrincipalKind.ROLE
            issuer = {
                "type": "Role" if role else "IAMUser",
                "principalId": session.user_id or session.principal_id.partition(":")[0],
                "arn": behind,
                "accountId": session.account,
                "userName": _last(behind),
            }
            context: dict[str, Any] = {"sessionIssuer": issuer, "attributes": issued_at}
            if session.provider:
                context["webIdFederationData"] = {"federatedProvider": session.provider, "attributes": {}}
            if session.source_identity:
                context["sourceIdentity"] = session.source_identity
            who = {"type": "AssumedRole" if role else "FederatedUser", **names, "sessionContext": context}
        case _:
            who = {"type": "Unknown", **names}
    if invoked_by:
        who["invokedBy"] = invoked_by
    return orjson.Fragment(orjson.dumps(who))
