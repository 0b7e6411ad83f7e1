"""What each runtime makes a sandbox of, step by step and argument by argument, on a host that the test makes up."""

from __future__ import annotations

import errno
import io
import json
import os
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.sandbox.probe import Found
from penstock.sandbox.runtime import Offer, RuntimeRefused
from penstock.sandbox.runtimes import bubblewrap, process
from penstock.sandbox.specification import Folder, Layout, Limits, Network, Specification

GIVEN = Specification(
    runtime="r",
    program="/bin/bwrap",
    subject="build",
    directory="/d",
    user=0,
    folders=(
        Folder(path="/t/readonly", inside="/codebuild/readonly"),
        Folder(path="/t/output", inside="/codebuild/output", writable=True),
    ),
    layout=Layout(hidden=("/opt/data", "/etc/keys/k"), exposed=("/srv/shown",)),
    limits=Limits(memory=1, cpus=1, processes=1, disk=1, seconds=1),
    network=Network(mode="egress", hosts=("server.example",)),
)


class Notes:
    """Stands for a module: notes what is called there, in `steps`."""

    def __init__(self, name: str, steps: list[Any], **given: Any) -> None:
        self._name, self._steps, self._given = name, steps, given

    def __getattr__(self, name: str) -> Any:
        if name in self._given:
            return self._given[name]

        def call(*arguments: Any, **more: Any) -> Any:
            self._steps.append((f"{self._name}.{name}", *arguments, *more.values()))

        return call


@pytest.fixture
def steps() -> list[Any]:
    return []


def host(monkeypatch: pytest.MonkeyPatch, steps: list[Any], *, root: bool) -> None:
    """A host with these folders, and a kernel that takes notes."""
    tops = ["bin", "data", "etc", "home", "lib", "lib.d", "lib64", "linked", "proc", "usr", "var"]
    links = {"/bin": "usr/bin", "/linked": "data", "/lib": "usr/lib"}
    there = {"/proc/bus", "/proc/sys", "/proc/kcore", "/proc/acpi"}
    path = SimpleNamespace(
        join=os.path.join,
        realpath=lambda name: "/real/data" if name == "/opt/data" else name,
        islink=links.__contains__,
        isdir=lambda name: name not in ("/etc/keys/k", "/proc/kcore"),
        exists=there.__contains__,
    )
    made = Notes(
        "os", steps, geteuid=lambda: 0 if root else 7, getegid=lambda: 0 if root else 8, listdir=lambda _path: tops,
        readlink=links.__getitem__, path=path, uname=os.uname, R_OK=os.R_OK, access=lambda name, _mode: name != "/etc/shut",
    )  # fmt: skip
    monkeypatch.setattr(bubblewrap, "os", made)
    constants = {name: getattr(bubblewrap.kernel, name) for name in dir(bubblewrap.kernel) if name.isupper()}
    monkeypatch.setattr(bubblewrap, "kernel", Notes("kernel", steps, **constants))


class Cover:
    """Notes what is covered."""

    def __init__(self, upper: str) -> None:
        Cover.said = [("upper", upper)]

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: Cover.said.append((name, *arguments))


def overlaid(monkeypatch: pytest.MonkeyPatch, steps: list[Any]) -> None:
    private = {"etc": ["etc/shadow", "etc/shut"], "opt": [], "usr/local/etc": ["usr/local/etc/x"]}
    made = Notes("overlay", steps, Cover=Cover, private_paths=private.__getitem__)
    monkeypatch.setattr(bubblewrap, "overlay", made)


UP = "/d/root/upper"
FOLDERS = [
    ("os.makedirs", "/d/root/merged/codebuild/readonly", True),
    ("kernel.mount", "/t/readonly", "/d/root/merged/codebuild/readonly", 0x1000),
    ("os.makedirs", "/d/root/merged/codebuild/output", True),
    ("kernel.mount", "/t/output", "/d/root/merged/codebuild/output", 0x1000),
]


