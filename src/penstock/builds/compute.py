"""What a build may use of its machine, by its project's compute type (AWS: "Build environment compute modes and types")."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from penstock.sandbox.specification import Limits

_GB = 1 << 30
# GB of memory, processors, GB of disk.
_TYPES = {
    "BUILD_GENERAL1_SMALL": (4, 2, 64),
    "BUILD_GENERAL1_MEDIUM": (8, 4, 128),
    "BUILD_GENERAL1_LARGE": (16, 8, 128),
    "BUILD_GENERAL1_XLARGE": (72, 36, 256),
    "BUILD_GENERAL1_2XLARGE": (145, 72, 824),
    "BUILD_LAMBDA_1GB": (1, 1, 10),
    "BUILD_LAMBDA_2GB": (2, 2, 10),
    "BUILD_LAMBDA_4GB": (4, 3, 10),
    "BUILD_LAMBDA_8GB": (8, 5, 10),
    "BUILD_LAMBDA_10GB": (10, 6, 10),
}
_PROCESSES = 4096
_SERVER_SHARE = 10  # one part in so many of the machine's memory is not a build's


def limits_of(environment: Mapping[str, Any], *, seconds: float, memory: int = 0) -> Limits:
    """What a build may use by its project's environment.

    ATTRIBUTE_BASED_COMPUTE takes what `computeConfiguration` names, and the smallest type's for what it does not. `memory`: bytes of this
    machine (0: ask it), of which a build never gets all.
    """
    ram, cpus, disk = _TYPES.get(environment.get("computeType", ""), _TYPES["BUILD_GENERAL1_SMALL"])
    if environment.get("computeType") == "ATTRIBUTE_BASED_COMPUTE":
        asked = environment.get("computeConfiguration", {})
        ram, cpus, disk = (
            int(asked.get(name) or standard) for name, standard in (("memory", ram), ("vCpu", cpus), ("disk", disk))
        )
    machine = memory or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Limits(
        memory=min(ram * _GB, machine - machine // _SERVER_SHARE),
        cpus=cpus,
        processes=_PROCESSES,
        disk=disk * _GB,
        seconds=seconds,
    )
