"""What each event does on a host, in this process: which scripts run, with what, for how long, and what is said of them."""

import os
import threading
from types import SimpleNamespace

import pytest

from penstock_agent import archive, events, hooks
from penstock_agent.config import Limits
from penstock_agent.events import Events, Outcome, Work, plan_of
from penstock_agent.failures import SCRIPT_TIMED_OUT, AppSpecInvalid, BundleRefused, CommandFailure, InstallFailed
from penstock_agent.layout import Layout
from penstock_agent.specification import Revision, Specification

APPSPEC = """\
version: 0.0
os: linux
files: [{source: app, destination: /srv}]
hooks:
  ApplicationStop: [{location: stop.sh}]
  BeforeInstall: [{location: one.sh, timeout: 100}, {location: two.sh, timeout: 3000}]
"""


def specification(deployment="d-1", **changes):
    given = {
        "deployment_id": deployment, "group_id": "g", "group_name": "web", "application_name": "shop", "creator": "user",
        "deployment_type": "IN_PLACE", "revision": Revision("S3", "tgz", "b", "k", "v1", "e1"), "appspec_name": "appspec.yml",
        "file_exists_behavior": "DISALLOW", "possible_events": None, "reuse_from": "", "strict": False,
    }  # fmt: skip
    return Specification(**{**given, **changes})


class Machine:
    """Events whose clock and scripts are the test's."""

    def __init__(self, path, monkeypatch):
        self.root = path / "state"
        self.layout = Layout(str(self.root))
        self.layout.prepare()
        self.config = SimpleNamespace(
            root_dir=str(self.root), install_root=str(path / "root"), limits=Limits(), max_revisions=5, strict=False,
            secret_access_key="s3cret", hook_environment={"MINE": "1"},
        )  # fmt: skip
        (path / "root").mkdir()
        self.now, self.ran, self.takes, self.fetched = 1000.0, [], 0.0, []
        self.events = Events(self.config, self.layout, self.fetch, threading.Event())
        monkeypatch.setattr(hooks.Runner, "run", self.run_script)
        monkeypatch.setattr(events, "time", SimpleNamespace(monotonic=lambda: self.now))

    def run_script(self, script, path, *, directory, environment, timeout_s, changed):
        self.ran.append((script.location, path, directory, environment["LIFECYCLE_EVENT"], timeout_s))
        changed()
        self.now += self.takes

    def fetch(self, found, deployment):
        self.fetched.append(found.deployment_id)
        with open(deployment.bundle, "wb") as file:
            file.write(b"bundle")
        return "e2"

    def revision(self, deployment="d-1", appspec=APPSPEC, files=()):
        """An unpacked revision."""
        folder = self.root / "g" / deployment / "deployment-archive"
        folder.mkdir(parents=True)
        (folder / "appspec.yml").write_text(appspec)
        (folder / "app").write_text(deployment)
        for name in files:
            (folder / name).write_text("#!/bin/sh\n")
        (self.root / "g" / deployment / "logs").mkdir()
        return self.layout.deployment("g", deployment)

    def run(self, event, found=None, **more):
        said = []
        outcome = self.events.run(Work(event, found or specification(), **more), lambda *news: said.append(news))
        self.said = [(script, tail()) for script, tail in said]
        return outcome


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


# --- hooks ------------------------------------------------------------------------------------------------------------


def test_scripts_run_in_order_within_the_hour_of_their_event(machine):
    machine.revision(files=("one.sh", "two.sh"))
    machine.takes = 1000.0
    outcome = machine.run("BeforeInstall")
    folder = str(machine.root / "g" / "d-1" / "deployment-archive")
    assert machine.ran == [
        ("one.sh", folder + "/one.sh", folder, "BeforeInstall", 100),
        ("two.sh", folder + "/two.sh", folder, "BeforeInstall", 2600.0),
    ]
    assert outcome == Outcome(log="LifecycleEvent - BeforeInstall\n")
    assert [script for script, _ in machine.said] == ["one.sh", "two.sh"]
    assert machine.said[0][1][0] == "LifecycleEvent - BeforeInstall\n"
    with open(machine.layout.deployment("g", "d-1").script_log) as file:
        assert "LifecycleEvent - BeforeInstall" in file.read()


def test_a_script_that_has_no_time_left_is_not_started(machine):
    machine.revision(files=("one.sh", "two.sh"))
    machine.takes = 3600.0
    with pytest.raises(CommandFailure) as failed:
        machine.run("BeforeInstall")
    assert [location for location, *_ in machine.ran] == ["one.sh"]
    assert (failed.value.code, failed.value.script) == (SCRIPT_TIMED_OUT, "two.sh")
    assert failed.value.message == (
        "Script at specified location: two.sh was not started: the scripts of BeforeInstall took 3600 seconds, all that an event has"
    )
    assert failed.value.log.endswith(failed.value.message + "\n")


