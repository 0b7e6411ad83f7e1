"""The `bubblewrap` runtime: a throw-away copy of the host's root, in namespaces of its own.

As root, the build's root is an overlay of the host's: everything that could hold a secret is whited out below it, uid 0 inside
has the capabilities that installing packages needs and no more. Without root, it is put together from read-only folders.
The class `Run` is used inside a supervisor, which has the standard library and the supervisor's own modules only.
"""

from __future__ import annotations

import contextlib
import errno
import os

TYPE_CHECKING = False  # every supervisor starts with this module: what it does not run with is not imported
if TYPE_CHECKING:
    from typing import Any

    from penstock.builds.runtimes import Layout

NAME = "bubblewrap"
NETWORKS = ("egress", "endpoint", "host")
TREE_INSIDE = "/codebuild"

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHOWN = ("bin", "sbin", "usr", "etc", "opt", "nix")  # and lib*
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


def probe(*, root: bool, allow_unisolated: bool, network: str, layout: Layout) -> tuple[bool, str]:  # noqa: ARG001
    """Whether builds may run this way, and what it offers or why not. Looks for the server's files from a sandbox: some 30 ms."""
    import shutil  # noqa: PLC0415

    from penstock.builds.runtimes import Layout, RuntimeRefused  # noqa: PLC0415

    program = shutil.which("bwrap")
    if program is None:
        return False, "bubblewrap (the program bwrap) is not installed"
    code, reason = _tried(program, network, layout)
    if code and (code == _SHOWS or not _tried(program, network, Layout(hidden=[], shown=layout.shown))[0]):
        # No other runtime is better, and no build may run until the files are elsewhere.
        raise RuntimeRefused(
            f"Builds would see files of the server, or could not run where these are hidden: {reason}. "
            "Move the data dir and the keys out of the folders of the system's programs, for instance below /var/lib or a home directory."
        )
    if code:
        return False, f"bubblewrap cannot make a sandbox here: {reason}"
    if root:
        return (
            True,
            "builds see a throw-away overlay of this host's root, without its secrets, as uid 0; packages can be installed",
        )
    return (
        True,
        "builds see this host's programs read-only, as uid 0 of their own namespace; packages cannot be installed without root",
    )


def _tried(program: str, network: str, layout: Layout) -> tuple[int, str]:
    """Look for the server's files from a sandbox: the exit status, and why it is not 0."""
    import json  # noqa: PLC0415
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="penstock-probe-") as folder:
        job = {
            "tree": folder + "/tree",
            "source": "/codebuild/output",
            "hidden": layout.hidden,
            "shown": layout.shown,
            "bwrap": program,
            "hosts": [],
            "network": {"mode": network},
        }
        script = (
            "import json, os, sys; sys.path[:0] = sys.argv[1:3]\n"
            "import bubblewrap, steps\n"
            "job = json.loads(sys.argv[4])\n"
            "os.makedirs(job['tree'] + '/output/tmp'); os.mkdir(job['tree'] + '/readonly')\n"
            "run = bubblewrap.Run(job, sys.argv[3]); starter = steps.Starter(run, lambda: None)\n"
            "run.prepare(); starter.open(run.begin(2))\n"
            "argv = ['/bin/sh', '-c', bubblewrap.SEARCH, 'search', *job['hidden']]\n"
            "starter.start(argv, output=2, descriptors={}); code = starter.ended()\n"
            "run.kill(); sys.exit(code)\n"
        )
        here = os.path.dirname(os.path.abspath(__file__))
        supervisor = os.path.join(os.path.dirname(here), "supervisor")
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", script, supervisor, here, folder, json.dumps(job)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
    return done.returncode, (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]


_SHOWS = 9  # the exit status of a search that found something
SEARCH = """\
for path; do
  if [ -d "$path" ]; then found=$(ls -A "$path") || continue; else [ -s "$path" ] && found=content || found=; fi
  [ -z "$found" ] || { echo "$path of the server shows in the sandbox" >&2; exit 9; }
done
"""
"""What the probe runs inside: fails when one of the paths that it is given is there and not empty."""


