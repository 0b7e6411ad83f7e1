"""How many examples a property that takes long is tried on: a third of them in `make test`, every one in `make prove`.

In `make test` they are the same in each run, so that what a change breaks is told from what chance finds.
"""

from __future__ import annotations

import os

EVERY = os.environ.get("PENSTOCK_EXAMPLES") == "every"


def examples(number: int) -> int:
    """`number`, or a third of it in a run that is to be short."""
    return number if EVERY else number // 3
