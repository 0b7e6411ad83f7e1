"""One hostile build tries to get out in every way that we know of; a table says how each try has to end."""

from __future__ import annotations

import os
import socket
import sys
import uuid
from pathlib import Path

import pytest
from penstock_builder import Builder, commands

from penstock.builds.settings import BuildSettings

pytestmark = pytest.mark.needs("bubblewrap")

# Runs in the build: each try prints its name and "held", or what it got.
TRIES = r"""
import ctypes, errno, glob, os, socket, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
X86 = os.uname().machine == "x86_64"
HOST_PID, HIDDEN, PORT = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def call(x86, arm, *arguments):
    words = [ctypes.c_void_p(a) if isinstance(a, int) else a for a in arguments]
    if libc.syscall(ctypes.c_long(x86 if X86 else arm), *words) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode: raise OSError(done.stderr)

def write(path, text):
    with open(path, "w") as file: file.write(text)

def in_child(function):
    pid = os.fork()
    if not pid:
        try: function(); os._exit(0)
        except BaseException: os._exit(1)
    if os.waitpid(pid, 0)[1]: raise OSError("refused")

def connect(family, kind, address):
    with socket.socket(family, kind) as probe:
        probe.settimeout(1); probe.connect(address)

def unhide(): # files of the server through the root of another process, or by number
    for pid in os.listdir("/proc"):
        if pid.isdigit() and os.path.exists(f"/proc/{pid}/root{HIDDEN}"):
            if os.listdir(f"/proc/{pid}/root{HIDDEN}"): return
    raise OSError("nothing")

def chroot_out():
    os.makedirs("/tmp/jail", exist_ok=True); os.chroot("/tmp/jail")
    for _ in range(64): os.chdir("..")
    os.chroot(".")
    if not os.path.exists(HIDDEN) or not os.listdir(HIDDEN): raise OSError("nothing")

def setuid_gain():
    os.makedirs("/tmp/s", exist_ok=True); run("cp", "/bin/sh", "/tmp/s/sh"); os.chmod("/tmp/s/sh", 0o4755)
    def drop():
        os.setgid(12345); os.setuid(12345)
        out = subprocess.run(["/tmp/s/sh", "-p", "-c", "id -u"], capture_output=True, text=True).stdout.strip()
        if out != "0": raise OSError("still nobody")
    in_child(drop)

def x32(): call(0x40000000 + 39, 10**6)

def i386(): # int 0x80: getpid of the other ABI
    import mmap
    if not X86: raise OSError("no such thing")
    code = mmap.mmap(-1, 4096, prot=7); code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    got = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
    if got < 0: raise OSError(-got, "refused")

def devices():
    if [d for d in os.listdir("/dev") if d.startswith(("sd", "vd", "nvme", "loop", "mem", "kmsg", "kvm", "fuse", "vsock"))]: return
    os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0)); os.close(os.open("/tmp/disk", os.O_RDONLY))

def host_processes():
    if os.path.exists(f"/proc/{HOST_PID}"):
        with open(f"/proc/{HOST_PID}/cmdline") as file:
            if "pytest" in file.read(): return
    os.kill(HOST_PID, 0) if HOST_PID > 400 else unhide()

def shared_memory():
    if not os.path.exists("/dev/shm/penstock-" + HIDDEN.rsplit("-", 1)[-1]): raise OSError("not there")

def unix_sockets():
    found = [p for p in ("/run/docker.sock", "/var/run/docker.sock", "/run/systemd/private", "/run/dbus/system_bus_socket", "/tmp/.X11-unix") if os.path.exists(p)]
    if not found: raise OSError("none")

def abstract(): connect(socket.AF_UNIX, socket.SOCK_STREAM, "\0penstock-" + HIDDEN.rsplit("-", 1)[-1])

def cgroup():
    for path in glob.glob("/sys/fs/cgroup/**/cgroup.procs", recursive=True):
        return
    os.makedirs("/tmp/cg", exist_ok=True); run("mount", "-t", "cgroup2", "none", "/tmp/cg")

def first_process():
    with open("/proc/1/environ", "rb") as file:
        if b"AWS" in file.read(): return
    os.close(os.open("/proc/1/mem", os.O_RDWR)); call(101, 117, 16, 1, 0, 0)

def forge():
    import json
    for pid in (1, 2):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            if "pipe" in os.readlink(f"/proc/{pid}/fd/{fd}"):
                try: write(f"/proc/{pid}/fd/{fd}", "BUILD-commands-1 0\n")
                except OSError: pass
    raise OSError("says nothing")

def write_programs_of_host(): # the overlay takes it; outside must not
    write("/usr/bin/penstock-" + HIDDEN.rsplit("-", 1)[-1], "x")
    raise OSError("judged outside")

NEWUSER, NEWNS, NEWCGROUP, NEWNET, NEWPID = 0x10000000, 0x20000, 0x2000000, 0x40000000, 0x20000000
tries = {
    "unshare user": lambda: call(272, 97, NEWUSER),
    "unshare mount": lambda: call(272, 97, NEWNS),
    "unshare cgroup": lambda: call(272, 97, NEWUSER | NEWCGROUP),
    "unshare time": lambda: call(272, 97, 0x80),
    "clone user": lambda: call(56, 220, NEWUSER | 17, 0, 0, 0, 0),
    "clone3": lambda: call(435, 435, 0, 0),
    "unshare program": lambda: run("unshare", "-Urm", "true"),
    "nested bwrap": lambda: run("bwrap", "--ro-bind", "/", "/", "true"),
    "setns": lambda: call(308, 268, os.open("/proc/1/ns/mnt", os.O_RDONLY), 0),
    "mount tmpfs": lambda: run("mount", "-t", "tmpfs", "none", "/mnt"),
    "mount proc": lambda: run("mount", "-t", "proc", "none", "/mnt"),
    "mount over": lambda: run("mount", "-o", "remount,rw", "/proc/sys"),
    "umount cover": lambda: run("umount", "/proc/keys"),
    "fsopen": lambda: call(430, 430, b"tmpfs", 0),
    "open_tree": lambda: call(428, 428, -100, b"/", 1),
    "cgroup": cgroup,
    "keyctl": lambda: call(250, 219, 0, -4, 0),
    "add_key": lambda: call(248, 217, b"user", b"penstock", b"x", 1, -4),
    "bpf": lambda: call(321, 280, 0, 0, 0),
    "perf": lambda: call(298, 241, 0, 0, -1, -1, 0),
    "io_uring": lambda: call(425, 425, 4, ctypes.create_string_buffer(200)),
    "userfaultfd": lambda: call(323, 282, 0),
    "handle": lambda: call(304, 265, 0, 0, 0),
    "ptrace first": lambda: call(101, 117, 16, 1, 0, 0),
    "ptrace holder": lambda: call(101, 117, 0x4206, 2, 0, 0),
    "first process": first_process,
    "process_vm": lambda: call(310, 270, 1, 0, 0, 0, 0, 0),
    "module": lambda: call(313, 273, 0, b"", 0),
    "kexec": lambda: call(246, 104, 0, 0, 0, 0),
    "clock": lambda: call(227, 112, 0, ctypes.create_string_buffer(16)),
    "hostname": lambda: call(170, 161, b"taken", 5),
    "tiocsti": lambda: call(16, 29, 0, 0x5412, b"x"),
    "x32": x32,
    "i386": i386,
    "vsock": lambda: socket.socket(40, socket.SOCK_STREAM),
    "alg": lambda: socket.socket(38, socket.SOCK_SEQPACKET),
    "packet": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "raw": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "abstract socket": abstract,
    "unix sockets": unix_sockets,
    "loopback": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", PORT)),
    "metadata": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("169.254.169.254", 80)),
    "devices": devices,
    "host processes": host_processes,
    "shared memory": shared_memory,
    "core_pattern": lambda: write("/proc/sys/kernel/core_pattern", "|/tmp/x"),
    "sysrq": lambda: write("/proc/sysrq-trigger", "h"),
    "own uid map": lambda: write("/proc/self/uid_map", "0 0 4294967295"),
    "kcore": lambda: open("/proc/kcore", "rb").close(),
    "kernel log": lambda: call(103, 116, 3, ctypes.create_string_buffer(64), 64),
    "setuid gain": setuid_gain,
    "chroot out": lambda: in_child(chroot_out),
    "other roots": unhide,
    "forge": forge,
    "programs of the host": write_programs_of_host,
}
for name, attempt in tries.items():
    try: attempt(); print("TRY", name + ":", "GOT OUT", flush=True)
    except OSError as error: print("TRY", name + ":", "held", error, flush=True)
print("TRIES", len(tries), flush=True)
"""


