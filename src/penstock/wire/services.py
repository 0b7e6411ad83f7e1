"""Which services this process speaks for, and what a request addresses.

A model is read when the first request needs it; recognising a request needs only the metadata, which stands at the head of the
file.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import orjson

from penstock.wire.codec_cbor import CborCodec
from penstock.wire.codec_json import JsonCodec
from penstock.wire.codec_query import QueryCodec
from penstock.wire.codec_rest_json import RestJsonCodec
from penstock.wire.codec_rest_xml import RestXmlCodec
from penstock.wire.hiding import Hides
from penstock.wire.message import Codec, RequestHead
from penstock.wire.profiles import DEFAULT, ErrorProfile
from penstock.wire.regions import Scope
from penstock.wire.rest_routes import RestRoutes
from penstock.wire.shapes import PROTOCOL_PRIORITY, Model, OperationModel
from penstock.wire.signature import USUAL, SigningRules
from penstock.wire.validation import Validators

CodecType = Callable[[Model], Codec]

# A further protocol is one more line here and one more file.
CODECS: dict[str, CodecType] = {
    "json": JsonCodec,
    "query": QueryCodec,
    "rest-json": RestJsonCodec,
    "rest-xml": RestXmlCodec,
    "smithy-rpc-v2-cbor": CborCodec,
}

_UNUSED_TRAITS = frozenset({"documentation", "documentationUrl", "deprecatedMessage", "deprecatedSince", "examples"})
_HEAD_BYTES = 16_384  # metadata lies well within them


class Service:
    """One service: its model, lazily read, what mends it, and how its violations are worded.

    `patch` is merged deeply into botocore's JSON (`metadata`, `operations`, `shapes`); a value of None removes a key.
    `signing_names` and `target_prefixes` are further ones that clients use beside the model's own. `codecs` take the place of
    the usual ones of a protocol. `digests` says that Content-MD5 and checksums in headers are compared with bodies.

    A REST service may have `virtual_hosts`: the first segment of its paths can stand as a label before the installation's host
    name, also with this name between them. The service that is the `fallback` gets what no other is meant by. Browsers' forms
    that bear their signature among their fields are its `form_operation`. `secrets` are members of its shapes that no record shows, though
    the model does not call them sensitive: `Shape$member`, of a map `Shape$key`; `hides` says it of values of structures.
    """

    def __init__(
        self,
        name: str,
        model_path: Path | None = None,
        patch: Mapping[str, Any] | None = None,
        profile: ErrorProfile = DEFAULT,
        *,
        signing_names: tuple[str, ...] = (),
        target_prefixes: tuple[str, ...] = (),
        scope: Scope = Scope.REGIONAL,
        signing: SigningRules = USUAL,
        codecs: Mapping[str, CodecType] | None = None,
        digests: bool = False,
        virtual_hosts: str = "",
        fallback: bool = False,
        form_operation: str = "",
        secrets: Collection[str] = (),
        hides: Hides | None = None,
    ) -> None:
        self.name = name
        self.patch = patch or {}
        self.profile = profile
        self._path = model_path
        self.scope = scope
        self.signing = signing
        self.digests = digests
        self.virtual_hosts = virtual_hosts
        self.fallback = fallback
        self.form_operation = form_operation
        self.secrets = secrets
        self.hides = hides
        self._codec_types = {**CODECS, **(codecs or {})}
        self._signing_names = signing_names
        self._target_prefixes = target_prefixes
        self._metadata: Mapping[str, Any] | None = None
        self._model: Model | None = None
        self._codecs: dict[str, Codec] = {}
        self._routes: RestRoutes | None = None
        self._validators: Validators | None = None

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The model's metadata; does not read the whole model."""
        if self._metadata is None:
            metadata = read_metadata(self.model_path)
            self._metadata = merge(metadata, self.patch.get("metadata", {}))
        return self._metadata

    @property
    def model_path(self) -> Path:
        """The file of the model."""
        if self._path is None:
            self._path = botocore_model_path(self.name)
        return self._path

    @property
    def model(self) -> Model:
        """The patched model. The first use reads it (tens of milliseconds)."""
        if self._model is None:
            self._model = Model(merge(_document(self.model_path), self.patch))
        return self._model

    @property
    def signing_name(self) -> str:
        """The service of the credential scope."""
        return self.metadata.get("signingName") or self.metadata["endpointPrefix"]

    @cached_property
    def event_source(self) -> str:
        """What records name as the source of its events."""
        return f"{self.metadata['endpointPrefix']}.amazonaws.com"

    @property
    def signing_names(self) -> tuple[str, ...]:
        """Every accepted service of a credential scope."""
        return (self.signing_name, *self._signing_names)

    @property
    def target_prefixes(self) -> tuple[str, ...]:
        """What may stand before the dot of X-Amz-Target."""
        prefix = self.metadata.get("targetPrefix")
        return (*((prefix,) if prefix else ()), *self._target_prefixes)

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocols that we speak for it, the clients' favourite first."""
        stated = self.metadata.get("protocols") or [self.metadata.get("protocol", "")]
        return tuple(protocol for protocol in PROTOCOL_PRIORITY if protocol in stated and protocol in CODECS)

    @cached_property
    def rest_protocol(self) -> str:
        """The REST protocol that we speak for it, or ""."""
        return next((protocol for protocol in self.protocols if protocol.startswith("rest-")), "")

    @property
    def codec(self) -> Codec:
        """The codec of the protocol that clients choose."""
        return self.codec_of(self.protocols[0])

    def codec_of(self, protocol: str) -> Codec:
        """The codec of one of its protocols."""
        codec = self._codecs.get(protocol)
        if codec is None:
            codec = self._codecs[protocol] = self._codec_types[protocol](self.model)
        return codec

    def operation(self, name: str) -> OperationModel | None:
        """The model of an operation, or None when the service has none of that name."""
        return self.model.operation(name)

    @property
    def routes(self) -> RestRoutes:
        """Which method, path and query stand for which operation."""
        if self._routes is None:
            self._routes = RestRoutes(self.model)
        return self._routes

    @property
    def validators(self) -> Validators:
        """The compiled checks of its inputs."""
        if self._validators is None:
            self._validators = Validators()
        return self._validators

    def __repr__(self) -> str:
        return f"<Service {self.name}>"


