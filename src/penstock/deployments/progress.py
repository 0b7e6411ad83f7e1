"""One decision on one deployment: load, decide, commit the new state with its effects. All of it runs inside a transaction.

Locks are taken in this order: the deployment's row, rows of its hosts, the group's row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace

import sqlalchemy as sa

from penstock.deployments import announcing, closing, records, runs
from penstock.deployments.records import Row
from penstock.deployments.server import effects, engine, fleet, inputs
from penstock.deployments.server import revision as revisions
from penstock.deployments.server.model import (
    Deployment,
    DeploymentStatus,
    ErrorCode,
    FleetHost,
    Host,
    HostStatus,
    RevisionHealth,
    State,
    Timeouts,
)
from penstock.store import journal
from penstock.store.jobs import Outside, cancel_id, enqueue, enqueue_all, finish_all, put_back

PROCEED = "deployments.proceed"  # job: start the further hosts of a large fleet
WATCH = "deployments.watch"  # job: look after the deadlines of a running deployment
COMMAND = "deployments.host_command"  # job for a host's agent: one lifecycle event

AGENT_TIMEOUT_TAG = "penstock:agent-timeout-seconds"  # of a group: how long an agent may take to pick an event up
STRICT_TAG = "penstock:strict"  # of a group: `true` fails a host whose revision names hooks that do not exist
STOP_TIMEOUT_TAG = "penstock:stop-timeout-seconds"  # of a group: how long StopDeployment waits for an event that runs
SILENT_HOST_TAG = (
    "penstock:silent-host-seconds"  # of a group: when a host that does not poll counts as gone, once stopped
)

SEEN_LATELY_MS = 180_000


def command_id(deployment: str, position: int, index: int) -> str:
    """The job of one lifecycle event on one host."""
    return f"{deployment}.{position}.{index}"


def host_topic(account: str, region: str, name: str) -> str:
    """Where the commands of one host are offered."""
    return f"{account}/{region}/{name}"


def begin(
    conn: sa.Connection,
    id: str,
    *,
    timeouts: Timeouts,
    refusal: str,
    now: int,
    seed: int,
) -> None:
    """Resolve the hosts and begin; `refusal` is why the service role cannot be had, or empty."""
    row = runs.deployment(conn, id, lock=True)
    if row is None or DeploymentStatus(row.status) not in (DeploymentStatus.CREATED, DeploymentStatus.QUEUED):
        return
    group = records.one(conn, records.groups, id=row.group_id)
    if group is None:
        words = f"The deployment group {row.group_name} was deleted before the deployment started."
        event: inputs.Input = inputs.Refused(code=ErrorCode.DEPLOYMENT_GROUP_MISSING, message=words)
        advance(conn, id, event, now=now, seed=seed)
    elif refusal:
        advance(conn, id, inputs.Refused(code=ErrorCode.IAM_ROLE_MISSING, message=refusal), now=now, seed=seed)
    else:
        row = _after_the_others(conn, row, group)
        timeouts = _own(timeouts, group.tags)
        event, arns = _fleet(conn, row, group, now)
        advance(conn, id, replace(event, timeouts=timeouts), now=now, seed=seed, arns=arns)
        enqueue(
            conn, kind=WATCH, payload={"deployment": id}, account=row.account, region=row.region,
            due=now + next_look(timeouts), dedup=id,
        )  # fmt: skip


def _after_the_others(conn: sa.Connection, row: Row, group: Row) -> Row:
    """The row with what the group has now: the deployments that it waited for may have changed that since it was asked for."""
    body = {**row.body, "previousRevision": group.revision, "strict": group.tags.get(STRICT_TAG) == "true"}
    if body["mode"] == "RESTART":
        body |= {"revision": group.revision, "digest": group.digest, "reuse": group.successful}
    if body == row.body:
        return row
    where = records.deployments.c.id == row.id
    conn.execute(sa.update(records.deployments).where(where).values(body=body))
    found = runs.deployment(conn, row.id)
    assert found is not None
    return found


def _own(timeouts: Timeouts, tags: dict[str, str]) -> Timeouts:
    """The time-outs of a group whose tags say otherwise."""
    for tag, names in (
        (AGENT_TIMEOUT_TAG, ("pickup", "absent")),
        (STOP_TIMEOUT_TAG, ("stop",)),
        (SILENT_HOST_TAG, ("gone",)),
    ):
        seconds = tags.get(tag, "")
        if seconds.isdecimal() and 0 < int(seconds) <= 86_400:
            timeouts = replace(timeouts, **dict.fromkeys(names, int(seconds) * 1000))
    return timeouts


def next_look(timeouts: Timeouts) -> int:
    """After how many ms deadlines and silent hosts must be looked at again: a deadline set meanwhile is never sooner."""
    return min(timeouts.pickup, timeouts.absent, timeouts.event, timeouts.noop, timeouts.stop, -(-timeouts.gone // 3))


def _fleet(conn: sa.Connection, row: Row, group: Row, now: int) -> tuple[inputs.Began, dict[str, str]]:
    """The hosts to deploy to, and their ARNs by name."""
    known = records.healths(conn, group.id)
    wanted = revisions.content(row.body["revision"])
    target = revisions.content(group.revision) if group.revision else ""
    only = runs.attempted(conn, row.body["attemptedOf"]) if row.body.get("attemptedOf") else None
    hosts: list[FleetHost] = []
    arns: dict[str, str] = {}
    bystanders = size = 0
    for found in records.registered_instances(conn, row.account, row.region):
        if not fleet.in_group(found.kind, found.tags, group.body):
            continue
        size += 1
        health = known.get(found.name)
        healthy = bool(health and health.healthy)
        installed = health.installed if health else ""
        current = bool(installed) and installed == wanted
        outdated = not (healthy and current)
        if (only is not None and found.name not in only) or (row.body["updateOutdatedInstancesOnly"] and not outdated):
            bystanders += healthy
            continue
        if not installed:
            revision = RevisionHealth.UNKNOWN
        else:
            revision = RevisionHealth.CURRENT if installed == target else RevisionHealth.OLD
        seen = found.seen is not None and found.seen >= now - SEEN_LATELY_MS
        hosts.append(FleetHost(name=found.name, healthy=healthy, revision=revision, seen=seen))
        arns[found.name] = found.arn
    return inputs.Began(hosts=tuple(hosts), bystanders=bystanders, fleet=size), arns


def advance(
    conn: sa.Connection,
    id: str,
    event: inputs.Input,
    *,
    now: int,
    seed: int,
    arns: dict[str, str] | None = None,
) -> Deployment | None:
    """Take one decision; the counters after it, or None when the deployment is not there."""
    decisions = Decisions.load(conn, id)
    if decisions is None:
        return None
    decisions.take(event, now=now, seed=seed, arns=arns)
    decisions.save()
    return decisions.deployment


class Decisions:
    """Decisions on one deployment in one transaction: what they have in common is loaded and written once for all of them."""

    def __init__(self, conn: sa.Connection, row: Row) -> None:
        self._conn = conn
        self._version = self._written = row.version
        self.row = row
        self.deployment = runs.loaded(row.state)
        self._expected: dict[int, Host] = {}  # by position, as the decisions so far left them
        self._by_name: dict[str, int] = {}
        self._changed: dict[str, Host] = {}  # what is to be written, from here on
        self._entries: list[journal.Entry] = []
        self._ended: list[str] = []
        self._sent: list[Outside] = []

    @classmethod
    def load(cls, conn: sa.Connection, id: str) -> Decisions | None:
        """Lock a deployment, if it is there."""
        row = runs.deployment(conn, id, lock=True)
        return None if row is None else cls(conn, row)

    def expect(self, positions: Iterable[int]) -> None:
        """Load the hosts that are going to be asked for, all at once."""
        for host in runs.hosts_at(self._conn, self.deployment, positions):
            self._expected[host.position] = host
            self._by_name[host.name] = host.position

    def host(self, position: int) -> Host | None:
        """A host that was expected, as it is now; None when there is none."""
        return self._expected.get(position)

    def take(self, event: inputs.Input, *, now: int, seed: int, arns: dict[str, str] | None = None) -> None:
        """Take one decision. What follows from it is written by `save` at the latest.

        `arns` are those of the hosts that it begins with.
        """
        conn, row = self._conn, self.row
        now = journal.time_of(conn, now)
        before = State(deployment=self.deployment, hosts=self._rows(event, now))
        after, wanted = engine.decide(before, event, now, seed)
        if after is before or (after == before and not wanted):
            return
        self._version += 1
        self.deployment = after.deployment
        self._entries.append(
            journal.Entry(
                aggregate=f"deployment/{row.id}",
                account=row.account,
                region=row.region,
                sequence=self._version,
                at=now,
                seed=seed,
                input={"type": type(event).__name__, **asdict(event)},
            )
        )
        if isinstance(event, inputs.Began):
            runs.insert_hosts(conn, row.id, after.hosts, arns or {})
        else:
            for host in engine.changed(before, after):
                self._changed[host.name] = host
                if host.position in self._expected:
                    self._expected[host.position] = host
        if self.deployment.status.final:
            self.save()  # what follows its end looks at it
        for effect in wanted:
            self._follow(effect, now=now, seed=seed)

    def _rows(self, event: inputs.Input, now: int) -> tuple[Host, ...]:
        place = self._by_name.get(getattr(event, "host", ""))
        known = None if place is None else self._expected[place]
        if known is None or not runs.alone(self.deployment, event):
            self._flush()  # the database is asked: it has to know what was decided before
        return runs.rows_for(self._conn, self.deployment, event, now, known)

    def _follow(self, effect: effects.Effect, *, now: int, seed: int) -> None:
        row = self.row
        match effect:
            case effects.SendCommand():
                payload = {
                    "deployment": row.id,
                    "position": effect.position,
                    "index": effect.index,
                    "event": effect.event,
                }
                self._sent.append(
                    Outside(
                        id=command_id(row.id, effect.position, effect.index),
                        kind=COMMAND,
                        payload=payload,
                        account=row.account,
                        region=row.region,
                        topic=host_topic(row.account, row.region, effect.host),
                    )
                )
            case effects.EndCommand():
                self._ended.append(command_id(row.id, effect.position, effect.index))
            case effects.HostChanged() | effects.DeploymentChanged():
                _announce(self._conn, row, self.deployment, effect, now=now)
            case _:
                self._flush()  # it may be about what was decided just now
                _perform(self._conn, row, effect, self.deployment, now=now, seed=seed)

    def _flush(self) -> None:
        """Write what was decided so far, but for the counters."""
        conn, row = self._conn, self.row
        journal.append_all(conn, self._entries)
        runs.save_hosts(conn, row.id, self._changed.values())
        finish_all(conn, self._ended)
        enqueue_all(conn, self._sent)
        for written in (self._entries, self._changed, self._ended, self._sent):
            written.clear()

    def save(self) -> None:
        """Write everything as it is after the decisions."""
        self._flush()
        if self._version != self._written:
            runs.save(self._conn, self.row.id, self.deployment, before=self._written, version=self._version)
            self._written = self._version


def _announce(
    conn: sa.Connection,
    row: Row,
    deployment: Deployment,
    effect: effects.HostChanged | effects.DeploymentChanged,
    *,
    now: int,
) -> None:
    if isinstance(effect, effects.DeploymentChanged):
        announcing.deployment_changed(conn, row, deployment, effect, now)
        return
    if effect.mark is not effects.Mark.START:
        records.set_health(
            conn,
            group_id=row.group_id,
            name=effect.host,
            healthy=effect.mark is effects.Mark.SUCCESS,
            digest=revisions.content(row.body["revision"]),
            now=now,
        )
    announcing.host_changed(conn, row, effect, now)


def _perform(
    conn: sa.Connection, row: Row, effect: effects.Effect, deployment: Deployment, *, now: int, seed: int
) -> None:
    match effect:
        case effects.WithdrawCommand():
            cancel_id(conn, command_id(row.id, effect.position, effect.index))
        case effects.OfferAgain():
            put_back(conn, command_id(row.id, effect.position, effect.index))
        case effects.Continue():
            key = {"kind": PROCEED, "dedup": row.id, "payload": {"deployment": row.id}}
            enqueue(conn, **key, account=row.account, region=row.region)
        case effects.SkipPending():
            runs.skip_pending(conn, row.id, now)
        case effects.Finished():
            closing.finished(conn, row, deployment, rolls_back=effect.rolls_back, now=now, seed=seed)


def earliest_deadline(conn: sa.Connection, found: Deployment) -> int | None:
    """When the next host's command fails by itself, or the whole deployment does; None when it is over."""
    if found.status.final:
        return None
    t = records.targets.c
    where = (t.deployment == found.id, t.status == HostStatus.IN_PROGRESS)
    soonest = conn.execute(sa.select(sa.func.min(t.deadline)).where(*where)).scalar()
    ends = [] if found.started is None else [found.started + found.timeouts.deployment]
    return min([*ends, *([] if soonest is None else [soonest])], default=None)
