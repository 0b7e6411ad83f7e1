"""Metric sources: operations of our own service, since CloudWatch is only sent data and asks for none."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from penstock.application import App, Call
from penstock.component import operations_of
from penstock.monitoring import source_records
from penstock.monitoring.errors import (
    InvalidNextTokenException,
    LimitExceededException,
    MetricSourceNotFoundException,
    ValidationException,
)
from penstock.monitoring.operations import place
from penstock.monitoring.source_kind import Kind
from penstock.monitoring.source_reading import opened, schedule
from penstock.monitoring.source_requests import origin
from penstock.monitoring.source_settings import MonitoringSettings
from penstock.monitoring.sources import kinds
from penstock.store.deciding import decide_alone
from penstock.wire.call import Input, Output
from penstock.wire.pages import Pages

ours = operations_of("penstock")
log = logging.getLogger("penstock.monitoring")

_PAGES = Pages(lambda _token: InvalidNextTokenException())
_PAGE = 100
_MOST = 100  # sources of an account and region
_INTERVAL, _TIMEOUT = 60, 5  # seconds, unless said


def _arn(call: Call, name: str) -> str:
    return call.arn("penstock", f"metric-source/{name}")


def _source(call: Call, input: Input) -> str:
    return _arn(call, input["sourceName"])


@ours("PutMetricSource", resource=_source)
async def put_metric_source(app: App, call: Call, input: Input) -> Output:
    """Make a source, or give the one of this name other settings; it is read at once. The same input again changes nothing else."""
    name, kind = input["sourceName"], _kind(input)
    settings = _settings(app, input, kind)
    given = input.get("credentials")
    if given is not None:
        _check_credentials(given, kind.address(settings[kind.name]))

    def tx(conn: sa.Connection) -> Any:
        decide_alone(conn, "metric-sources", *place(call))
        schedule(conn, place(call), name, reads=settings["enabled"])
        row = source_records.find(conn, place(call), name, locked=True)
        if row is None and source_records.count(conn, place(call)) >= _MOST:
            raise LimitExceededException(most=_MOST)
        credentials = _kept(app, row, kind, settings) if given is None else given
        same = row is not None and row.settings == settings and row.kind == kind.name
        sealed = app.sealer.seal(orjson.dumps(credentials), source_records.credentials_context(*place(call), name))
        source_records.put(
            conn,
            place(call),
            name,
            kind=kind.name,
            settings=settings,
            credentials=sealed,
            now=call.now,
            fresh=not same,
        )
        return source_records.find(conn, place(call), name)

    return {"source": _to_api(app, call, await app.store.write(tx))}


def _kind(input: Input) -> Kind:
    """The one kind whose settings are given. Raises ValidationException."""
    given = [kind for kind in kinds().values() if kind.name in input]
    if len(given) != 1:
        names = ", ".join(kinds())
        raise ValidationException(f"Give the settings of exactly one kind of sources: one of {names}.")
    return given[0]


def _settings(app: App, input: Input, kind: Kind) -> dict[str, Any]:
    settings = {
        kind.name: dict(input[kind.name]),
        "description": input.get("description", ""),
        "enabled": input.get("enabled", True),
        "intervalSeconds": input.get("intervalSeconds", _INTERVAL),
        "timeoutSeconds": input.get("timeoutSeconds", _TIMEOUT),
    }
    if settings["timeoutSeconds"] > settings["intervalSeconds"]:
        raise ValidationException(
            "timeoutSeconds must not be more than intervalSeconds: a read ends before the next one."
        )
    try:
        kind.check(settings[kind.name], app.settings.of(MonitoringSettings).metric_socket_dirs)
    except ValueError as error:
        raise ValidationException(str(error)) from None
    return settings


def _check_credentials(given: Mapping[str, str], address: str) -> None:
    if not given:
        return
    if not address.startswith("http"):
        raise ValidationException("A socket takes no credentials: leave them out.")
    names = sorted(given)
    if names not in (["bearerToken"], ["password", "username"]):
        raise ValidationException("Credentials are either a username and a password, or a bearerToken.")


def _kept(app: App, row: Any, kind: Kind, settings: Mapping[str, Any]) -> Mapping[str, str]:
    """The credentials that a source has, which nobody sends to another place by changing its address. Raises ValidationException."""
    if row is None:
        return {}
    credentials = opened(app, row)
    if credentials:
        before = kinds()[row.kind].address(row.settings[row.kind])
        now = kind.address(settings[kind.name])
        if not now.startswith("http") or origin(before) != origin(now):
            raise ValidationException(
                f"The source has credentials for {origin(before).host}: give those for the new address with it, or empty ones."
            )
    return credentials


@ours("GetMetricSource", resource=_source)
async def get_metric_source(app: App, call: Call, input: Input) -> Output:
    """A source, and how its last read went."""
    row = await app.store.read(source_records.find, place(call), input["sourceName"])
    if row is None:
        raise MetricSourceNotFoundException(name=input["sourceName"])
    return {"source": _to_api(app, call, row)}


@ours("ListMetricSources")
async def list_metric_sources(app: App, call: Call, input: Input) -> Output:
    """The sources of the caller's account and region by name."""
    limit = input.get("maxResults", _PAGE)
    after = _PAGES.after(call, input)
    found = await app.store.read(lambda conn: source_records.page(conn, place(call), after=after, limit=limit + 1))
    page = _PAGES.page(call, input, found, limit=limit, keyset=lambda row: (row.name,))
    return {"sources": [_to_api(app, call, row) for row in page.rows], **page.more}


@ours("DeleteMetricSource", resource=_source)
async def delete_metric_source(app: App, call: Call, input: Input) -> Output:
    """Forget a source. What it has measured stays for its time."""
    name = input["sourceName"]

    def tx(conn: sa.Connection) -> None:
        schedule(conn, place(call), name, reads=False)
        if source_records.find(conn, place(call), name, locked=True) is None:
            raise MetricSourceNotFoundException(name=name)
        source_records.delete(conn, place(call), name)

    await app.store.write(tx)
    return {}


def _to_api(app: App, call: Call, row: Any) -> Output:
    kind = kinds()[row.kind]
    said = {
        "sourceName": row.name,
        "sourceArn": _arn(call, row.name),
        "kind": row.kind,
        "namespace": kind.namespace,
        **row.settings,
        "hasCredentials": bool(opened(app, row)),
        "status": _status(row),
        "createTime": row.created,
        "updateTime": row.updated,
        "lastReadTime": row.read_at,
        "lastSuccessTime": row.good_at,
        "failures": row.failures,
        "lastError": row.error or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _status(row: Any) -> str:
    if not row.settings["enabled"]:
        return "DISABLED"
    if row.read_at is None:
        return "WAITING"
    return "FAILING" if row.error else "OK"
