"""Operations in process: who may run one, and `invoke`, which runs it with the checks of a request."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Sequence
from typing import Any

import orjson

from penstock.wire import refusals
from penstock.wire.call import ANONYMOUS, Call, Input, Origin, Output, PrincipalKind, Reply, Session
from penstock.wire.errors import (
    ExpiredSession,
    InternalFailure,
    MissingAuthentication,
    NotImplementedOperation,
    Refused,
    ServiceError,
    Unavailable,
    UnknownOperation,
    UnsupportedAuthorization,
)
from penstock.wire.regions import region_of_call
from penstock.wire.registry import Access, Operation
from penstock.wire.services import Service
from penstock.wire.validation import validate

_OURS = Origin(via="invoke")
_CANCELLED = (499, "Cancelled")  # of a call whose caller was stopped meanwhile; what it did may have been done


async def authorize(operation: Operation, call: Call[Any], input: Input) -> None:
    """Ask identity whether the caller may; raises AccessDenied."""
    if operation.access is Access.UNSIGNED:
        return
    if operation.access is Access.CERTIFICATE:
        if call.certificate:
            return
        if call.session is ANONYMOUS:
            raise MissingAuthentication
        raise UnsupportedAuthorization(
            "The key of a certificate signs this request: AWS4-X509-RSA-SHA256 or AWS4-X509-ECDSA-SHA256."
        )
    if operation.access is Access.AUTHENTICATED:
        if call.session is ANONYMOUS:
            raise MissingAuthentication
        if call.session.expires is not None and call.session.expires <= call.now:
            raise ExpiredSession  # over HTTP the credentials said so; in process a session may be held for long
        return
    action = operation.action if isinstance(operation.action, str) else operation.action(call, input)
    resource = operation.resource
    try:
        found: Any = resource if isinstance(resource, str) else resource(call, input)
        if not isinstance(found, str) and inspect.isawaitable(found):
            found = await found
    except ServiceError:
        # What is not there, or cannot be understood, is said to those only who may take the action at all.
        await call.app.identity.authorize(call, action, ("*",))
        raise
    resources: Sequence[str] = (found,) if isinstance(found, str) else found
    call.memo["resources"] = resources
    call.memo["asked"] = functools.partial(_asked, operation, call, input)
    await call.app.identity.authorize(call, action, resources)


def _asked(operation: Operation, call: Call[Any], input: Input) -> dict[str, str | tuple[str, ...]]:
    """The condition keys of what a request asks for, in lower case: its tags, and those that the operation declares."""
    tags: dict[str, str] = {}
    removed: list[str] = []
    for member in ("tags", "Tags"):
        given = input.get(member)
        if isinstance(given, dict):
            tags |= given
        elif isinstance(given, list):
            for tag in given:
                if isinstance(tag, str):  # the key of one that is removed
                    removed.append(tag)
                    continue
                members = {
                    name.lower().removeprefix("tag"): value for name, value in tag.items()
                }  # or TagKey, TagValue
                tags[members.get("key", "")] = members.get("value", "")
    names = [*tags, *removed, *(input.get("tagKeys") or input.get("TagKeys") or ())]
    keys: dict[str, str | tuple[str, ...]] = {f"aws:requesttag/{key.lower()}": value for key, value in tags.items()}
    if names:
        keys["aws:tagkeys"] = tuple(map(str, names))
    return keys if operation.keys is None else {**keys, **operation.keys(call, input)}


def call_of(
    app: Any, session: Session, service: str, operation: str, *, region: str, origin: Origin = _OURS
) -> Call[Any]:
    """A call in process. Raises SignatureMismatch for a region that is not configured."""
    return Call(
        app=app,
        session=session,
        account=session.account,
        region=region_of_call(app.settings.all_regions(), app.services.get(service).scope, region),
        service=service,
        operation=operation,
        request_id=app.ids.uuid(),
        now=app.clock.now(),
        via=origin.via,
        source_ip=origin.source_ip,
        user_agent=origin.user_agent,
        called_via=origin.called_via,
        secure=origin.secure,
    )


def _plain(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value)) if type(value) is orjson.Fragment else value


def bind_invoke(app: Any) -> None:
    """Give the application its `invoke`."""

    async def invoke(
        session: Session, service: str, operation: str, input: Input, *, region: str, origin: Origin = _OURS
    ) -> Output:
        """See `penstock.wire.call.Invoke`."""
        registered = app.registry.get(service, operation)
        if registered is None:
            raise NotImplementedOperation(f"{service}:{operation} is not served by this version of Penstock.")
        began = time.perf_counter()
        call = call_of(app, session, service, operation, region=region, origin=origin)
        status, code = _CANCELLED
        message, authorization, output = "", "", None
        called_by = origin.service or "".join(call.called_via[-1:])
        try:
            app.records.admit(registered)
            output = await _run(registered, call, input)
        except Exception as fault:
            error = _answer(app.services.get(service), fault)
            status, code, message, authorization = error.status, error.wire_code, error.message, error.authorization
            raise
        else:
            status, code = 200, ""
            # As on the wire, where members without a value are left out.
            return {name: value for name, value in output.items() if value is not None}
        finally:
            recorded = app.records.call(
                call,
                registered,
                code=code,
                message=message,
                authorization=authorization,
                input=input,
                output=output,
                invoked_by=called_by,
            )
            app.requests.add(
                session,
                at=app.clock.now(),
                id=call.request_id,
                service=service,
                operation=operation,
                region=call.region,
                status=status,
                code=code,
                began=began,
                via=call.via,
                source=call.source_ip,
                origin=called_by,
            )
            if not recorded and not code:
                raise Unavailable

    app.invoke = invoke


async def _run(operation: Operation, call: Call[Any], input: Input) -> Output:
    service: Service = call.app.services.get(call.service)
    model = service.operation(call.operation)
    if model is None:
        raise UnknownOperation
    input = model.in_milliseconds(input)
    validate(service, model, input)
    await authorize(operation, call, input)
    if call.session.kind is PrincipalKind.ROLE:
        call.app.identity.used(call.session, call.service, call.region)
    output = await operation.handler(call, input)
    if isinstance(output, Reply):
        output = output.output
    return {name: _plain(value) for name, value in (output or {}).items()}


def _answer(service: Service, fault: Exception) -> ServiceError:
    """What a client would have been answered."""
    if isinstance(fault, Refused):
        return refusals.worded(fault, service.codec.refusals)
    return fault if isinstance(fault, ServiceError) else InternalFailure()
