"""What a new version of a parameter is. Pure. (AWS: Systems Manager API Reference, PutParameter; User Guide, "Managing parameter tiers".)"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.parameters.errors import (
    InvalidAllowedPatternException,
    InvalidPolicyTypeException,
    ParameterPatternMismatchException,
    ValidationException,
)
from penstock.wire.patterns import compiled

STANDARD, ADVANCED, INTELLIGENT = "Standard", "Advanced", "Intelligent-Tiering"
SECURE = "SecureString"
MAX_BYTES = {STANDARD: 4096, ADVANCED: 8192}  # of a value in UTF-8
MAX_PARAMETERS = {STANDARD: 10_000, ADVANCED: 100_000}  # of an account in a region
MAX_VERSIONS = 100  # of a parameter
MAX_LABELS = 10  # of a version
DEFAULT_KEY = "alias/aws/ssm"
_DATA_TYPE = "text"
_DOWNGRADE = (
    "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter tier to the "
    "standard-parameter tier. If necessary, you can delete the advanced parameter and recreate it as a standard parameter."
)


@dataclass(frozen=True, slots=True)
class Written:
    """What a version says beside its value."""

    type: str
    tier: str
    key: str
    description: str
    pattern: str


def written(input: Mapping[str, Any], old: Any) -> Written:
    """The version that an input of PutParameter makes; what it leaves out stays as it is in `old`, a row or None. Raises the service's errors."""
    if "Policies" in input:
        raise InvalidPolicyTypeException
    if (data_type := input.get("DataType") or _DATA_TYPE) != _DATA_TYPE:
        raise ValidationException(f"The following data type is not supported: {data_type}. Only text is.")
    kind = input.get("Type") or (old.type if old is not None else "")
    if not kind:
        raise ValidationException("A parameter type is required when you create a parameter.")
    if "KeyId" in input and kind != SECURE:
        raise ValidationException("KeyId is required for SecureString type parameter only.")
    before = old.key if old is not None else ""
    found = Written(
        type=kind,
        tier=_tier(input, old),
        key=(input.get("KeyId") or before or DEFAULT_KEY) if kind == SECURE else "",
        description=input.get("Description", old.description if old is not None else ""),
        pattern=input.get("AllowedPattern", old.pattern if old is not None else ""),
    )
    _check_value(input["Value"], found.pattern)
    return found


def _tier(input: Mapping[str, Any], old: Any) -> str:
    before = old.tier if old is not None else STANDARD
    size = len(input["Value"].encode())
    wanted = input.get("Tier", before)
    if wanted == INTELLIGENT:
        wanted = ADVANCED if before == ADVANCED or size > MAX_BYTES[STANDARD] else STANDARD
    if (before, wanted) == (ADVANCED, STANDARD):
        raise ValidationException(_DOWNGRADE)
    if size > MAX_BYTES[wanted]:
        more = " To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier."
        raise ValidationException(
            f"{wanted} tier parameters support a maximum parameter value of {MAX_BYTES[wanted]} characters."
            + (more if wanted == STANDARD else "")
        )
    return wanted


def _check_value(value: str, pattern: str) -> None:
    if not value:
        raise ValidationException(
            "1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length greater than or "
            "equal to 1."
        )
    try:
        fits = not pattern or compiled(pattern).fullmatch(value)
    except ValueError as error:
        raise InvalidAllowedPatternException(reason=str(error)) from None
    if not fits:
        raise ParameterPatternMismatchException(pattern=pattern)
