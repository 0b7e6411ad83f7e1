"""The group's engine: one deployment at a time, first come first, and rollbacks before whoever waits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.deployments.aggregates import DeploymentAggregate, GroupAggregate
from penstock.deployments.server import replay
from penstock.deployments.server.model import DeploymentStatus
from penstock.deployments.server.queue import Begin, Ended, Group, Requested, RollBack, decide

GOLDEN = Path(__file__).parent.parent / "golden"
OLD = {"revisionType": "S3", "s3Location": {"key": "old.zip"}}
NEW = {"revisionType": "S3", "s3Location": {"key": "new.zip"}}


def ended(id: str, **more) -> Ended:
    return Ended(**{"deployment": id, "succeeded": False, "revision": NEW, "digest": "new"} | more)


def after(*inputs, group: Group | None = None, seed: int = 1) -> tuple[Group, list]:
    group, effects = group or Group(), []
    for input in inputs:
        group, wanted = decide(group, input, 0, seed)
        effects += wanted
    return group, effects


def test_the_first_begins_and_the_next_wait():
    group, effects = after(Requested(deployment="a"), Requested(deployment="b"), Requested(deployment="c"))
    assert effects == [Begin(deployment="a")]
    assert group == Group(active="a", waiting=("b", "c"), total=3, attempted="c")


def test_a_success_is_what_the_group_should_run():
    group, effects = after(Requested(deployment="a"), ended("a", succeeded=True), Requested(deployment="b"))
    assert (group.successful, group.revision, group.digest, group.active) == ("a", NEW, "new", "b")
    assert effects == [Begin(deployment="a"), Begin(deployment="b")]


def test_one_that_is_stopped_while_it_waits_leaves_the_queue():
    group, effects = after(Requested(deployment="a"), Requested(deployment="b"), ended("b"), ended("a"))
    assert (group.active, group.waiting, effects) == (None, (), [Begin(deployment="a")])


GOOD = Group(successful="g", revision=OLD, digest="old", total=1, attempted="g")


@pytest.mark.parametrize(
    ("before", "end", "rolls_back"),
    [
        (GOOD, {"rolls_back": True, "touched": True}, True),
        (GOOD, {"rolls_back": True, "everywhere": True}, True),
        (GOOD, {"rolls_back": True}, False),  # no host was touched: there is nothing to roll back
        (GOOD, {"touched": True}, False),
        (Group(), {"rolls_back": True, "touched": True, "everywhere": True}, False),  # nothing to go back to
    ],
)
def test_what_a_rollback_needs(before, end, rolls_back):
    group, effects = after(Requested(deployment="a"), Requested(deployment="b"), ended("a", **end), group=before)
    last = effects[-1]
    if rolls_back:
        assert last == RollBack(
            deployment=group.active, number=before.total + 3, of="a", everywhere=end.get("everywhere", False)
        )
        assert (group.waiting, group.attempted, group.total) == (("b",), last.deployment, before.total + 3)
    else:
        assert (last, group.active) == (Begin(deployment="b"), "b")
    assert (group.successful, group.revision) == (before.successful, before.revision)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.booleans(), st.booleans()), max_size=40))
def test_any_order_of_inputs_serves_everybody_once(steps):
    group, active, waiting, made, started = Group(), None, [], 0, []
    for seed, (asks, which, succeeded, rolls_back) in enumerate(steps):
        known = [active, *waiting]
        if asks or not known[0]:
            made += 1
            input = Requested(deployment=f"d{made}")
            waiting.append(input.deployment)
        else:
            id = known[which % len(known)]
            input = ended(
                id, succeeded=succeeded and id == active, rolls_back=rolls_back and not succeeded, touched=True
            )
            if id == active:
                active = None
            else:
                waiting.remove(id)
        before = group
        group, effects = decide(group, input, 0, seed)
        for effect in effects:
            assert isinstance(effect, Begin | RollBack)
            started.append(effect.deployment)
            active = effect.deployment
            if isinstance(effect, Begin):
                assert active == waiting.pop(0)
            else:
                assert (effect.of, before.revision is not None) == (before.active, True)
        assert (group.active, list(group.waiting)) == (active, waiting)
        assert len(effects) <= 1
    assert len(set(started)) == len(started)


def recorded(name: str) -> list[dict]:
    return [json.loads(line) for line in (GOLDEN / name).read_text().splitlines()]


def test_a_recorded_journal_of_a_group_is_read_for_ever():
    group = Group()
    for entry in recorded("deployment-group-journal.jsonl"):
        group, effects = decide(group, GroupAggregate.inputs.load(entry["input"]), entry["at"], entry["seed"])
        assert list(effects) == [GroupAggregate.effects.load(effect) for effect in entry["effects"]]
    assert (group.total, group.active, group.attempted == group.successful) == (3, None, True)


def test_a_recorded_journal_of_a_deployment_is_read_for_ever():
    entries = recorded("deployment-journal.jsonl")
    kinds = DeploymentAggregate
    replayed_steps = replay.replayed(
        (kinds.inputs.load(entry["input"]), entry["at"], entry["seed"]) for entry in entries
    )
    for entry, (_, effects, world) in zip(entries, replayed_steps, strict=True):
        assert list(effects) == [kinds.effects.load(effect) for effect in entry["effects"]]
        final = world.deployment
    assert (final.status, final.failed) == (DeploymentStatus.FAILED, 1)
    assert final.targets == 3