def test_a_root_of_the_hosts_without_its_secrets(monkeypatch, steps):
    host(monkeypatch, steps, root=True)
    overlaid(monkeypatch, steps)
    bubblewrap.RUNTIME.isolation(GIVEN).prepare()
    assert steps == [
        ("kernel.adopt_orphans",),
        ("kernel.unshare", 0x40020000),
        ("kernel.mount", "", "/", 0x44000),
        ("kernel.loopback_up",),
        ("os.makedirs", "/d/root/merged", 0o755, True),
        ("os.makedirs", UP, 0o755, True),
        ("os.makedirs", "/d/root/work", 0o755, True),
        ("overlay.write_accounts", f"{UP}/etc"),
        ("overlay.write_hosts", f"{UP}/etc", "build", ("server.example",)),
        ("kernel.mount", "overlay", "/d/root/merged", "overlay", 0, f"lowerdir=/,upperdir={UP},workdir=/d/root/work"),
        *FOLDERS,
    ]  # fmt: skip
    said = Cover.said
    removed = [name for what, name in (each for each in said if each[0] == "remove")]
    assert said[0] == ("upper", UP)
    assert removed[:4] == ["data", "home", "lib.d", "proc"]
    assert set(removed[4:]) == {
        *(f"etc/{name}" for name in bubblewrap._ETC_SECRET), "opt/data", "real/data", "etc/keys/k",
    }  # fmt: skip
    emptied = {name: mode for what, name, mode in (each for each in said if each[0] == "empty")}
    assert emptied == dict.fromkeys(
        ("home", "run", "srv", "mnt", "media", "dev", "proc", "sys", "codebuild", "var/log", "var/spool", "var/mail"), 0o755
    ) | {"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777}  # fmt: skip
    kept = {name: names for what, name, names in (each for each in said if each[0] == "keep_only")}
    assert kept["var"] == ("lib", "cache", "opt", "local", "run", "lock")
    assert (kept["var/lib"], kept["var/cache"]) == (bubblewrap._VAR_LIB, bubblewrap._VAR_CACHE)
    searched = [name for what, *names in said if what == "private_files" for name in names]
    assert searched == [
        "etc", "opt", "usr/local/etc",
        "var/lib/systemd", "var/lib/ucf", "var/lib/pam", "var/lib/misc", "var/cache/debconf", "var/cache/ldconfig",
    ]  # fmt: skip


def test_a_root_of_read_only_folders_without_rights(monkeypatch, steps):
    host(monkeypatch, steps, root=False)
    overlaid(monkeypatch, steps)
    files: dict[str, io.StringIO] = {}

    class Kept(io.StringIO):
        def close(self) -> None:
            """So that it can be read."""

    monkeypatch.setattr(bubblewrap, "open", lambda path, _mode, encoding: files.setdefault(path, Kept()), raising=False)
    given = replace(GIVEN, network=Network(mode="host"))
    bubblewrap.RUNTIME.isolation(given).prepare()
    assert {path: file.getvalue() for path, file in files.items()} == {
        "/proc/self/setgroups": "deny", "/proc/self/uid_map": "0 7 1", "/proc/self/gid_map": "0 8 1",
    }  # fmt: skip
    made = [
        step
        for name, mode in (
            ("root", 0o700), ("home", 0o755), ("tmp", 0o1777), ("run", 0o755), ("var", 0o755), ("var/tmp", 0o1777),
        )
        for step in (("os.makedirs", f"/d/root/merged/{name}", True), ("os.chmod", f"/d/root/merged/{name}", mode))
    ]  # fmt: skip
    assert steps == [
        ("kernel.adopt_orphans",),
        ("kernel.unshare", 0x10020000),
        ("kernel.mount", "", "/", 0x44000),
        ("os.makedirs", "/d/root/merged", 0o755, True),
        *made,
        ("overlay.write_hosts", "/d/root", "build", ()),
        *FOLDERS,
    ]


COVERED = ["--tmpfs", "/opt/data", "--remount-ro", "/opt/data", "--ro-bind", "/dev/null", "/etc/keys/k"]
HIDDEN_PROC = ["--tmpfs", "/proc/acpi", "--remount-ro", "/proc/acpi", "--ro-bind", "/dev/null", "/proc/kcore"]
LAST = [
    "--ro-bind", "/d/root/merged/codebuild/readonly", "/codebuild/readonly",
    "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "build", "--die-with-parent", "--cap-drop", "ALL",
]  # fmt: skip


@pytest.mark.parametrize("root", [True, False])
def test_how_bubblewrap_is_asked(monkeypatch, steps, root):
    """What hides comes behind what shows."""
    host(monkeypatch, steps, root=root)
    overlaid(monkeypatch, steps)
    asked: list[Any] = []

    def visible(private: object, exposed: list[str]) -> list[str]:
        asked.append((private, exposed))
        return ["/opt/data", "/etc/keys/k"]

    monkeypatch.setattr(bubblewrap, "covers", SimpleNamespace(visible=visible))
    enclosure: Any = bubblewrap.RUNTIME.isolation(GIVEN)
    command = enclosure._command()
    assert command[:4] == ["/bin/bwrap", "--bind", "/d/root/merged", "/"]
    capabilities = [word for name in bubblewrap._CAPABILITIES for word in ("--cap-add", name)]
    if root:
        assert command[4:] == [
            "--ro-bind", "/srv/shown", "/srv/shown", *COVERED, "--dev", "/dev", "--proc", "/proc",
            "--ro-bind", "/proc/bus", "/proc/bus", "--ro-bind", "/proc/sys", "/proc/sys", *HIDDEN_PROC, *LAST,
            *capabilities, "--chdir", "/",
        ]  # fmt: skip
        assert asked == [(GIVEN.layout.hidden, ["/srv/shown"])]
        assert enclosure._capabilities() == 0xA00405FB
        return
    bound = ("/etc", "/lib.d", "/lib64", "/usr")
    assert command[4:] == [
        "--symlink", "usr/bin", "/bin", "--ro-bind", "/etc", "/etc", "--symlink", "usr/lib", "/lib",
        *(word for name in bound[1:] for word in ("--ro-bind", name, name)),
        "--ro-bind", "/d/root/hosts", "/etc/hosts", "--ro-bind", "/srv/shown", "/srv/shown", *COVERED,
        "--tmpfs", "/etc/shadow", "--remount-ro", "/etc/shadow", "--tmpfs", "/usr/local/etc/x", "--remount-ro", "/usr/local/etc/x",
        "--dev", "/dev", "--proc", "/proc", *HIDDEN_PROC, *LAST, "--chdir", "/",
    ]  # fmt: skip
    assert asked == [(GIVEN.layout.hidden, ["/srv/shown", *bound])]
    assert enclosure._capabilities() == 0


def test_capabilities_have_the_kernels_numbers():
    header = "/usr/include/linux/capability.h"
    if not os.path.exists(header):
        pytest.skip("the kernel's headers are not installed")
    with open(header) as file:
        defined = dict(line.split()[1:3] for line in file if line.startswith("#define CAP_") and len(line.split()) == 3)
    assert {name: str(number) for name, number in bubblewrap._CAPABILITIES.items()} == {
        name: defined[name] for name in bubblewrap._CAPABILITIES
    }


@pytest.mark.parametrize(
    ("root", "mode", "names"),
    [
        (True, "egress", ["net", "ipc", "uts", "pid", "mnt"]),
        (True, "host", ["ipc", "uts", "pid", "mnt"]),
        (False, "endpoint", ["user", "net", "ipc", "uts", "pid", "mnt"]),
    ],
)
def test_a_sandbox_that_stands_gives_its_namespaces(monkeypatch, root, mode, names):
    given: list[Any] = []

    def start(argv: list[str], *, output: int, descriptors: dict[int, int], env: object, cwd: str) -> Any:
        filter_ = os.read(descriptors[6], 1 << 20)
        given.append((argv[-7:], output, sorted(descriptors), filter_, cwd))
        os.write(descriptors[4], b"\n")
        os.write(descriptors[5], json.dumps({"child-pid": 77}).encode())
        return SimpleNamespace(code=None)

    monkeypatch.setattr(bubblewrap, "start", start)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 7)
    enclosure: Any = bubblewrap.RUNTIME.isolation(replace(GIVEN, network=Network(mode=mode)))
    monkeypatch.setattr(enclosure, "_command", lambda: ["bwrap"])
    opened: list[str] = []
    real = os.open
    monkeypatch.setattr(
        os, "open", lambda path, flags, *more: opened.append(path) or 9 if "/ns/" in str(path) else real(path, flags, *more)
    )  # fmt: skip
    assert enclosure.begin(2) == [9] * len(names)
    monkeypatch.undo()
    assert opened == [f"/proc/77/ns/{name}" for name in names]
    assert given == [
        (["--info-fd", "5", "--seccomp", "6", "/bin/sh", "-c", bubblewrap._INIT], 2, [4, 5, 6], enclosure._filter, "/")
    ]  # fmt: skip


