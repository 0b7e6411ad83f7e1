"""The installer: random trees against a naive model, failures that must change nothing, and kill -9 in the middle of a switch."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from agent_harness import SOURCE
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_agent import appspec as appspecs
from penstock_agent import switch
from penstock_agent.failures import InstallFailed
from penstock_agent.install import make_plan
from penstock_agent.layout import Layout


class Host:
    """One machine below a temporary directory."""

    def __init__(self, path):
        self.path = Path(path)
        self.root = self.path / "host"
        self.root.mkdir()
        self.layout = Layout(str(self.path / "state"))
        os.makedirs(self.layout.root)
        self.layout.prepare()
        self.group = self.layout.group("g")
        self.number = 0

    def revision(self, files, spec):
        self.number += 1
        deployment = self.layout.deployment("g", f"d-{self.number}")
        for name, value in files.items():
            target = Path(deployment.archive) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if value.startswith("-> "):
                target.symlink_to(value[3:])
            else:
                target.write_text(value)
        Path(deployment.archive).mkdir(parents=True, exist_ok=True)
        return deployment, appspecs.parse(("version: 0.0\nos: linux\n" + spec).encode())

    def plan(self, deployment, spec, behavior="DISALLOW"):
        return make_plan(
            spec,
            deployment.archive,
            install_root=str(self.root),
            behavior=spec.file_exists_behavior or behavior,
            previous=self.group.installed(),
        )

    def install(self, files, spec, behavior="DISALLOW"):
        deployment, parsed = self.revision(files, spec)
        switch.install(self.plan(deployment, parsed, behavior), self.group, deployment, f"t{self.number}")

    def tree(self, modes=False):
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            mode = (stat.S_IMODE(path.lstat().st_mode),) if modes else ()
            if path.is_symlink():
                found[name] = ("-> " + os.readlink(path),)
            elif path.is_dir():
                found[name] = (None, *mode)
            else:
                found[name] = (path.read_text(), *mode)
        return found


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


ALL = "files: [{source: /, destination: /srv}]\n"

# --- properties -----------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def consistent(paths):
    """No path is a file and a directory at once."""
    return {
        path: text
        for path, text in paths.items()
        if not any(other != path and other.startswith(path + "/") for other in paths)
    }


TREES = st.dictionaries(PATHS, st.text("xyz", min_size=1, max_size=3), max_size=6).map(consistent)


def files_of(tree):
    return {name: fields[0] for name, fields in tree.items() if fields[0] is not None}


def parents(path):
    parts = path.split("/")[:-1]
    return {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}


@settings(max_examples=100, deadline=None)
@given(
    foreign=TREES,
    releases=st.lists(st.tuples(TREES, st.sampled_from(["DISALLOW", "OVERWRITE", "RETAIN"])), min_size=1, max_size=4),
    broken=st.integers(0, 30),
)
def test_an_install_happens_whole_or_not_at_all(foreign, releases, broken):
    with tempfile.TemporaryDirectory() as directory:
        host = Host(directory)
        for name, text in foreign.items():
            path = host.root / "srv" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        theirs = {"srv/" + name: text for name, text in foreign.items()}
        directories = {above for name in theirs for above in parents(name)}
        ours = set()
        for number, (files, behavior) in enumerate(releases):
            before = host.tree(modes=True)
            fault = Faults(broken) if broken < 15 and number == len(releases) - 1 else None
            # The model: our old files go first, then what the new release has is put over what is left.
            left = {name: text for name, text in theirs.items() if name not in ours}
            clash = False
            expected = dict(left)
            mine = set()
            for name, text in files.items():
                target = "srv/" + name
                exists = target in left or target in directories
                if any(above in left for above in parents(target)):
                    clash = True
                elif exists and behavior == "RETAIN":
                    continue
                elif exists and (behavior == "DISALLOW" or target in directories):
                    clash = True
                else:
                    expected[target] = text
                    mine.add(target)
            try:
                if fault:
                    with fault:
                        host.install(files, ALL, behavior)
                else:
                    host.install(files, ALL, behavior)
            except InstallFailed:
                assert clash or (fault and fault.struck)
                assert host.tree(modes=True) == before
            else:
                assert not clash
                assert files_of(host.tree()) == expected
                theirs, ours = expected, mine
                listed = {os.path.relpath(line, host.root) for line in host.group.installed()}
                assert mine == {name for name in listed if name in expected}
            assert not os.path.exists(host.group.journal)
            assert not [name for name in host.tree() if ".penstock-" in name]


class Faults:
    """The n-th change of the file system fails."""

    CALLS = ("rename", "link", "mkdir", "symlink", "chmod")

    def __init__(self, at):
        self.left = at
        self.struck = False

    def __enter__(self):
        self.real = {name: getattr(os, name) for name in self.CALLS}
        for name in self.CALLS:
            setattr(os, name, self.wrap(name))

    def wrap(self, name):
        def call(*arguments, **more):
            inside = any(".penstock-" in str(each) for each in arguments)
            if inside and not self.struck:
                self.left -= 1
                if self.left < 0:
                    self.struck = True
                    raise OSError(28, "No space left on device")
            return self.real[name](*arguments, **more)

        return call

    def __exit__(self, *_):
        for name in self.CALLS:
            setattr(os, name, self.real[name])


# --- single rules ---------------------------------------------------------------------------------------------------


def test_files_and_directories_go_where_the_appspec_says(host):
    spec = "files:\n- {source: app, destination: /srv/app}\n- {source: conf/one.conf, destination: /etc/app}\n"
    host.install({"app/a": "1", "app/d/b": "2", "conf/one.conf": "3", "conf/two.conf": "4"}, spec)
    assert files_of(host.tree()) == {"srv/app/a": "1", "srv/app/d/b": "2", "etc/app/one.conf": "3"}
    host.install({"app/a": "5"}, "files: [{source: app/a, destination: /srv/app}]\n")
    assert host.tree() == {"srv": (None,), "srv/app": (None,), "srv/app/a": ("5",)}


def test_links_come_as_links_where_they_mean_the_same(host):
    spec = "files: [{source: app, destination: /srv}]\n"
    files = {
        "app/real/file": "1",
        "app/link": "-> real/file",
        "app/directory": "-> real",
        "other/x": "2",
        "app/outside": "-> ../other",
    }
    host.install(files, spec)
    assert files_of(host.tree()) == {
        "srv/real/file": "1",
        "srv/link": "-> real/file",
        "srv/directory": "-> real",
        "srv/outside/x": "2",
    }
    host.install({"app/directory/file": "now a directory"}, spec)
    assert files_of(host.tree()) == {"srv/directory/file": "now a directory"}
    host.install({"app/directory": "now a file"}, spec)
    assert files_of(host.tree()) == {"srv/directory": "now a file"}


def test_a_link_that_holds_itself_is_refused(host):
    with pytest.raises(InstallFailed, match="leads to a directory that holds it"):
        host.install({"top/app/loop": "-> ..", "top/x": "1"}, "files: [{source: top/app, destination: /srv}]\n")


@pytest.mark.parametrize(
    ("files", "spec", "message"),
    [
        ({"a": "1", "b/a": "2"}, "files: [{source: a, destination: /x}, {source: b/a, destination: /x}]\n",
         r"specifies two source files named .*/a and .*/a for the same destination \(.*/x/a\)"),
        ({"a": "1"}, "files: [{source: nothing, destination: /x}]\n", "the source nothing of the files section does not exist"),
        ({"a": "1"}, "files: [{source: ../../a, destination: /x}]\n", "lies outside the revision"),
        ({"a": "1", "c/a/x": "2"}, "files: [{source: a, destination: /x}, {source: c, destination: /x}]\n",
         "includes an mkdir command more than once for the same destination path"),
        ({"a": "1", "c/a/x": "2"}, "files: [{source: c, destination: /x}, {source: a, destination: /x}]\n",
         "but a file with that name already exists at the location"),
        ({"a": "1"}, ALL + "permissions: [{object: /srv/a, owner: no-such-user-here}]\n", "whom this machine does not know"),
        ({"a": "1"}, ALL + "permissions: [{object: /srv/a, group: no-such-group-here}]\n", "which this machine does not know"),
        ({"a": "1"}, ALL + "permissions: [{object: /srv/a, pattern: '*.py'}]\n", "with an invalid pattern"),
        ({"a": "1"}, ALL + "permissions: [{object: /srv/a, except: [x]}]\n", "the except parameter for a pattern"),
        ({"a": "1"}, ALL + "permissions: [{object: /srv/a, mode: 600}, {object: /srv, mode: 640}]\n",
         "is specified more than once in the application specification file"),
    ],
    ids=["two-sources", "no-source", "outside", "mkdir", "copy", "owner", "group", "pattern", "except", "twice"],
)  # fmt: skip
def test_what_cannot_be_done_is_said_before_anything_changes(host, files, spec, message):
    host.install({"old": "1"}, "files: [{source: /, destination: /old}]\n")
    before = host.tree()
    with pytest.raises(InstallFailed, match=message):
        host.install(files, spec)
    assert host.tree() == before


def test_acls_without_setfacl_are_refused(host, monkeypatch):
    monkeypatch.setattr("penstock_agent.install.setfacl", lambda: None)
    with pytest.raises(InstallFailed, match="the command setfacl is not installed"):
        host.install({"a": "1"}, ALL + "permissions: [{object: /srv/a, acls: ['u:root:rwx']}]\n")


def test_permissions(host):
    spec = ALL + (
        "permissions:\n"
        "- {object: /srv, pattern: '*.sh', except: [no.sh], mode: 755, type: [file]}\n"
        "- {object: /srv/d, mode: 0640, type: [file]}\n"
        "- {object: /srv, type: [directory], mode: '0711'}\n"
    )
    host.install({"run.sh": "1", "no.sh": "2", "d/x.sh": "3", "d/e/y": "4"}, spec)
    tree = host.tree(modes=True)
    assert tree["srv/run.sh"][1] == 0o755
    assert tree["srv/no.sh"][1] == 0o644
    assert tree["srv/d/x.sh"][1] == 0o640
    assert tree["srv/d/e/y"][1] == 0o640
    assert tree["srv/d"][1] == tree["srv/d/e"][1] == 0o711
    assert tree["srv"][1] == 0o755  # never the object itself


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_owner_and_group(host):
    host.install({"a": "1"}, ALL + "permissions: [{object: /srv/a, owner: nobody, group: '12345', mode: 4755}]\n")
    found = (host.root / "srv/a").stat()
    assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 0o755)  # giving a file away clears its set-uid bit
    assert found.st_uid != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_an_owner_that_no_system_has_leaves_everything_as_it_was(host):
    with pytest.raises(InstallFailed, match="files could not be installed: uid is"):
        host.install({"a": "1"}, ALL + "permissions: [{object: /srv/a, owner: '99999999999'}]\n")
    assert host.tree() == {}
    assert not os.path.exists(host.group.journal)


def test_directories_that_hold_foreign_files_stay_and_are_remembered(host):
    host.install({"d/a": "1"}, ALL)
    (host.root / "srv/d/mine").write_text("m")
    host.install({"x": "1"}, "files: [{source: /, destination: /other}]\n")
    assert files_of(host.tree()) == {"srv/d/mine": "m", "other/x": "1"}


@pytest.mark.parametrize("end", [r"\u2028", r"\x85", r"\r"])
def test_a_name_that_looks_like_two_lines_removes_its_own_file_and_no_other(host, end):
    (host.root / "etc").mkdir()
    (host.root / "etc/passwd").write_text("m")
    host.install({"a": "1"}, f'files: [{{source: a, destination: "/srv/x{end}{host.root}/etc/passwd"}}]\n')
    host.install({"a": "1"}, "files: []\n")
    assert files_of(host.tree()) == {"etc/passwd": "m"}


# --- kill -9 --------------------------------------------------------------------------------------------------------

CHILD = """
import os, sys
sys.path[:0] = [{source!r}, {tests!r}]
from penstock_agent import switch, install
import test_install
host = test_install.Host.__new__(test_install.Host)
host.__dict__.update(path=test_install.Path({path!r}), root=test_install.Path({path!r}) / "host", number=5)
host.layout = test_install.Layout({path!r} + "/state")
host.group = host.layout.group("g")
real = switch._switch
def fails(journal, plan):
    real(journal, plan)
    raise OSError(28, "No space left on device")
