"""Stages and passwords: pure, against what the documentation promises."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.secrets import engine
from penstock.secrets.engine import CURRENT, PREVIOUS
from penstock.secrets.errors import InvalidParameterException, LimitExceededException
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
    assert len({password({}) for _ in range(50)}) == 50