def test_a_sandbox_that_does_not_stand_says_how_it_ended(monkeypatch):
    monkeypatch.setattr(bubblewrap, "start", lambda *_, **__: SimpleNamespace(wait=lambda: 3))
    enclosure: Any = bubblewrap.RUNTIME.isolation(GIVEN)
    monkeypatch.setattr(enclosure, "_command", lambda: ["bwrap"])
    with pytest.raises(OSError, match="bwrap ended with exit status 3") as refused:
        enclosure.begin(2)
    assert refused.value.errno == errno.EIO


def test_how_a_program_gets_in_and_what_it_gives_up(monkeypatch, steps):
    host(monkeypatch, steps, root=True)
    enclosure = bubblewrap.RUNTIME.isolation(GIVEN)
    enclosure.approach([3, 4, 5])
    assert steps == [
        ("kernel.join_namespace", 3),
        ("kernel.join_namespace", 4),
        ("kernel.bound_capabilities", 0xA00405FB),
    ]
    steps.clear()
    enclosure.confine()
    filter_ = bubblewrap.seccomp.program(os.uname().machine)
    assert steps == [
        ("kernel.join_namespace", 5), ("os.chdir", "/"), ("kernel.keep_capabilities", 0xA00405FB), ("kernel.confine", filter_),
    ]  # fmt: skip
    steps.clear()
    enclosure.enter()
    assert steps == [("os.chroot", "/d/root/merged"), ("os.chdir", "/")]


