"""How an object is made of its parts: order, sizes, ETag and checksum. Pure.

AWS: CompleteMultipartUpload; "Multipart upload limits".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from penstock.objects.checksums import (
    ALGORITHMS,
    Algorithm,
    ChecksumType,
    announced,
    composite,
    full_object,
    multipart_etag,
)
from penstock.objects.errors import (
    BadDigest,
    EntityTooLarge,
    EntityTooSmall,
    InvalidPart,
    InvalidPartOrder,
    InvalidRequest,
)
from penstock.objects.model import MAX_OBJECT, MIN_PART, Checksum, Part, Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A part as the caller lists it."""

    number: int
    etag: str  # without quotes
    checksums: Mapping[str, str]  # by algorithm

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Wanted:
        """From a member of `MultipartUpload.Parts`."""
        return cls(
            number=item.get("PartNumber") or 0, etag=(item.get("ETag") or "").strip('"'), checksums=announced(item)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """What the parts make."""

    etag: str
    size: int
    checksum: Checksum | None
    unused: list[int]  # numbers of parts that were uploaded and not listed


def assemble(upload: Upload, parts: Sequence[Part], wanted: Sequence[Wanted], input: Mapping[str, Any]) -> Assembled:
    """Check a complete call against the parts that are there.

    Raises InvalidPartOrder, InvalidPart, EntityTooSmall, EntityTooLarge, InvalidRequest or BadDigest.
    """
    if any(one.number >= two.number for one, two in pairwise(wanted)):
        raise InvalidPartOrder(UploadId=upload.id)
    by_number = {part.number: part for part in parts}
    used: list[Part] = []
    algorithm = ALGORITHMS.get(upload.about.checksum_algorithm)
    for item in wanted:
        part = by_number.pop(item.number, None)
        if part is None or part.etag != item.etag or not _agrees(algorithm, item, part):
            raise InvalidPart(UploadId=upload.id, PartNumber=str(item.number), ETag=item.etag)
        used.append(part)
    for part in used[:-1]:
        if part.size < MIN_PART:
            raise EntityTooSmall(
                ProposedSize=str(part.size),
                MinSizeAllowed=str(MIN_PART),
                PartNumber=str(part.number),
                ETag=part.etag,
            )
    size = sum(part.size for part in used)
    if size > MAX_OBJECT:
        raise EntityTooLarge(ProposedSize=str(size), MaxSizeAllowed=str(MAX_OBJECT))
    stated = input.get("MpuObjectSize")
    if stated is not None and int(stated) != size:
        raise InvalidRequest(
            f"The provided 'x-amz-mp-object-size' header value {stated} does not match what was computed: {size}"
        )
    return Assembled(
        etag=multipart_etag(part.etag for part in used),
        size=size,
        checksum=_checksum(upload, algorithm, used, input),
        unused=sorted(by_number),
    )


def _agrees(algorithm: Algorithm | None, item: Wanted, part: Part) -> bool:
    if algorithm is None:
        return True  # nothing was kept to compare with; the ETag has matched
    given = item.checksums.get(algorithm.name)
    return given is None or given == part.checksum


def _checksum(
    upload: Upload, algorithm: Algorithm | None, used: Sequence[Part], input: Mapping[str, Any]
) -> Checksum | None:
    if algorithm is None:
        return None
    kind = ChecksumType(upload.about.checksum_type)
    if input.get("ChecksumType") not in (None, kind.value):
        raise InvalidRequest(
            f"The upload was created using the {kind.value} checksum mode. The complete request must use the same checksum mode."
        )
    if kind is ChecksumType.COMPOSITE:
        value = composite(algorithm, (part.checksum for part in used))
    else:
        value = full_object(algorithm, ((part.checksum, part.size) for part in used))
    given = announced(input).get(algorithm.name)
    if given is not None and given.partition("-")[0] != value.partition("-")[0]:
        raise BadDigest(f"The {algorithm.name.lower()} you specified did not match the calculated checksum.")
    return Checksum(algorithm=algorithm.name, type=kind, value=value)