if {fail}:
    switch._switch = fails
host.install({{"a": "new", "e/f": "new", "c": "new"}}, test_install.ALL)
"""


@pytest.mark.parametrize(
    "point",
    [
        "before_prepare",
        "before_switch",
        "within_switch",
        "before_commit",
        "after_commit",
        "before_forget",
        "within_undo",
    ],
)
def test_a_killed_switch_is_finished_or_undone(host, point):
    host.install({"a": "old", "b/c": "old", "c/d": "old"}, ALL)
    before = host.tree(modes=True)
    code = CHILD.format(
        source=str(SOURCE), tests=str(Path(__file__).parent), path=str(host.path), fail=point == "within_undo"
    )
    environment = {**os.environ, "PENSTOCK_AGENT_CRASH_POINT": "install." + point}
    died = subprocess.run([sys.executable, "-c", code], env=environment, check=False, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    committed = point in ("after_commit", "before_forget")
    # Recovery is repeatable: a copy of the machine as it is now must end the same when recovery itself is cut short.
    assert switch.recover(host.group) == ("finished" if committed else "undone")
    if committed:
        assert host.tree() == {
            "srv": (None,),
            "srv/a": ("new",),
            "srv/c": ("new",),
            "srv/e": (None,),
            "srv/e/f": ("new",),
        }
    else:
        assert host.tree(modes=True) == before
    assert switch.recover(host.group) is None
    host.install({"a": "newer"}, ALL)
    assert files_of(host.tree()) == {"srv/a": "newer"}


@pytest.mark.parametrize("steps", range(12))
def test_an_undo_that_is_cut_short_can_be_done_again(host, steps, monkeypatch):
    host.install({"a": "old", "b/c": "old", "c/d": "old"}, ALL)
    before = host.tree(modes=True)
    deployment, spec = host.revision({"a": "new", "e/f": "new", "c": "new"}, ALL)

    class Dead(BaseException):
        pass

    real = switch._switch

    def dies(journal, plan):
        real(journal, plan)
        raise Dead

    monkeypatch.setattr(switch, "_switch", dies)
    with pytest.raises(Dead):
        switch.install(host.plan(deployment, spec), host.group, deployment, "t")
    left = [steps]
    rename, unlink = os.rename, os.unlink

    def counted(call):
        def step(*arguments):
            left[0] -= 1
            if left[0] < 0:
                raise Dead
            return call(*arguments)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", counted(rename))
        patch.setattr(os, "unlink", counted(unlink))
        try:
            switch.recover(host.group)
        except Dead:
            pass
    switch.recover(host.group)
    assert host.tree(modes=True) == before
    shutil.rmtree(host.root)
