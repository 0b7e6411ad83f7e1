"""The installer: random trees against a naive model, failures that must change nothing, and kill -9 in the middle of a switch."""

import errno
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples

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


@settings(max_examples=examples(100), deadline=None)
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


@pytest.mark.parametrize("place", ["/srv", "whole"])
def test_links_that_lead_out_of_the_revision_are_installed_as_they_are(host, place):
    """Absolute or relative, to files or directories, even when the source of the files section is the link itself."""
    outside = host.path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    files = {
        "app/uploads": f"-> {outside}",
        "app/up": "-> ../../../../../outside",
        "app/secret": f"-> {outside}/secret",
        "app/none": "-> /no/such/place",
        "app/by": "-> uploads",
        "app/plain": "1",
    }
    source = {"/srv": "files: [{source: app, destination: /srv}]\n"}.get(
        place, "files: [{source: app/uploads, destination: /srv}]\n"
    )
    host.install(files, source)
    names = ["plain", "uploads", "up", "secret", "none", "by"] if place == "/srv" else ["uploads"]
    assert files_of(host.tree()) == {"srv/" + name: files["app/" + name] for name in names}
    # The next release has directories there: they take the place of the links, nothing is written through them.
    again = dict.fromkeys(["app/uploads/secret", "app/up/secret", "app/secret/x"], "new")
    host.install(again, "files: [{source: app, destination: /srv}]\npermissions: [{object: /srv, mode: 600}]\n")
    assert files_of(host.tree()) == {"srv" + name[3:]: "new" for name in again}
    host.install({}, "files: []\n")
    assert files_of(host.tree()) == {}
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"secret": "s"}


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
    with pytest.raises(InstallFailed, match="99999999999 is no user or group id"):
        host.install({"a": "1"}, ALL + "permissions: [{object: /srv/a, owner: '99999999999'}]\n")
    assert host.tree() == {}
    assert not os.path.exists(host.group.journal)


def test_directories_that_hold_foreign_files_stay_and_are_remembered(host):
    host.install({"d/a": "1"}, ALL)
    (host.root / "srv/d/mine").write_text("m")
    host.install({"x": "1"}, "files: [{source: /, destination: /other}]\n")
    assert files_of(host.tree()) == {"srv/d/mine": "m", "other/x": "1"}


def test_a_destination_that_was_a_link_and_is_its_folder_now_keeps_its_files(host):
    (host.root / "real").mkdir()
    (host.root / "link").symlink_to("real")
    host.install({"a": "1", "gone": "1"}, "files: [{source: /, destination: /link}]\n")
    host.install({"a": "2"}, "files: [{source: /, destination: /real}]\n")
    assert (host.root / "real/a").read_text() == "2"
    assert os.listdir(host.root / "real") == ["a"]
    host.install({"b": "3"}, "files: [{source: /, destination: /link}]\n")
    assert os.listdir(host.root / "real") == ["b"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_destination_on_a_read_only_file_system_is_said_to_be_one(host):
    target = host.root / "srv"
    target.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(target)], check=False).returncode:
        pytest.skip("this machine does not let us mount")
    try:
        with pytest.raises(
            InstallFailed, match=r"srv/a could not be (made|written): the file system is read-only; mount it"
        ):
            host.install({"a": "1"}, ALL)
    finally:
        subprocess.run(["umount", str(target)], check=True)


@pytest.mark.parametrize("end", ["\u2028", "\x85", "\r", "\n"])
def test_a_name_that_looks_like_two_lines_removes_its_own_file_and_no_other(host, end):
    (host.root / "etc").mkdir()
    (host.root / "etc/passwd").write_text("m")
    name = f"x{end}{host.root}/etc/passwd"
    host.install({name: "1"}, ALL)
    assert files_of(host.tree()) == {"etc/passwd": "m", f"srv/{name}": "1"}
    host.install({"a": "1"}, "files: []\n")
    assert files_of(host.tree()) == {"etc/passwd": "m"}


# --- other people's links and files ---------------------------------------------------------------------------------

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="links of other users are made by root")
STRANGER = 12345


@pytest.fixture
def target(host):
    """What a stranger wants root to write into."""
    outside = host.path / "outside"
    (outside / "d").mkdir(parents=True)
    (outside / "a").write_text("theirs")
    (outside / "d/b").write_text("theirs")
    yield outside
    assert {str(path.relative_to(outside)): path.is_file() and path.read_text() for path in outside.rglob("*")} == {
        "a": "theirs",
        "d": False,
        "d/b": "theirs",
    }
    assert {path.lstat().st_uid for path in (outside, *outside.rglob("*"))} == {os.geteuid()}
    assert not {path.lstat().st_mode & 0o007 for path in (outside / "a", outside / "d/b")} - {0o4}


