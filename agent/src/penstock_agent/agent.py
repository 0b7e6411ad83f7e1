"""The running agent: holds a poll, hands commands to threads, ends cleanly."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
import time
from typing import Any, Dict, List, Optional, Protocol, Tuple

from penstock_agent import __version__, log
from penstock_agent.cms import Certificate, EnvelopeInvalid, certificates_of_pem
from penstock_agent.commands import Backoff, Commands, Stopped, s3_fetch
from penstock_agent.config import Config, KeySource
from penstock_agent.connection import Address, Pool, Unreachable, tls_context
from penstock_agent.events import Events
from penstock_agent.failures import CommandFailure, ConfigInvalid, reason
from penstock_agent.layout import Layout
from penstock_agent.replays import Replays
from penstock_agent.service import CommandService, Objects, Refused, Signer
from penstock_agent.sigv4 import Credentials
from penstock_agent.spool import Spool

EMPTY_TOO_FAST_S = 1.0
# A poll that fails later was held and then cut, or was a wait by itself: the next one need not wait longer.
HELD_S = 15.0
SAY_AGAIN_S = 3600.0  # a reason for which polls fail again and again is logged so often
OWED_GRACE_S = 1.0  # what is owed is in the spool, too


def pinned_certificates(config: Config) -> List[Certificate]:
    """The certificates of `signer_certificate`. Raises ConfigInvalid."""
    if not config.signer_certificate:
        return []
    try:
        with open(config.signer_certificate, encoding="ascii", errors="replace") as file:
            return certificates_of_pem(file.read())
    except OSError as error:
        raise ConfigInvalid("%s cannot be read: %s" % (config.signer_certificate, reason(error))) from None
    except EnvelopeInvalid as error:
        raise ConfigInvalid("%s: %s" % (config.signer_certificate, error)) from None


class CredentialSource(Protocol):
    """What gives the credentials to sign with."""

    def __call__(self) -> Credentials:
        """Those of now."""
        ...

    def forget(self) -> None:
        """The server takes them no more."""


def credentials_of(config: Config, context: Any) -> CredentialSource:
    """The source that a configuration names."""
    if config.joined is None:
        return KeySource(config)
    from penstock_agent.identity import RoleCredentials

    return RoleCredentials(config.joined, config.endpoint, context)


def open_objects(config: Config, signer: Signer, shared: Optional[Pool], context: Any) -> Objects:
    """S3 at the configured endpoint; on the command service's own connections when it is the same."""
    pool = shared
    if pool is None or config.s3_endpoint != config.endpoint:
        pool = Pool(Address(config.s3_endpoint), context)
    return Objects(pool, signer, context, virtual_host=config.s3_addressing == "virtual")


