"""The `bubblewrap` runtime: a throw-away copy of the host's root, in namespaces of its own.

As root, the sandbox's root is an overlay of the host's: everything that could hold a secret is whited out below it, uid 0 inside
has the capabilities that installing packages needs and no more. Without root, it is put together from read-only folders.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil

from penstock.sandbox import covers, kernel, overlay, probe, seccomp
from penstock.sandbox.processes import PATH, Started, end_descendants, end_naming, start
from penstock.sandbox.runtime import Offer, Runtime, RuntimeRefused
from penstock.sandbox.specification import Layout, Specification

_PROGRAM = "bwrap"

_EXPOSED = ("bin", "sbin", "usr", "etc", "opt", "nix")  # and lib*
_VAR_LIB = (
    "dpkg",
    "apt",
    "rpm",
    "pacman",
    "apk",
    "ucf",
    "alternatives",
    "pam",
    "systemd",
    "misc",
    "python",
    "shells.state",
)
_VAR_CACHE = ("apt", "debconf", "dnf", "yum", "fontconfig", "ldconfig", "man")
_ETC_SECRET = (
    "ssl/private",
    "letsencrypt",
    "penstock",
    "NetworkManager",
    "wireguard",
    "openvpn",
    "kubernetes",
    "docker",
    "rancher",
)
_CAPABILITIES = {  # with their numbers
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_SYS_CHROOT": 18,
    "CAP_AUDIT_WRITE": 29,
    "CAP_SETFCAP": 31,
}
_SEARCHED = ("etc", "opt", "usr/local/etc")  # for files that other users of the host may not read
_SEARCHED_VAR = ("lib/systemd", "lib/ucf", "lib/pam", "lib/misc", "cache/debconf", "cache/ldconfig")
_INIT = "echo >&4; exec sleep 2147483647 >/dev/null 2>&1 4>&-"  # holds the sandbox; heeds and says nothing more
_PROC_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/proc/mtrr")
_PROC_HIDDEN = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/vmallocinfo",
)


class _Bubblewrap:
    name = "bubblewrap"
    preference = 10
    summary = "a throw-away root in namespaces of its own"
    needs: tuple[str, ...] = ("bubblewrap",)
    networks: tuple[str, ...] = ("egress", "endpoint", "host")
    isolates = True
    moves_folders = True

    def user(self, number: int) -> int:  # noqa: ARG002
        """The server's own: what it may do is bounded by the sandbox."""
        return 0

    def program(self) -> str:
        return shutil.which(_PROGRAM) or ""

    def probe(self, *, network: str, layout: Layout, allow_unisolated: bool) -> Offer:  # noqa: ARG002
        """Look for the server's files from a sandbox: some 30 ms."""
        program = self.program()
        if not program:
            return Offer(usable=False, message=f"bubblewrap (the program {_PROGRAM}) is not installed")
        found = probe.search(self.name, program=program, network=network, layout=layout)
        if found.shows or (
            found.reason
            and not probe.search(
                self.name, program=program, network=network, layout=Layout(exposed=layout.exposed)
            ).reason
        ):
            # No other runtime is better, and nothing may run until the files are elsewhere.
            raise RuntimeRefused(
                f"A sandbox would show files of the server, or could not be made where these are hidden: {found.reason}. "
                "Move the data dir and the keys out of the folders of the system's programs, for instance below /var/lib or a home directory."
            )
        if found.reason:
            return Offer(usable=False, message=f"bubblewrap cannot make a sandbox here: {found.reason}")
        if os.geteuid() == 0:
            return Offer(
                usable=True,
                runs_as=True,
                message="processes see a throw-away overlay of this host's root, without its secrets, as uid 0; packages can be installed",
            )
        return Offer(
            usable=True,
            message="processes see this host's programs read-only, as uid 0 of their own namespace; packages cannot be installed without root",
        )

    def isolation(self, specification: Specification) -> _Enclosure:
        return _Enclosure(specification)

    def end_leftovers(self, specification: Specification) -> None:
        end_naming(_merged(specification))


def _base(specification: Specification) -> str:
    """Where the root is put together."""
    return os.path.join(specification.directory, "root")


def _merged(specification: Specification) -> str:
    """The root as the processes see it."""
    return os.path.join(_base(specification), "merged")


