"""S3's messages for violated constraints."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.wire.errors import ServiceError, error_class
from penstock.wire.profiles import ErrorProfile, Violation, print_value
from penstock.wire.shapes import OperationModel


@dataclass(frozen=True, kw_only=True)
class XmlProfile(ErrorProfile):
    """What stands in the XML body is MalformedXML, what stands in path, query or headers InvalidArgument."""

    code: str = "InvalidArgument"

    def error(self, operation: OperationModel, violations: list[Violation]) -> ServiceError:
        """See ErrorProfile."""
        first = violations[0]
        if not first.location:
            return error_class("MalformedXML")(
                "The XML you provided was not well-formed or did not validate against our published schema"
            )
        assert operation.input is not None
        name = operation.input.members[first.member].wire_name(first.member)  # of the header or parameter
        return error_class(self.code)(
            f"{name}: {first.constraint}",
            ArgumentName=name,
            ArgumentValue="" if first.value is None or first.sensitive else print_value(first.value),
        )
