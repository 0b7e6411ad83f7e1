"""How CloudWatch words what its model forbids."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.monitoring.errors import MissingParameter
from penstock.wire.errors import ServiceError
from penstock.wire.profiles import ErrorProfile, Path, Violation
from penstock.wire.shapes import OperationModel


@dataclass(frozen=True, kw_only=True)
class CloudWatchProfile(ErrorProfile):
    """A parameter that is missing has an error of its own, which names it as Query clients write it."""

    code: str = "ValidationError"

    def error(self, operation: OperationModel, violations: list[Violation]) -> ServiceError:
        """See ErrorProfile."""
        missing = [violation for violation in violations if violation.kind == "required"]
        if len(missing) == len(violations):
            return MissingParameter("\n".join(f"The parameter {_spelt(one.path)} is required." for one in missing))
        return super().error(operation, violations)


def _spelt(path: Path) -> str:
    """`("metricData", "1", "member", "metricName")` → `MetricData.member.1.MetricName`."""
    parts: list[str] = []
    for part in path:
        if part == "member" and parts and parts[-1].isdigit():
            parts.insert(-1, part)
        else:
            parts.append(part[:1].upper() + part[1:])
    return ".".join(parts)


PROFILE = CloudWatchProfile()
