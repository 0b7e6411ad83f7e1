"""ARNs that callers name. They say what is looked for; what is authorised is the ARN of what was found."""

from __future__ import annotations

from typing import Any, NamedTuple

from penstock.wire.call import Call


class Arn(NamedTuple):
    """The parts of an ARN."""

    partition: str
    service: str
    region: str
    account: str
    resource: str  # may have colons

    def is_here(self, call: Call[Any]) -> bool:
        """Whether it is of the call's own partition, region and account. No other ARN means anything of the caller's."""
        return (self.partition, self.region, self.account) == (call.partition, call.region, call.account)


def parse_arn(text: str, service: str) -> Arn | None:
    """The ARN of something of a service; None for whatever is not such an ARN.

    Everything is compared as it is written: AWS's ARNs tell upper from lower case.
    """
    parts = text.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn" or parts[2] != service or not parts[5]:
        return None
    return Arn(*parts[1:])


def resource_here(call: Call[Any], text: str, service: str) -> str | None:
    """What an ARN names among the service's things in the call's partition, region and account; None for any other text."""
    arn = parse_arn(text, service)
    return arn.resource if arn is not None and arn.is_here(call) else None


def authorised_arn(call: Call[Any], text: str, service: str) -> str:
    """The ARN that an operation on an ARN is authorised on: made anew from what the text names here.

    Whatever names nothing here is authorised on `*`: the operation finds nothing by it and says why.
    """
    resource = resource_here(call, text, service)
    return "*" if resource is None else call.arn(service, resource)
