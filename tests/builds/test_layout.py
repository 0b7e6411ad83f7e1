"""A server that is not root, with its files below folders whose programs builds see: none of them shows in a build."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from penstock_waiting import until

import penstock
from penstock.application import Settings
from penstock.builds.layout import layout_of
from penstock.builds.workspace import OWN_TREES, Workspace
from penstock.cli.checks import findings, machine
from penstock.sandbox import covers, launcher, probe
from penstock.sandbox.registry import choose
from penstock.sandbox.runtime import RuntimeRefused
from penstock.sandbox.specification import Folder, Layout, Limits, Network, Specification

pytestmark = pytest.mark.needs("bubblewrap")

PYTHON = "/usr/bin/python3"  # one that any user of the machine may run
SOURCE = Path(penstock.__file__).parent
FORKSERVER = launcher.FORKSERVER.relative_to(SOURCE.parent)
USER = 64_000 + os.getpid() % 1000
CANARY = f"canary-{uuid.uuid4().hex}"


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Any]:
    """Runs Python as a user without rights, with the supervisor's modules."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    if not Path(PYTHON).exists():
        pytest.skip(f"there is no {PYTHON}, which another user could run")
    home = Path("/tmp") / f"penstock-stranger-{uuid.uuid4().hex[:8]}"
    shutil.copytree(SOURCE, home / "code" / "penstock", ignore=shutil.ignore_patterns("__pycache__"))
    os.chown(home, USER, USER)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        as_user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", PYTHON, "-I", "-S"]
        return subprocess.run(
            [*as_user, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd="/",
            env={"HOME": str(home)},
        )

    run.home = home  # type: ignore[attr-defined]
    yield run
    shutil.rmtree(home)


@pytest.fixture(params=["/opt", "/etc", "/usr/local", "/usr/lib"])
def installation(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A server's data dir, key and credentials in a folder of a user without rights."""
    if os.geteuid() != 0:
        pytest.skip("only root can make folders there")
    folder = Path(request.param) / f"penstock-test-{uuid.uuid4().hex[:8]}"
    (folder / "data" / "objects").mkdir(parents=True)
    (folder / "keys").mkdir()
    for file in ("data/penstock.db", "data/objects/blob", "data/credentials", "keys/master.key", "keys/tls.key"):
        (folder / file).write_text(CANARY)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER)
        path.chmod(0o755 if path.is_dir() else 0o644)  # the modes must not be what saves them
    yield folder
    shutil.rmtree(folder)


def _hidden(folder: Path) -> list[str]:
    return [str(folder / "data"), str(folder / "keys" / "master.key"), str(folder / "keys" / "tls.key")]


def _job(stranger: Any, hidden: list[str], command: str) -> Path:
    space = Workspace(stranger.home / "build", stranger.home / "build" / "tree")
    space.create()
    (space.output / "src").mkdir()
    sandbox = Specification(
        runtime="bubblewrap",
        program=shutil.which("bwrap") or "",
        subject="build",
        directory=str(space.path),
        user=0,
        folders=(
            Folder(path=str(space.tree / "readonly"), inside="/codebuild/readonly"),
            Folder(path=str(space.output), inside="/codebuild/output", writable=True),
        ),
        layout=Layout(hidden=tuple(hidden)),
        limits=Limits(memory=1 << 30, cpus=2, processes=500, disk=1 << 30, seconds=30),
        network=Network(mode="endpoint", target_host="127.0.0.1", target_port=1, token="token"),
    )
    job = {
        "sandbox": sandbox.to_json(),
        "source": "/codebuild/output/src",
        "masked": [],
        "environment": {"PATH": os.defpath},
        "ports_in": [],
        "version": "0.2",
        "shell": "/bin/sh",
        "log_limit": 1_000_000,
        "phases": [
            {"name": "BUILD", "commands": [command, "echo end-of-it"], "finally": [], "user": "", "on_failure": ""}
        ],
        "exported": [],
        "references": [],
        "artifacts": [],
        "compress": True,
    }
    space.write_private("job.json", orjson.dumps(job))
    for path in (space.path, *space.path.rglob("*")):
        os.chown(path, USER, USER)
    return space.path


def test_a_build_of_a_server_without_root_finds_nothing_of_it(stranger: Any, installation: Path):
    alias = installation.parent / f"{installation.name}-link"
    alias.symlink_to(installation / "data")
    try:
        build = _job(
            stranger,
            [str(alias), *_hidden(installation)[1:]],
            f"cd /; cat $(find {installation} {alias}/ -type f) </dev/null; grep -rs {CANARY[:12]} {installation} {alias}/ | head; ls -laR {installation}",
        )
        done = stranger(str(stranger.home / "code" / FORKSERVER), "penstock.builds.supervisor.main", str(build))
        assert done.returncode == 0, done.stderr
        log = _until_ended(build)
        assert "\nend-of-it" in log, log
        assert CANARY not in log
        assert str(installation / "keys") in log  # it looked where they are
    finally:
        alias.unlink()


def _until_ended(build: Path) -> str:
    progress = build / "progress"
    until(
        lambda: progress.exists() and b'"event": "ended"' in progress.read_bytes(),
        why=(build / "errors").read_text,
    )
    lines = [line.partition(" ")[2] for line in (build / "log").read_text().splitlines()]
    return "\n".join(lines)


def test_the_probe_of_a_server_without_root_looks_for_its_files(stranger: Any, installation: Path):
    script = (
        "import sys; sys.path.append(sys.argv[1])\n"
        "from penstock.sandbox import probe\n"
        "from penstock.sandbox.specification import Layout\n"
        "print(probe.search('bubblewrap', program=sys.argv[2], network='endpoint', layout=Layout(hidden=tuple(sys.argv[3:]))))"
    )
    bwrap = shutil.which("bwrap") or ""
    fine = stranger("-c", script, str(stranger.home / "code"), bwrap, *_hidden(installation))
    assert fine.stdout == "Found(reason='', shows=False)\n", fine.stderr
    refused = stranger("-c", script, str(stranger.home / "code"), bwrap, "/usr").stdout
    assert refused.startswith("Found(reason='"), refused
    assert not refused.startswith("Found(reason=''"), refused


@pytest.mark.parametrize("folder", ["/usr", "/"])
def test_a_layout_that_cannot_be_hidden_is_refused(folder: str):
    with pytest.raises(RuntimeRefused, match="Move the data dir and the keys"):
        choose(
            wanted="auto",
            network="",
            allow_unisolated=True,
            layout=Layout(hidden=(folder,)),
        )


def test_doctor_names_a_layout_that_cannot_be_hidden(tmp_path: Path):
    examined = findings.Installation(
        data_dir=Path("/usr"), database="", master_key_file=tmp_path / "k", engine=sa.create_engine("sqlite://")
    )
    (finding,) = machine.builds(examined)
    assert finding.verdict is findings.Verdict.FAIL
    assert "Move the data dir" in finding.message
    examined.data_dir = tmp_path
    assert next(machine.builds(examined)).verdict is findings.Verdict.OK


def test_what_shows_in_spite_of_its_cover_is_refused(monkeypatch: pytest.MonkeyPatch):
    """Whatever goes wrong with covering, the search of the probe is what decides."""
    monkeypatch.setattr(probe, "search", lambda *_, **__: probe.Found("/opt/data of the server shows", shows=True))
    with pytest.raises(RuntimeRefused, match="/opt/data of the server shows"):
        choose(wanted="auto", network="", allow_unisolated=True, layout=Layout())


def test_a_folder_that_is_mounted_twice_is_hidden_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "opt").mkdir()
    rows = [("8:1", "/", "/"), ("8:1", str(tmp_path), f"{tmp_path}/opt/mounted"), ("8:2", "/", f"{tmp_path}/opt/other")]
    monkeypatch.setattr(covers, "_mounts", lambda: rows)
    exposed = f"{tmp_path}/opt"
    assert covers.visible([str(data)], [exposed]) == [f"{exposed}/mounted/data"]
    assert covers.visible([str(data)], [exposed, str(data)]) == [str(data), f"{exposed}/mounted/data"]
    assert covers.visible([str(tmp_path / "nothing")], [exposed]) == []