def test_how_a_sandbox_ends(monkeypatch, steps):
    host(monkeypatch, steps, root=True)
    monkeypatch.setattr(bubblewrap, "end_descendants", lambda: steps.append("descendants"))
    enclosure: Any = bubblewrap.RUNTIME.isolation(GIVEN)
    enclosure._first = 77
    alive = {77: True}
    monkeypatch.setattr(bubblewrap.kernel, "is_alive", alive.__getitem__, raising=False)
    enclosure._init = SimpleNamespace(code=None, kill=lambda: steps.append("kill"), wait=lambda: steps.append("wait"))
    assert enclosure.standing() is True
    alive[77] = False
    assert enclosure.standing() is False
    alive[77] = True
    enclosure._init.code = 0
    assert enclosure.standing() is False
    enclosure.kill()
    assert steps == ["kill", "wait", "descendants"]
    steps.clear()
    enclosure.let_go()
    inside = ["/d/root/merged/codebuild/readonly", "/d/root/merged/codebuild/output"]
    assert steps == [("kernel.unmount", path) for path in (*inside, "/d/root/merged")]
    assert enclosure.written() == ([UP, "/t/output"], inside)
    steps.clear()
    host(monkeypatch, steps, root=False)
    enclosure = bubblewrap.RUNTIME.isolation(GIVEN)
    enclosure.let_go()
    assert steps == [("kernel.unmount", path) for path in inside]
    assert enclosure.written() == (["/d/root/merged", "/t/output"], inside)


def test_a_mount_that_is_gone_keeps_no_other(monkeypatch, steps):
    host(monkeypatch, steps, root=True)
    tried: list[str] = []

    def unmount(path: str) -> None:
        tried.append(path)
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(bubblewrap.kernel, "unmount", unmount, raising=False)
    bubblewrap.RUNTIME.isolation(GIVEN).let_go()
    assert len(tried) == 3


def test_what_a_dead_supervisor_left_is_known_by_its_root(monkeypatch):
    ended: list[Any] = []
    monkeypatch.setattr(bubblewrap, "end_naming", ended.append)
    bubblewrap.RUNTIME.end_leftovers(GIVEN)
    assert ended == ["/d/root/merged"]


@pytest.mark.parametrize(("path", "escaped"), [("/a", "/a"), ("/a,b:c\\d", "/a\\,b\\:c\\\\d")])
def test_paths_in_the_options_of_a_mount(path, escaped):
    assert bubblewrap._escaped(path) == escaped


ROOT_OFFER = (
    "processes see a throw-away overlay of this host's root, without its secrets, as uid 0; packages can be installed"
)
USER_OFFER = "processes see this host's programs read-only, as uid 0 of their own namespace; packages cannot be installed without root"


