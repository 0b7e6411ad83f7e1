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
_VALUES: dict[str, Callable[[Call], Value]] = {
    "aws:calledvia": lambda call: call.called_via,
    "aws:calledviafirst": lambda call: call.called_via[0] if call.called_via else "",
    "aws:calledvialast": lambda call: call.called_via[-1] if call.called_via else "",
    "aws:currenttime": lambda call: _time(call.now),
    "aws:epochtime": lambda call: str(call.now // 1000),
    "aws:federatedprovider": lambda call: call.session.provider,
    "aws:multifactorauthage": lambda call: str((call.now - call.session.mfa) // 1000) if call.session.mfa else "",
    "aws:multifactorauthpresent": _mfa_present,
    "aws:principalaccount": lambda call: call.session.account,
    "aws:principalarn": _principal_arn,
    "aws:principalisawsservice": lambda call: "true" if call.session.kind is PrincipalKind.SERVICE else "false",
    "aws:principalservicename": lambda call: call.session.service,
    "aws:principalservicenameslist": _service_names,
    "aws:principaltype": lambda call: _TYPES.get(call.session.kind, ""),
    "aws:requestedregion": lambda call: call.memo.get("region", call.region),
    "aws:securetransport": lambda call: "true" if call.secure else "false",
    # Of a service that assumes a role: for whom and for what it acts. Sessions of the role do not have them.
    "aws:sourceaccount": lambda call: call.session.account if call.session.kind is PrincipalKind.SERVICE else "",
    "aws:sourcearn": lambda call: call.session.source_arn,
    "aws:sourceidentity": lambda call: call.session.source_identity,
    "aws:sourceip": lambda call: call.source_ip,
    "aws:tokenissuetime": lambda call: _time(call.session.issued) if call.session.issued else "",
    "aws:useragent": lambda call: call.user_agent[:_AGENT],
    "aws:userid": lambda call: call.session.principal_id,
    "aws:username": _username,
    # Only of a service that hands on the caller's own session: under a role of its own it is a caller like any other.
    "aws:viaawsservice": lambda call: "true" if call.called_via else "false",
}
