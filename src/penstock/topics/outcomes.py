"""What comes of a delivery."""

from __future__ import annotations


class Failed(Exception):
    """A delivery was not taken; `final` says that trying again is of no use."""

    def __init__(self, why: str, *, final: bool = False, status: int = 0, after: int = 0) -> None:
        super().__init__(why)
        self.final = final
        self.status = status  # of HTTP; 0 where nothing was answered
        self.after = after  # seconds that the receiver asks to wait


class Busy(Exception):
    """So many deliveries go there already that this one waits."""
