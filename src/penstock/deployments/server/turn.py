"""One decision on a deployment: what happened to its hosts, and what follows from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from penstock.deployments.server import lifecycle, schedule
from penstock.deployments.server.effects import (
    Continue,
    DeploymentChanged,
    Effect,
    EndCommand,
    Finished,
    HostChanged,
    Mark,
    OfferAgain,
    SendCommand,
    SkipPending,
    WithdrawCommand,
)
from penstock.deployments.server.inputs import (
    Acknowledged,
    Began,
    Completed,
    Deregistered,
    Elapsed,
    Lost,
    StopRequested,
)
from penstock.deployments.server.model import (
    DeploymentStatus,
    Diagnostics,
    Ending,
    ErrorCode,
    EventStatus,
    Host,
    HostStatus,
    LifecycleEvent,
    State,
)

NO_INSTANCES = (
    "The deployment failed because no instances were found for your deployment group. Check your deployment group settings to "
    "make sure the tags for your EC2 instances or Auto Scaling groups correctly identify the instances you want to deploy to, "
    "and then try again."
)
HEALTH_CONSTRAINTS = (
    "The overall deployment failed because too many individual instances failed deployment, too few healthy instances are "
    "available for deployment, or some instances in your deployment group are experiencing problems."
)
HEALTH_CONSTRAINTS_INVALID = (
    "The deployment can't start successfully, as it doesn't contain enough healthy instances: {targets} instance(s) are to be "
    "deployed to and {needed} must stay healthy. Reduce the required number of healthy instances or increase the number of instances."
)
OVERRUN = "The deployment timed out: it ran for more than {minutes} minutes."
STOPPED = "The deployment was stopped on request."


class Turn:
    """One decision: collects the new counters, the changed rows and the effects."""

    def __init__(self, state: State, now: int) -> None:
        self.deployment = state.deployment
        self.hosts = {host.name: host for host in state.hosts}
        self.now = now
        self.effects: list[Effect] = []
        self.began = state.deployment.status is DeploymentStatus.IN_PROGRESS
        self.moved = False  # something happened that may let further hosts start

    def result(self) -> tuple[State, tuple[Effect, ...]]:
        return State(deployment=self.deployment, hosts=tuple(self.hosts.values())), tuple(self.effects)

    # what happened

    def begin(self, event: Began, seed: int) -> None:
        if self.began:
            return
        blank = tuple(LifecycleEvent(name=name) for name in self.deployment.events)
        for position, found in enumerate(schedule.in_order(event.hosts, seed)):
            self.hosts[found.name] = Host(
                name=found.name,
                position=position,
                healthy=found.healthy,
                seen=found.seen,
                events=blank,
                updated=self.now,
            )
        self.deployment = schedule.begin(
            replace(self.deployment, status=DeploymentStatus.IN_PROGRESS, started=self.now, timeouts=event.timeouts),
            targets=len(event.hosts),
            healthy_targets=sum(host.healthy for host in event.hosts),
            bystanders=event.bystanders,
            fleet=event.fleet,
        )
        self.effects.append(DeploymentChanged(mark=Mark.START))
        self.began = self.moved = True
        if not event.hosts:
            if self.deployment.idle_is_success and event.fleet:
                self.end(Ending(status=DeploymentStatus.SUCCEEDED))
            else:
                self._fail(ErrorCode.NO_INSTANCES, NO_INSTANCES)
        elif not schedule.possible(self.deployment):
            reason = HEALTH_CONSTRAINTS_INVALID.format(targets=len(event.hosts), needed=self.deployment.needed)
            self._fail(ErrorCode.HEALTH_CONSTRAINTS_INVALID, reason)

    def acknowledged(self, event: Acknowledged) -> None:
        host = self._running(event.host, event.index)
        if host is None or host.acknowledged:
            return
        known = host.events[event.index]
        started = replace(
            known, status=EventStatus.IN_PROGRESS, started=known.started or self.now, noop=known.noop or event.noop
        )
        timeouts = self.deployment.timeouts
        self._mark_started(host)
        self._put(
            host,
            acknowledged=True,
            deadline=self.now + (timeouts.noop if started.noop else timeouts.event),
            events=lifecycle.replaced(host.events, event.index, started),
        )

    def completed(self, event: Completed) -> None:
        host = self._running(event.host, event.index)
        if host is None:
            return
        why = event.diagnostics
        if not event.succeeded and lifecycle.network_failed(why):
            self._unfinished(host, lifecycle.unreported(why) if host.acknowledged else why)
            return
        self._mark_started(host)
        if not host.acknowledged:
            reported = replace(host.events[event.index], started=host.events[event.index].started or self.now)
            host = replace(host, events=lifecycle.replaced(host.events, event.index, reported))
        self.effects.append(EndCommand(position=host.position, index=event.index))
        self._event_ended(host, succeeded=event.succeeded, diagnostics=why)

    def lost(self, event: Lost) -> None:
        host = self._running(event.host, event.index)
        if host is not None and host.acknowledged:
            self._unfinished(host, lifecycle.LOST)

    def deregistered(self, event: Deregistered) -> None:
        host = self.hosts.get(event.host)
        if host is None:
            return
        if host.status is HostStatus.PENDING:
            self._give_up(self._taken(host), lifecycle.DEREGISTERED)
        elif host.status is HostStatus.IN_PROGRESS:
            self._give_up(host, lifecycle.DEREGISTERED)

    def elapsed(self, event: Elapsed) -> None:
        if schedule.overrun(self.deployment, self.now):
            self._overrun()
            return
        last_seen = dict(event.unheard)
        for host in self._loaded(HostStatus.IN_PROGRESS):
            assert host.current is not None
            if self._vanished(host, last_seen):
                self._give_up(host, lifecycle.gone(self.now - last_seen[host.name]))
            elif host.deadline is not None and host.deadline <= self.now:
                self._lapsed(host)
            elif host.name in event.forgotten and host.acknowledged:
                self._unfinished(host, lifecycle.LOST)

    def stop(self, event: StopRequested) -> None:
        self.deployment = replace(self.deployment, stop_rolls_back=event.rolls_back)
        code = ErrorCode.ALARM_ACTIVE if event.alarm else ErrorCode.MANUAL_STOP
        self.end(Ending(status=DeploymentStatus.STOPPED, code=code, message=event.alarm or STOPPED))
        last_seen = dict(event.unheard)
        for host in self._loaded(HostStatus.IN_PROGRESS):
            assert host.current is not None
            if not host.acknowledged:
                self.effects.append(WithdrawCommand(position=host.position, index=host.current))
                self._host_ended(host, HostStatus.FAILED if host.touched else HostStatus.SKIPPED)
            elif self._vanished(host, last_seen):
                self._give_up(host, lifecycle.gone(self.now - last_seen[host.name]))
            else:
                latest = self.now + self.deployment.timeouts.stop
                self._put(host, deadline=latest if host.deadline is None else min(host.deadline, latest))

    # what follows

    def end(self, ending: Ending) -> None:
        """Decide the outcome; running hosts are still awaited. The first decision stands, but a stop overrides."""
        if self.deployment.ending is not None and ending.status is not DeploymentStatus.STOPPED:
            return
        self.deployment = replace(self.deployment, ending=ending)
        self.moved = True
        if self.deployment.pending:
            self.effects.append(SkipPending())
            for host in self._loaded(HostStatus.PENDING):
                self._put(_skipped(host, self.now))
            self.deployment = replace(
                self.deployment, skipped=self.deployment.skipped + self.deployment.pending, pending=0
            )

    def settle(self) -> None:
        """Start what may start; finish when nothing is left."""
        if not self.moved:
            return
        if self.deployment.ending is None:
            candidates = self._pending()
            chosen = schedule.choose(self.deployment, candidates)
            for host in chosen:
                self._start(host)
            if schedule.unfinished(self.deployment, candidates, chosen):
                self.effects.append(Continue())
            else:
                self._judge()
        if self.deployment.ending is not None and self.deployment.running == 0:
            self._finish(self.deployment.ending)

    def _judge(self) -> None:
        match schedule.verdict(self.deployment):
            case schedule.Verdict.FAILED:
                self._fail(ErrorCode.HEALTH_CONSTRAINTS, HEALTH_CONSTRAINTS)
            case schedule.Verdict.SUCCEEDED:
                self.end(Ending(status=DeploymentStatus.SUCCEEDED))
            case schedule.Verdict.GO_ON:
                pass

    def _finish(self, ending: Ending) -> None:
        deployment = self.deployment = replace(self.deployment, status=ending.status, completed=self.now)
        marks = {
            DeploymentStatus.SUCCEEDED: Mark.SUCCESS,
            DeploymentStatus.FAILED: Mark.FAILURE,
            DeploymentStatus.STOPPED: Mark.STOP,
        }
        self.effects.append(DeploymentChanged(mark=marks[ending.status]))
        if ending.status is DeploymentStatus.FAILED:
            wanted = deployment.rolls_back_on_failure
        elif ending.status is DeploymentStatus.STOPPED:
            asked = deployment.stop_rolls_back
            wanted = deployment.rolls_back_on_stop if asked is None else asked
        else:
            wanted = False
        # A rollback that fails is left for people to see: rolling it back would redeploy the same revision for ever.
        self.effects.append(Finished(rolls_back=wanted and not deployment.is_rollback))

    def _start(self, host: Host) -> None:
        self._send(self._taken(host), 0)

    def _taken(self, host: Host) -> Host:
        """A pending host as a running one, whose first command is to follow."""
        deployment = self.deployment
        self.deployment = replace(
            deployment,
            pending=deployment.pending - 1,
            running=deployment.running + 1,
            available=deployment.available - host.healthy,
        )
        self.effects.append(HostChanged(host=host.name, mark=Mark.START))
        return replace(host, status=HostStatus.IN_PROGRESS, current=0)

    def _mark_started(self, host: Host) -> None:
        """Count the host as touched, at its first event."""
        if not host.touched:
            self.deployment = replace(self.deployment, touched=self.deployment.touched + 1)

    def _vanished(self, host: Host, last_seen: Mapping[str, int]) -> bool:
        """Whether the agent has been silent for too long while its event runs."""
        timeouts = self.deployment.timeouts
        limit = timeouts.gone if self.deployment.stopping else timeouts.silent
        return host.acknowledged and host.name in last_seen and self.now - last_seen[host.name] >= limit

    def _lapsed(self, host: Host) -> None:
        """The deadline of the host's command has passed."""
        assert host.current is not None
        event, timeouts = host.events[host.current], self.deployment.timeouts
        if host.acknowledged and event.noop and not self.deployment.stopping:
            self._unfinished(host, lifecycle.LOST)
            return
        if not host.acknowledged:
            why = lifecycle.NOT_PICKED_UP
        elif self.deployment.stopping:
            why = lifecycle.not_ended_after_stop(timeouts.stop)
        else:
            why = lifecycle.not_completed(timeouts.event)
        self.effects.append(WithdrawCommand(position=host.position, index=host.current))
        self._event_ended(host, succeeded=False, diagnostics=why)

    def _unfinished(self, host: Host, why: Diagnostics) -> None:
        """The agent does not have the command any more, and how far it came is not known.

        It is offered again where that cannot run a script twice; else the event has failed.
        """
        assert host.current is not None
        event = host.events[host.current]
        if lifecycle.repeatable(event, acknowledged=host.acknowledged) and not self.deployment.stopping:
            again = replace(event, status=EventStatus.PENDING, repeats=event.repeats + 1)
            deadline = self.now + self.deployment.timeouts.pickup if host.acknowledged else host.deadline
            events = lifecycle.replaced(host.events, host.current, again)
            self._put(host, acknowledged=False, deadline=deadline, events=events)
            self.effects.append(OfferAgain(position=host.position, index=host.current))
        else:
            self.effects.append(WithdrawCommand(position=host.position, index=host.current))
            self._event_ended(host, succeeded=False, diagnostics=why)

    def _give_up(self, host: Host, why: Diagnostics) -> None:
        """The event has failed, and with it the host, whatever the configuration tolerates: nobody is there to continue."""
        assert host.current is not None
        self.effects.append(WithdrawCommand(position=host.position, index=host.current))
        ended = replace(host.events[host.current], status=EventStatus.FAILED, ended=self.now, diagnostics=why)
        self._host_ended(replace(host, events=lifecycle.replaced(host.events, host.current, ended)), HostStatus.FAILED)

    def _send(self, host: Host, index: int) -> None:
        timeouts = self.deployment.timeouts
        timeout = timeouts.pickup if host.seen or index else timeouts.absent
        self._put(host, current=index, acknowledged=False, deadline=self.now + timeout)
        name = host.events[index].name
        self.effects.append(SendCommand(host=host.name, position=host.position, index=index, event=name))

    def _event_ended(self, host: Host, *, succeeded: bool, diagnostics: Diagnostics) -> None:
        index = host.current
        assert index is not None
        event = host.events[index]
        ended = replace(
            event,
            status=EventStatus.SUCCEEDED if succeeded else EventStatus.FAILED,
            ended=self.now,
            diagnostics=diagnostics,
        )
        host = replace(host, events=lifecycle.replaced(host.events, index, ended))
        passed = succeeded or lifecycle.tolerated(event.name, ignore_stop_failures=self.deployment.ignore_stop_failures)
        last = index + 1 == len(host.events)
        if not passed:
            self._host_ended(host, HostStatus.FAILED)
        elif last:
            self._host_ended(host, HostStatus.SUCCEEDED)
        elif self.deployment.stopping:
            self._host_ended(host, HostStatus.FAILED)
        else:
            self._send(host, index + 1)

    def _host_ended(self, host: Host, status: HostStatus) -> None:
        deployment = self.deployment
        succeeded = status is HostStatus.SUCCEEDED
        untouched = status is HostStatus.SKIPPED
        self.deployment = replace(
            deployment,
            running=deployment.running - 1,
            succeeded=deployment.succeeded + succeeded,
            failed=deployment.failed + (status is HostStatus.FAILED),
            skipped=deployment.skipped + untouched,
            available=deployment.available + (succeeded or (untouched and host.healthy)),
        )
        self._put(_closed(replace(host, status=status), self.now))
        if not untouched:
            self.effects.append(HostChanged(host=host.name, mark=Mark.SUCCESS if succeeded else Mark.FAILURE))
        self.moved = True

    def _overrun(self) -> None:
        minutes = self.deployment.timeouts.deployment // 60_000
        self._fail(ErrorCode.TIMEOUT, OVERRUN.format(minutes=minutes))
        for host in self._loaded(HostStatus.IN_PROGRESS):
            why = lifecycle.not_completed(self.deployment.timeouts.event)
            self._give_up(host, replace(why, message=OVERRUN.format(minutes=minutes)))

    def _fail(self, code: ErrorCode, message: str) -> None:
        self.end(Ending(status=DeploymentStatus.FAILED, code=code, message=message))

    # rows

    def _running(self, name: str, index: int) -> Host | None:
        """The host if its command `index` is the one that is out: anything else is late or doubled."""
        host = self.hosts.get(name)
        if host is None or host.status is not HostStatus.IN_PROGRESS or host.current != index:
            return None
        return host

    def _loaded(self, status: HostStatus) -> list[Host]:
        return [host for host in self.hosts.values() if host.status is status]

    def _pending(self) -> list[Host]:
        return sorted(self._loaded(HostStatus.PENDING), key=lambda host: host.position)

    def _put(self, host: Host, **changes: Any) -> None:
        self.hosts[host.name] = replace(host, updated=self.now, **changes)


def _skipped(host: Host, now: int) -> Host:
    return _closed(replace(host, status=HostStatus.SKIPPED), now)


def _closed(host: Host, now: int) -> Host:
    return replace(
        host,
        current=None,
        acknowledged=False,
        deadline=None,
        events=lifecycle.skipped_events(host.events, now),
        updated=now,
    )
