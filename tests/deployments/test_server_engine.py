"""The engine against a naive simulation, and what must hold whatever happens."""

import ast
import random
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples

from penstock import deployments
from penstock.deployments.server import effects, engine, inputs, lifecycle, schedule
from penstock.deployments.server.model import (
    Deployment,
    DeploymentStatus,
    Diagnostics,
    ErrorCode,
    EventStatus,
    FleetHost,
    Host,
    HostStatus,
    LifecycleEvent,
    Minimum,
    MinimumKind,
    RevisionHealth,
    State,
    Timeouts,
)

COUNT, PERCENT, MOST = MinimumKind.HOST_COUNT, MinimumKind.FLEET_PERCENT, MinimumKind.MOST_CONCURRENCY
ALL_AT_ONCE = Minimum(kind=COUNT, value=0, predefined=True)
HALF = Minimum(kind=PERCENT, value=50, predefined=True)
ONE = Minimum(kind=MOST, value=1, predefined=True)
BAD = Diagnostics(code="ScriptFailed", message="exit code 1")


def fleet(size, *, healthy=True, revision=RevisionHealth.OLD):
    return tuple(FleetHost(name=f"host-{n:03d}", healthy=healthy, revision=revision) for n in range(size))


def deployment(minimum, **options):
    return Deployment(id="d-TEST00000", events=lifecycle.IN_PLACE, minimum=minimum, **options)


class World:
    """The shell, done naively: keeps every row, hands the engine only what its contract names."""

    def __init__(self, plan, hosts, *, bystanders=0, group=None, seed=7):
        self.deployment = plan
        self.rows = {}
        self.commands = {}  # host → index, as the agents see them
        self.effects = []
        self.now = 1_000
        self.fleet = {host.name: host.healthy for host in hosts}
        self.busy = set()
        self.bystanders = bystanders
        self.peak = 0
        self.more = False
        self.offered_again = 0
        event = inputs.Began(hosts=tuple(hosts), bystanders=bystanders, fleet=group or len(hosts) + bystanders)
        self.feed(event, (), seed)

    def feed(self, event, loaded, seed=0):
        self.now += 1
        before = State(deployment=self.deployment, hosts=tuple(loaded))
        after, wanted = engine.decide(before, event, self.now, seed)
        again, same = engine.decide(before, event, self.now, seed)
        assert (again, same) == (after, wanted)
        for row in engine.changed(before, after):
            self.rows[row.name] = row
        self.deployment = after.deployment
        for effect in wanted:
            self.apply(effect)
        self.check()
        if self.more:
            self.more = False
            self.feed(inputs.Proceed(), self.loaded(ending=0), seed)
        return wanted

    def apply(self, effect):
        self.effects.append(effect)
        match effect:
            case effects.SendCommand():
                assert effect.host not in self.commands, "two commands on one host"
                self.commands[effect.host] = effect.index
            case effects.WithdrawCommand():
                assert self.commands.pop(self.named(effect.position)) == effect.index
            case effects.EndCommand():
                assert self.named(effect.position) not in self.commands, "only what was reported on ends"
            case effects.OfferAgain():
                self.commands[self.named(effect.position)] = effect.index
                self.offered_again += 1
            case effects.Continue():
                self.more = True
            case effects.SkipPending():
                for row in list(self.rows.values()):
                    if row.status is HostStatus.PENDING:
                        self.rows[row.name] = replace(
                            row, status=HostStatus.SKIPPED, events=lifecycle.skipped_events(row.events, self.now)
                        )
            case effects.HostChanged(mark=effects.Mark.START):
                self.busy.add(effect.host)
            case effects.HostChanged():
                self.busy.discard(effect.host)
                self.fleet[effect.host] = effect.mark is effects.Mark.SUCCESS

    def check(self):
        plan = self.deployment
        states = [row.status for row in self.rows.values()]
        assert plan.pending == states.count(HostStatus.PENDING)
        assert plan.running == states.count(HostStatus.IN_PROGRESS)
        assert plan.succeeded == states.count(HostStatus.SUCCEEDED)
        assert plan.failed == states.count(HostStatus.FAILED)
        assert plan.skipped == states.count(HostStatus.SKIPPED)
        self.peak = max(self.peak, plan.running)

    def healthy_and_idle(self):
        running = {row.name for row in self.rows.values() if row.status is HostStatus.IN_PROGRESS}
        return self.bystanders + sum(ok for name, ok in self.fleet.items() if name not in running)

    def loaded(self, *names, ending=None):
        limit = schedule.appetite(self.deployment, ending=len(names) if ending is None else ending)
        waiting = sorted((r for r in self.rows.values() if r.status is HostStatus.PENDING), key=lambda r: r.position)
        return [self.rows[name] for name in names] + waiting[:limit]

    def named(self, position):
        return next(row.name for row in self.rows.values() if row.position == position)

    def acknowledge(self, name, noop=False):
        self.feed(inputs.Acknowledged(host=name, index=self.commands[name], noop=noop), [self.rows[name]])

    def complete(self, name, succeeded=True):
        index = self.commands.pop(name)
        why = lifecycle.SUCCESS if succeeded else BAD
        event = inputs.Completed(host=name, index=index, succeeded=succeeded, diagnostics=why)
        return self.feed(event, self.loaded(name))

    def finish_host(self, name, fails_at=None):
        """Play the agent of one host until the deployment is done with it."""
        while name in self.commands:
            event = self.rows[name].events[self.commands[name]].name
            self.acknowledge(name)
            self.complete(name, succeeded=event != fails_at)

    def stop(self, rolls_back=None):
        running = [row for row in self.rows.values() if row.status is HostStatus.IN_PROGRESS]
        return self.feed(inputs.StopRequested(rolls_back=rolls_back), running)

    def elapse(self, to, unheard=(), forgotten=()):
        self.now = to
        named = {*forgotten, *(name for name, _ in unheard)}
        due = [
            row.name
            for row in self.rows.values()
            if row.status is HostStatus.IN_PROGRESS
            and (row.deadline <= to + 1 or row.name in named or schedule.overrun(self.deployment, to + 1))
        ]
        return self.feed(inputs.Elapsed(unheard=tuple(unheard), forgotten=tuple(forgotten)), self.loaded(*due))

    def lose(self, name):
        """The agent of one host says that it does not have its command any more."""
        index = self.commands[name]
        return self.feed(inputs.Lost(host=name, index=index), self.loaded(name))

    def deregister(self, name):
        rest = [row for row in self.loaded(name)[1:] if row.name != name]
        return self.feed(inputs.Deregistered(host=name), [self.rows[name], *rest])


