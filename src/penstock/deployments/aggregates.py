"""Deployments and deployment groups as aggregates: their rows, and what their engines' effects do in a transaction.

Locks are taken in this order: the deployment's row, rows of its hosts, the group's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import sqlalchemy as sa

from penstock.deployments import event_details, records, runs
from penstock.deployments.commands import COMMAND, command_id, host_topic
from penstock.deployments.events import DEPLOYMENT_CHANGED, INSTANCE_CHANGED
from penstock.deployments.records import Row
from penstock.deployments.server import effects, engine, inputs, lifecycle, needed, queue
from penstock.deployments.server import revision as revisions
from penstock.deployments.server.model import BLANK, Deployment, DeploymentStatus, Host, Minimum, MinimumKind, State
from penstock.metrics import histogram
from penstock.store import jobs, outside
from penstock.store.aggregate import Aggregate, RowAggregate
from penstock.store.catalogue import EventType
from penstock.store.codec import Codec
from penstock.store.outside import Outside
from penstock.store.transaction import after_commit

START = "deployments.start"  # job: begin a deployment that has its group
PROCEED = "deployments.proceed"  # job: start the further hosts of a large fleet
TRIGGER = "deployments.trigger"  # job: publish to the topic of a trigger

CREATOR_ROLLBACK = "codeDeployRollback"
ROLLBACK_SCOPE_TAG = "penstock:rollback-scope"  # of a group: `all` rolls back every host, not only the attempted ones

# The event of a trigger and the status that its message has (AWS: "Monitoring deployments with Amazon SNS event notifications").
_OF_ENDS = {
    effects.Mark.SUCCESS: ("DeploymentSuccess", "SUCCEEDED"),
    effects.Mark.FAILURE: ("DeploymentFailure", "FAILED"),
    effects.Mark.STOP: ("DeploymentStop", "STOPPED"),
}
_OF_HOSTS = {
    effects.Mark.START: ("InstanceStart", "InProgress"),
    effects.Mark.SUCCESS: ("InstanceSuccess", "Succeeded"),
    effects.Mark.FAILURE: ("InstanceFailure", "Failed"),
}

DEPLOYMENT_SECONDS = histogram(
    "penstock_deployment_seconds",
    "From the creation of a deployment to its end, with its time in the queue of its group.",
    "result",
    bounds=(1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 14_400, 86_400),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A deployment that is being asked for: the columns of its row that its decisions do not change."""

    id: str
    account: str
    region: str
    application: str
    group_name: str
    group_id: str
    number: int
    body: dict[str, Any]
    created: int  # ms
    version: int = 0