def test_a_script_outside_of_the_revision_does_not_run(machine):
    deployment = machine.revision(files=("two.sh",))
    os.symlink("/bin/sh", os.path.join(deployment.archive, "one.sh"))
    with pytest.raises(CommandFailure, match="^The script one.sh lies outside the revision.$") as failed:
        machine.run("BeforeInstall")
    assert (failed.value.script, machine.ran) == ("one.sh", [])


@pytest.mark.parametrize(
    ("event", "there", "extra", "noop"),
    [
        ("BeforeInstall", True, (), False),
        ("AfterInstall", True, (), True),
        ("ApplicationStop", False, (), True),
        ("DownloadBundle", False, (), False),
        ("Install", False, (), False),
        ("Odd", True, (), True),
        ("Odd", False, ("Odd",), True),
        ("Odd", True, ("Odd",), True),
    ],
)
def test_whether_an_event_has_anything_to_do(machine, event, there, extra, noop):
    if there:
        machine.revision()
    assert machine.events.is_noop(Work(event, specification(), extra)) is noop


def test_an_event_that_nobody_knows_is_none(machine):
    machine.revision(appspec=APPSPEC + "  Odd: [{location: one.sh}]\n", files=("one.sh",))
    with pytest.raises(CommandFailure, match=r"^Unsupported command type: Odd\.$"):
        machine.run("Odd")
    assert machine.events.is_noop(Work("Odd", specification(), ("Odd",))) is False
    machine.run("Odd", extra=("Odd",))
    assert [location for location, *_ in machine.ran] == ["one.sh"]


@pytest.mark.parametrize(
    ("event", "kind", "creator", "current", "revision"),
    [
        ("ApplicationStop", "IN_PLACE", "user", False, "d-good"),
        ("ApplicationStop", "IN_PLACE", "user", True, "d-2"),
        ("BeforeBlockTraffic", "IN_PLACE", "user", False, "d-good"),
        ("BeforeInstall", "IN_PLACE", "user", False, "d-2"),
        ("BeforeAllowTraffic", "IN_PLACE", "codeDeployRollback", False, "d-2"),
        ("BeforeAllowTraffic", "BLUE_GREEN", "user", False, "d-2"),
        ("BeforeAllowTraffic", "BLUE_GREEN", "codeDeployRollback", False, "d-good"),
        ("BeforeBlockTraffic", "BLUE_GREEN", "codeDeployRollback", False, "d-recent"),
        ("BeforeBlockTraffic", "BLUE_GREEN", "user", False, "d-good"),
    ],
)
def test_whose_scripts_run(machine, event, kind, creator, current, revision):
    group = machine.layout.group("g")
    group.set_last_successful(machine.revision("d-good"))
    group.set_most_recent(machine.revision("d-recent"))
    if current:
        machine.revision("d-2")
    found = machine.events._revision_of(Work(event, specification("d-2", deployment_type=kind, creator=creator)))
    assert os.path.basename(found.directory) == revision


def test_an_appspec_is_read_again_when_it_changed(machine, monkeypatch):
    deployment = machine.revision()
    read = []
    real = events.appspecs.read
    monkeypatch.setattr(events.appspecs, "read", lambda path: read.append(path) or real(path))
    for _ in range(2):
        machine.events.is_noop(Work("BeforeInstall", specification()))
    assert len(read) == 1
    path = os.path.join(deployment.archive, "appspec.yml")
    with open(path, "a") as file:
        file.write("  AfterInstall: [{location: one.sh}]\n")
    assert machine.events.is_noop(Work("AfterInstall", specification())) is False
    for number in range(2, 10):
        machine.revision(f"d-{number}")
        machine.events.is_noop(Work("BeforeInstall", specification(f"d-{number}")))
    assert len(machine.events._parsed) == 1  # eight are kept, and then none of them


# --- the environment --------------------------------------------------------------------------------------------------


