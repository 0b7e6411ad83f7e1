"""From a HostCommand to its one result: specification, acknowledgement, work, completion; each survives both sides' crashes."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import OrderedDict
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from penstock_agent import diagnostics, log
from penstock_agent.cms import Certificate
from penstock_agent.connection import Response, Unreachable
from penstock_agent.events import Events, Work
from penstock_agent.failpoints import failpoint
from penstock_agent.failures import FAILED_AFTER_RESTART, SUCCEEDED, BundleRefused, CommandFailure, reason
from penstock_agent.layout import Deployment
from penstock_agent.replays import Replays
from penstock_agent.service import CommandService, Objects, Refused
from penstock_agent.specification import Specification, open_specification
from penstock_agent.spool import Spool

RESTARTED = "Failed: Failing in-progress lifecycle event after an agent restart."
DOWNLOAD_TRIES = 5
UPDATE_INTERVAL_S = 1.0
DENIALS_S = 60.0  # of a specification, with a key that just polled
REFUSALS_S = 3600.0  # how long a key that is turned away may be mended


class Stopped(Exception):
    """The agent is about to end; what is owed stays in the spool."""


class Backoff:
    """Growing waits with jitter: about 0.1 s at first, `limit_s` at most."""

    def __init__(self, limit_s: float = 30.0) -> None:
        self._limit = limit_s
        self._next = 0.1

    def reset(self) -> None:
        """After a success."""
        self._next = 0.1

    def next(self) -> float:
        """Seconds to wait now."""
        share = int.from_bytes(os.urandom(2), "big") / 65536
        wait = self._next * (0.5 + share)
        self._next = min(self._next * 2, self._limit)
        return wait


class Commands:
    """Carries out commands. `quit` ends waiting for the service; work itself is ended by Events' own `stopping`."""

    def __init__(
        self,
        service: CommandService,
        events: Events,
        spool: Spool,
        pinned: Sequence[Certificate],
        quit_event: threading.Event,
        replays: Replays,
    ) -> None:
        self._service = service
        self._events = events
        self._spool = spool
        self._pinned = pinned
        self._quit = quit_event
        self._replays = replays
        self._specifications: OrderedDict[str, Specification] = OrderedDict()
        self._lock = threading.Lock()
        self._no_updates_until = 0.0
        self.executing: Set[str] = set()  # ids of commands whose work is being done

    def run(self, command: Dict[str, Any]) -> None:
        """Everything for one command from PollHostCommand. Raises Stopped."""
        record: Dict[str, Any] = {
            "id": command["HostCommandIdentifier"],
            "execution": command["DeploymentExecutionId"],
            "event": command["CommandName"],
            "taken": time.time(),
            "state": "acknowledging",
        }
        self._carry(record)

    def resume(self, record: Dict[str, Any]) -> None:
        """Go on with a record that a former run of the agent left. Raises Stopped."""
        if record["state"] == "completed":
            self._deliver(record)
        elif record["state"] == "running":
            log.warning("command.failed_after_restart", command=record["event"], id=record["id"])
            self._complete(record, "Failed", diagnostics.result(FAILED_AFTER_RESTART, RESTARTED))
        else:
            self._carry(record, resumed=True)

    def repeat(self, record: Dict[str, Any]) -> None:
        """Report a result again that the service seems to have lost. Raises Stopped."""
        if record.get("diagnostics"):
            self._deliver(record)

    def _carry(self, record: Dict[str, Any], *, resumed: bool = False) -> None:
        try:
            specification = self._specification(record["execution"])
            self._replays.check(record, specification, self._service.now_ms())
            record.update(
                deployment=specification.deployment_id,
                group=specification.group_name,
                application=specification.application_name,
            )
            work = Work(record["event"], specification)
            noop = self._events.is_noop(work)
            self._note(record)
        except CommandFailure as failure:
            log.error("command.refused", command=record["event"], id=record["id"], reason=failure.message)
            self._complete(record, "Failed", diagnostics.result(failure.code, failure.message, script=failure.script))
            return
        failpoint("command.before_acknowledge")
        status = self._acknowledge(record, noop=noop, resumed=resumed)
        if status is None:
            return
        failpoint("command.after_acknowledge")
        if not noop:
            record["state"] = "running"
            try:
                self._note(record, specification)
            except CommandFailure as failure:
                self._complete(record, "Failed", diagnostics.result(failure.code, failure.message))
                return
        self._complete(record, *self._execute(work, record))

    def _note(self, record: Dict[str, Any], starting: Optional[Specification] = None) -> None:
        """Write down what is done before it is done. Raises CommandFailure when that is not possible: nothing is done then."""
        try:
            self._spool.write(record)
            if starting is not None:
                self._replays.ran(record, starting)
        except OSError as error:
            raise CommandFailure(
                "The agent did not run %s, because it cannot write to its directory (root_dir): %s."
                % (record["event"], reason(error))
            ) from error

    def _acknowledge(self, record: Dict[str, Any], *, noop: bool, resumed: bool) -> Optional[str]:
        """Acknowledge; None when the command is not to be run."""
        body = {
            "HostCommandIdentifier": record["id"],
            "Diagnostics": diagnostics.envelope({"IsCommandNoop": noop}),
        }
        answer, repeated = self._until_answered("PutHostCommandAcknowledgement", body)
        if answer is None:
            log.warning("command.acknowledgement_refused", command=record["event"], id=record["id"])
            self._spool.forget(record["id"])
            return None
        status = str(answer.get("CommandStatus") or "InProgress")
        if status == "Failed" and noop:
            self._complete(record, "Succeeded", diagnostics.result(SUCCEEDED, "Succeeded: CompletedNoopCommand"))
            return None
        if status == "Failed" and (resumed or repeated):
            # An acknowledgement whose answer was lost may be the one that won; say so rather than leave the service waiting.
            self._complete(record, "Failed", diagnostics.result(FAILED_AFTER_RESTART, RESTARTED))
            return None
        if status in ("Succeeded", "Failed"):
            log.info("command.dropped", command=record["event"], id=record["id"], status=status)
            self._spool.forget(record["id"])
            return None
        return status

    def _execute(self, work: Work, record: Dict[str, Any]) -> Tuple[str, Dict[str, str]]:
        started = time.monotonic()
        log.info("command.started", command=work.event, deployment=work.specification.deployment_id)
        updates = _Updates(self, record["id"])
        self.executing.add(record["id"])
        try:
            outcome = self._events.run(work, updates.changed)
            status = "Succeeded"
            message = "Succeeded: " + outcome.note if outcome.note else "Succeeded"
            result = diagnostics.result(SUCCEEDED, message, log=outcome.log)
            code = SUCCEEDED
        except CommandFailure as failure:
            status, code = "Failed", failure.code
            output = getattr(failure, "log", "")
            result = diagnostics.result(failure.code, failure.message, script=failure.script, log=output)
            log.warning("command.failed", command=work.event, code=code, reason=failure.message)
        except Exception as error:
            failure = CommandFailure("The agent could not carry out %s: %s." % (work.event, reason(error)))
            status, code = "Failed", failure.code
            result = diagnostics.result(failure.code, failure.message)
            log.fault("command.broken", error)
        finally:
            updates.end()
            self.executing.discard(record["id"])
        record["code"] = code
        log.info(
            "command.ended",
            command=work.event,
            deployment=work.specification.deployment_id,
            status=status,
            ms=int((time.monotonic() - started) * 1000),
        )
        return status, result

    def _complete(self, record: Dict[str, Any], status: str, result: Dict[str, str]) -> None:
        record.update(state="completed", status=status, diagnostics=result, finished=time.time())
        failpoint("command.before_result")
        try:
            self._spool.write(record)
        except OSError as error:
            log.error("command.result_not_kept", command=record["event"], id=record["id"], reason=error)
        failpoint("command.after_result")
        self._deliver(record)

    def _deliver(self, record: Dict[str, Any]) -> None:
        body = {
            "HostCommandIdentifier": record["id"],
            "CommandStatus": record["status"],
            "Diagnostics": record["diagnostics"],
        }
        answer, _ = self._until_answered("PutHostCommandComplete", body)
        failpoint("command.after_complete")
        if answer is None:
            log.warning("command.result_refused", command=record["event"], id=record["id"])
        try:
            self._spool.finish(record)
        except OSError as error:
            log.warning("command.result_not_filed", command=record["event"], id=record["id"], reason=error)

    def _until_answered(self, operation: str, body: Dict[str, Any]) -> Tuple[Optional[Dict[str, Any]], bool]:
        """The answer, or None when the service refuses for good; and whether an earlier try may have been taken."""
        backoff = Backoff()
        repeated = False
        timeout = time.monotonic() + REFUSALS_S
        while True:
            try:
                return self._service.call(operation, body), repeated
            except Refused as error:
                log.warning("service.refused", operation=operation, reason=error)
                if not error.passing or (error.status < 500 and time.monotonic() > timeout):
                    return None, repeated
                repeated = repeated or error.status >= 500
            except Unreachable as error:
                log.warning("service.unreachable", operation=operation, reason=error)
                repeated = True
            if self._quit.wait(backoff.next()):
                raise Stopped

    def _specification(self, execution: str) -> Specification:
        with self._lock:
            known = self._specifications.get(execution)
        if known is not None and (known.issued_for is None or known.issued_for.expires_ms > self._service.now_ms()):
            return known
        backoff = Backoff()
        timeout = time.monotonic() + DENIALS_S
        while True:
            try:
                answer = self._service.specification(execution)
                break
            except Refused as error:
                if not error.passing or (error.status < 500 and time.monotonic() >= timeout):
                    raise CommandFailure("The deployment specification was refused: %s" % error) from None
                log.warning("service.refused", operation="GetDeploymentSpecification", reason=error)
            except Unreachable as error:
                log.warning("service.unreachable", operation="GetDeploymentSpecification", reason=error)
            if self._quit.wait(backoff.next()):
                raise Stopped
        found = open_specification(answer, self._pinned)
        with self._lock:
            self._specifications[execution] = found
            while len(self._specifications) > 16:
                self._specifications.popitem(last=False)
        return found

    def update(self, identifier: str, fields: Dict[str, Any]) -> None:
        """Send what a running script says; a service that does not want it is left alone for ten minutes."""
        if time.monotonic() < self._no_updates_until:
            return
        try:
            self._service.call(
                "PostHostCommandUpdate",
                {"HostCommandIdentifier": identifier, "Diagnostics": diagnostics.envelope(fields)},
            )
        except Refused as error:
            if not error.passing:
                log.info("updates.refused", reason=error)
                self._no_updates_until = time.monotonic() + 600
        except Unreachable as error:
            log.debug("updates.failed", reason=error)


