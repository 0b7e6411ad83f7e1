"""One API request on its way to an answer: verify, parse, validate, authorise, run, answer."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from penstock.pools import BODIES
from penstock.wire import certified, refusals, sigv4
from penstock.wire.arriving import OFF_LOOP, Arriving
from penstock.wire.asgi import Receive
from penstock.wire.call import ANONYMOUS, Body, Call, Credential, Input, Output, Reply, Session
from penstock.wire.chunked import check_digests, open_body
from penstock.wire.codec_cbor import CborCodec
from penstock.wire.codec_json import JsonCodec
from penstock.wire.codec_query import QueryCodec, form_fields
from penstock.wire.compression import decompressed, is_compressed
from penstock.wire.errors import (
    InternalFailure,
    MalformedBody,
    MissingAuthentication,
    NotImplementedOperation,
    Refused,
    ServiceError,
    SignatureMismatch,
    Throttled,
    Unavailable,
    UnknownOperation,
    UnsupportedAuthorization,
)
from penstock.wire.hold import Hold
from penstock.wire.invoke import authorize
from penstock.wire.message import ARRIVED, AUTHORIZATION_HEADER, Codec, RequestHead, Response, client_address
from penstock.wire.recognise import Kind, Recognised
from penstock.wire.regions import region_of_call
from penstock.wire.registry import Access, Operation, Recorded
from penstock.wire.services import Route
from penstock.wire.shapes import Model, OperationModel
from penstock.wire.signature import Signature, parse_authorization
from penstock.wire.validation import validate

if TYPE_CHECKING:
    from penstock.wire.endpoint import Endpoint

log = logging.getLogger("penstock.wire")

_JSON_BYTES = 10 << 20
_FORM_BYTES = 1 << 20
_XML_BYTES = 4 << 20  # DeleteObjects with 1,000 long keys fits
_IN_FLIGHT = 512  # operations at work at a time before floods are answered with ThrottlingException

_NOT_CERTIFIED = (
    "The key of a certificate signs requests for a session, and none for anything else. Sign this one with the session's keys and"
    " AWS4-HMAC-SHA256."
)

# What refuses a request before its service is known.
_UNADDRESSED: Mapping[Kind, Codec] = {
    Kind.REST: JsonCodec(Model({"metadata": {}})),
    Kind.TARGET: JsonCodec(Model({"metadata": {}})),
    Kind.QUERY: QueryCodec(Model({"metadata": {}})),
    Kind.SMITHY: CborCodec(Model({"metadata": {}})),
}


class Exchange:
    """One API request on its way to an answer."""

    __slots__ = (
        "_app",
        "_call",
        "_certificate",
        "_claimed",
        "_endpoint",
        "_head",
        "_input",
        "_label",
        "_operation",
        "_output",
        "_presigned",
        "_raw_headers",
        "_region",
        "_route",
        "_session",
        "_size",
        "_source_ip",
        "_started",
        "_stated",
        "body",
        "request_id",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, head: RequestHead, receive: Receive, scope: dict[str, Any]) -> None:
        self._endpoint = endpoint
        self._app = endpoint.app
        self._head = head
        self._stated = head  # with the headers that a presigned URL states in its query
        self.body = Arriving(head, receive, endpoint.bodies, arrived=bool(scope.get(ARRIVED)))
        self._raw_headers: list[Any] = scope["headers"]
        self._source_ip = client_address(scope)
        self._started = time.perf_counter()
        self.request_id: str = self._app.ids.uuid()
        self._route: Route | None = None
        self._session: Session = ANONYMOUS
        self._region = ""
        self._label = ""  # of a virtual-host address
        self._presigned = False
        self._operation: Operation | None = None
        self._call: Call[Any] | None = None
        self._input: Input | None = None
        self._output: Output | None = None
        self._size = 0  # bytes of the body, where it is no stream
        self._claimed = ""  # the key that the request says it is signed with
        self._certificate = b""  # whose key has signed it

    async def answer(self, where: Recognised) -> Response:
        """The response, whatever happens."""
        failed: ServiceError | None = None
        try:
            response = await self._serve(where)
        except Refused as refused:
            failed = refusals.worded(refused, self._wordings(where))
            response = self._error(failed, where)
        except ServiceError as error:
            failed = error
            response = self._error(error, where)
        except Exception as fault:
            if self._endpoint.passes(fault):
                log.warning("request.unavailable", extra={"request": self.request_id, "why": str(fault)})
                failed = refusals.worded(Unavailable(), self._wordings(where))
            else:
                log.exception("request.failed", extra={"request": self.request_id, "operation": self._name()})
                failed = InternalFailure()
            response = self._error(failed, where)
        finally:
            self.body.let_go()
        if not self._record(failed) and failed is None:
            failed = refusals.worded(Unavailable(), self._wordings(where))
            response = self._error(failed, where)
        self._log(response.status, "" if failed is None else failed.wire_code)
        return response

    async def refused(self, refused: Refused, where: Recognised) -> Response:
        """A refusal in the protocol of the request, before anything of it is looked at."""
        error = refusals.worded(refused, self._wordings(where))
        self._log(error.status, error.wire_code)
        return self._error(error, where)

    async def _serve(self, where: Recognised) -> Response:
        body: bytes | None = None
        wanted = ""
        self._label = where.label
        if where.kind is Kind.TARGET and where.detail in self._endpoint.taking_turns:
            await self._endpoint.turns.take()
        signature = self._signature(where)
        if signature is not None:
            # Nothing of a body is kept for a claim that cannot hold, or is nobody's.
            if signature.scheme is None:
                sigv4.check_claims(signature, self._head, int(time.time() * 1000))
            if not signature.certified:
                await self._credential(signature, anonymous=False)
                self._claimed = signature.access_key_id
            self._presigned = signature.presigned
            stated = self._endpoint.services.signing_rules(signature.service).url_headers
            if signature.presigned and stated is not None:
                self._stated = stated(self._head, signature)
        if where.kind is Kind.TARGET:
            self._route = self._endpoint.services.by_target(where.detail)
            wanted = where.detail.rpartition(".")[2]
        elif where.kind is Kind.QUERY:
            body = await self.body.read(_FORM_BYTES, self._claimed)
            fields = form_fields(self._head, decompressed(self._head, body, _FORM_BYTES))
            action = fields.get("Action", "")
            signed_for = signature.service if signature is not None else ""
            self._route = self._endpoint.services.by_query(fields.get("Version", ""), action, signed_for)
            if self._route is None and not action:
                raise MalformedBody("The request names no Action that is served here.")
            wanted = action
        elif where.kind is Kind.SMITHY:
            prefix, _, wanted = where.detail.partition("/")
            self._route = self._endpoint.services.by_rpc(prefix, wanted)
        elif where.service is not None:
            self._route = self._endpoint.services.by_path(where.service, self._stated, label=where.label)
        else:
            wanted = f"{self._head.method} {self._head.path}"
        route = self._route
        if route is None or route.operation is None:
            if where.service is not None and where.service.form_operation and _is_form(self._head):
                raise _not_served(where.service.name, where.service.form_operation)
            if body is None:
                self.body.refuse_more_than(_JSON_BYTES)
                if signature is None:
                    raise MissingAuthentication
                if signature.certified:
                    raise UnsupportedAuthorization
                body = await self.body.read(_JSON_BYTES, self._claimed)
            await self._verify(signature, body)
            raise self._unserved(signature, wanted)
        operation = self._endpoint.registry.get(route.service.name, route.name)
        if operation is None and signature is None and route.operation.unsigned:
            raise _not_served(route.service.name, route.name)
        anonymous = operation is not None and operation.access is Access.UNSIGNED
        if signature is not None and signature.certified and not _takes_certificates(operation):
            raise UnsupportedAuthorization(_NOT_CERTIFIED)
        streams = route.operation.streaming_input
        limit = _XML_BYTES if route.protocol == "rest-xml" else _JSON_BYTES
        if body is None and not streams:
            self.body.refuse_more_than(limit)
            if signature is None and not anonymous:
                raise MissingAuthentication
            body = await self.body.read(limit, self._claimed)
        if body and route.service.digests and not (operation is not None and operation.own_digests):
            check_digests(self._head, body)
        secret = await self._verify(signature, body, anonymous=anonymous)
        if operation is None:
            raise _not_served(route.service.name, route.name)
        if self._session.access_key_id and not operation.unthrottled:
            # The signature holds, so that no stranger can use up what a key may.
            self._endpoint.rates.take(self._session.access_key_id, self._started)
        if self._session.access_key_id:
            self._app.identity.used(self._session, operation.service, self._region)
        self._operation, self._size = operation, 0 if body is None else len(body)
        self._app.records.admit(operation)
        stream: bytes | Body = body if body is not None else open_body(self._head, signature, secret, self.body.receive)
        if body is not None and (len(body) > OFF_LOOP or is_compressed(self._head)):
            # Ten megabytes of JSON are two seconds of work: others are answered meanwhile.
            input = await BODIES.run(self._understood, route, route.operation, stream)
        else:
            input = self._understood(route, route.operation, stream)
        call = self._call = self._new_call(operation)
        del signature, stream  # thousands of polls wait here at a time
        output = await self._run(operation, call, input)
        self._output = output.output if isinstance(output, Reply) else output
        if isinstance(output, Reply):
            return route.codec.serialize(
                route.operation, output.output, self.request_id, status=output.status, headers=output.headers
            )
        return route.codec.serialize(route.operation, output, self.request_id)

    def _understood(self, route: Route, operation: OperationModel, body: bytes | Body) -> Input:
        """The input, which fits the model. Raises MalformedBody, BodyTooLarge or what the service's error profile says."""
        if isinstance(body, bytes) and (route.protocol == "query" or operation.compressible):
            body = decompressed(self._head, body, _FORM_BYTES if route.protocol == "query" else _JSON_BYTES)
        input = self._input = route.codec.parse(operation, self._stated, body, label=self._label)
        validate(route.service, operation, input)
        return input

    def _signature(self, where: Recognised) -> Signature | None:
        """What the request claims to be signed with. Raises a Refused."""
        scheme = None if where.service is None else where.service.signing.scheme
        signature = None if scheme is None else scheme.parse(self._head, self._app.settings.region)
        return signature or parse_authorization(self._head)

    async def _credential(self, signature: Signature | None, *, anonymous: bool) -> Credential | None:
        """What the request claims to be signed with; None for an unsigned one that may be. Raises a Refused."""
        if signature is None:
            if not anonymous:
                raise MissingAuthentication
            return None
        return await self._app.identity.credential(signature.access_key_id, signature.session_token)

    async def _verify(self, signature: Signature | None, body: bytes | None, *, anonymous: bool = False) -> str:
        """The secret that signed; sets session and region. Raises a Refused."""
        settings = self._app.settings
        services = self._endpoint.services
        if signature is not None and signature.certified:
            rules = services.signing_rules(signature.service)
            self._certificate = certified.verify(signature, self._head, await _sha256(body or b""), rules)
            self._place(signature)
            return ""
        credential = await self._credential(signature, anonymous=anonymous)
        if signature is None or credential is None:
            self._region = settings.region
            return ""
        payload_hash = "" if body is None else await _sha256(body)
        if signature.scheme is not None:
            now = int(time.time() * 1000)
            signature.scheme.verify(signature, self._head, credential.secret, now, label=self._label)
        else:
            rules = services.signing_rules(signature.service)
            sigv4.compare(signature, self._head, credential.secret, payload_hash=payload_hash, rules=rules)
        self._session = credential.session
        self._place(signature)
        return credential.secret

    def _place(self, signature: Signature) -> None:
        """The region of a request whose signature holds. Raises SignatureMismatch for the scope of another service."""
        route = self._route
        if route is not None and signature.service not in route.service.signing_names:
            raise SignatureMismatch(f"Credential should be scoped to correct service: '{route.service.signing_name}'. ")
        scope = route.service.scope if route is not None else self._endpoint.services.scope_of(signature.service)
        self._region = region_of_call(self._app.settings.all_regions(), scope, signature.region)

    def _new_call(self, operation: Operation) -> Call[Any]:
        return Call(
            app=self._app,
            session=self._session,
            account=self._session.account,
            region=self._region,
            service=operation.service,
            operation=operation.name,
            request_id=self.request_id,
            now=self._app.clock.now(),
            via="http",
            virtual_host=bool(self._label),
            source_ip=self._source_ip,
            user_agent=self._head.headers.get("user-agent", ""),
            headers=self._stated.headers,
            secure=self._head.secure,
            presigned=self._presigned,
            certificate=self._certificate,
        )

    async def _run(self, operation: Operation, call: Call[Any], input: Input) -> Output | Reply | None:
        endpoint = self._endpoint
        if operation.long_poll:
            await authorize(operation, call, input)
            return await self._hold(operation, call, input)
        if operation.unthrottled:  # nor does it count: a fleet that reports takes nobody else's place
            await authorize(operation, call, input)
            return await operation.handler(call, input)
        if endpoint.in_flight >= _IN_FLIGHT:
            raise Throttled
        endpoint.in_flight += 1
        try:
            await authorize(operation, call, input)
            if operation.abandonable:
                return await Hold().run(operation.handler, call, input, self.body.receive)
            return await operation.handler(call, input)
        finally:
            endpoint.in_flight -= 1

    async def _hold(self, operation: Operation, call: Call[Any], input: Input) -> Output | Reply | None:
        """Run a long poll; it ends when it answers, when the client leaves, or empty when the server drains."""
        if self._endpoint.draining:
            return {}
        self._raw_headers.clear()  # thousands are held at a time: their heads need not be kept twice
        hold = Hold()
        self._endpoint.polls.add(hold)
        try:
            return await hold.run(operation.handler, call, input, self.body.receive)
        finally:
            self._endpoint.polls.discard(hold)

    def _unserved(self, signature: Signature | None, wanted: str) -> Refused:
        """Why nothing answers a request whose signature holds: its service is not served, or has no such operation."""
        scope = signature.service if signature is not None else ""
        if scope and not self._endpoint.services.by_signing_name(scope):
            return _not_served(scope, wanted)
        return UnknownOperation()

    def _wordings(self, where: Recognised) -> refusals.Wordings:
        return self._codec(where).refusals

    def _codec(self, where: Recognised) -> Codec:
        """The codec of the answer, even when nothing is known of the operation."""
        if self._route is not None:
            return self._route.codec
        return (
            _UNADDRESSED[where.kind] if where.service is None else where.service.codec_of(where.service.rest_protocol)
        )

    def _error(self, error: ServiceError, where: Recognised) -> Response:
        operation = self._route.operation if self._route is not None else None
        response = self._codec(where).error(operation, error, self.request_id)
        if error.authorization:
            response.headers.append((AUTHORIZATION_HEADER, error.authorization.encode()))
        return response

    def _name(self) -> str:
        route = self._route
        return f"{route.service.name}:{route.name}" if route is not None and route.operation is not None else ""

    def _record(self, failed: ServiceError | None) -> bool:
        """Record the call. False when it may not be answered as done."""
        operation = self._operation
        if operation is None or operation.recorded is not Recorded.MANAGEMENT:
            return True
        return self._app.records.call(
            self._call or self._new_call(operation),  # without one the input could not be understood
            operation,
            code="" if failed is None else failed.wire_code,
            message="" if failed is None else failed.message,
            authorization="" if failed is None else failed.authorization,
            input=self._input,
            output=self._output,
            size=self._size,
        )

    def _log(self, status: int, code: str) -> None:
        route = self._route
        # Names that are registered, and nothing that only a stranger wrote.
        operation = route.name if route is not None and route.operation is not None else ""
        self._app.requests.add(
            self._session,
            at=self._app.clock.now(),
            id=self.request_id,
            service=route.service.name if route else "",
            operation=operation,
            region=self._region,
            status=status,
            code=code,
            began=self._started,
            via="http",
            source=self._source_ip,
        )


def _takes_certificates(operation: Operation | None) -> bool:
    return operation is not None and operation.access is Access.CERTIFICATE


def _is_form(head: RequestHead) -> bool:
    """Whether a browser's form is sent, which bears its signature among its fields."""
    return head.method == "POST" and head.headers.get("content-type", "").lower().startswith("multipart/form-data")


def _not_served(service: str, operation: str) -> NotImplementedOperation:
    return NotImplementedOperation(
        f"Penstock does not serve {service}:{operation[:200]} yet; docs/reference/operations.md lists what it serves."
    )


async def _sha256(body: bytes) -> str:
    if len(body) <= OFF_LOOP:
        return hashlib.sha256(body).hexdigest()
    digest = await BODIES.run(hashlib.sha256, body)
    return digest.hexdigest()
