"""The buildspec as a file: encodings, and messages that name the file that was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.builds.errors import PhaseFailed
from penstock.builds.specfile import read_below

SPEC = "version: 0.2\nphases: {build: {commands: ['echo caf\u00e9']}}\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_buildspec_is_read_in_the_encodings_of_yaml(tmp_path: Path, encoding: str):
    (tmp_path / "buildspec.yml").write_bytes(SPEC.encode(encoding))
    assert read_below(tmp_path, "buildspec.yml", "/src/buildspec.yml").removeprefix("\ufeff") == SPEC


def test_how_long_a_buildspec_may_be(tmp_path: Path):
    (tmp_path / "buildspec.yml").write_bytes(b"#" * (512 * 1024))
    assert len(read_below(tmp_path, "buildspec.yml", "/src/buildspec.yml")) == 512 * 1024


@pytest.mark.parametrize("name", ["../secret", "link", "linked/secret"])
def test_a_buildspec_is_within_the_source(tmp_path: Path, name: str):
    (tmp_path / "secret").write_text(SPEC)
    source = tmp_path / "source"
    source.mkdir()
    (source / "link").symlink_to(tmp_path / "secret")
    (source / "linked").symlink_to(tmp_path)
    with pytest.raises(PhaseFailed) as refused:
        read_below(source, name, f"/src/{name}")
    assert refused.value.message == f"The buildspec {name} is outside of the source"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"buildspec.yaml": b""}, "stat /src/buildspec.yml: no such file or directory. The source has 'buildspec.yaml': rename it, or name it as the buildspec of the project"),
        ({"Buildspec.yml": b""}, "stat /src/buildspec.yml: no such file or directory. The source has 'Buildspec.yml': rename it, or name it as the buildspec of the project"),
        ({"app/buildspec.yml": b""}, "stat /src/buildspec.yml: no such file or directory. The source has 'app/buildspec.yml': pack what is inside of its folder, or name it as the buildspec of the project"),
        ({}, "stat /src/buildspec.yml: no such file or directory. The source is empty"),
        ({".git/HEAD": b""}, "stat /src/buildspec.yml: no such file or directory. The source is empty"),
        ({"README": b""}, "stat /src/buildspec.yml: no such file or directory"),
        ({"buildspec.yml/x": b""}, "The buildspec buildspec.yml is a folder of the source, not a file"),
        ({"buildspec.yml": b"version: 0.2\n# caf\xe9"}, "The buildspec buildspec.yml is not written in UTF-8: byte 0xe9 at line 2. Save it as UTF-8"),
        ({"buildspec.yml": b"#" * (512 * 1024 + 1)}, "The buildspec buildspec.yml is larger than 512 KiB"),
    ],
)  # fmt: skip
def test_a_buildspec_that_cannot_be_read_is_explained(tmp_path: Path, files: dict[str, bytes], message: str):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with pytest.raises(PhaseFailed) as refused:
        read_below(tmp_path, "buildspec.yml", "/src/buildspec.yml")
    assert (refused.value.message, refused.value.code) == (message, "YAML_FILE_ERROR")