@pytest.mark.parametrize(
    ("user", "with_hidden", "without", "offer"),
    [
        (0, Found(""), None, Offer(usable=True, runs_as=True, message=ROOT_OFFER)),
        (7, Found(""), None, Offer(usable=True, message=USER_OFFER)),
        (0, Found("no"), Found("no"), Offer(usable=False, message="bubblewrap cannot make a sandbox here: no")),
        (0, Found("no"), Found(""), None),
        (0, Found("no", shows=True), None, None),
    ],
)
def test_what_the_search_of_a_sandbox_decides(monkeypatch, user, with_hidden, without, offer):
    layout = Layout(hidden=("/h",), exposed=("/x",))

    def search(name: str, *, program: str, network: str, layout: Layout) -> Found:
        assert (name, program, network, layout.exposed) == ("bubblewrap", "/bin/bwrap", "egress", ("/x",))
        found = with_hidden if layout.hidden else without
        assert found is not None
        return found

    monkeypatch.setattr(bubblewrap.probe, "search", search)
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(os, "geteuid", lambda: user)
    asked: dict[str, Any] = {"network": "egress", "layout": layout, "allow_unisolated": True}
    if offer is None:
        with pytest.raises(RuntimeRefused, match="could not be made where these are hidden: no. Move the data dir"):
            bubblewrap.RUNTIME.probe(**asked)
    else:
        assert bubblewrap.RUNTIME.probe(**asked) == offer
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda _name: None)
    assert bubblewrap.RUNTIME.probe(**asked) == Offer(
        usable=False, message="bubblewrap (the program bwrap) is not installed"
    )


# --- plain processes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("user", "number", "id_"), [(0, 0, 1_200_000_000), (0, 800_000_001, 1_200_000_001), (7, 5, 0)])
def test_the_user_of_plain_processes(monkeypatch, user, number, id_):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert process.RUNTIME.user(number) == id_
    assert bubblewrap.RUNTIME.user(number) == 0


@pytest.mark.parametrize(
    ("user", "allowed", "usable", "said"),
    [
        (0, False, True, "processes have a user id of their own; world-readable files, the network and loopback services stay open to them"),
        (7, True, True, "processes run as the server's own user and nothing is isolated from them, as the settings allow"),
        (7, False, False, "without root, processes are not isolated from the server, which the settings have to allow"),
    ],
)  # fmt: skip
def test_plain_processes_have_to_be_allowed_without_root(monkeypatch, user, allowed, usable, said):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    offer = process.RUNTIME.probe(network="host", layout=Layout(), allow_unisolated=allowed)
    assert offer == Offer(usable=usable, message=said)


@pytest.mark.parametrize("user", [5, 0])
def test_plain_processes_from_their_beginning_to_their_end(monkeypatch, steps, tmp_path, user):
    for name in ("top/inner", "readonly"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "top" / "inner" / "file").touch()
    (tmp_path / "top" / "link").symlink_to("inner/file")
    (tmp_path / "top").chmod(0o755)
    owned: list[Any] = []
    for name in ("setgroups", "setgid", "setuid"):
        monkeypatch.setattr(process.os, name, lambda given, name=name: steps.append((name, given)))
    monkeypatch.setattr(process.os, "lchown", lambda path, *ids: owned.append((os.path.basename(path), *ids)))
    monkeypatch.setattr(process, "kernel", Notes("kernel", steps))
    monkeypatch.setattr(process, "end_user", lambda given: steps.append(("end user", given)))
    monkeypatch.setattr(process, "end_descendants", lambda: steps.append("descendants"))
    folders = (
        Folder(path=str(tmp_path / "readonly"), inside="/r"),
        Folder(path=str(tmp_path / "top"), inside="/t", writable=True),
    )
    given = replace(GIVEN, user=user, folders=folders)
    processes: Any = process.RUNTIME.isolation(given)
    processes.prepare()
    processes.hand_over()
    processes.approach([])
    assert processes.begin(2) == []
    assert processes.standing() is True
    processes.confine()
    processes.kill()
    process.RUNTIME.end_leftovers(given)
    ids = [("setgroups", []), ("setgid", user), ("setuid", user)] if user else []
    filter_ = process.seccomp.program(os.uname().machine)
    assert steps == [
        ("kernel.adopt_orphans",), *ids, ("kernel.die_with_parent", 9), ("kernel.confine", filter_),
        *([("end user", user)] if user else []), "descendants", *([("end user", user)] if user else []),
    ]  # fmt: skip
    assert sorted(owned) == ([(name, user, user) for name in ("file", "inner", "link", "top")] if user else [])
    assert (tmp_path / "top").stat().st_mode & 0o777 == (0o700 if user else 0o755)
    assert processes.written() == ([str(tmp_path / "top")], [])


def test_a_machine_without_a_filter_runs_plain_processes_all_the_same(monkeypatch, steps):
    monkeypatch.setattr(process.os, "uname", lambda: SimpleNamespace(machine="riscv64"))
    monkeypatch.setattr(process, "kernel", Notes("kernel", steps))
    process.RUNTIME.isolation(GIVEN).confine()
    assert steps[-1] == ("kernel.confine", b"")