class DeploymentAggregate(Aggregate[State, inputs.Input, effects.Effect]):
    """A deployment whose row is locked, or which is being created.

    Decisions on many hosts in one transaction share their statements: rows are loaded by `expect`, and written together.
    """

    inputs = Codec(
        "an input of a deployment",
        inputs.Requested,
        inputs.Began,
        inputs.Proceed,
        inputs.Refused,
        inputs.Acknowledged,
        inputs.Completed,
        inputs.Lost,
        inputs.Deregistered,
        inputs.Elapsed,
        inputs.StopRequested,
    )
    effects = Codec(
        "an effect of a deployment",
        effects.SendCommand,
        effects.WithdrawCommand,
        effects.EndCommand,
        effects.OfferAgain,
        effects.SkipPending,
        effects.Continue,
        effects.HostChanged,
        effects.DeploymentChanged,
        effects.Finished,
    )

    def __init__(self, conn: sa.Connection, row: Row | Asked, state: Deployment) -> None:
        super().__init__(
            conn,
            name=f"deployment/{row.id}",
            account=row.account,
            region=row.region,
            state=State(deployment=state),
            sequence=row.version,
        )
        self.row: Any = row
        self.arns: dict[str, str] = {}  # of the hosts that it begins with, by name
        self._expected: dict[int, Host] = {}  # by position, as the decisions so far left them
        self._by_name: dict[str, int] = {}
        self._made: list[Host] = []
        self._changed: dict[str, Host] = {}
        self._ended: list[str] = []
        self._sent: list[Outside] = []

    @classmethod
    def find(cls, conn: sa.Connection, id: str) -> DeploymentAggregate | None:
        """Lock a deployment; None when it is not there."""
        row = runs.deployment(conn, id, lock=True)
        return None if row is None else cls(conn, row, runs.STATE.load(row.state))

    @classmethod
    def create(
        cls, conn: sa.Connection, *, id: str, group: Row, number: int, body: dict[str, Any], now: int
    ) -> DeploymentAggregate:
        """A deployment that is being asked for. `body` is what was asked: see `operations/deployments.py`."""
        asked = Asked(
            id=id,
            account=group.account,
            region=group.region,
            application=group.application,
            group_name=group.name,
            group_id=group.id,
            number=number,
            body=body,
            created=now,
        )
        return cls(conn, asked, replace(BLANK, id=id))

    @property
    def deployment(self) -> Deployment:
        """Its counters."""
        return self.state.deployment

    def expect(self, positions: Iterable[int]) -> None:
        """Load the hosts that are going to be asked for, all at once."""
        for host in runs.hosts_at(self.conn, self.deployment, positions):
            self._expected[host.position] = host
            self._by_name[host.name] = host.position

    def host(self, position: int) -> Host | None:
        """A host that was expected, as it is now, or None."""
        return self._expected.get(position)

    def decide(self, input: inputs.Input, *, now: int, seed: int) -> tuple[State, Sequence[effects.Effect]]:
        """See `engine.decide`; the rows are those of `needed.needs`."""
        before = State(deployment=self.deployment, hosts=self._rows(input, now))
        after, wanted = engine.decide(before, input, now, seed)
        if not wanted and after == before:
            return self.state, ()
        if isinstance(input, inputs.Began):
            self._made += after.hosts
        else:
            for host in engine.changed(before, after):
                self._changed[host.name] = host
                if host.position in self._expected:
                    self._expected[host.position] = host
        return State(deployment=after.deployment), wanted

    def _rows(self, input: inputs.Input, now: int) -> tuple[Host, ...]:
        needs = needed.needs(self.deployment, input, now)
        known = [self._expected[place] for name in needs.hosts if (place := self._by_name.get(name)) is not None]
        alone = needs.hosts and not (needs.overdue or needed.followers(self.deployment, needs, len(needs.hosts)))
        if alone and len(known) == len(needs.hosts):
            return tuple(known)
        self.flush()  # the database is asked: it has to know what was decided before
        return runs.rows_for(self.conn, self.deployment, needs, now)

    def perform(self, effect: effects.Effect) -> None:
        """Commands, events and jobs; the end of the deployment goes to its group."""
        row = self.row
        match effect:
            case effects.SendCommand():
                self._sent.append(self._command(effect))
            case effects.EndCommand():
                self._ended.append(command_id(row.id, effect.position, effect.index))
            case effects.WithdrawCommand():
                self.flush()
                jobs.cancel_id(self.conn, command_id(row.id, effect.position, effect.index))
            case effects.OfferAgain():
                self.flush()
                jobs.put_back(self.conn, command_id(row.id, effect.position, effect.index))
            case effects.Continue():
                self.enqueue(PROCEED, {"deployment": row.id}, dedup=row.id)
            case effects.SkipPending():
                self.flush()
                runs.skip_pending(self.conn, row.id, self.now)
            case effects.HostChanged():
                self._host_changed(effect)
            case effects.DeploymentChanged():
                if self.deployment.status.final:
                    observe = DEPLOYMENT_SECONDS.labels(str(self.deployment.status)).observe
                    after_commit(self.conn, partial(observe, (self.now - row.created) / 1000))
                self._publish(DEPLOYMENT_CHANGED, event_details.deployment_detail(row, self.deployment, effect))
                self._pull_triggers(effect.mark)
            case effects.Finished():
                self.close()  # whoever follows looks at it
                self._finish(effect)

    def _publish(self, type: EventType, detail: dict[str, Any]) -> None:
        self.emit(type, detail, correlation=self.row.id, actor=self.row.body.get("requester", ""))

    def _command(self, effect: effects.SendCommand) -> Outside:
        row = self.row
        payload = {"deployment": row.id, "position": effect.position, "index": effect.index, "event": effect.event}
        return Outside(
            id=command_id(row.id, effect.position, effect.index),
            kind=COMMAND,
            payload=payload,
            account=self.account,
            region=self.region,
            topic=host_topic(self.account, self.region, effect.host),
        )

    def _host_changed(self, effect: effects.HostChanged) -> None:
        if effect.mark is not effects.Mark.START:
            records.set_health(
                self.conn,
                group_id=self.row.group_id,
                name=effect.host,
                healthy=effect.mark is effects.Mark.SUCCESS,
                digest=revisions.content(self.row.body["revision"]),
                now=self.now,
            )
        self._publish(INSTANCE_CHANGED, event_details.host_detail(self.row, effect))
        event, status = _OF_HOSTS[effect.mark]
        self.trigger(event, status, host=effect.host)

    def _pull_triggers(self, mark: effects.Mark) -> None:
        if mark is not effects.Mark.START:
            event, status = _OF_ENDS[mark]
            self.trigger(event, status, ended=True)
        elif self.row.body["creator"] == CREATOR_ROLLBACK:
            self.trigger("DeploymentRollback", "IN_PROGRESS")

    def trigger(self, event: str, status: str, *, host: str = "", ended: bool = False) -> None:
        """Let every trigger of the group that names an event publish it. Those are meant that it had when the deployment was created."""
        for trigger in self.row.body.get("triggers") or ():
            if event in trigger["triggerEvents"]:
                name = trigger["triggerName"]
                payload = {
                    "deployment": self.row.id,
                    "trigger": name,
                    "topic": trigger["triggerTargetArn"],
                    "status": status,
                    "ended": ended,
                    **({"host": host} if host else {}),
                }
                self.enqueue(TRIGGER, payload, dedup=f"{self.row.id}:{event}:{host}:{name}")

    def _finish(self, effect: effects.Finished) -> None:
        group = GroupAggregate.find(self.conn, self.account, self.region, self.row.group_id)
        if group is None:
            return
        body = self.row.body
        ended = queue.Ended(
            deployment=self.row.id,
            succeeded=self.deployment.status is DeploymentStatus.SUCCEEDED,
            revision=body["revision"],
            digest=body["digest"],
            rolls_back=effect.rolls_back,
            touched=bool(self.deployment.touched),
            everywhere=group.row.tags.get(ROLLBACK_SCOPE_TAG) == "all",
        )
        with group:
            group.apply(ended, now=self.now, seed=self.seed, cause=self.name)

    def keep(self) -> None:
        """Write the hosts and their commands."""
        if self._made:
            runs.insert_hosts(self.conn, self.row.id, self._made, self.arns)
        runs.save_hosts(self.conn, self.row.id, self._changed.values())
        jobs.finish_all(self.conn, self._ended)
        outside.enqueue_all(self.conn, self._sent)
        for written in (self._made, self._changed, self._ended, self._sent):
            written.clear()

    def save(self) -> None:
        """Write the counters; the first time, insert the row."""
        if self.saved:
            runs.save(self.conn, self.row.id, self.deployment, before=self.saved, version=self.sequence)
            return
        state = {"status": self.deployment.status, "state": runs.STATE.dump(self.deployment), "links": {}}
        columns = {**asdict(self.row), **state, "version": self.sequence}
        self.conn.execute(sa.insert(records.deployments).values(columns))


