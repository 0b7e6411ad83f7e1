"""What comes of a delivery."""

from __future__ import annotations

from typing import NamedTuple


class Answered(NamedTuple):
    """A delivery was taken: what the receiver answered, as far as it is read."""

    status: int = 0  # of HTTP; 0 of mail
    body: str = ""


class Failed(Exception):
    """A delivery was not taken; `final` says that trying again is of no use."""

    def __init__(
        self, why: str, *, final: bool = False, status: int = 0, after: int = 0, code: str = "", body: str = ""
    ) -> None:
        super().__init__(why)
        self.final = final
        self.status = status  # of HTTP; 0 where nothing was answered
        self.after = after  # seconds that the receiver asks to wait
        self.body = body  # of the answer, as far as it is read
        # Of a dead letter, as those of EventBridge have it (AWS: "Using dead-letter queues to process undelivered events").
        self.code = code or ("ERROR_FROM_TARGET" if status else "CONNECTION_FAILURE")


class Busy(Exception):
    """So many deliveries go there already that this one waits."""
