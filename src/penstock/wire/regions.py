"""Which region a call works in. An installation has its configured regions and one partition, whatever a client signs for."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.wire.call import partition_of
from penstock.wire.errors import SignatureMismatch

# Where IAM and the global endpoint of STS live, by partition; their clients sign for it whatever region they work in.
# (AWS: service endpoints, "Global endpoints".)
_GLOBAL = {"aws": "us-east-1", "aws-us-gov": "us-gov-west-1", "aws-cn": "cn-north-1"}


def region_of_call(configured: Sequence[str], service: str, region: str) -> str:
    """The region in which a call that names `region` works; `configured` are the installation's, the first site's first.

    IAM has no region of its own: it is always its partition's, so that nobody chooses what aws:RequestedRegion says.
    Raises SignatureMismatch, as AWS does for a region that does not exist.
    """
    everywhere = _GLOBAL[partition_of(configured[0])]
    if region in configured or (region == everywhere and service in ("iam", "sts")):
        return everywhere if service == "iam" else region
    raise SignatureMismatch(
        f"Credential should be scoped to a valid region. The region '{region}' is not configured on this installation; "
        f"configured are: {', '.join(configured)}"
    )


def one_partition(configured: Sequence[str]) -> bool:
    """Whether all regions are of one partition, so that nothing has two ARNs."""
    return len({partition_of(region) for region in configured}) == 1