def test_the_servers_own_paths_are_all_in_its_layout(tmp_path: Path):
    keys = tmp_path / "keys"
    keys.mkdir()
    for name, mode in (("master.key", 0o600), ("credentials", 0o600), ("readme", 0o644), ("tls.key", 0o600)):
        (keys / name).touch(mode=mode)
    settings = Settings(
        data_dir=tmp_path / "data", master_key_file=keys / "master.key", tls_cert=keys / "c", tls_key=keys / "tls.key"
    )
    hidden = layout_of(settings).hidden
    assert {str(tmp_path / "data"), *(str(keys / name) for name in ("master.key", "credentials", "tls.key"))} <= set(
        hidden
    )
    assert str(keys / "readme") not in hidden


def test_the_folder_of_build_trees_is_taken_only_when_nobody_else_has_a_hand_in_it(tmp_path: Path):
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    link, open_to_all = tmp_path / "link", tmp_path / "open"
    link.symlink_to(target)
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    for parent in (link, open_to_all):
        with pytest.raises(OSError) as refused:
            Workspace(tmp_path / "build", parent / "x").create()
        assert "only this user may write to" in str(refused.value.strerror)
    assert target.stat().st_mode & 0o777 == 0o700
    assert not list(target.iterdir())
    assert OWN_TREES.parent.stat().st_mode & 0o022 == 0  # nobody can be there first
    good = Workspace(tmp_path / "build", tmp_path / "good" / "x")
    good.create()
    good.create()  # a second time, over its own
    good.remove()