def test_no_way_out_of_a_build(live_factory, tmp_path: Path):
    mark = uuid.uuid4().hex[:8]
    shared = Path(f"/dev/shm/penstock-{mark}")
    hidden = tmp_path / f"data-{mark}"
    with (
        socket.create_server(("127.0.0.1", 0)) as service,
        socket.socket(socket.AF_UNIX) as abstract,
        live_factory(hidden.name, components=(BuildSettings(runtime="bubblewrap", allow_unisolated=True),)) as live,
    ):
        abstract.bind(f"\0penstock-{mark}")
        abstract.listen()
        shared.touch()
        try:
            builder = Builder(live)
            port = service.getsockname()[1]
            script = f"{sys.executable} - {os.getpid()} {hidden} {port} <<'TRIES'\n{TRIES}\nTRIES"
            build = builder.ended(builder.start(builder.project(commands(script, "exit 7"))))
            log = builder.log(build["id"])
            tries = [line.removeprefix("TRY ") for line in log.splitlines() if line.startswith("TRY ")]
            assert len(tries) >= 50, log
            assert f"TRIES {len(tries)}" in log.splitlines()
            assert not [line for line in tries if "held" not in line]
            # Errors, not kills; and the end of the next command is its own.
            context = next(p for p in build["phases"] if p["phaseType"] == "BUILD")["contexts"][0]
            assert context["message"] == "Error while executing command: exit 7. Reason: exit status 7"
            assert not Path(f"/usr/bin/penstock-{mark}").exists()
            # What ordinary builds do works in the same sandbox.
            ordinary = "git init -q . && sh -c 'sleep 0 & wait' && (exec 3<>/dev/null) && ls /proc/self/fd >/dev/null"
            build = builder.run(builder.project(commands(ordinary)))
            assert build["buildStatus"] == "SUCCEEDED", builder.log(build["id"])
        finally:
            shared.unlink()