def lock(root: str) -> Optional[int]:
    """The lock of a root directory, or None when another agent holds it."""
    descriptor = os.open(os.path.join(root, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    for _ in range(40):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError:
            # `status` takes it for a moment, and a hook that a killed agent was just starting has it until it is a program of its own.
            time.sleep(0.05)
    os.close(descriptor)
    return None


class Agent:
    """One agent on one root directory."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._layout = Layout(config.root_dir)
        self._stop = threading.Event()  # no more polls
        self._quit = threading.Event()  # no more waiting for the service
        self._kill = threading.Event()  # running scripts are ended
        secure = config.endpoint.startswith("https:") or config.s3_endpoint.startswith("https:")
        context = tls_context(config.ca_file) if secure else None
        self._credentials = credentials_of(config, context)
        signer = Signer(self._credentials, config.region)
        pool = Pool(Address(config.endpoint), context)
        self._service = CommandService(pool, signer, config.host_identifier)
        objects = open_objects(config, signer, pool, context)
        events = Events(config, self._layout, s3_fetch(objects, config.limits.bundle_bytes, self._kill), self._kill)
        self._spool = Spool(config.root_dir)
        pinned = pinned_certificates(config)
        replays = Replays(config.root_dir, config.host_identifier, required=bool(pinned))
        self._commands = Commands(self._service, events, self._spool, pinned, self._quit, replays)
        self._running: Dict[str, threading.Thread] = {}
        self._lock = threading.Condition()
        self._broken = False
        self._state: Dict[str, Any] = {"version": __version__, "pid": os.getpid(), "started": time.time()}

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the exit code."""
        self._layout.prepare()
        held = lock(self._config.root_dir)
        if held is None:
            log.error("agent.locked", root=self._config.root_dir, reason="another agent runs on this root directory")
            return 1
        self._layout.prepare(alone=True)
        endpoint = self._give_credentials()
        wake = self._listen()
        log.info(
            "agent.started", version=__version__, endpoint=self._config.endpoint, host=self._config.host_identifier
        )
        self._note()  # the first poll is held, and `status` is to know that we run
        self._recover()
        # In a thread of its own: neither a held poll nor a connection that hangs keeps the agent from ending.
        polling = threading.Thread(target=self._poll_until_stopped, args=(wake,), name="poll", daemon=True)
        polling.start()
        os.read(wake[0], 1)
        self._stop.set()
        self._service.interrupt()
        polling.join(0.5)
        self._end()
        if endpoint is not None:
            endpoint.close()
        return 1 if self._broken else 0

    def _give_credentials(self) -> Any:
        """Give the role's credentials to other programs, where the configuration asks for it. Raises ConfigInvalid."""
        if self._config.metadata is None:
            return None
        from penstock_agent.identity import RoleCredentials
        from penstock_agent.metadata import Endpoint

        assert isinstance(self._credentials, RoleCredentials)
        endpoint = Endpoint(self._config.metadata, self._credentials)
        endpoint.start()
        return endpoint

    def _listen(self) -> Tuple[int, int]:
        """A pipe that gets a byte with SIGTERM and SIGINT: a handler may not take locks that this thread may hold."""
        wake = os.pipe()
        os.set_blocking(wake[1], False)
        signal.set_wakeup_fd(wake[1])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)
        return wake

    def _recover(self) -> None:
        from penstock_agent.switch import recover

        self._layout.marks.end_orphans()
        for group in self._layout.journals():
            try:
                log.warning("install.recovered", group=group, how=recover(self._layout.group(group)))
            except (OSError, CommandFailure) as error:
                log.error("install.not_recovered", group=group, reason=error)  # the group's next Install tries again
        self._spool.prune()
        for record in self._spool.pending():
            self._start(record["id"], self._commands.resume, record)

    def _note(self, **fields: Any) -> None:
        self._state.update(fields)
        path = os.path.join(self._config.root_dir, "state.json")
        try:
            with open(path + ".writing", "w", encoding="ascii") as file:
                json.dump(self._state, file)
            os.rename(path + ".writing", path)
        except OSError as error:
            log.warning("state.not_written", reason=error)

    def _poll_until_stopped(self, wake: Tuple[int, int]) -> None:
        try:
            self._poll()
        except Exception as error:
            log.fault("agent.broken", error)
            self._broken = True
            os.write(wake[1], b"!")

    def _poll(self) -> None:
        backoff = Backoff()
        said: Tuple[str, float] = ("", 0.0)  # why it failed, and when that was logged
        while not self._stop.is_set():
            with self._lock:
                while len(self._running) >= self._config.max_commands and not self._stop.is_set():
                    self._lock.wait(1.0)
                running = sorted(self._running)
            began = time.monotonic()
            try:
                command = self._service.poll(running)
            except (Refused, Unreachable, OSError, ConfigInvalid) as error:
                if self._stop.is_set():
                    return
                if time.monotonic() - began > HELD_S:
                    backoff.reset()
                refused = isinstance(error, Refused) and error.about_the_caller
                if refused:
                    self._credentials.forget()
                wait = backoff.next()
                why = reason(error) if isinstance(error, OSError) else str(error)
                if why != said[0] or time.monotonic() - said[1] > SAY_AGAIN_S:
                    write = log.error if refused else log.warning
                    write("poll.refused" if refused else "poll.failed", reason=why, retry_s=round(wait, 2))
                    said = (why, time.monotonic())
                self._note(error=why, error_at=time.time(), refused=refused)
                self._stop.wait(wait)
                continue
            if said[0]:
                log.info("poll.answered")
                said = ("", 0.0)
            backoff.reset()
            self._note(last_poll=time.time(), refused=False)
            if command is None:
                if time.monotonic() - began < EMPTY_TOO_FAST_S:
                    self._stop.wait(EMPTY_TOO_FAST_S)  # a service that does not hold polls
            elif not self._take(command):
                self._stop.wait(EMPTY_TOO_FAST_S)

    def _take(self, command: Dict[str, Any]) -> bool:
        """Start a command; False when there is nothing to do for it."""
        needed = ("HostCommandIdentifier", "HostIdentifier", "DeploymentExecutionId", "CommandName")
        missing = [name for name in needed if not isinstance(command.get(name), str) or not command[name]]
        if missing:
            log.error("command.incomplete", missing=",".join(missing))
            return False
        if command["HostIdentifier"] != self._config.host_identifier:
            log.error(
                "command.foreign",
                reason="Host Identifier mismatch: %s != %s" % (self._config.host_identifier, command["HostIdentifier"]),
            )
            return False
        identifier = command["HostCommandIdentifier"]
        if identifier in self._running:
            log.debug("command.repeated", id=identifier)
            return False
        known = self._spool.delivered(identifier)
        if known is not None:
            log.warning("command.repeated_after_its_result", id=identifier)
            self._start(identifier, self._commands.repeat, known)
            return False
        self._start(identifier, self._commands.run, command)
        return True

    def _start(self, identifier: str, work: Any, argument: Dict[str, Any]) -> None:
        def run() -> None:
            try:
                work(argument)
            except Stopped:
                log.info("command.left_in_spool", id=identifier)
            except Exception as error:
                log.fault("command.broken", error)
            finally:
                with self._lock:
                    self._running.pop(identifier, None)
                    self._lock.notify_all()

        thread = threading.Thread(target=run, name="command", daemon=True)
        with self._lock:
            self._running[identifier] = thread
        thread.start()

    def _end(self) -> None:
        self._wait(self._config.stop_timeout_s)
        if self._commands.executing:
            log.warning("agent.ends_running_scripts", count=len(self._commands.executing))
            self._kill.set()
            self._wait(8)
        self._quit.set()
        self._wait(0.3)
        self._service.close()
        self._note(stopped=time.time())
        log.info("agent.stopped")

    def _wait(self, limit_s: float) -> None:
        """For commands to end: `limit_s` at most, and a few seconds only when none runs but results are owed."""
        deadline = time.monotonic() + limit_s
        owed = time.monotonic() + OWED_GRACE_S
        with self._lock:
            while self._running and time.monotonic() < deadline:
                if self._commands.executing:
                    owed = time.monotonic() + OWED_GRACE_S
                elif time.monotonic() >= owed:
                    return
                self._lock.wait(0.2)