def plant(path, to):
    path.symlink_to(to)
    os.chown(path, STRANGER, STRANGER, follow_symlinks=False)


@needs_root
@pytest.mark.parametrize("place", ["srv", "srv/app", "srv/app/d", "srv/app/d/e"])
@pytest.mark.parametrize("behavior", ["DISALLOW", "OVERWRITE", "RETAIN"])
@pytest.mark.parametrize("foreign_owner", [False, True], ids=["planted", "moved"])
def test_a_link_of_a_stranger_is_never_installed_through(host, target, place, behavior, foreign_owner):
    """`moved`: root made the link, but somebody else owns the directory and may have moved it to this name."""
    link = host.root / place
    link.parent.mkdir(parents=True, exist_ok=True)
    if foreign_owner:
        link.symlink_to(target)
        os.chown(link.parent, STRANGER, STRANGER)
    else:
        plant(link, target)
    permissions = "permissions: [{object: /srv/app, owner: nobody, mode: 777}]\n"
    spec = "files: [{source: /, destination: /srv/app/d/e}]\n" + permissions
    with pytest.raises(InstallFailed, match=f"{link} is a symbolic link .*{'' if foreign_owner else STRANGER}"):
        host.install({"a": "new", "d/b": "new"}, spec, behavior)
    assert link.is_symlink()
    assert not os.path.exists(host.group.journal)


@needs_root
@pytest.mark.parametrize("parts", [("app",), ("app", "d")], ids="/".join)
@pytest.mark.parametrize("then", ["same", "less", "nothing"])
def test_old_files_are_not_removed_through_a_link_of_a_stranger(host, target, parts, then):
    """The owner of an installed directory replaces it, or one below it, by a link; the next release comes."""
    files = {"app/a": "1", "app/d/b": "1"}
    host.install(files, "files: [{source: /, destination: /srv}]\n")
    place = host.root.joinpath("srv", *parts)
    os.chown(place.parent, STRANGER, STRANGER)
    shutil.rmtree(place)
    plant(place, target if parts == ("app",) else target / "d")
    later = {"same": files, "less": {"app/a": "2"}, "nothing": {}}[then]
    host.install(later, "files: [{source: /, destination: /srv}]\n")
    assert files_of(host.tree()) == {"srv/" + name: text for name, text in later.items()}


@needs_root
@pytest.mark.parametrize("moment", ["install.before_prepare", "install.before_switch", "install.within_switch"])
@pytest.mark.parametrize("place", ["srv", "srv/app"])
def test_a_directory_that_is_exchanged_for_a_link_in_the_middle(host, target, monkeypatch, moment, place):
    (host.root / "srv/app").mkdir(parents=True)
    deployment, spec = host.revision({"a": "new", "d/b": "new"}, "files: [{source: /, destination: /srv/app}]\n")
    plan = host.plan(deployment, spec)

    def exchange(name):
        if name == moment:
            (host.root / place).rename(host.root / "gone")
            plant(host.root / place, target)

    monkeypatch.setattr(switch, "failpoint", exchange)
    try:
        switch.install(plan, host.group, deployment, "t")
    except InstallFailed as failure:
        assert "symbolic link" in failure.message or "could not be" in failure.message  # noqa: PT017
    assert ".penstock-new" not in str(sorted(target.rglob("*")))


@needs_root
def test_a_directory_that_the_install_made_and_somebody_exchanged(host, target, monkeypatch):
    """The temporary directory is looked at again before anything is put into it."""
    (host.root / "srv").mkdir()
    os.chown(host.root / "srv", STRANGER, STRANGER)
    spec = ALL + "permissions: [{object: /srv, type: [directory], owner: nobody}]\n"
    deployment, parsed = host.revision({"d/b": "new"}, spec)
    plan = host.plan(deployment, parsed)
    real = switch._copy

    def exchange(source, path, at, *rest):
        real(source, path, at, *rest)
        made = Path(at).parent
        made.rename(made.parent / "mine")
        shutil.copytree(target, made)

    monkeypatch.setattr(switch, "_copy", exchange)
    with pytest.raises(InstallFailed, match=r"somebody replaced the directory .*/srv/d while"):
        switch.install(plan, host.group, deployment, "t")