def test_what_a_script_is_told_and_what_it_is_not(machine, monkeypatch):
    for name, value in (("AWS_X", "1"), ("PENSTOCK_X", "1"), ("KEY", "has s3cret in it"), ("PLAIN", "p"), ("NUL", "n")):
        monkeypatch.setenv(name, value)
    machine.config.hook_environment = {"MINE": "1", "NUL": "a\0b"}
    found = machine.events.environment(Work("BeforeInstall", specification()))
    assert not {"AWS_X", "PENSTOCK_X", "KEY", "NUL"} & set(found)
    wanted = {
        "PLAIN": "p", "MINE": "1", "LIFECYCLE_EVENT": "BeforeInstall", "DEPLOYMENT_ID": "d-1", "APPLICATION_NAME": "shop",
        "DEPLOYMENT_GROUP_NAME": "web", "DEPLOYMENT_GROUP_ID": "g", "PENSTOCK_INSTALL_ROOT": machine.config.install_root,
        "BUNDLE_BUCKET": "b", "BUNDLE_KEY": "k", "BUNDLE_VERSION": "v1", "BUNDLE_ETAG": "e1",
    }  # fmt: skip
    assert {name: found.get(name) for name in wanted} == wanted
    machine.config.install_root = ""
    machine.config.secret_access_key = ""
    found = machine.events.environment(Work("x", specification(revision=Revision("GitHub", version="c0"))))
    assert "PENSTOCK_INSTALL_ROOT" not in found
    assert (found["BUNDLE_COMMIT"], found["KEY"]) == ("c0", "has s3cret in it")
    assert "BUNDLE_BUCKET" not in found


def test_the_etag_is_that_of_what_was_downloaded(machine):
    machine.revision()
    (machine.root / "g" / "d-1" / ".bundle-etag").write_text("e9")
    for etag, told in (("", "e9"), ("e1", "e1")):
        found = machine.events.environment(Work("x", specification(revision=Revision("S3", "tgz", "b", "k", "", etag))))
        assert (found["BUNDLE_ETAG"], "BUNDLE_VERSION" in found) == (told, False)


# --- DownloadBundle ---------------------------------------------------------------------------------------------------


@pytest.fixture
def unpacked(machine, monkeypatch):
    """`archive.unpack` and `copy_directory` make a revision of this AppSpec; what they were asked for."""
    found = SimpleNamespace(asked=[], appspec=APPSPEC)

    def make(source, kind, target, limits):
        found.asked.append((os.path.basename(source), kind, limits is machine.config.limits))
        os.makedirs(os.path.join(target, "inner"))
        with open(os.path.join(target, "inner", "appspec.yml"), "w") as file:
            file.write(found.appspec)
        return os.path.join(target, "inner")

    monkeypatch.setattr(archive, "unpack", make)
    monkeypatch.setattr(archive, "copy_directory", lambda source, target, limits: make(source, "copy", target, limits))
    return found


def test_a_bundle_becomes_the_newest_revision_and_leaves_nothing_else(machine, unpacked):
    retained = []
    machine.layout.group = lambda group_id, real=machine.layout.group: Watched(real(group_id), retained)
    assert machine.run("DownloadBundle") == Outcome("", "", ())
    folder = machine.root / "g" / "d-1"
    assert sorted(path.name for path in folder.iterdir()) == [".bundle-etag", "deployment-archive", "logs"]
    assert (folder / ".bundle-etag").read_text() == "e2"
    assert (machine.fetched, unpacked.asked) == (["d-1"], [("bundle.tar", "tgz", True)])
    assert machine.layout.group("g").most_recent().directory == str(folder)
    assert retained == [("d-1", 5)]


class Watched:
    """A group that notes what it is asked to retain."""

    def __init__(self, group, retained):
        self._group, self._retained = group, retained

    def __getattr__(self, name):
        return getattr(self._group, name)

    def retain(self, current, keep):
        self._retained.append((os.path.basename(current.directory), keep))


def test_a_bundle_that_is_refused_leaves_nothing(machine, monkeypatch):
    def refuse(source, kind, target, limits):
        os.makedirs(target)
        raise BundleRefused("no")

    monkeypatch.setattr(archive, "unpack", refuse)
    with pytest.raises(BundleRefused):
        machine.run("DownloadBundle")
    assert sorted(path.name for path in (machine.root / "g" / "d-1").iterdir()) == [".bundle-etag", "logs"]
    assert machine.layout.group("g").most_recent() is None


def test_a_revision_that_is_there_is_used_again(machine, unpacked):
    machine.revision("d-0")
    outcome = machine.run("DownloadBundle", specification(reuse_from="d-0"))
    assert (outcome.note, machine.fetched) == ("archive-reuse", [])
    assert unpacked.asked == [("deployment-archive", "copy", True)]
    machine.run("DownloadBundle", specification("d-2", reuse_from="d-none"))
    assert machine.fetched == ["d-2"]


