"""`check-appspec`: what is wrong with AppSpec files, before anything is deployed by them."""

from __future__ import annotations

import json
import sys
from typing import Dict, List

from penstock_agent import appspec
from penstock_agent.failures import AppSpecInvalid


def check(files: List[str], *, as_json: bool) -> int:
    """Print what there is to say about the files; the exit code. Raises OSError."""
    found = {name: findings(name) for name in files}
    if as_json:
        sys.stdout.write(json.dumps([one for each in found.values() for one in each]) + "\n")
    else:
        for name, each in found.items():
            for one in each:
                sys.stdout.write("%s: %s: %s\n" % (name, one["level"], one["message"]))
            if not each:
                sys.stdout.write("%s is in order\n" % name)
    return 2 if any(one["level"] == "error" for each in found.values() for one in each) else 0


def findings(name: str) -> List[Dict[str, str]]:
    """The refusal of a file, or a warning for each key and hook that means nothing. Raises OSError."""
    try:
        spec = appspec.read(name)
    except AppSpecInvalid as error:
        return [{"level": "error", "message": str(error)}]
    return [{"level": "warning", "message": text} for text in (*spec.unread, *spec.unknown_hooks.values())]
