"""What a rule can have as a target. Every module here that has a `DESTINATION` is one; the registry finds it by being there."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from penstock.events.errors import ValidationException
from penstock.wire.arns import Arn, parse_arn

if TYPE_CHECKING:
    from penstock.application import App
    from penstock.events.destinations.destination import Destination


@cache
def destinations() -> tuple[Destination, ...]:
    """Every kind of target, by service and resource."""
    modules = (importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    found = (module.DESTINATION for module in modules if hasattr(module, "DESTINATION"))
    return tuple(sorted(found, key=lambda one: (one.service, one.beginning)))


def destination_of(text: str) -> tuple[Arn, Destination] | None:
    """What an ARN names; None for what cannot be a target."""
    for destination in destinations():
        arn = parse_arn(text, destination.service)
        if arn is not None and arn.resource.startswith(destination.beginning) and arn.resource != destination.beginning:
            return arn, destination
    return None


def check_arn(app: App, text: str, account: str, region: str) -> tuple[Arn, Destination]:
    """The kind of a target. Raises ValidationException."""
    found = destination_of(text)
    if found is None:
        if text.count(":") < 5 or not text.startswith("arn:"):
            raise ValidationException(f"Parameter {text} is not valid. Reason: Provided Arn is not in correct format.")
        *names, last = (one.name for one in destinations())
        raise ValidationException(
            f"Parameter {text} is not valid. Reason: Penstock has no targets of this kind. Targets are {', '.join(names)} and {last}."
        )
    arn, destination = found
    if (arn.account, arn.region) != (account, region) and not destination.elsewhere:
        raise ValidationException(
            f"Parameter {text} is not valid. Reason: A target lies in the account and region of its rule."
        )
    if arn.region not in app.settings.all_regions():
        raise ValidationException(f"Parameter {text} is not valid. Reason: The region {arn.region} is not configured.")
    return arn, destination