class _Updates:
    """At most one update a second for one command, sent beside the script so that the network never holds it up."""

    def __init__(self, commands: Commands, identifier: str) -> None:
        self._commands = commands
        self._identifier = identifier
        self._sent = -1
        self._news: Optional[Tuple[str, Callable[[], Tuple[str, int]]]] = None
        self._wake = threading.Condition()
        self._ended = False
        self._thread: Optional[threading.Thread] = None

    def changed(self, script: str, tail: Callable[[], Tuple[str, int]]) -> None:
        """Called now and then while a script runs."""
        if tail()[1] == self._sent:
            return
        with self._wake:
            self._news = (script, tail)
            self._wake.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="updates", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """No more updates."""
        with self._wake:
            self._ended = True
            self._wake.notify()

    def _run(self) -> None:
        last = 0.0
        while True:
            with self._wake:
                while not self._ended and (self._news is None or time.monotonic() - last < UPDATE_INTERVAL_S):
                    wait = None if self._news is None else UPDATE_INTERVAL_S - (time.monotonic() - last)
                    self._wake.wait(wait)
                if self._ended:
                    return
                assert self._news is not None
                script, tail = self._news
                self._news = None
            text, total = tail()
            self._sent = total
            last = time.monotonic()
            self._commands.update(self._identifier, {"script_name": script, "total": total, "log": text})


