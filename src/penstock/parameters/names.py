"""What parameters may be called, and what a request may call one. Pure. (AWS: Systems Manager User Guide, "About requirements and constraints for parameter names".)"""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.parameters.errors import (
    AccessDeniedException,
    HierarchyLevelLimitExceededException,
    ParameterNotFound,
    ValidationException,
)

MAX_LEVELS = 15
PUBLIC = "aws/service/"
"""What the paths of public parameters begin with. They are of no account, and there for all of them."""
_MAX_ARN = 1011  # characters
_NAME = re.compile(r"[A-Za-z0-9_.-]+|(?:/[A-Za-z0-9_.-]+)+")
_ARN = re.compile(r"arn:[a-z-]+:ssm:([a-z0-9-]*):([0-9]{12})?:parameter/([^:]+)(?::(.+))?")
_LABEL = re.compile(r"(?!aws|ssm|[0-9])[A-Za-z0-9_.-]{1,100}", re.IGNORECASE)
_SPELLING = (
    "If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers "
    "and the following 3 symbols .-_"
)


@dataclass(frozen=True, slots=True)
class Named:
    """What a request calls a parameter."""

    account: str  # "" of a public one
    region: str
    path: str  # of its ARN
    name: str  # as it is spelt; "" in an ARN, which does not say whether there is a slash before
    selector: str  # a version or a label, or ""

    def stands_for(self, name: str) -> bool:
        """Whether it is the parameter of this name, and not another spelling of its path."""
        return self.name in ("", name)

    @property
    def place(self) -> tuple[str, str]:
        """Account and region."""
        return self.account, self.region


def named(text: str, account: str, region: str, *, selects: bool = False) -> Named:
    """A parameter by its name or ARN; with a version or a label behind it where an operation `selects` one. Raises ParameterNotFound."""
    if text.startswith("arn:"):
        found = _ARN.fullmatch(text)
        if found is None or (found[4] and not selects):
            raise ParameterNotFound
        path = found[3].lstrip("/")
        if bool(found[2]) is path.startswith(PUBLIC):
            raise ParameterNotFound
        return Named(found[2] or "", found[1], path, "", found[4] or "")
    name, colon, selector = text.partition(":")
    if colon and not (selects and selector):
        raise ParameterNotFound
    path = path_of(name)
    return Named("" if path.startswith(PUBLIC) else account, region, path, name, selector)


def path_of(name: str) -> str:
    """What stands in the ARN of a name."""
    return name.removeprefix("/")


def check_new(name: str, arn: str) -> None:
    """Raises what AWS answers for a name that no parameter may get."""
    levels, bare = name.count("/"), name.lower().removeprefix("/")
    if levels > 1 and bare.startswith("aws"):
        raise AccessDeniedException(name=name)
    if levels < 2 and bare.startswith(("aws", "ssm")):
        raise ValidationException('Parameter name: can\'t be prefixed with "aws" or "ssm" (case-insensitive).')
    if bare.startswith("ssm"):
        raise ValidationException(f'Parameter name: can\'t be prefixed with "ssm" (case-insensitive). {_SPELLING}')
    _check_spelling(name, arn)


def check_public(name: str, arn: str) -> None:
    """Raises ValidationException or HierarchyLevelLimitExceededException for a name that no public parameter may get."""
    if not name.startswith(f"/{PUBLIC}"):
        raise ValidationException(f"The names of public parameters begin with /{PUBLIC}.")
    _check_spelling(name, arn)


def _check_spelling(name: str, arn: str) -> None:
    levels = name.count("/")
    if levels and not name.startswith("/"):
        raise ValidationException("Parameter name must be a fully qualified name.")
    if not _NAME.fullmatch(name):
        raise ValidationException(
            f'Parameter name: can\'t be prefixed with "aws" or "ssm" (case-insensitive). {_SPELLING}'
        )
    if levels > MAX_LEVELS:
        raise HierarchyLevelLimitExceededException(levels=MAX_LEVELS)
    if len(arn) > _MAX_ARN:
        raise ValidationException(
            f"The ARN of the parameter would have {len(arn)} characters; the longest one has {_MAX_ARN}. Choose a shorter name."
        )


def is_label(text: str) -> bool:
    """Whether a version may have it: not a number, and not of AWS's own."""
    return _LABEL.fullmatch(text) is not None