def test_links_of_root_and_of_the_agents_user_are_followed(host):
    for name in ("run", "data/disk"):
        (host.root / name).mkdir(parents=True)
    (host.root / "var").mkdir()
    (host.root / "var/run").symlink_to("../run")
    # Below install_root an absolute link starts there, as in a chroot.
    (host.root / "var/data").symlink_to("/data/disk")
    (host.root / "up").symlink_to("../../../../../../data")
    files = "".join(
        f"- {{source: {name}, destination: {to}}}\n"
        for name, to in (("a", "/var/run/x"), ("b", "/var/data"), ("c", "/up/disk"))
    )
    host.install({"a": "1", "b": "2", "c": "3"}, "files:\n" + files)
    assert (host.root / "run/x/a").read_text() == "1"
    assert (host.root / "data/disk/b").read_text() == "2"
    assert (host.root / "data/disk/c").read_text() == "3"
    (host.root / "loop").symlink_to("loop")
    with pytest.raises(InstallFailed, match="loop could not be looked up: .* links lead in a circle"):
        host.install({"a": "1"}, "files: [{source: a, destination: /loop/x}]\n")


@needs_root
def test_permissions_change_neither_a_link_nor_what_it_leads_to(host, target):
    spec = ALL + "permissions: [{object: /srv, owner: nobody, mode: 777}]\n"
    host.install({"l": f"-> {target}/a", "k": f"-> {target}", "f": "1"}, spec)
    assert (host.root / "srv/l").lstat().st_uid == 0
    assert (host.root / "srv/f").stat().st_uid != 0


def test_a_directory_with_somebodys_file_does_not_give_way_to_a_file(host):
    host.install({"d/a": "1"}, ALL)
    (host.root / "srv/d/mine").write_text("m")
    before = host.tree()
    with pytest.raises(InstallFailed, match="a directory with that name is not empty"):
        host.install({"d": "2"}, ALL)
    assert host.tree() == before


@pytest.mark.parametrize("place", ["d/mine", "d/e/mine"])
def test_a_file_that_comes_into_a_directory_while_it_gives_way_to_a_file(host, place, monkeypatch):
    host.install({"d/a": "1", "d/e/b": "1"}, ALL)
    deployment, spec = host.revision({"d": "2"}, ALL)
    plan = host.plan(deployment, spec)
    (host.root / "srv" / place).write_text("m")
    before = host.tree(modes=True)
    with pytest.raises(InstallFailed, match=place + " came into being while"):
        switch.install(plan, host.group, deployment, "t")
    assert host.tree(modes=True) == before


@pytest.mark.parametrize("moment", ["install.before_prepare", "install.before_switch", "install.within_switch"])
@pytest.mark.parametrize("kind", ["file", "directory", "link"])
@pytest.mark.parametrize("name", ["a", "new"])
def test_what_comes_between_plan_and_switch_is_not_overwritten(host, moment, kind, name, monkeypatch):
    host.install({"old": "1"}, ALL)
    before = host.tree(modes=True)
    path = host.root / "srv" / name

    def appear(at):
        if at == moment:
            {"file": lambda: path.write_text("m"), "directory": path.mkdir, "link": lambda: path.symlink_to("m")}[
                kind
            ]()

    monkeypatch.setattr(switch, "failpoint", appear)
    with pytest.raises(InstallFailed, match=f"/srv/{name} came into being while the deployment was being installed"):
        host.install({"a": "2", "new/b": "2"}, ALL)
    {"file": path.unlink, "directory": path.rmdir, "link": path.unlink}[kind]()
    assert host.tree(modes=True) == before


def test_an_undone_install_gives_kept_directories_their_modes_back(host, monkeypatch):
    spec = ALL + "permissions: [{object: /srv, type: [directory], mode: '0%s'}]\n"
    host.install({"d/a": "1"}, spec % 751)
    before = host.tree(modes=True)
    assert before["srv/d"][1] == 0o751

    def full(name):
        if name == "install.before_commit":
            assert host.tree(modes=True)["srv/d"][1] == 0o711
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(switch, "failpoint", full)
    with pytest.raises(InstallFailed, match=r"files could not be installed: the disk is full; make room"):
        host.install({"d/a": "2"}, spec % 711)
    assert host.tree(modes=True) == before