class Run:
    """One build in its sandbox."""

    def __init__(self, job: dict[str, Any], directory: str) -> None:
        import seccomp  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        self.job = job
        self.tree = str(job["tree"])
        self.root = os.geteuid() == 0
        self.base = os.path.join(directory, "root")
        self.merged = os.path.join(self.base, "merged")
        self.scripts = os.path.join(self.tree, "readonly")
        self.state = os.path.join(self.tree, "output", "tmp")
        self.inside = {
            "scripts": "/codebuild/readonly",
            "state": "/codebuild/output/tmp",
            "source": str(job["source"]),
        }
        self.path = PATH
        self.private = self.job["network"]["mode"] != "host"
        self.filter = seccomp.program(os.uname().machine)

    def prepare(self) -> None:
        """Leave the host's mounts and network, and put the build's root together."""
        import kernel  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        kernel.adopt_orphans()
        user, group = os.geteuid(), os.getegid()
        kernel.unshare(kernel.NEWNS | (kernel.NEWNET if self.private else 0) | (0 if self.root else kernel.NEWUSER))
        if not self.root:
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"0 {user} 1")
            _write("/proc/self/gid_map", f"0 {group} 1")
        kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
        if self.private:
            kernel.loopback_up()
        os.makedirs(self.merged, mode=0o755, exist_ok=True)
        if self.root:
            self._overlay(kernel)
        else:
            self._plain()
        for folder in ("readonly", "output"):
            inside = os.path.join(self.merged, "codebuild", folder)
            os.makedirs(inside, exist_ok=True)
            kernel.mount(os.path.join(self.tree, folder), inside, flags=kernel.MS_BIND)

    def _overlay(self, kernel: Any) -> None:
        import overlay  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        upper, work = os.path.join(self.base, "upper"), os.path.join(self.base, "work")
        os.makedirs(upper, mode=0o755, exist_ok=True)
        os.makedirs(work, mode=0o755, exist_ok=True)
        cover = overlay.Cover(upper)
        for name in os.listdir("/"):
            if name == "var" or name in _SHOWN or (name.startswith("lib") and not name.startswith("lib.")):
                continue
            if not os.path.islink("/" + name):
                cover.remove(name)
        for name in ("root", "home", "run", "srv", "mnt", "media", "dev", "proc", "sys", "codebuild"):
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
        for path in self.job["hidden"]:
            for name in {str(path), os.path.realpath(path)}:
                cover.remove(name.strip("/"))
        overlay.write_accounts(os.path.join(upper, "etc"))
        overlay.write_hosts(os.path.join(upper, "etc"), self.job["hosts"])
        kernel.mount(
            "overlay", self.merged, "overlay", 0, f"lowerdir=/,upperdir={_escaped(upper)},workdir={_escaped(work)}"
        )

    def _plain(self) -> None:
        import overlay  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        for name, mode in (
            ("root", 0o700),
            ("home", 0o755),
            ("tmp", 0o1777),
            ("run", 0o755),
            ("var", 0o755),
            ("var/tmp", 0o1777),
        ):
            path = os.path.join(self.merged, name)
            os.makedirs(path, exist_ok=True)
            os.chmod(path, mode)
        overlay.write_hosts(self.base, self.job["hosts"])

    def hand_over(self) -> None:
        """Nothing: uid 0 inside owns its folders already."""

    def begin(self, output: int) -> list[int]:
        """Make the sandbox, and wait until it stands; descriptors of its namespaces. Raises OSError."""
        import json  # noqa: PLC0415

        from launch import start  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        ready, readied = os.pipe()
        facts, telling = os.pipe()
        rules = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        os.write(rules, self.filter)
        os.lseek(rules, 0, os.SEEK_SET)
        self.init = start(
            [*self._command(), "--info-fd", "5", "--seccomp", "6", "/bin/sh", "-c", _INIT],
            output=output,
            descriptors={4: readied, 5: telling, 6: rules},
            env={"PATH": PATH},
            cwd="/",
        )
        for descriptor in (readied, telling, rules):
            os.close(descriptor)
        with open(facts, "rb") as file, open(ready, "rb") as standing:
            if not standing.read(1):
                raise OSError(errno.EIO, f"bwrap ended with exit status {self.init.wait()}")
            self.first = json.loads(file.read())["child-pid"]
        names = [*([] if self.root else ["user"]), *(["net"] if self.private else []), "ipc", "uts", "pid", "mnt"]
        return [os.open(f"/proc/{self.first}/ns/{name}", os.O_RDONLY) for name in names]

    def _command(self) -> list[str]:
        """Bubblewrap's arguments. Later mounts lie over earlier ones, so what hides the server's files comes last."""
        import covers  # noqa: PLC0415 # pyright: ignore[reportMissingImports]
        import overlay  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        command = [str(self.job["bwrap"]), "--bind", self.merged, "/"]
        shown = [str(path) for path in self.job["shown"]]
        if not self.root:
            for name in sorted(os.listdir("/")):
                path = "/" + name
                if name in _SHOWN or name.startswith("lib"):
                    if os.path.islink(path):
                        command += ["--symlink", os.readlink(path), path]
                    else:
                        command += ["--ro-bind", path, path]
                        shown.append(path)
            command += ["--ro-bind", os.path.join(self.base, "hosts"), "/etc/hosts"]
        for path in self.job["shown"]:
            command += ["--ro-bind", str(path), str(path)]
        hidden = covers.visible(list(self.job["hidden"]), shown)
        if not self.root:
            for name in _SEARCHED:
                hidden += ("/" + found for found in overlay.private_paths(name) if os.access("/" + found, os.R_OK))
        for path in hidden:
            command += _covered(path)
        command += ["--dev", "/dev", "--proc", "/proc"]
        if self.root:
            # uid 0 inside is the host's: what the kernel lets it change by files of /proc is shut by mounts.
            for path in filter(os.path.exists, _PROC_READ_ONLY):
                command += ["--ro-bind", path, path]
        for path in filter(os.path.exists, _PROC_HIDDEN):
            command += _covered(path)
        command += ["--ro-bind", os.path.join(self.merged, "codebuild", "readonly"), "/codebuild/readonly"]
        command += ["--unshare-pid", "--unshare-ipc", "--unshare-uts"]
        command += ["--hostname", "build", "--die-with-parent", "--cap-drop", "ALL"]
        for capability in _CAPABILITIES if self.root else ():
            command += ["--cap-add", capability]
        return [*command, "--chdir", "/"]

    def approach(self, namespaces: list[int]) -> None:
        """Enter all but the sandbox's files, which the build could have changed; `namespaces` is what `begin` gave. Raises OSError."""
        import kernel  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        *outer, self._mounts = namespaces
        for descriptor in outer:
            kernel.join_namespace(descriptor)
        kernel.bound_capabilities(self._capabilities())

    def confine(self) -> None:
        """Enter the sandbox for good, and give up what a build may not do. Raises OSError."""
        import kernel  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        kernel.join_namespace(self._mounts)
        os.chdir("/")
        kernel.keep_capabilities(self._capabilities())
        kernel.confine(self.filter)

    def _capabilities(self) -> int:
        return sum(1 << bit for bit in _CAPABILITIES.values()) if self.root else 0

    def standing(self) -> bool:
        """Whether the sandbox is there still: its end is that of every process in it."""
        import kernel  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        return self.init.code is None and kernel.is_alive(self.first)

    def kill(self) -> None:
        """End the namespace's first process: the kernel ends all others with it."""
        from launch import end_descendants  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        self.init.kill()
        self.init.wait()
        # bwrap's process inside asks to die with the one outside only after it has started its child: under load the
        # one outside can be dead before.
        end_descendants()

    def folders(self) -> tuple[list[str], list[str]]:
        """Where the build writes, and the mounts below that are to be passed over when it is counted."""
        inside = os.path.join(self.merged, "codebuild")
        return [os.path.join(self.base, "upper") if self.root else self.merged, os.path.join(self.tree, "output")], [
            inside
        ]

    def let_go(self) -> None:
        """Take the mounts off the build's folders, so that these can be deleted."""
        import kernel  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        inside = [os.path.join(self.merged, "codebuild", name) for name in ("readonly", "output")]
        for path in [*inside, *([self.merged] if self.root else [])]:
            with contextlib.suppress(OSError):
                kernel.unmount(path)

    def enter(self) -> None:
        """Make the build's root this process's own; the build's processes are dead by now."""
        os.chroot(self.merged)
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
