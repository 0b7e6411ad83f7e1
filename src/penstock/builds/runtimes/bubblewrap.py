"""The `bubblewrap` runtime: a throw-away copy of the host's root, in namespaces of its own.

As root, the build's root is an overlay of the host's: everything that could hold a secret is whited out below it, uid 0 inside
has the capabilities that installing packages needs and no more. Without root, it is put together from read-only folders.
The class `Run` is used inside a supervisor, which has the standard library and the supervisor's own modules only.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False  # every supervisor starts with this module: what it does not run with is not imported
if TYPE_CHECKING:
    from typing import Any

NAME = "bubblewrap"
NETWORKS = ("egress", "endpoint", "host")
TREE_INSIDE = "/codebuild"

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
_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_SETFCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_AUDIT_WRITE",
)
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
_SCAN_LIMIT = 20_000


def probe(*, root: bool, allow_unisolated: bool, network: str) -> tuple[bool, str]:  # noqa: ARG001
    """Whether builds may run this way, and in words what it offers or why not. Runs `true` in a sandbox: some 20 ms."""
    import shutil  # noqa: PLC0415
    import subprocess  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    program = shutil.which("bwrap")
    if program is None:
        return False, "bubblewrap (the program bwrap) is not installed"
    with tempfile.TemporaryDirectory(prefix="penstock-probe-") as folder:
        script = (
            "import sys; sys.path[:0] = sys.argv[1:3]\n"
            "import os, bubblewrap\n"
            "job = {'tree': sys.argv[3] + '/tree', 'source': '/codebuild/output', 'hidden': [], 'shown': [], 'bwrap': sys.argv[4],"
            " 'hosts': [], 'network': {'mode': sys.argv[5]}}\n"
            "os.makedirs(job['tree'] + '/output/tmp'); os.mkdir(job['tree'] + '/readonly')\n"
            "run = bubblewrap.Run(job, sys.argv[3]); run.prepare()\n"
            "sys.exit(run.spawn(['/bin/true'], output=2, descriptors={}).wait())\n"
        )
        here = os.path.dirname(os.path.abspath(__file__))
        supervisor = os.path.join(os.path.dirname(here), "supervisor")
        interpreter = python()
        done = subprocess.run(
            [interpreter, "-I", "-S", "-c", script, supervisor, here, folder, program, network],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    if done.returncode:
        words = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        return False, f"bubblewrap cannot make a sandbox here: {words}"
    if root:
        return (
            True,
            "builds see a throw-away overlay of this host's root, without its secrets, as uid 0; packages can be installed",
        )
    return (
        True,
        "builds see this host's programs read-only, as uid 0 of their own namespace; packages cannot be installed without root",
    )


def python() -> str:
    """The interpreter that runs this; under `-I -S` it needs nothing of the server's."""
    import sys  # noqa: PLC0415

    return sys.executable


class Run:
    """One build in its sandbox."""

    def __init__(self, job: dict[str, Any], directory: str) -> None:
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
        self.spared: set[int] = set()

    def prepare(self) -> None:
        """Leave the host's mounts and network, and put the build's root together."""
        import kernel  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        kernel.adopt_orphans()
        private = self.job["network"]["mode"] != "host"
        user, group = os.geteuid(), os.getegid()
        kernel.unshare(kernel.NEWNS | (kernel.NEWNET if private else 0) | (0 if self.root else kernel.NEWUSER))
        if not self.root:
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"0 {user} 1")
            _write("/proc/self/gid_map", f"0 {group} 1")
        kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
        if private:
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
        upper, work = os.path.join(self.base, "upper"), os.path.join(self.base, "work")
        os.makedirs(upper, mode=0o755, exist_ok=True)
        os.makedirs(work, mode=0o755, exist_ok=True)
        cover = Cover(upper)
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
        cover.private_files("etc")
        cover.private_files("opt")
        cover.private_files("usr/local/etc")
        for name in _ETC_SECRET:
            cover.remove("etc/" + name)
        for path in self.job["hidden"]:
            cover.remove(str(path).strip("/"))
        _accounts(os.path.join(upper, "etc"))
        _hosts(os.path.join(upper, "etc"), self.job["hosts"])
        kernel.mount(
            "overlay", self.merged, "overlay", 0, f"lowerdir=/,upperdir={_escaped(upper)},workdir={_escaped(work)}"
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
            path = os.path.join(self.merged, name)
            os.makedirs(path, exist_ok=True)
            os.chmod(path, mode)
        _hosts(self.base, self.job["hosts"])

    def hand_over(self) -> None:
        """Nothing: uid 0 inside owns its folders already."""

    def spawn(self, argv: list[str], *, output: int, descriptors: dict[int, int]) -> Any:
        """Start the driver as the first process of a new set of namespaces."""
        from launch import start  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        command = [str(self.job["bwrap"]), "--bind", self.merged, "/"]
        if not self.root:
            for name in sorted(os.listdir("/")):
                path = "/" + name
                if name in _SHOWN or name.startswith("lib"):
                    command += (
                        ["--symlink", os.readlink(path), path] if os.path.islink(path) else ["--ro-bind", path, path]
                    )
            command += ["--ro-bind", os.path.join(self.base, "hosts"), "/etc/hosts"]
        for path in self.job["shown"]:
            command += ["--ro-bind", str(path), str(path)]
        command += ["--dev", "/dev", "--proc", "/proc"]
        if self.root:
            # uid 0 inside is the host's: what the kernel lets it change by files of /proc is shut by mounts. They also keep
            # a nested user namespace from mounting a /proc of its own.
            for path in filter(os.path.exists, _PROC_READ_ONLY):
                command += ["--ro-bind", path, path]
            for path in filter(os.path.exists, _PROC_HIDDEN):
                command += (
                    ["--tmpfs", path, "--remount-ro", path] if os.path.isdir(path) else ["--ro-bind", "/dev/null", path]
                )
        command += ["--ro-bind", os.path.join(self.merged, "codebuild", "readonly"), "/codebuild/readonly"]
        command += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "build", "--die-with-parent"]
        command += ["--cap-drop", "ALL"]
        for capability in _CAPABILITIES if self.root else ():
            command += ["--cap-add", capability]
        command += ["--chdir", "/", *argv]
        return start(
            command,
            output=output,
            descriptors=descriptors,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            cwd="/",
        )

    def kill(self, process: Any) -> None:
        """End the namespace's first process: the kernel ends all others with it."""
        from launch import end_descendants  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

        process.kill()
        process.wait()
        # bwrap's process inside asks to die with the one outside only after it has started the driver: under load the
        # one outside can be dead before.
        end_descendants(self.spared)

    def enter(self) -> None:
        """Make the build's root this process's own; the build's processes are dead by now."""
        os.chroot(self.merged)
        os.chdir("/")