class _Enclosure:
    """One sandbox."""

    def __init__(self, specification: Specification) -> None:
        self._root = os.geteuid() == 0
        self._specification = specification
        self._layout = specification.layout
        self._base = _base(specification)
        self._merged = _merged(specification)
        self._private = specification.network.mode != "host"
        self._filter = seccomp.program(os.uname().machine)
        self._init: Started
        self._first: int  # the pid of the namespace's first process
        self._mounts = -1

    def prepare(self) -> None:
        kernel.adopt_orphans()
        user, group = os.geteuid(), os.getegid()
        kernel.unshare(kernel.NEWNS | (kernel.NEWNET if self._private else 0) | (0 if self._root else kernel.NEWUSER))
        if not self._root:
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"0 {user} 1")
            _write("/proc/self/gid_map", f"0 {group} 1")
        kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
        if self._private:
            kernel.loopback_up()
        os.makedirs(self._merged, mode=0o755, exist_ok=True)
        if self._root:
            self._overlay()
        else:
            self._plain()
        for folder in self._specification.folders:
            inside = self._merged + folder.inside
            os.makedirs(inside, exist_ok=True)
            kernel.mount(folder.path, inside, flags=kernel.MS_BIND)

    def _overlay(self) -> None:
        upper, work = os.path.join(self._base, "upper"), os.path.join(self._base, "work")
        os.makedirs(upper, mode=0o755, exist_ok=True)
        os.makedirs(work, mode=0o755, exist_ok=True)
        cover = overlay.Cover(upper)
        for name in os.listdir("/"):
            if name == "var" or name in _EXPOSED or (name.startswith("lib") and not name.startswith("lib.")):
                continue
            if not os.path.islink("/" + name):
                cover.remove(name)
        for name in ("root", "home", "run", "srv", "mnt", "media", "dev", "proc", "sys", *self._tops()):
            cover.empty(name, 0o700 if name == "root" else 0o755)
        cover.empty("tmp", 0o1777)
        cover.keep_only("var", ("lib", "cache", "opt", "local", "run", "lock"))
        cover.keep_only("var/lib", _VAR_LIB)
        cover.keep_only("var/cache", _VAR_CACHE)
        for name, mode in (("var/log", 0o755), ("var/spool", 0o755), ("var/mail", 0o755), ("var/tmp", 0o1777)):
            cover.empty(name, mode)
        for name in (*_SEARCHED, *(f"var/{inner}" for inner in _SEARCHED_VAR)):
            cover.private_files(name)
        for name in _ETC_SECRET:
            cover.remove("etc/" + name)
        for path in self._layout.hidden:
            for name in {path, os.path.realpath(path)}:
                cover.remove(name.strip("/"))
        overlay.write_accounts(os.path.join(upper, "etc"))
        overlay.write_hosts(os.path.join(upper, "etc"), self._specification.subject, self._specification.network.hosts)
        kernel.mount(
            "overlay", self._merged, "overlay", 0, f"lowerdir=/,upperdir={_escaped(upper)},workdir={_escaped(work)}"
        )

    def _plain(self) -> None:
        for name, mode in (
            ("root", 0o700),
            ("home", 0o755),
            ("tmp", 0o1777),
            ("run", 0o755),
            ("var", 0o755),
            ("var/tmp", 0o1777),
        ):
            path = os.path.join(self._merged, name)
            os.makedirs(path, exist_ok=True)
            os.chmod(path, mode)
        overlay.write_hosts(self._base, self._specification.subject, self._specification.network.hosts)

    def _tops(self) -> list[str]:
        """The folders of the root below which the sandbox's own lie."""
        return list(dict.fromkeys(folder.inside.split("/")[1] for folder in self._specification.folders))

    def hand_over(self) -> None:
        """Nothing: uid 0 inside owns the folders already."""

    def begin(self, output: int) -> list[int]:
        ready, readied = os.pipe()
        facts, writing_facts = os.pipe()
        rules = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        os.write(rules, self._filter)
        os.lseek(rules, 0, os.SEEK_SET)
        self._init = start(
            [*self._command(), "--info-fd", "5", "--seccomp", "6", "/bin/sh", "-c", _INIT],
            output=output,
            descriptors={4: readied, 5: writing_facts, 6: rules},
            env={"PATH": PATH},
            cwd="/",
        )
        for descriptor in (readied, writing_facts, rules):
            os.close(descriptor)
        with open(facts, "rb") as file, open(ready, "rb") as standing:
            if not standing.read(1):
                raise OSError(errno.EIO, f"bwrap ended with exit status {self._init.wait()}")
            self._first = json.loads(file.read())["child-pid"]
        names = [*([] if self._root else ["user"]), *(["net"] if self._private else []), "ipc", "uts", "pid", "mnt"]
        return [os.open(f"/proc/{self._first}/ns/{name}", os.O_RDONLY) for name in names]

    def _command(self) -> list[str]:
        """Bubblewrap's arguments. Later mounts lie over earlier ones, so what hides the server's files comes last."""
        command = [self._specification.program, "--bind", self._merged, "/"]
        exposed = list(self._layout.exposed)
        if not self._root:
            for name in sorted(os.listdir("/")):
                path = "/" + name
                if name in _EXPOSED or name.startswith("lib"):
                    if os.path.islink(path):
                        command += ["--symlink", os.readlink(path), path]
                    else:
                        command += ["--ro-bind", path, path]
                        exposed.append(path)
            command += ["--ro-bind", os.path.join(self._base, "hosts"), "/etc/hosts"]
        for path in self._layout.exposed:
            command += ["--ro-bind", path, path]
        hidden = covers.visible(self._layout.hidden, exposed)
        if not self._root:
            for name in _SEARCHED:
                hidden += ("/" + found for found in overlay.private_paths(name) if os.access("/" + found, os.R_OK))
        for path in hidden:
            command += _covered(path)
        command += ["--dev", "/dev", "--proc", "/proc"]
        if self._root:
            # uid 0 inside is the host's: what the kernel lets it change by files of /proc is shut by mounts.
            for path in filter(os.path.exists, _PROC_READ_ONLY):
                command += ["--ro-bind", path, path]
        for path in filter(os.path.exists, _PROC_HIDDEN):
            command += _covered(path)
        for folder in self._specification.folders:
            if not folder.writable:
                command += ["--ro-bind", self._merged + folder.inside, folder.inside]
        command += ["--unshare-pid", "--unshare-ipc", "--unshare-uts"]
        command += ["--hostname", self._specification.subject, "--die-with-parent", "--cap-drop", "ALL"]
        for capability in _CAPABILITIES if self._root else ():
            command += ["--cap-add", capability]
        return [*command, "--chdir", "/"]

    def approach(self, namespaces: list[int]) -> None:
        *outer, self._mounts = namespaces
        for descriptor in outer:
            kernel.join_namespace(descriptor)
        kernel.bound_capabilities(self._capabilities())

    def confine(self) -> None:
        kernel.join_namespace(self._mounts)
        os.chdir("/")
        kernel.keep_capabilities(self._capabilities())
        kernel.confine(self._filter)

    def _capabilities(self) -> int:
        return sum(1 << bit for bit in _CAPABILITIES.values()) if self._root else 0

    def standing(self) -> bool:
        """The end of its first process is that of every process in it."""
        return self._init.code is None and kernel.is_alive(self._first)

    def kill(self) -> None:
        """End the namespace's first process: the kernel ends all others with it."""
        self._init.kill()
        self._init.wait()
        # bwrap's process inside asks to die with the one outside only after it has started its child: under load the
        # one outside can be dead before.
        end_descendants()

    def written(self) -> tuple[list[str], list[str]]:
        own = self._specification.folders
        tops = [os.path.join(self._base, "upper") if self._root else self._merged]
        return [*tops, *self._specification.writable], [self._merged + folder.inside for folder in own]

    def let_go(self) -> None:
        inside = [self._merged + folder.inside for folder in self._specification.folders]
        for path in [*inside, *([self._merged] if self._root else [])]:
            with contextlib.suppress(OSError):
                kernel.unmount(path)

    def enter(self) -> None:
        os.chroot(self._merged)
        os.chdir("/")


def _covered(path: str) -> list[str]:
    """Arguments that put nothing in the place of a file or folder."""
    if os.path.isdir(path):
        return ["--tmpfs", path, "--remount-ro", path]
    return ["--ro-bind", "/dev/null", path]


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


RUNTIME: Runtime = _Bubblewrap()