def test_revisions_of_this_machine_and_of_github(machine, unpacked):
    machine.run("DownloadBundle", specification(revision=Revision("Local Directory", location="/x/source")))
    machine.run("DownloadBundle", specification("d-2", revision=Revision("Local File", "zip", location="/x/a.zip")))
    assert unpacked.asked == [("source", "copy", True), ("a.zip", "zip", True)]
    assert machine.fetched == []
    with pytest.raises(
        BundleRefused, match=r"^This agent does not fetch revisions from GitHub\. Put the bundle into S3"
    ):
        machine.run("DownloadBundle", specification(revision=Revision("GitHub")))


ODD = APPSPEC + "  BeforInstall: [{location: one.sh}]\n"


@pytest.mark.parametrize(("host", "group"), [(False, False), (True, False), (False, True)])
def test_what_an_appspec_says_in_vain(machine, unpacked, host, group):
    unpacked.appspec = ODD
    machine.config.strict = host
    found = specification(strict=group)
    if host or group:
        with pytest.raises(
            AppSpecInvalid, match=r"BeforInstall.*\(this host or its deployment group is strict about it\)$"
        ):
            machine.run("DownloadBundle", found)
        return
    outcome = machine.run("DownloadBundle", found)
    [warning] = outcome.warnings
    assert "BeforInstall" in warning
    assert (outcome.note, outcome.log) == ("Warning: " + warning, "[warning]" + warning + "\n")
    machine.revision("d-0")
    again = machine.run("DownloadBundle", specification("d-2", reuse_from="d-0"))
    assert again.note == "archive-reuse. Warning: " + warning
    for known in (
        Work("x", specification(possible_events=["BeforInstall"])),
        Work("x", specification(), ("BeforInstall",)),
    ):
        assert machine.events._warnings(known, machine.layout.deployment("g", "d-1")) == []


def test_an_appspec_that_is_wrong_is_told_by_the_next_event(machine, unpacked):
    unpacked.appspec = "version: 9\n"
    assert machine.run("DownloadBundle").warnings == ()


# --- Install ----------------------------------------------------------------------------------------------------------


def test_an_install_puts_files_in_their_places(machine):
    machine.revision(appspec="version: 0.0\nos: linux\nfiles: [{source: app, destination: /srv}]\n")
    assert machine.run("Install") == Outcome()
    installed = os.path.join(machine.config.install_root, "srv", "app")
    with open(installed) as file:
        assert file.read() == "d-1"
    assert os.path.basename(machine.layout.group("g").last_successful().directory) == "d-1"
    machine.revision("d-2", appspec="version: 0.0\nos: linux\nfiles: []\n")
    machine.run("Install", specification("d-2"))
    assert not os.path.exists(installed)  # of the deployment before


@pytest.mark.parametrize(("own", "given", "replaced"), [("", "OVERWRITE", True), ("OVERWRITE", "DISALLOW", True), ("RETAIN", "OVERWRITE", False)])  # fmt: skip
def test_the_appspec_decides_over_files_that_exist(machine, own, given, replaced):
    more = f"file_exists_behavior: {own}\n" if own else ""
    machine.revision(appspec="version: 0.0\nos: linux\nfiles: [{source: app, destination: /srv}]\n" + more)
    installed = os.path.join(machine.config.install_root, "srv", "app")
    os.makedirs(os.path.dirname(installed))
    with open(installed, "w") as file:
        file.write("somebody's")
    machine.run("Install", specification(file_exists_behavior=given))
    with open(installed) as file:
        assert (file.read() == "d-1") is replaced


def test_hooks_that_the_service_does_not_know_fail_the_install(machine):
    machine.revision()
    with pytest.raises(InstallFailed, match=r"contains unknown lifecycle events: \['ApplicationStop'\]$"):
        machine.run("Install", specification(possible_events=["BeforeInstall"]))
    machine.run("Install", specification(possible_events=["BeforeInstall", "ApplicationStop"]))


def test_a_directory_that_fails_is_named(machine):
    with pytest.raises(CommandFailure, match="^The agent could not carry out Install with its directory .*state: "):
        machine.events._appspec = fail_with_oserror
        machine.run("Install")


def fail_with_oserror(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("names", "plan"),
    [
        ([], ["DownloadBundle", "Install"]),
        (["AfterInstall"], ["DownloadBundle", "Install", "AfterInstall"]),
        (["BeforeInstall", "Install"], ["DownloadBundle", "BeforeInstall", "Install"]),
        (["ApplicationStop", "DownloadBundle", "AfterInstall"], ["ApplicationStop", "DownloadBundle", "Install", "AfterInstall"]),
    ],
)  # fmt: skip
def test_the_events_of_a_local_deployment(names, plan):
    assert plan_of(names) == plan
