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
    DEFAULT,
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

# AWS writes it with two blanks, and a docstring would lose one of them.
_INVALID_PART = (
    "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag "
    "may not match the part's entity tag."
)


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
    checksum: Checksum
    unused: list[int]  # numbers of parts that were uploaded and not listed


def assemble(upload: Upload, parts: Sequence[Part], wanted: Sequence[Wanted], input: Mapping[str, Any]) -> Assembled:
    """Check a complete call against the parts that are there.

    Raises InvalidPartOrder, InvalidPart, EntityTooSmall, EntityTooLarge, InvalidRequest or BadDigest.
    """
    if not wanted:
        raise InvalidRequest("You must specify at least one part")
    if any(one.number >= two.number for one, two in pairwise(wanted)):
        raise InvalidPartOrder(UploadId=upload.id)
    by_number = {part.number: part for part in parts}
    used: list[Part] = []
    for item in wanted:
        part = by_number.pop(item.number, None)
        if part is None or part.etag != item.etag or not _agrees(upload, item, part):
            raise InvalidPart(_INVALID_PART, UploadId=upload.id, PartNumber=str(item.number), ETag=item.etag)
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
        checksum=_checksum(upload, used, input),
        unused=sorted(by_number),
    )


def _agrees(upload: Upload, item: Wanted, part: Part) -> bool:
    """Whether a part is listed with the checksum that it has. Raises InvalidRequest or BadDigest for one that is missing."""
    algorithm = ALGORITHMS.get(upload.about.checksum_algorithm)
    if algorithm is None:
        return not item.checksums  # the upload was started without any
    given = item.checksums.get(algorithm.name)
    if given is not None:
        return given == part.checksum
    if upload.about.checksum_type == ChecksumType.COMPOSITE:
        for other in item.checksums:
            raise BadDigest(f"The {other.lower()} you specified for part {item.number} did not match what we received.")
        raise InvalidRequest(
            f"The upload was created using a {algorithm.name.lower()} checksum. The complete request must include the checksum "
            f"for each part. It was missing for part {item.number} in the request."
        )
    return True


def _checksum(upload: Upload, used: Sequence[Part], input: Mapping[str, Any]) -> Checksum:
    asked = upload.about.checksum_algorithm
    algorithm = ALGORITHMS[asked] if asked else DEFAULT
    if input.get("ChecksumType") not in (None, upload.about.checksum_type):
        raise InvalidRequest(
            f"The upload was created using the {upload.about.checksum_type or 'null'} checksum mode. The complete request must "
            "use the same checksum mode."
        )
    kind = ChecksumType(upload.about.checksum_type or ChecksumType.FULL_OBJECT)
    if kind is ChecksumType.COMPOSITE:
        value = composite(algorithm, (part.checksum for part in used))
    else:
        value = full_object(algorithm, ((part.checksum, part.size) for part in used))
    stated = announced(input)
    given = stated.pop(algorithm.name, None)
    # S3 takes the checksum of a whole object only beside its type, and none of another algorithm.
    vague = given is not None and kind is ChecksumType.FULL_OBJECT and not input.get("ChecksumType")
    differs = given is not None and given.partition("-")[0] != value.partition("-")[0]
    if differs or (asked and (stated or vague)):
        raise BadDigest(f"The {algorithm.name.lower()} you specified did not match the calculated checksum.")
    return Checksum(algorithm=algorithm.name, type=kind, value=value)