class Cover:
    """The upper layer of an overlay: what hides or replaces parts of the host's root."""

    def __init__(self, upper: str) -> None:
        self.upper = upper
        self.opaque: set[str] = set()  # folders below which nothing of the host shows

    def remove(self, name: str) -> None:
        """Hide a path. A parent that is hidden already hides it as well."""
        if not name or any(name == empty or name.startswith(empty + "/") for empty in self.opaque):
            return
        if not os.path.lexists("/" + name) or not self._folder(os.path.dirname(name)):
            return
        path = os.path.join(self.upper, name)
        if not os.path.lexists(path):
            os.mknod(path, stat.S_IFCHR, 0)

    def empty(self, name: str, mode: int) -> None:
        """Put an empty folder in place of whatever is there."""
        if not self._folder(os.path.dirname(name)):
            return
        path = os.path.join(self.upper, name)
        if os.path.lexists(path) and not os.path.isdir(path):
            os.unlink(path)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        os.setxattr(path, "trusted.overlay.opaque", b"y")
        self.opaque.add(name)

    def keep_only(self, name: str, kept: tuple[str, ...]) -> None:
        """Hide everything in a folder but these."""
        if os.path.isdir("/" + name):
            for entry in os.listdir("/" + name):
                if entry not in kept:
                    self.remove(f"{name}/{entry}")

    def private_files(self, name: str) -> None:
        """Hide what other users of this host may not read, below a folder."""
        waiting = [name]
        seen = 0
        while waiting:
            folder = waiting.pop()
            try:
                entries = list(os.scandir("/" + folder))
            except OSError:
                continue
            for entry in entries:
                seen += 1
                if seen > _SCAN_LIMIT:
                    self.remove(name)  # rather nothing of it than a part that nobody looked at
                    return
                if entry.is_symlink():
                    continue
                mode = entry.stat(follow_symlinks=False).st_mode
                inside = f"{folder}/{entry.name}"
                if stat.S_ISDIR(mode) and mode & 0o005 == 0o005:
                    waiting.append(inside)
                elif stat.S_ISDIR(mode) or not mode & 0o004:
                    self.remove(inside)

    def _folder(self, name: str) -> bool:
        """Make the upper side of a lower folder, like it; False when it is hidden."""
        if not name:
            return True
        if not self._folder(os.path.dirname(name)):
            return False
        path = os.path.join(self.upper, name)
        if os.path.lexists(path):
            return os.path.isdir(path) and not os.path.islink(path)
        if os.path.islink("/" + name) or not os.path.isdir("/" + name):
            return False
        status = os.stat("/" + name)
        os.mkdir(path)
        os.chown(path, status.st_uid, status.st_gid)
        os.chmod(path, stat.S_IMODE(status.st_mode))
        return True


def _accounts(etc: str) -> None:
    """Shadow files without a single hash, so that packages can still add their users."""
    for name in ("shadow", "gshadow"):
        try:
            with open("/etc/" + name, encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        kept = [
            ":".join([parts[0], "*", *parts[2:]]) for parts in (line.split(":") for line in lines) if len(parts) > 2
        ]
        _replace(os.path.join(etc, name), "\n".join(kept) + "\n", 0o640)


def _hosts(etc: str, extra: list[str]) -> None:
    names = "".join(f"127.0.0.1 {name}\n" for name in extra)
    _replace(os.path.join(etc, "hosts"), f"127.0.0.1 localhost build\n::1 localhost\n{names}", 0o644)


def _replace(path: str, text: str, mode: int) -> None:
    if os.path.lexists(path):
        os.unlink(path)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")