CALLS = ("mkdir", "symlink", "link", "rename", "open", "stat", "write", "fchmod", "fdatasync", "readlink")
# Those that Python has classes for, or that an install meets in an ordinary life: each at each call. The others are one line of one table.
MET = (
    errno.EACCES, errno.EBUSY, errno.EDQUOT, errno.EEXIST, errno.EIO, errno.EISDIR, errno.ELOOP, errno.EMFILE, errno.EMLINK, errno.ENOENT,
    errno.ENOSPC, errno.ENOSYS, errno.ENOTDIR, errno.ENOTEMPTY, errno.ENOTSUP, errno.EPERM, errno.EROFS, errno.ETXTBSY, errno.EXDEV,
)  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_every_failure_is_explained_without_the_systems_message(host, call):
    """Each errno at each change of the file system: a sentence with the final name of what could not be done."""
    for number in sorted(errno.errorcode) if call == "rename" else MET:
        faults = Failing(call, number)
        deployment, spec = host.revision({"a": "1", "d/l": "-> x"}, ALL + "permissions: [{object: /srv, mode: 640}]\n")
        try:
            with faults:
                switch.install(host.plan(deployment, spec), host.group, deployment, "t")
        except InstallFailed as failure:
            text = failure.message
        else:
            text = "The deployment failed because nothing failed."
            host.install({}, "files: []\n")
        if os.path.exists(host.group.journal):
            switch.recover(host.group)
        assert text.startswith("The deployment failed because ")
        assert not re.search(r"Errno|Error\b|Exception|\.penstock-|Traceback|\bNone\b", text), (number, text)
        host.install({}, "files: []\n")
        assert files_of(host.tree()) == {}


class Failing:
    """The first call of one function on something of the install, or in its middle, fails with an errno."""

    def __init__(self, call, number):
        self.call = call
        self.number = number
        self.struck = False

    def __enter__(self):
        self.real = getattr(os, self.call)
        setattr(os, self.call, self.fail)

    def fail(self, *arguments, **more):
        if not self.struck:
            self.struck = True
            raise OSError(
                self.number, os.strerror(self.number), *(each for each in arguments[:1] if isinstance(each, str))
            )
        return self.real(*arguments, **more)

    def __exit__(self, *_):
        setattr(os, self.call, self.real)


# --- kill -9 --------------------------------------------------------------------------------------------------------

CHILD = """
import os, sys
sys.path[:0] = {paths!r}
from penstock_agent import switch, install
import test_install
host = test_install.Host.__new__(test_install.Host)
host.__dict__.update(path=test_install.Path({path!r}), root=test_install.Path({path!r}) / "host", number=5)
host.layout = test_install.Layout({path!r} + "/state")
host.group = host.layout.group("g")
real = switch._switch
def fails(journal, plan, files):
    real(journal, plan, files)
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
    code = CHILD.format(paths=sys.path, path=str(host.path), fail=point == "within_undo")
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

    def dies(journal, plan, files):
        real(journal, plan, files)
        raise Dead

    monkeypatch.setattr(switch, "_switch", dies)
    with pytest.raises(Dead):
        switch.install(host.plan(deployment, spec), host.group, deployment, "t")
    left = [steps]
    rename, unlink = os.rename, os.unlink

    def counted(call):
        def step(*arguments, **more):
            left[0] -= 1
            if left[0] < 0:
                raise Dead
            return call(*arguments, **more)

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


def test_how_deep_a_revision_may_nest(host):
    spec = "files:\n- {source: a, destination: /srv}\n"
    host.install({"a/" + "d/" * 99 + "f": "1"}, spec)
    assert host.tree()["srv/" + "d/" * 99 + "f"] == ("1",)
    deployment, parsed = host.revision({"a/" + "d/" * 100 + "f": "1"}, spec)
    with pytest.raises(InstallFailed, match="is nested deeper than 100 directories"):
        host.plan(deployment, parsed)


@pytest.mark.parametrize(
    ("spec", "taken"),
    [
        ("{object: /srv, type: [directory], acls: ['d:u:root:rwx']}", True),
        ("{object: /srv, type: [directory], acls: ['default:u:root:rwx']}", True),
        ("{object: /srv, type: [file], acls: ['u:root:rwx']}", True),
        ("{object: /srv, type: [file], acls: ['d:u:root:rwx']}", False),
        ("{object: /srv/a, acls: ['default:u:root:rwx']}", False),
    ],
)
def test_only_directories_have_acls_for_what_comes_into_them(host, monkeypatch, spec, taken):
    monkeypatch.setattr("penstock_agent.install.setfacl", lambda: "/bin/setfacl")
    deployment, parsed = host.revision({"a": "1", "d/b": "2"}, ALL + f"permissions: [{spec}]\n")
    if taken:
        assert host.plan(deployment, parsed).access
        return
    with pytest.raises(InstallFailed, match="the -d parameter has been specified to apply an acl setting to a file"):
        host.plan(deployment, parsed)
