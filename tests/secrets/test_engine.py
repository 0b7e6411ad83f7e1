"""Stages and passwords: pure, against what the documentation promises."""

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.secrets import engine
from penstock.secrets.engine import CURRENT, PREVIOUS
from penstock.secrets.errors import (
    InvalidParameterException,
    InvalidRequestException,
    LimitExceededException,
    ResourceNotFoundException,
)
from penstock.secrets.passwords import password

VERSIONS, LABELS = ("v1", "v2", "v3"), (CURRENT, PREVIOUS, "AWSPENDING", "mine")
steps = st.lists(
    st.tuples(
        st.sampled_from(VERSIONS), st.lists(st.sampled_from(LABELS), min_size=1, max_size=3), st.sampled_from(VERSIONS)
    ),
    max_size=8,
)


@given(steps)
def test_a_stage_is_on_one_version_and_what_was_current_is_previous(moves):
    stages: dict[str, list[str]] = {}
    for version, labels, other in moves:
        before = engine.current(stages)
        stages = engine.attached(stages, version, engine.of_new(stages, labels))
        held = [label for of_it in stages.values() for label in of_it]
        assert len(held) == len(set(held))
        assert engine.current(stages), "the first version is current, and nothing takes that from all versions"
        if CURRENT in labels and before not in ("", version):
            assert engine.holder(stages, PREVIOUS) == before
        for label in labels:
            if label != PREVIOUS or CURRENT not in labels:
                assert engine.holder(stages, label) == version
        if other in stages and other != version:
            had = engine.holder(stages, labels[0])
            stages = engine.moved(stages, labels[0], remove_from=had, move_to=other)
            assert engine.holder(stages, labels[0]) == other


def test_a_stage_is_moved_by_who_knows_where_it_is():
    stages = {"a" * 32: [CURRENT], "b" * 32: ["mine"], "c" * 32: []}
    a, b, c = stages
    with pytest.raises(InvalidParameterException, match="explicitly reference that version in RemoveFromVersionId"):
        engine.moved(stages, "mine", remove_from="", move_to=c)
    with pytest.raises(InvalidParameterException, match="isn't attached to version"):
        engine.moved(stages, "mine", remove_from=a, move_to=c)
    with pytest.raises(InvalidParameterException, match="can't remove the staging label AWSCURRENT"):
        engine.moved(stages, CURRENT, remove_from=a, move_to="")
    assert engine.moved(stages, "mine", remove_from=b, move_to="") == {a: [CURRENT], b: [], c: []}
    assert engine.moved(stages, "mine", remove_from=b, move_to=b) == stages
    assert engine.moved(stages, CURRENT, remove_from=a, move_to=c) == {a: [PREVIOUS], b: ["mine"], c: [CURRENT]}
    with pytest.raises(LimitExceededException):
        engine.attached(stages, c, [f"label {number}" for number in range(19)])


def test_a_secret_has_room_for_so_many_versions_of_a_day():
    kept = [engine.Kept(str(number), 1, ()) for number in range(1000)]
    with pytest.raises(LimitExceededException):
        engine.check_room(kept)
    assert engine.outdated(kept, engine.DAY_MS) == []
    assert len(engine.outdated(kept, engine.DAY_MS + 1)) == 900
    engine.check_room(kept[:999])


def test_a_password_has_what_is_asked_for():
    for _ in range(20):
        usual = password({})
        assert len(usual) == 32
        for kind in (string.ascii_lowercase, string.ascii_uppercase, string.digits, string.punctuation):
            assert set(kind) & set(usual)
        assert " " not in usual
    digits = password({"PasswordLength": 4096, "ExcludePunctuation": True, "ExcludeUppercase": True, "ExcludeLowercase": True, "ExcludeCharacters": "01"})  # fmt: skip
    assert (len(digits), set(digits)) == (4096, set("23456789"))
    assert set(password({"PasswordLength": 400, "IncludeSpace": True, "ExcludeNumbers": True})) >= {" "}
    assert len(password({"PasswordLength": 1, "RequireEachIncludedType": False})) == 1
    assert len(password({"PasswordLength": 4})) == 4
    with pytest.raises(InvalidParameterException, match="too short for one character of each of 5 types"):
        password({"PasswordLength": 4, "IncludeSpace": True})
    assert len({password({}) for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("days", "force", "after"),
    [(None, False, 30), (None, True, 0), (7, False, 7), (30, False, 30), (6, False, "between 7 and 30"), (31, False, "between 7 and 30"), (0, False, "between 7 and 30"), (7, True, "in conjunction")],
)  # fmt: skip
def test_how_long_a_deleted_secret_is_kept(days, force, after):
    if isinstance(after, int):
        assert engine.window(days, force=force) == after
    else:
        with pytest.raises(InvalidParameterException, match=after):
            engine.window(days, force=force)


def test_a_stage_that_cannot_be_moved_is_refused_with_the_reason():
    stages = {"a": [CURRENT], "b": ["mine"], "c": []}
    for label, remove_from, move_to, message in (
        ("mine", "x", "", "Secrets Manager can't find the specified secret value for VersionId: x"),
        ("mine", "b", "y", "Secrets Manager can't find the specified secret value for VersionId: y"),
        ("mine", "", "", "You must provide a value for RemoveFromVersionId, MoveToVersionId, or both."),
        ("mine", "a", "c", "Staging label mine isn't attached to version a, so it can't be removed from it."),
        (
            "mine", "", "c",
            "The parameter RemoveFromVersionId can't be empty. Staging label mine is currently attached to version b, so you must explicitly reference that version in RemoveFromVersionId.",
        ),
        (CURRENT, "a", "", "You can't remove the staging label AWSCURRENT. Move it to another version: say which one in MoveToVersionId."),
    ):  # fmt: skip
        with pytest.raises((InvalidParameterException, ResourceNotFoundException)) as refused:
            engine.moved(stages, label, remove_from=remove_from, move_to=move_to)
        assert refused.value.message == message
    assert engine.moved(stages, "mine", remove_from="", move_to="b") == stages
    assert engine.moved(stages, "new", remove_from="", move_to="c") == {"a": [CURRENT], "b": ["mine"], "c": ["new"]}


@pytest.mark.parametrize(
    ("text", "binary", "needed", "error"),
    [
        (True, False, True, None), (False, True, True, None), (False, False, False, None), (True, False, False, None),
        (True, True, True, InvalidParameterException), (True, True, False, InvalidParameterException), (False, False, True, InvalidRequestException),
    ],
)  # fmt: skip
def test_a_secret_has_one_value(text, binary, needed, error):
    with pytest.raises(error) if error else contextlib.nullcontext():
        engine.check_value(text=text, binary=binary, needed=needed)


def test_a_version_without_a_value_does_not_become_current():
    versions = [engine.Kept("a", 1, (), empty=True), engine.Kept("b", 1, ())]
    engine.check_has_value(versions, CURRENT, "b")
    engine.check_has_value(versions, "mine", "a")
    with pytest.raises(InvalidRequestException, match="The version a has no value yet"):
        engine.check_has_value(versions, CURRENT, "a")


def test_the_oldest_of_more_than_a_hundred_versions_go_when_they_are_a_day_old():
    kept = [engine.Kept(str(number), number, ("mine",) if number == 1 else ()) for number in range(103)]
    assert engine.outdated(kept, engine.DAY_MS + 200) == ["0", "2", "3"]
    assert engine.outdated(kept, engine.DAY_MS + 2) == ["0", "2"]
    assert engine.outdated(kept[:101], engine.DAY_MS + 200) == ["0"]
    assert engine.outdated(kept[:100], engine.DAY_MS + 200) == []
