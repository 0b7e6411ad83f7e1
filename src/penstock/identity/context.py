"""What conditions may ask of a request."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from penstock.identity.variables import Value
from penstock.wire.call import PrincipalKind

if TYPE_CHECKING:
    from penstock.application import Call

_TAG = "aws:principaltag/"


class RequestContext(Mapping[str, Value]):
    """The condition keys of one call, worked out when one is asked for: most policies ask for none."""

    __slots__ = ("_action", "_call", "_more", "_resource")

    def __init__(self, call: Call, action: str, resource: str, more: Mapping[str, Value] | None = None) -> None:
        """`more` are keys of the action's own, such as sts:externalid; keys are in lower case."""
        self._call = call
        self._action = action
        self._resource = resource
        self._more = more or {}

    def __getitem__(self, key: str) -> Value:
        """The value of a key. Raises KeyError when the request does not have it."""
        if key in self._more:
            return self._more[key]
        if key.startswith(_TAG):
            tags = {name.lower(): value for name, value in self._call.session.tags.items()}
            return tags[key.removeprefix(_TAG)]
        if key == "aws:resourceaccount":
            return _account(self._resource) or self._call.account
        if key == "iam:passedtoservice":
            if self._action != "iam:PassRole":
                raise KeyError(key)
            return f"{self._call.service}.amazonaws.com"  # who is handed a role is who was called with it
        known = _VALUES.get(key)
        if known is None:
            return self._asked()[key]
        value = known(self._call)
        if not value:
            raise KeyError(key)
        return value

    def _asked(self) -> Mapping[str, Value]:
        """What the request asks for, as the operation's service says it."""
        memo = self._call.memo
        if "keys" not in memo:
            memo["keys"] = memo["asked"]() if "asked" in memo else {}
        return memo["keys"]

    def __iter__(self) -> Iterator[str]:
        keys = (*self._more, "aws:resourceaccount", *_VALUES, *self._asked())
        return (key for key in keys if self.get(key) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _account(arn: str) -> str:
    parts = arn.split(":", 5)
    return parts[4] if len(parts) == 6 else ""


def _principal_arn(call: Call) -> str:
    return call.session.role_arn or call.session.arn


def _username(call: Call) -> str:
    return call.session.arn.rpartition("/")[2] if call.session.kind is PrincipalKind.USER else ""


def _mfa_present(call: Call) -> str:
    """Said of temporary credentials and of the console, and never of an access key alone (AWS: aws:MultiFactorAuthPresent)."""
    if call.session.mfa:
        return "true"
    return "false" if call.session.issued or call.via == "console" else ""


def _service_names(call: Call) -> tuple[str, ...]:
    """A service by its name, and by the one that it has in the region."""
    name = call.session.service
    return (name, f"{name.removesuffix('.amazonaws.com')}.{call.region}.amazonaws.com") if name else ()


def _time(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat()


_TYPES = {
    PrincipalKind.ROOT: "Account", PrincipalKind.USER: "User", PrincipalKind.ROLE: "AssumedRole",
    PrincipalKind.FEDERATED: "FederatedUser",
}  # fmt: skip
_AGENT = 1024  # characters of a User-Agent header that policies see

# The global condition keys: one row serves every way in. An empty value means that the request does not have the key.
# (AWS: IAM User Guide, "AWS global condition context keys".)
_GLOBAL: dict[str, Callable[[Call], Value]] = {
    "aws:CalledVia": lambda call: call.called_via,
    "aws:CalledViaFirst": lambda call: call.called_via[0] if call.called_via else "",
    "aws:CalledViaLast": lambda call: call.called_via[-1] if call.called_via else "",
    "aws:CurrentTime": lambda call: _time(call.now),
    "aws:EpochTime": lambda call: str(call.now // 1000),
    "aws:FederatedProvider": lambda call: call.session.provider,
    "aws:MultiFactorAuthAge": lambda call: str((call.now - call.session.mfa) // 1000) if call.session.mfa else "",
    "aws:MultiFactorAuthPresent": _mfa_present,
    "aws:PrincipalAccount": lambda call: call.session.account,
    "aws:PrincipalArn": _principal_arn,
    "aws:PrincipalIsAWSService": lambda call: "true" if call.session.kind is PrincipalKind.SERVICE else "false",
    "aws:PrincipalServiceName": lambda call: call.session.service,
    "aws:PrincipalServiceNamesList": _service_names,
    "aws:PrincipalType": lambda call: _TYPES.get(call.session.kind, ""),
    "aws:RequestedRegion": lambda call: call.memo.get("region", call.region),
    "aws:SecureTransport": lambda call: "true" if call.secure else "false",
    # Of a service that assumes a role: for whom and for what it acts. Sessions of the role do not have them.
    "aws:SourceAccount": lambda call: call.session.account if call.session.kind is PrincipalKind.SERVICE else "",
    "aws:SourceArn": lambda call: call.session.source_arn,
    "aws:SourceIdentity": lambda call: call.session.source_identity,
    "aws:SourceIp": lambda call: call.source_ip,
    "aws:TokenIssueTime": lambda call: _time(call.session.issued) if call.session.issued else "",
    "aws:UserAgent": lambda call: call.user_agent[:_AGENT],
    "aws:userid": lambda call: call.session.principal_id,
    "aws:username": _username,
    # Only of a service that hands on the caller's own session: under a role of its own it is a caller like any other.
    "aws:ViaAWSService": lambda call: "true" if call.called_via else "false",
}
_VALUES = {key.lower(): value for key, value in _GLOBAL.items()}
_SPELT = {key.lower(): key for key in (*_GLOBAL, "aws:ResourceAccount", "aws:TagKeys", "iam:PassedToService")}
_SPELT_BEFORE = {key.lower(): key for key in ("aws:PrincipalTag/", "aws:RequestTag/", "aws:ResourceTag/")}


def as_documented(key: str) -> str:
    """A condition key in the spelling of AWS's documentation, as far as it has one that all services share."""
    beginning, slash, rest = key.partition("/")
    before = _SPELT_BEFORE.get(beginning + slash)
    return _SPELT.get(key, key) if before is None else before + rest
