"""Names of repositories, references and branches at the last character that is taken."""

from __future__ import annotations

import pytest

from penstock.repositories import names


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("refs/heads/" + "/".join(["a" * 166] * 3), True),  # 511 characters
        ("refs/heads/" + "/".join(["a" * 166, "a" * 166, "a" * 167]), True),
        ("refs/heads/" + "/".join(["a" * 166, "a" * 167, "a" * 167]), False),
        ("refs/heads/" + "é" * 125, True),
        ("refs/heads/" + "é" * 125 + "a", False),
        ("refs/main", False),
        ("refs/h/m", True),
        ("heads/x/main", False),
    ],
)
def test_how_long_a_reference_may_be(name, good):
    assert names.is_reference(name) is good


def test_how_long_a_branch_name_may_be():
    assert names.is_branch_name("a" * 128 + "/" + "b" * 127)
    assert not names.is_branch_name("a" * 128 + "/" + "b" * 128)
    assert names.is_branch_name("a")
    assert not names.is_branch_name("")


@pytest.mark.parametrize(("name", "good"), [("...", False), (".a", True), (".git", False), ("agit", True)])
def test_periods_of_repository_names(name, good):
    assert names.is_repository_name(name) is good
