"""Which region a call works in. An installation has its configured regions and one partition, whatever a client signs for."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from penstock.wire.call import partition_of
from penstock.wire.errors import SignatureMismatch


class Scope(StrEnum):
    """Where a service lives."""

    REGIONAL = "regional"  # in each configured region
    GLOBAL = "global"  # in its partition's home region, whatever region a call names
    BOTH = "both"  # in each region, and with a global endpoint in the home region, which need not be configured


# Where global services and global endpoints live, by partition; their clients sign for it whatever region they work in.
# (AWS: service endpoints, "Global endpoints".)
_GLOBAL = {"aws": "us-east-1", "aws-us-gov": "us-gov-west-1", "aws-cn": "cn-north-1"}


def region_of_call(configured: Sequence[str], scope: Scope, region: str) -> str:
    """The region in which a call that names `region` works; `configured` are the installation's, the first site's first.

    A global service is always in its partition's home region, so that nobody chooses what aws:RequestedRegion says.
    Raises SignatureMismatch, as AWS does for a region that does not exist.
    """
    everywhere = _GLOBAL[partition_of(configured[0])]
    if region in configured or (region == everywhere and scope is not Scope.REGIONAL):
        return everywhere if scope is Scope.GLOBAL else region
    raise SignatureMismatch(
        f"Credential should be scoped to a valid region. The region '{region}' is not configured on this installation; "
        f"configured are: {', '.join(configured)}"
    )


def one_partition(configured: Sequence[str]) -> bool:
    """Whether all regions are of one partition, so that nothing has two ARNs."""
    return len({partition_of(region) for region in configured}) == 1