@dataclass(frozen=True, slots=True)
class Route:
    """What a request addresses."""

    service: Service
    protocol: str
    name: str  # the operation as the request names it; "" when a REST request fits none
    operation: OperationModel | None  # None: the model has no such operation

    @property
    def codec(self) -> Codec:
        """The codec to read the request and word the answer with."""
        return self.service.codec_of(self.protocol)


class Services:
    """The services of this process and how requests find them."""

    def __init__(self) -> None:
        self._services: dict[str, Service] = {}
        self._targets: dict[str, Service] | None = None
        self._routes: dict[str, Route] = {}  # by target, those that were asked for
        self._queries: dict[tuple[str, str], Service] = {}
        self._signing: dict[str, tuple[Service, ...]] = {}
        self._claiming: tuple[Service, ...] = ()  # REST services but the fallback

    def add(self, service: Service) -> None:
        """Take over a service. A second one of the same name is a programming error."""
        if service.name in self._services:
            raise ValueError(f"the service {service.name} is added twice")
        self._services[service.name] = service
        self._targets = None

    def get(self, name: str) -> Service:
        """The service of botocore's name. Raises KeyError."""
        return self._services[name]

    def __iter__(self) -> Iterator[Service]:
        return iter(self._services.values())

    def __contains__(self, name: object) -> bool:
        return name in self._services

    def _index(self) -> dict[str, Service]:
        if self._targets is None:
            targets: dict[str, Service] = {}
            queries: dict[tuple[str, str], Service] = {}
            signing: dict[str, tuple[Service, ...]] = {}
            for service in self._services.values():
                for prefix in service.target_prefixes:
                    targets[prefix] = service
                for name in service.signing_names:
                    signing[name] = (*signing.get(name, ()), service)
                    if "query" in service.protocols:
                        queries[service.metadata["apiVersion"], name] = service
            self._claiming = tuple(
                service for service in self._services.values() if service.rest_protocol and not service.fallback
            )
            self._targets, self._queries, self._signing = targets, queries, signing
        return self._targets

    def by_target(self, target: str) -> Route | None:
        """What an X-Amz-Target header (`CodePipeline_20150709.GetPipeline`) addresses; None when its prefix is unknown."""
        known = self._routes.get(target)
        if known is not None:
            return known
        prefix, _, name = target.rpartition(".")
        service = self._index().get(prefix)
        if service is None or "json" not in service.protocols:
            return None
        route = Route(service, "json", name, service.operation(name))
        if route.operation is not None:  # what a stranger makes up is not kept
            self._routes[target] = route
        return route

    def by_rpc(self, prefix: str, name: str) -> Route | None:
        """What the path of a Smithy RPC (`/service/CodePipeline_20150709/operation/GetPipeline`) addresses, as `by_target`."""
        service = self._index().get(prefix)
        if service is None or "smithy-rpc-v2-cbor" not in service.protocols:
            return None
        return Route(service, "smithy-rpc-v2-cbor", name, service.operation(name))

    def by_query(self, version: str, action: str, signing_name: str = "") -> Route | None:
        """What a Query request addresses by Version and Action.

        Without a signature the version identifies it, and in a link that states none the action.
        """
        self._index()
        if signing_name:
            service = self._queries.get((version, signing_name))
        else:
            service = next(
                (
                    found
                    for (known, _), found in self._queries.items()
                    if version in (known, "") and found.operation(action) is not None
                ),
                None,
            )
        return None if service is None else Route(service, "query", action, service.operation(action))

    def by_signing_name(self, signing_name: str) -> tuple[Service, ...]:
        """The services whose requests are signed for this name."""
        self._index()
        return self._signing.get(signing_name, ())

    def by_path(self, service: Service, head: RequestHead, *, label: str = "") -> Route:
        """Which operation of a REST service a request is; `label` comes from a virtual-host address."""
        operation = service.routes.find(head, label=label)
        return Route(service, service.rest_protocol, operation.name if operation else "", operation)

    def rest(self, signing_name: str, head: RequestHead) -> Service | None:
        """The REST service that a signed request is meant for: of those with this name the one whose paths fit."""
        found = [service for service in self.by_signing_name(signing_name) if service.rest_protocol]
        if len(found) <= 1:
            return found[0] if found else None
        return next((service for service in found if service.routes.find(head)), found[0])

    def rest_unsigned(self, head: RequestHead) -> Service | None:
        """The REST service that an unsigned request is meant for: that which claims its path, else the fallback."""
        self._index()
        return next((service for service in self._claiming if service.routes.claims(head)), self.fallback)

    @property
    def fallback(self) -> Service | None:
        """The service that gets what no other is meant by, if there is one."""
        return next((service for service in self._services.values() if service.fallback), None)

    def signing_rules(self, signing_name: str) -> SigningRules:
        """How requests that are signed for this name are signed."""
        found = self.by_signing_name(signing_name)
        return found[0].signing if found else USUAL

    def scope_of(self, signing_name: str) -> Scope:
        """Where the services live whose requests are signed for this name."""
        found = self.by_signing_name(signing_name)
        return found[0].scope if found else Scope.REGIONAL


def merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `patch` laid over it, dict by dict; None removes a key. Neither is changed."""
    merged = dict(base)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


@cache
def _botocore_data() -> Path:
    spec = importlib.util.find_spec("botocore")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("botocore is not installed: its service models are missing")
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def botocore_model_path(name: str) -> Path:
    """The newest model of a service in the installed botocore. Raises FileNotFoundError."""
    folder = _botocore_data() / name
    for version in sorted((entry for entry in folder.glob("*") if entry.is_dir()), reverse=True):
        for file in ("service-2.json.gz", "service-2.json"):
            if (version / file).exists():
                return version / file
    raise FileNotFoundError(f"botocore has no model of a service {name!r}")


def _read(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    return orjson.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)


@cache
def _document(path: Path) -> Mapping[str, Any]:
    """What is used of a model file, read once in a process. Shared: a patch is merged into a copy."""
    document = _read(path)
    return {key: _strip(document[key]) for key in ("metadata", "operations", "shapes") if key in document}


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a model file, without reading the rest when it stands at the head."""
    with path.open("rb") as file:
        raw = file.read(_HEAD_BYTES)
    if path.suffix == ".gz":
        raw = zlib.decompressobj(wbits=31).decompress(raw, _HEAD_BYTES)
    text = raw.decode("utf-8", "ignore")
    start = text.find('"metadata"')
    if start >= 0:
        try:
            return json.JSONDecoder().raw_decode(text, text.index("{", start))[0]
        except ValueError:
            pass  # cut off or laid out otherwise: read all of it
    return _read(path)["metadata"]


def _strip(value: Any) -> Any:
    """Without what only documentation needs. Members may bear those names: only strings are dropped."""
    if isinstance(value, dict):
        return {
            key: _strip(item) for key, item in value.items() if not (key in _UNUSED_TRAITS and isinstance(item, str))
        }
    if isinstance(value, list):
        return [_strip(item) for item in value]
    return value
