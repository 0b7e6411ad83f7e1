"""What a signed specification may be used for: its own host and commands, in time, once, and never after a newer one.

The signature shows who made a specification. That the same one is not shown again for another command is up to the host,
which remembers for each deployment group the newest deployment and the last of its events that ran.
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any, Dict, Optional

from penstock_agent.failures import CommandFailure
from penstock_agent.layout import write_durably
from penstock_agent.specification import IssuedFor, Specification

SKEW_MS = 300_000  # by which the clocks of host and server may differ


class Replays:
    """The newest deployment of each group, on the disk below the agent's root directory."""

    def __init__(self, root: str, host_identifier: str, *, required: bool) -> None:
        self._directory = os.path.join(root, "deployment-instructions")
        self._host = host_identifier
        self._required = required
        self._lock = threading.Lock()

    def _path(self, group_id: str) -> str:
        return os.path.join(self._directory, group_id + "-newest")

    def _newest(self, group_id: str) -> Optional[Dict[str, Any]]:
        path = self._path(group_id)
        try:
            with open(path, encoding="ascii") as file:
                found = json.load(file)
            return {"deployment": str(found["deployment"]), "begun": int(found["begun"]), "index": int(found["index"])}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CommandFailure(
                "%s cannot be read (%s), so nothing tells an old deployment from a new one. Remove the file once you have seen "
                "what this host runs, and deploy again." % (path, type(error).__name__)
            ) from None

    def check(self, record: Dict[str, Any], specification: Specification, now_ms: int) -> None:
        """Raise CommandFailure unless the specification was issued for this very command.

        `now_ms` is the time by the host's clock. A server that does not say what it issued a specification for (AWS's) is
        taken at its word where no signer is pinned: then TLS identifies it.
        """
        issued = specification.issued_for
        if issued is None:
            if self._required:
                raise _refused("it does not say for which host and command it was signed")
            return
        if issued.host_identifier != self._host:
            raise _refused("it was signed for the host %s, and this is %s" % (issued.host_identifier, self._host))
        if issued.execution != record["execution"]:
            raise _refused("it was signed for another deployment than that of the command")
        if issued.expires_ms + SKEW_MS < now_ms:
            raise _refused(
                "it expired at %s by this host's clock. Set the clock if it is wrong; if it is right, something between this "
                "host and the server repeats what was said before"
                % time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(issued.expires_ms / 1000))
            )
        with self._lock:
            self._check_newest(record, specification, issued)

    def _check_newest(self, record: Dict[str, Any], specification: Specification, issued: IssuedFor) -> None:
        index = self._index(record, issued)
        newest = self._newest(specification.group_id)
        if newest is None:
            return
        if issued.begun_ms < newest["begun"]:
            raise _refused(
                "deployment %s is older than %s, which this host has had already"
                % (specification.deployment_id, newest["deployment"])
            )
        if newest["deployment"] == specification.deployment_id and index <= newest["index"]:
            raise _refused("%s of it, or a later event, has run on this host already" % record["event"])

    def ran(self, record: Dict[str, Any], specification: Specification) -> None:
        """Remember that the command is about to run.

        Raises CommandFailure when another has come in between, or OSError: then it must not run.
        """
        issued = specification.issued_for
        if issued is None:
            return
        found = {
            "deployment": specification.deployment_id,
            "begun": issued.begun_ms,
            "index": self._index(record, issued),
        }
        with self._lock:
            # Commands run side by side, and two that were sent at once have both passed the first check.
            self._check_newest(record, specification, issued)
            write_durably(self._path(specification.group_id), json.dumps(found).encode("ascii"))

    def _index(self, record: Dict[str, Any], issued: IssuedFor) -> int:
        """Which of the deployment's events the command is."""
        identifier = record["id"]
        number = identifier[len(issued.command_prefix) :].partition(".")[0]
        if not identifier.startswith(issued.command_prefix) or not number.isdecimal() or len(number) > 4:
            raise _refused("it was signed for other commands than %s" % identifier[:100])
        index = int(number)
        if index >= len(issued.events) or issued.events[index] != record["event"]:
            raise _refused("event %d of the deployment is not %s" % (index, record["event"]))
        return index


def _refused(why: str) -> CommandFailure:
    return CommandFailure("The deployment specification is not for this command: %s." % why)