class GroupAggregate(RowAggregate[queue.Group, queue.Input, queue.Effect]):
    """A deployment group whose row is locked: its queue, and what its hosts should run."""

    kind, table, states, engine = "deployment-group", records.groups, runs.GROUP, staticmethod(queue.decide)
    inputs = Codec("an input of a deployment group", queue.Requested, queue.Ended)
    effects = Codec("an effect of a deployment group", queue.Begin, queue.RollBack)

    def request(self, *, id: str, body: dict[str, Any], now: int, seed: int, actor: str = "", cause: str = "") -> None:
        """Create a deployment to the group, which begins at once or waits for its turn."""
        with self:
            self.apply(queue.Requested(deployment=id), now=now, seed=seed, actor=actor, cause=cause)
            self._create(id=id, number=self.state.total, body=body, actor=actor, cause=cause)

    def perform(self, effect: queue.Effect) -> None:
        """Start a deployment, or create and start it."""
        match effect:
            case queue.Begin():
                self._begin(effect.deployment)
            case queue.RollBack():
                self._roll_back(effect)

    def _begin(self, deployment: str) -> None:
        self.enqueue(START, {"deployment": deployment}, dedup=deployment)

    def _create(self, *, id: str, number: int, body: dict[str, Any], actor: str, cause: str) -> None:
        deployment = DeploymentAggregate.create(
            self.conn, id=id, group=self.row, number=number, body=body, now=self.now
        )
        with deployment:
            requested = _requested(body, queued=self.state.active != id)
            deployment.apply(requested, now=self.now, seed=self.seed, actor=actor, cause=cause)
            # AWS: what is called the start is the creation, also of one that waits.
            deployment.trigger("DeploymentStart", "CREATED")

    def _roll_back(self, effect: queue.RollBack) -> None:
        ended = runs.deployment(self.conn, effect.of)
        assert ended is not None
        good = runs.deployment(self.conn, self.state.successful) if self.state.successful else None
        body = {
            **ended.body,
            "revision": self.state.revision,
            "digest": self.state.digest,
            "creator": CREATOR_ROLLBACK,
            "description": "",
            "updateOutdatedInstancesOnly": False,
            "mode": None,
            "reuse": None,
            # AWS: a rollback keeps the option of the deployment that it goes back to.
            "fileExistsBehavior": (good or ended).body["fileExistsBehavior"],
            "attemptedOf": None if effect.everywhere else effect.of,
        }
        new = effect.deployment
        self._create(id=new, number=effect.number, body=body, actor="", cause=f"deployment/{effect.of}")
        self._begin(new)
        there = {
            "rollbackDeploymentId": new,
            "rollbackMessage": f"Deployment {effect.of} terminated. Automatic rollback is triggered with a DeploymentId {new}.",
        }
        here = {
            "rollbackTriggeringDeploymentId": effect.of,
            "rollbackMessage": f"Deployment {new} is triggered to roll back deployment {effect.of}.",
        }
        for id, links in ((effect.of, there), (new, here)):
            self.conn.execute(sa.update(records.deployments).where(records.deployments.c.id == id).values(links=links))

    @classmethod
    def columns(cls, state: queue.Group) -> dict[str, Any]:
        """What statements ask for."""
        return {name: getattr(state, name) for name in ("active", "attempted", "successful", "revision", "digest")}