def s3_fetch(objects: Objects, limit: int, quit_event: threading.Event) -> Callable[[Specification, Deployment], str]:
    """What brings S3 revisions: streams to the disk, tries again when the network fails, checks length and SHA-256, or the ETag where that is all there is."""

    def fetch(specification: Specification, deployment: Deployment) -> str:
        revision = specification.revision
        etags: List[str] = []

        def take(response: Response) -> None:
            etag = response.headers.get("etag", "").strip('"')
            if revision.etag and not revision.sha256 and etag != revision.etag:
                raise BundleRefused(
                    "Expected deployment artifact bundle etag %s but was actually %s"
                    % (revision.etag, response.headers.get("etag", ""))
                )
            size, digest = 0, hashlib.sha256()
            with open(deployment.bundle, "wb") as file:
                for block in response.blocks():
                    size += len(block)
                    if size > limit:
                        raise BundleRefused(
                            "The bundle is larger than %d bytes. When that is right, raise limits.bundle_bytes in the"
                            " agent's configuration." % limit
                        )
                    digest.update(block)
                    file.write(block)
            if revision.sha256 and digest.hexdigest() != revision.sha256:
                raise BundleRefused(
                    "The bundle s3://%s/%s is not the one that was deployed: its SHA-256 is %s, and the deployment was made for "
                    "%s. Somebody replaced it in the bucket or on the way."
                    % (revision.bucket, revision.key, digest.hexdigest(), revision.sha256)
                )
            etags.append(etag)

        if not revision.sha256 and not objects.private:
            raise BundleRefused(
                "The bundle s3://%s/%s would come over plain HTTP, and the deployment does not say what its SHA-256 is, so that "
                "anybody on the way could replace it. Give an https s3_endpoint." % (revision.bucket, revision.key)
            )
        backoff = Backoff(8.0)
        last: Exception = Unreachable("nothing was tried")
        for attempt in range(1, DOWNLOAD_TRIES + 1):
            try:
                objects.get(revision.bucket, revision.key, revision.version, take)
                return etags[-1]
            except Refused as error:
                log.warning("bundle.refused", bucket=revision.bucket, key=revision.key, reason=error, attempt=attempt)
                if error.status < 500 and error.status != 429:
                    raise BundleRefused(
                        "The bundle s3://%s/%s could not be downloaded: %s" % (revision.bucket, revision.key, error)
                    ) from None
                last = error
            except Unreachable as error:
                log.warning(
                    "bundle.unreachable", bucket=revision.bucket, key=revision.key, reason=error, attempt=attempt
                )
                last = error
            if attempt < DOWNLOAD_TRIES and quit_event.wait(backoff.next()):
                raise BundleRefused("The agent was stopped while it downloaded the bundle.")
        raise BundleRefused(
            "Could not download bundle at 's3://%s/%s' after %d tries: %s"
            % (revision.bucket, revision.key, DOWNLOAD_TRIES, last)
        )

    return fetch