def naive(hosts, minimum_count, failing, rank):
    """The reference algorithm on plain sets: (outcome, succeeded, failed, skipped, most at a time)."""
    queue, running, good, bad, most = list(hosts), [], [], [], 0
    health = {host.name: host.healthy for host in hosts}
    size = len(hosts)
    if size - minimum_count <= 0:
        return "invalid", [], [], [h.name for h in hosts], 0
    skipped = []
    while queue or running:
        if queue and bad and size - len(bad) <= minimum_count:
            skipped, queue = [h.name for h in queue], []
        while queue and len(running) < size - len(bad) - minimum_count:
            idle = sum(ok for name, ok in health.items() if name not in running)
            if queue[0].healthy and idle <= minimum_count:
                break
            running.append(queue.pop(0).name)
        if queue and not running:
            skipped, queue = [h.name for h in queue], []
            break
        most = max(most, len(running))
        if not running:
            break
        done = min(running, key=rank)
        running.remove(done)
        health[done] = done not in failing
        (bad if done in failing else good).append(done)
    outcome = "failed" if skipped or len(good) < max(minimum_count, 1) else "succeeded"
    return outcome, good, bad, skipped, most


SIZES = [1, 2, 3, 7, 10]
MINIMA = [
    ALL_AT_ONCE,
    HALF,
    ONE,
    Minimum(kind=PERCENT, value=40),
    Minimum(kind=PERCENT, value=85),
    Minimum(kind=PERCENT, value=95),
    Minimum(kind=PERCENT, value=0),
    Minimum(kind=COUNT, value=1),
    Minimum(kind=COUNT, value=6),
    Minimum(kind=COUNT, value=8),
    Minimum(kind=COUNT, value=9),
]