def _requested(body: dict[str, Any], *, queued: bool) -> inputs.Requested:
    """What the engine has to know of a deployment that was asked for."""
    minimum = body["minimum"]
    rolls_back = body["autoRollback"]
    on = set(rolls_back.get("events") or ()) if rolls_back.get("enabled") else set()
    return inputs.Requested(
        events=lifecycle.IN_PLACE,
        minimum=Minimum(kind=MinimumKind(minimum["type"]), value=minimum["value"], predefined=minimum["predefined"]),
        queued=queued,
        ignore_stop_failures=body["ignoreApplicationStopFailures"],
        is_rollback=body["creator"] == CREATOR_ROLLBACK,
        idle_is_success=body["updateOutdatedInstancesOnly"],
        rolls_back_on_failure="DEPLOYMENT_FAILURE" in on,
        rolls_back_on_stop="DEPLOYMENT_STOP_ON_REQUEST" in on,
    )


def apply(
    conn: sa.Connection, id: str, input: inputs.Input, *, now: int, seed: int, actor: str = "", cause: str = ""
) -> Deployment | None:
    """Take one decision on a deployment; its counters then, or None when it is not there."""
    found = DeploymentAggregate.find(conn, id)
    if found is None:
        return None
    with found:
        found.apply(input, now=now, seed=seed, actor=actor, cause=cause)
    return found.deployment
