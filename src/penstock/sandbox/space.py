"""How much space sandboxes leave, and how sizes are said. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

KEPT = 1 << 30


def keeps(facts: os.statvfs_result) -> int:
    """Bytes of a file system that sandboxes leave free: a tenth of it, a gigabyte at most."""
    return min(KEPT, facts.f_blocks * facts.f_frsize // 10)


def size(count: int) -> str:
    """Bytes as people say them; a GB is 1024³, as in CodeBuild's compute types."""
    amount, unit = count / (1 << 20), "MB"
    for larger in ("GB", "TB"):
        if amount >= 1000:  # four digits would be written with an exponent
            amount, unit = amount / 1024, larger
    return f"{amount:.3g} {unit}"