def agree(hosts, minimum, failing, rank):
    world = World(deployment(minimum), hosts)
    ordered = sorted(world.rows.values(), key=lambda row: row.position)
    by_name = {host.name: host for host in hosts}
    bound = schedule.minimum_hosts(minimum, len(hosts))
    expected = naive([by_name[row.name] for row in ordered], bound, failing, rank)
    while world.commands:
        name = min(world.commands, key=rank)
        world.finish_host(name, "Install" if name in failing else None)
    plan = world.deployment
    outcome, good, bad, skipped, most = expected
    assert plan.status.final
    assert (plan.succeeded, plan.failed, plan.skipped) == (len(good), len(bad), len(skipped))
    assert {n for n, r in world.rows.items() if r.status is HostStatus.SUCCEEDED} == set(good)
    assert {n for n, r in world.rows.items() if r.status is HostStatus.FAILED} == set(bad)
    assert world.peak == most
    if outcome == "succeeded":
        assert plan.status is DeploymentStatus.SUCCEEDED
    else:
        code = "HEALTH_CONSTRAINTS_INVALID" if outcome == "invalid" else "HEALTH_CONSTRAINTS"
        assert (plan.status, plan.ending.code) == (DeploymentStatus.FAILED, code)
    return world


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("minimum", MINIMA, ids=lambda m: f"{m.kind}-{m.value}")
def test_every_small_group_with_failures_at_every_chosen_place(size, minimum):
    order = [row.name for row in sorted(World(deployment(ONE), fleet(size)).rows.values(), key=lambda r: r.position)]
    places = [(), (0,), (size - 1,), (0, 1), (size - 2, size - 1), tuple(range(size)), (0, size // 2)]
    for chosen in places:
        failing = {order[place] for place in chosen if 0 <= place < size}
        agree(fleet(size), minimum, failing, order.index)


@given(
    size=st.integers(1, 14),
    minimum=st.one_of(
        st.sampled_from(MINIMA),
        st.builds(Minimum, kind=st.just(COUNT), value=st.integers(0, 15)),
        st.builds(Minimum, kind=st.just(PERCENT), value=st.integers(0, 99)),
    ),
    data=st.data(),
)
@settings(max_examples=examples(300), deadline=None)
def test_mixed_fleets_match_the_naive_simulation(size, minimum, data):
    flags = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    revisions = data.draw(st.lists(st.sampled_from(RevisionHealth), min_size=size, max_size=size))
    hosts = tuple(
        FleetHost(name=f"h{n}", healthy=ok, revision=rev)
        for n, (ok, rev) in enumerate(zip(flags, revisions, strict=True))
    )
    failing = data.draw(st.sets(st.sampled_from([h.name for h in hosts])))
    ranks = data.draw(st.permutations([h.name for h in hosts]))
    agree(hosts, minimum, failing, ranks.index)


CHOICES = (
    "ack", "fail", "late", "wait", "stop", "double", "silent", "forgotten", "noop", "lost", "deregister", "network"
)  # fmt: skip


@given(
    size=st.integers(1, 8),
    bystanders=st.integers(0, 4),
    minimum=st.sampled_from(MINIMA),
    is_rollback=st.booleans(),
    tolerant=st.booleans(),
    data=st.data(),
)
@settings(max_examples=examples(400), deadline=None)
def test_whatever_happens_the_minimum_holds_and_it_ends(size, bystanders, minimum, is_rollback, tolerant, data):
    flags = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    hosts = tuple(
        FleetHost(name=f"h{n}", healthy=ok, revision=RevisionHealth.OLD, seen=ok) for n, ok in enumerate(flags)
    )
    plan = deployment(
        minimum,
        is_rollback=is_rollback,
        ignore_stop_failures=tolerant,
        timeouts=Timeouts(pickup=50, absent=20, event=500, deployment=20_000, silent=300, gone=100, stop=200, noop=30),
        rolls_back_on_failure=True,
    )
    world = World(plan, hosts, bystanders=bystanders)
    stopped = False
    for _ in range(2_000):
        if world.deployment.status.final:
            break
        before = world.healthy_and_idle()
        choice = data.draw(st.sampled_from([*["ok"] * 4, *CHOICES]))
        name = data.draw(st.sampled_from(sorted(world.commands)))
        if choice == "ack":
            world.acknowledge(name)
        elif choice == "late":
            stale = inputs.Completed(host=name, index=99, succeeded=True, diagnostics=lifecycle.SUCCESS)
            assert world.feed(stale, world.loaded(name)) == ()
        elif choice == "wait":
            world.elapse(world.now + 60)
        elif choice == "silent":
            world.elapse(world.now + 1, unheard=[(name, world.now - data.draw(st.integers(0, 400)))])
        elif choice == "forgotten":
            world.elapse(world.now + 1, forgotten=[name])
        elif choice == "noop":
            world.acknowledge(name, noop=True)
        elif choice == "lost":
            world.lose(name)
        elif choice == "deregister":
            world.deregister(name)
        elif choice == "network":
            why = Diagnostics(code="UnknownError", message="end of file reached")
            report = inputs.Completed(host=name, index=world.commands[name], succeeded=False, diagnostics=why)
            world.feed(report, world.loaded(name))
        elif choice == "stop" and not stopped and data.draw(st.booleans()):
            stopped = True
            world.stop()
        elif choice == "double":
            index = world.commands[name]
            world.complete(name)
            again = inputs.Completed(host=name, index=index, succeeded=False, diagnostics=BAD)
            assert world.feed(again, world.loaded(name)) == ()
        else:
            world.complete(name, succeeded=choice == "ok")
        after = world.healthy_and_idle()
        needed = world.deployment.needed
        assert after >= min(needed, before), "we took a healthy host that could not be spared"
    while not world.deployment.status.final:
        world.elapse(world.now + 20_000)
    plan = world.deployment
    assert plan.pending == plan.running == 0
    assert not world.commands
    assert [e for e in world.effects if isinstance(e, effects.Finished)] == [world.effects[-1]]
    for row in world.rows.values():
        assert row.current is None
        assert row.deadline is None
        assert all(event.status not in (EventStatus.PENDING, EventStatus.IN_PROGRESS) for event in row.events)


@pytest.mark.parametrize(
    ("minimum", "size", "needed", "parallel"),
    [
        (ALL_AT_ONCE, 9, 0, 9), (HALF, 1, 0, 1), (HALF, 2, 1, 1), (HALF, 3, 2, 1), (HALF, 9, 5, 4), (HALF, 10, 5, 5),
        (ONE, 1, 0, 1), (ONE, 10, 9, 1),
        (Minimum(kind=PERCENT, value=40), 9, 4, 5), (Minimum(kind=PERCENT, value=85), 10, 9, 1),
        (Minimum(kind=PERCENT, value=95), 10, 10, 0), (Minimum(kind=COUNT, value=6), 9, 6, 3),
        (Minimum(kind=PERCENT, value=50), 1, 1, 0),
    ],
)  # fmt: skip
def test_numbers_of_the_documentation(minimum, size, needed, parallel):
    assert schedule.minimum_hosts(minimum, size) == needed
    assert World(deployment(minimum), fleet(size)).peak == parallel


def test_order_is_unhealthy_unknown_old_current_and_by_seed():
    hosts = [
        FleetHost(name=f"{ok}{rev}{n}", healthy=ok, revision=rev)
        for ok in (True, False)
        for rev in RevisionHealth
        for n in range(4)
    ]
    random.Random(3).shuffle(hosts)
    first, second = schedule.in_order(hosts, 1), schedule.in_order(reversed(hosts), 1)
    assert first == second
    assert first != schedule.in_order(hosts, 2)
    assert [(h.healthy, h.revision) for h in first] == sorted((h.healthy, h.revision) for h in hosts)


def test_two_hundred_hosts_with_scattered_failures():
    hosts = fleet(200)
    failing = {f"host-{n:03d}" for n in range(0, 200, 9)}
    agree(hosts, Minimum(kind=PERCENT, value=75), failing, lambda name: name[::-1])
    world = agree(hosts, Minimum(kind=COUNT, value=195), failing, lambda name: name[::-1])
    assert world.deployment.failed == 5


def test_an_empty_group_fails_and_nothing_outdated_succeeds():
    world = World(deployment(ONE), ())
    assert world.deployment.ending.code is ErrorCode.NO_INSTANCES
    world = World(deployment(ONE, idle_is_success=True), (), bystanders=3)
    assert world.deployment.status is DeploymentStatus.SUCCEEDED


def test_a_failed_event_skips_the_later_ones_without_a_start():
    world = World(deployment(ONE), fleet(1))
    world.finish_host("host-000", "Install")
    events = world.rows["host-000"].events
    assert [e.status for e in events] == ["Succeeded"] * 3 + ["Failed"] + ["Skipped"] * 3
    assert all(e.started is None and e.ended for e in events[4:])
    assert events[3].diagnostics == BAD


def test_stop_failures_are_passed_over_only_when_asked():
    for tolerant, status in ((False, DeploymentStatus.FAILED), (True, DeploymentStatus.SUCCEEDED)):
        world = World(deployment(ONE, ignore_stop_failures=tolerant), fleet(1))
        world.finish_host("host-000", "ApplicationStop")
        assert world.deployment.status is status
        assert world.rows["host-000"].events[0].status is EventStatus.FAILED
    world = World(deployment(ONE, ignore_stop_failures=True), fleet(1))
    world.finish_host("host-000", "BeforeInstall")
    assert world.deployment.status is DeploymentStatus.FAILED


def test_a_stop_lets_running_events_end_and_drops_what_was_not_taken():
    world = World(deployment(Minimum(kind=COUNT, value=1), rolls_back_on_stop=True), fleet(4))
    first, second, third = sorted(world.commands)
    world.acknowledge(first)
    world.acknowledge(second)
    world.complete(second)
    world.stop()
    assert world.deployment.status is DeploymentStatus.IN_PROGRESS
    assert world.rows[second].status is HostStatus.FAILED
    assert world.rows[third].status is HostStatus.SKIPPED
    assert set(world.commands) == {first}
    assert isinstance(world.complete(first)[-1], effects.Finished)
    assert world.effects[-1].rolls_back
    assert world.deployment.status is DeploymentStatus.STOPPED
    assert world.rows[first].status is HostStatus.FAILED
    assert world.rows[first].events[0].status is EventStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("asked", "configured", "wanted"), [(None, True, True), (True, False, True), (False, True, False)]
)
def test_a_stop_request_overrides_the_groups_rule(asked, configured, wanted):
    world = World(deployment(ONE, rolls_back_on_stop=configured), fleet(2))
    world.stop(asked)
    assert world.effects[-1] == effects.Finished(rolls_back=wanted)


def test_a_host_that_never_polls_fails_with_a_reason():
    world = World(
        deployment(ONE), (FleetHost(name="gone", healthy=False, revision=RevisionHealth.UNKNOWN, seen=False),)
    )
    world.elapse(world.now + 59_000)
    assert not world.deployment.status.final
    world.elapse(world.now + 60_000)
    row = world.rows["gone"]
    assert row.status is HostStatus.FAILED
    assert "was not able to receive the lifecycle event" in row.events[0].diagnostics.message
    assert world.deployment.ending.code is ErrorCode.HEALTH_CONSTRAINTS


def test_an_acknowledged_event_has_an_hour_and_a_deployment_twelve():
    world = World(deployment(ONE), fleet(1))
    world.acknowledge("host-000")
    world.elapse(world.now + 3_500_000)
    assert not world.deployment.status.final
    world.elapse(world.now + 200_000)
    assert world.rows["host-000"].events[0].diagnostics.code == "ScriptTimedOut"
    world = World(deployment(ALL_AT_ONCE, timeouts=Timeouts(event=10**9, pickup=10**9)), fleet(3))
    world.elapse(world.now + 12 * 3_600_000)
    assert world.deployment.ending.code is ErrorCode.TIMEOUT
    assert world.deployment.failed == 3


def test_a_rollback_of_one_host_is_always_possible():
    world = World(deployment(Minimum(kind=PERCENT, value=85), is_rollback=True), fleet(1, healthy=False), bystanders=9)
    world.finish_host("host-000")
    assert world.deployment.status is DeploymentStatus.SUCCEEDED
    world = World(deployment(ONE, is_rollback=True), fleet(3), bystanders=2, group=10)
    while world.commands:
        world.finish_host(min(world.commands))
    assert (world.peak, world.deployment.status) == (1, DeploymentStatus.SUCCEEDED)


def test_a_failed_rollback_is_not_rolled_back():
    world = World(deployment(ONE, is_rollback=True, rolls_back_on_failure=True), fleet(1))
    world.finish_host("host-000", "Install")
    assert world.effects[-1] == effects.Finished(rolls_back=False)


@pytest.mark.parametrize(
    "payload", ["", "nonsense", "[]", "[" * 100_000, '{"error_code": "x", "log": 3}', '{"error_code": true}']
)
def test_unreadable_diagnostics_are_kept(payload):
    read = lifecycle.diagnose(payload, succeeded=False)
    assert read.code == "UnknownError" or payload == '{"error_code": true}'
    assert len(read.message) <= 2048
    assert lifecycle.diagnose(payload, succeeded=True).code == "Success"


def test_diagnostics_of_agents():
    read = lifecycle.diagnose(
        '{"error_code":4,"script_name":"a.sh","message":"Script at specified location: a.sh failed with exit code 1","log":"%s"}'
        % ("ü" * 4000),
        succeeded=False,
    )
    assert (read.code, read.script) == ("ScriptFailed", "a.sh")
    assert len(read.log.encode()) <= 4096
    assert lifecycle.diagnose('{"error_code":7}', succeeded=False).message == lifecycle.AFTER_RESTART


def test_nobody_changes_a_host_or_an_event():
    """They are not frozen, for speed; who decides makes others instead."""
    theirs = {member.name for kind in (Host, LifecycleEvent) for member in fields(kind)}
    for path in Path(deployments.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in theirs:
                assert ast.unparse(node.value) == "self", f"{path.name}:{node.lineno} sets {ast.unparse(node)}"
